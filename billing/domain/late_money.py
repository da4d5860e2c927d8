"""Money after the end: when a card is read again although nothing is due on it, and when a daily report is read.

A failed order can be paid later, by a pay link or by a retry of the gateway's own (GATEWAY notes, 4.5), and nobody
sends us a message that we could rely on.
"""

from datetime import date, datetime, time, timedelta
from enum import StrEnum

from billing.domain.attempts import AttemptState, Finding
from billing.domain.reports import REPORT_ZONE

# When a card is read after its last attempt without money ended.
WATCH_AFTER = (
    timedelta(hours=1),
    timedelta(hours=6),
    *(timedelta(days=days) for days in (1, 2, 4, 8, 16, 32, 60)),
)
# When the report of a day is read, counted from the midnight in Malaysia with which the day begins: before the day is
# 24 hours old, so that nothing paid in it waits longer than a day; when it is over; and twice more, for what is
# reported late.
READ_REPORT_AFTER = (
    timedelta(hours=20),
    timedelta(hours=24, minutes=30),
    timedelta(hours=48, minutes=30),
    timedelta(hours=72, minutes=30),
)
# How far back days are read that were never read: after an upgrade, or a long outage.
OLDEST_REPORT = timedelta(days=60)
# A day whose report cannot be read is tried for so long after its end; a report that can be read again revives it.
GIVE_UP_REPORT_AFTER = timedelta(days=7)
# A day that ended longer ago and was not read to the end since is one that somebody should know of.
REPORT_MISSING_AFTER = timedelta(days=2)
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=10), timedelta(days=1)

S = AttemptState
_WITHOUT_MONEY = frozenset({S.DECLINED, S.NOT_CHARGED, S.SURPLUS, S.REVERSED})


class FoundKind(StrEnum):
    """Why a payment waits for a person."""

    AFTER_THE_END = "after_the_end"  # it paid an invoice of a subscription that no longer runs
    UNKNOWN_MARKER = "unknown_marker"  # it carries a marker like ours that this database does not know
    WITHOUT_MARKER = "without_marker"  # its order is on one of our cards, and nothing says what it is for
    CHECKOUT_DIFFERS = "checkout_differs"  # paid on a page of ours, and it is not what the page asked for
    WENT_BACK = "went_back"  # a person recorded it as the payment of an invoice, and its money was given back since


def may_become_money(state: AttemptState, finding: Finding) -> bool:
    """Whether an attempt that ended like this can turn into money at the gateway's own doing.

    *Not sent* can when the gateway answered: a refusal may be wrong. What never left cannot."""
    if state is S.NOT_SENT:
        return finding.detail.get("http_status") is not None
    return state in _WITHOUT_MONEY


def next_watch(ended_at: datetime, now: datetime) -> datetime | None:
    """When the card is read next; None when its schedule is over. Steps that passed meanwhile are one read."""
    return next((ended_at + step for step in WATCH_AFTER if ended_at + step > now), None)


def pause_after(failures: int) -> timedelta:
    """How long to wait after the `failures`-th (from 1) failed read in a row."""
    doubled: int = 2 ** min(max(failures, 1) - 1, 10)
    return min(FIRST_PAUSE * doubled, LONGEST_PAUSE)


def starts_at(day: date) -> datetime:
    """The midnight in Malaysia with which a day of the reports begins."""
    return datetime.combine(day, time.min, REPORT_ZONE)


def ends_at(day: date) -> datetime:
    return starts_at(day + timedelta(days=1))


def report_day(at: datetime) -> date:
    """The day whose report lists what is paid at `at`."""
    return at.astimezone(REPORT_ZONE).date()


def days_to_read(opened_at: datetime, now: datetime) -> tuple[date, date]:
    """The first and last day whose reports concern an account that was opened at `opened_at`."""
    return max(report_day(opened_at), report_day(now - OLDEST_REPORT)), report_day(now)


def first_report(day: date, now: datetime) -> datetime:
    """When a day's report is read for the first time."""
    return max(starts_at(day) + READ_REPORT_AFTER[0], now)


def next_report(day: date, now: datetime) -> datetime | None:
    """When the report of a day that was read at `now` is read again; None: never."""
    return next((starts_at(day) + step for step in READ_REPORT_AFTER if starts_at(day) + step > now), None)


def report_after_failure(day: date, failures: int, now: datetime) -> datetime | None:
    """When a report that could not be read is tried again; None: it is given up."""
    again = now + pause_after(failures)
    return again if again <= ends_at(day) + GIVE_UP_REPORT_AFTER else None
