"""What keeps an account's work from being done: counted, shown, and gone when the work succeeds.

Whatever an account's work raises is noted here and tried again at the next pass; nobody else waits for it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from traceback import extract_tb
from typing import Any

from django.db import Error, connection
from django.db.models import F

from billing.gateway.connection import GatewayUnavailableError
from billing.models import AccountTrouble
from billing.models.bulk.sql import run

logger = logging.getLogger(__name__)

# A trouble that is younger may pass by itself; an older one is shown as a problem.
SHOWN_AFTER = timedelta(minutes=5)
# Work that has not failed for so long is not failing: it succeeded, or there is none of it any more.
SHOWN_FOR = timedelta(hours=1)
LONGEST_MESSAGE = 300
# Errors whose messages are safe for logs. Any other may hold a secret or a customer's data in its words.
SPEAKS_SAFELY = (GatewayUnavailableError,)


def note(account_id: int | None, work: str, error: BaseException, *, now: datetime) -> None:
    """Counts a failure of the account's work, or of the installation's (None).

    Never raises for the database's sake: where it fails too, the caller's log has it."""
    try:
        run(
            """INSERT INTO billing_accounttrouble (account_id, work, since, last_at, count, error, message)
               VALUES (%(account)s, %(work)s, %(now)s, %(now)s, 1, %(error)s, %(message)s)
               ON CONFLICT ON CONSTRAINT one_trouble_per_account_and_work DO UPDATE
               SET last_at = excluded.last_at, count = billing_accounttrouble.count + 1,
                   since = CASE WHEN billing_accounttrouble.last_at < %(over_before)s THEN excluded.since
                                ELSE LEAST(billing_accounttrouble.since, excluded.since) END,
                   error = excluded.error, message = excluded.message""",
            {
                "account": account_id,
                "work": work,
                "now": now,
                "over_before": now - SHOWN_FOR,
                "error": type(error).__name__,
                "message": safe_message(error),
            },
        )
    except Error:
        logger.exception("%s: the trouble of account %s could not be recorded", work, account_id)


def clear(account_id: int | None, work: str) -> None:
    """The account's work succeeded."""
    AccountTrouble.objects.filter(account_id=account_id, work=work).delete()


@contextmanager
def isolated(account_id: int | None, work: str, clock: Callable[[], datetime]) -> Iterator[None]:
    """Runs one account's work: whatever it raises is noted, and nobody else's work ends with it.

    Only a database that is away goes through, for then nobody's work can be done: its caller connects again."""
    try:
        yield
    except Exception as error:
        if isinstance(error, Error) and not connection.is_usable():
            raise
        logger.exception("%s: account %s failed; the others continue", work, account_id)
        note(account_id, work, error, now=clock())
    else:
        clear(account_id, work)


def safe_message(error: BaseException) -> str:
    """Where it happened; and what, in words that hold no secret."""
    if isinstance(error, SPEAKS_SAFELY):
        return str(error)[:LONGEST_MESSAGE]
    frames = [frame for frame in extract_tb(error.__traceback__) if "/billing/" in frame.filename]
    if not frames:
        return ""
    last = frames[-1]
    return f"in {last.filename.rpartition('/billing/')[2]}, line {last.lineno}, {last.name}"[:LONGEST_MESSAGE]


def sentences(now: datetime) -> list[str]:
    """A sentence for each trouble that has lasted, oldest first."""
    return [f"{_of(row.name)}: {_sentence(row)}" for row in _lasting(now)]


def by_subject(now: datetime, account_id: int | None) -> list[tuple[str, str]]:
    """The same of one account, or of all, with the account's public id apart."""
    rows = _lasting(now) if account_id is None else _lasting(now).filter(account_id=account_id)
    return [(row.subject or "installation", _sentence(row)) for row in rows]


def of_account(account_id: int) -> list[str]:
    """A sentence for each trouble that the account has or had last, however young."""
    return [_sentence(row) for row in AccountTrouble.objects.filter(account_id=account_id).order_by("since", "pk")]


def _lasting(now: datetime) -> Any:
    rows = AccountTrouble.objects.filter(since__lte=now - SHOWN_AFTER, last_at__gte=now - SHOWN_FOR)
    rows = rows.order_by("since", "pk")
    return rows.annotate(name=F("account__name"), subject=F("account__public_id"))


def _sentence(row: AccountTrouble) -> str:
    why = f", {row.message}" if row.message else ""
    return f"{row.work} has failed since {row.since:%Y-%m-%d %H:%M} UTC ({row.count} times): {row.error}{why}"


def _of(name: str | None) -> str:
    return "the installation" if name is None else f"account {name}"
