"""announce: customers learn of a charge seven days before it, where the card networks require it.

It only reads and writes messages: what is charged is decided elsewhere. A charge that changes or no longer comes is
noticed when its message is sent."""

from collections.abc import Callable
from datetime import datetime, timedelta

from billing.domain.messages import NOTICE_DAYS, notice_at, notice_reason
from billing.models.bulk import mailing

BATCH = 500
# A notice is due up to a day earlier than seven days before.
AHEAD = timedelta(days=NOTICE_DAYS + 1)
EVERY = timedelta(minutes=10)
_last: list[datetime] = []


def announce_sometimes(*, now: datetime, should_stop: Callable[[], bool]) -> int:
    """For a loop whose rounds are shorter: at most once in `EVERY`."""
    if _last and timedelta(0) <= now - _last[0] < EVERY:
        return 0
    written = announce(now=now, should_stop=should_stop)
    _last[:] = [now]
    return written


def announce(*, now: datetime, should_stop: Callable[[], bool] = lambda: False) -> int:
    """Writes the notices whose time has come; how many."""
    written, after = 0, 0
    while not should_stop():
        found = mailing.to_announce(now=now, until=now + AHEAD, after=after, limit=BATCH)
        written += mailing.write([notice for one in found if (notice := _notice(one, now)) is not None], now=now)
        if len(found) < BATCH:
            break
        after = found[-1].subscription_id
    return written


def _notice(one: mailing.Announced, now: datetime) -> mailing.NewMessage | None:
    """None: it is early, or it began so late that the confirmation of the enrolment was the notice."""
    reason = notice_reason(
        first_after_trial=one.first_after_trial,
        price_changes=one.last_amount_minor is not None and one.last_amount_minor != one.amount_minor,
        interval=one.interval,
        every=one.every,
        every_charge=one.every_charge,
    )
    at = notice_at(one.due_at, one.time_zone)
    if reason is None or now < at or one.activated_at >= at:
        return None
    return mailing.notice_of(one, reason=reason.value, not_before=now)
