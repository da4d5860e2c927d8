"""Everything that must always be true, asked of the database, of the gateway, or of the simulator's ledger.

All of it only reads. `violations` sees one snapshot, so that what happens meanwhile cannot look like a mistake.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime

from django.db import InterfaceError, OperationalError, connection, transaction

from billing.audit import (
    attempts,
    catalogue,
    checkouts,
    feed,
    first_payments,
    money,
    periods,
    progress,
    refunds,
    requests,
)
from billing.audit.at_the_gateway import gateway_violations
from billing.audit.ledger import ledger_violations
from billing.audit.violation import CATALOGUE, CATALOGUE_INVARIANT, INVARIANTS, Violation
from billing.operating import clocks, troubles
from billing.operating.troubles import safe_message
from billing.operating.tuning import Tuning

logger = logging.getLogger(__name__)

__all__ = [
    "CATALOGUE",
    "CATALOGUE_INVARIANT",
    "INVARIANTS",
    "Violation",
    "gateway_violations",
    "ledger_violations",
    "snapshot",
    "violations",
]


def violations(*, now: datetime, account_id: int | None = None, tuning: Tuning | None = None) -> list[Violation]:
    """What in the database is not as it must be at `now`: of one account, or of all.

    `tuning` says when an attempt must have left sending (L2) and when the outcome of one must be known (L3); the
    settings' own when None. The L invariants take it that workers ran until `now`."""
    chosen = tuning or Tuning.from_settings()
    parts: dict[str, Callable[[], Iterable[Violation]]] = {
        "the catalogue": catalogue.catalogue_violations,
        "money": lambda: money.violations(account_id),
        "attempts": lambda: attempts.violations(account_id),
        "requests": lambda: requests.violations(account_id),
        "refunds": lambda: refunds.violations(account_id, now=now, tuning=chosen),
        "periods": lambda: periods.violations(account_id, now=now),
        "first payments": lambda: first_payments.violations(account_id, now=now),
        "checkouts": lambda: checkouts.violations(account_id, now=now),
        "progress": lambda: progress.violations(account_id, now=now, tuning=chosen),
        "the feed": lambda: feed.violations(account_id),
        "troubles": lambda: _troubles(account_id, now),
    }
    with snapshot():
        return [one for name, part in parts.items() for one in _part(name, part)]


def _part(name: str, part: Callable[[], Iterable[Violation]]) -> list[Violation]:
    """What the part finds. One that breaks, on a row that nobody thought of, is a violation and hides no other."""
    try:
        with transaction.atomic():
            return list(part())
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        logger.exception("audit: %s could not be checked", name)
        return [Violation("T1", name, f"could not be audited: {type(error).__name__}, {safe_message(error)}.")]


def _troubles(account_id: int | None, now: datetime) -> Iterator[Violation]:
    for subject, sentence in troubles.by_subject(now, account_id):
        yield Violation("T1", subject, f"{sentence}.")
    for sentence in clocks.sentences(now):
        yield Violation("T1", "clock", f"{sentence}.")


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
