"""Everything that must always be true, asked of the database, of the gateway, or of the simulator's ledger.

All of it only reads. `violations` sees one snapshot, so that what happens meanwhile cannot look like a mistake.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.db import connection, transaction

from billing.audit import attempts, catalogue, money, periods, progress, refunds, requests
from billing.audit.at_the_gateway import gateway_violations
from billing.audit.ledger import ledger_violations
from billing.audit.violation import CATALOGUE, CATALOGUE_SENTENCE, INVARIANTS, Violation
from billing.charging.limits import Limits

__all__ = [
    "CATALOGUE",
    "CATALOGUE_SENTENCE",
    "INVARIANTS",
    "Violation",
    "gateway_violations",
    "ledger_violations",
    "snapshot",
    "violations",
]


def violations(*, now: datetime, account_id: int | None = None, limits: Limits | None = None) -> list[Violation]:
    """What in the database is not as it must be at `now`: of one account, or of all.

    `limits` says when an attempt must have left sending (L2) and when the outcome of one must be known (L3); the
    settings' own when None. The L invariants take it that workers ran until `now`."""
    chosen = limits or Limits.from_settings()
    with snapshot():
        return [
            *catalogue.catalogue_violations(),
            *money.violations(account_id),
            *attempts.violations(account_id),
            *requests.violations(account_id),
            *refunds.violations(account_id, now=now, limits=chosen),
            *periods.violations(account_id, now=now),
            *progress.violations(account_id, now=now, limits=chosen),
        ]


@contextmanager
def snapshot() -> Iterator[None]:
    """One unchanging view of the database in which nothing can be written.

    Inside a caller's transaction it is that transaction, whatever its isolation."""
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield
