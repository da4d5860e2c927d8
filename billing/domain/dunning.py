"""What happens after a decline: the next try, or the end of trying.

One pure function, `next_step`, decides. Settlement carries out what it says, and `preview` asks it for each try in
turn, so that what is shown beforehand is what happens.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

from billing.domain.errors import RefusedError
from billing.domain.messages import MessageKind, failure_message

MOST_TRIES = 4
MOST_DAYS = 30
MOST_GRACE_DAYS = 30
DEFAULT_RETRY_DAYS = (3, 7, 14)
# How far a try moves to a day that the policy prefers, or away from one that it avoids.
MOST_MOVE = 7
DAYS_OF_MONTH = range(1, 32)
WEEKDAYS = range(7)  # 0 is Sunday, as in schedules
HOURS = range(24)


class FinalAction(StrEnum):
    """What becomes of the subscription when trying ends without the money; the invoice is uncollectible."""

    CANCEL = "cancel"
    PAUSE = "pause"
    KEEP = "keep"  # stays past due; later periods are charged as they come


class Scope(StrEnum):
    """Which invoices a policy is assigned to."""

    SUBSCRIPTIONS = "subscriptions"  # of all plans without an assignment of their own
    ONE_OFFS = "one_offs"
    PLAN = "plan"  # of all versions of one plan


class DunningError(RefusedError):
    """A policy that the rules do not allow; the message names the rule."""


@dataclass(frozen=True, slots=True)
class DunningPolicy:
    """What an account does about a declined invoice.

    `retry_days` count from the day of the invoice's first try, so retries do not drift. A try is made at `retry_hour`
    (None: at the time of day of the first try) in the time zone `zone`. It moves forward by at most `MOST_MOVE` days to
    the next day that is in `prefer_days` (days of the month; empty: any) and not avoided; where there is none, to the
    next one that is not avoided. `quiet_tries` are tries whose decline is not mailed to the customer. The final action
    follows `grace_days` after the last try."""

    retry_days: tuple[int, ...] = DEFAULT_RETRY_DAYS
    final_action: FinalAction = FinalAction.CANCEL
    retry_hour: int | None = None
    prefer_days: frozenset[int] = frozenset()
    avoid_days: frozenset[int] = frozenset()
    avoid_weekdays: frozenset[int] = frozenset()
    quiet_tries: frozenset[int] = frozenset()
    grace_days: int = 0
    zone: str = "UTC"

    def __post_init__(self) -> None:
        check_retry_days(self.retry_days)
        _check_members("prefer_days", self.prefer_days, DAYS_OF_MONTH)
        _check_members("avoid_days", self.avoid_days, DAYS_OF_MONTH)
        _check_members("avoid_weekdays", self.avoid_weekdays, WEEKDAYS)
        _check_members("quiet_tries", self.quiet_tries, range(1, MOST_TRIES + 1))
        if self.retry_hour is not None and self.retry_hour not in HOURS:
            raise DunningError("retry_hour", "out_of_range", f"must be from 0 to 23, or empty; got {self.retry_hour}")
        if not 0 <= self.grace_days <= MOST_GRACE_DAYS:
            message = f"must be from 0 to {MOST_GRACE_DAYS}; got {self.grace_days}"
            raise DunningError("grace_days", "out_of_range", message)
        if self.prefer_days and self.prefer_days <= self.avoid_days:
            raise DunningError("prefer_days", "contradiction", "must have a day that is not avoided too")
        if self.avoid_weekdays >= set(WEEKDAYS):
            raise DunningError("avoid_weekdays", "contradiction", "must leave at least one weekday")
        if self.avoid_days >= set(DAYS_OF_MONTH):
            raise DunningError("avoid_days", "contradiction", "must leave at least one day of the month")

    def avoids(self, day: date) -> bool:
        return day.day in self.avoid_days or day.isoweekday() % 7 in self.avoid_weekdays

    def prefers(self, day: date) -> bool:
        return (not self.prefer_days or day.day in self.prefer_days) and not self.avoids(day)


@dataclass(frozen=True, slots=True)
class RetryAt:
    at: datetime


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Nothing is tried any more by itself; the final action follows at `at`, unless the invoice is paid before."""

    at: datetime
    action: FinalAction


@dataclass(frozen=True, slots=True)
class GiveUp:
    action: FinalAction


Step = RetryAt | WaitUntil | GiveUp


def check_retry_days(days: Sequence[int], field: str = "retry_days") -> None:
    """Raises DunningError unless they are a few rising days after the first try."""
    if len(days) >= MOST_TRIES:
        raise DunningError(
            field,
            "invalid",
            f"must be at most {MOST_TRIES - 1} retries ({MOST_TRIES} tries in all); got {len(days)}",
        )
    if any(day < 1 or day > MOST_DAYS for day in days):
        raise DunningError(
            field, "invalid", f"each must be from 1 to {MOST_DAYS} days after the first try; got {list(days)}"
        )
    if list(days) != sorted(set(days)):
        raise DunningError(field, "invalid", f"each day must be later than the one before; got {list(days)}")


def _check_members(field: str, values: Collection[int], allowed: range) -> None:
    wrong = sorted(set(values) - set(allowed))
    if wrong:
        raise DunningError(field, "out_of_range", f"each must be from {allowed[0]} to {allowed[-1]}; got {wrong}")


def ladder(policy: DunningPolicy, first_tried_at: datetime) -> tuple[datetime, ...]:
    """The instants (UTC) of all retries of an invoice first tried then, rising. Retry days that move to the same day
    are one try."""
    first = first_tried_at.astimezone(ZoneInfo(policy.zone))
    moment = first.time() if policy.retry_hour is None else time(policy.retry_hour)
    days = [_moved(policy, first.date() + timedelta(days=day), first.date()) for day in policy.retry_days]
    return tuple(sorted({_instant(day, moment, policy.zone) for day in days}))


def _moved(policy: DunningPolicy, day: date, first: date) -> date:
    """The day itself, or a later one that suits the policy better, never more than `MOST_DAYS` after the first."""
    last = min(day + timedelta(days=MOST_MOVE), first + timedelta(days=MOST_DAYS))
    near = [day + timedelta(days=n) for n in range((last - day).days + 1)]
    preferred = next((one for one in near if policy.prefers(one)), None)
    return preferred or next((one for one in near if not policy.avoids(one)), day)


def _instant(day: date, moment: time, zone: str) -> datetime:
    return datetime.combine(day, moment.replace(tzinfo=None, fold=0), ZoneInfo(zone)).astimezone(UTC)


def ends_at(policy: DunningPolicy, first_tried_at: datetime) -> datetime:
    """When the final action follows, if no try is paid: the grace after the last retry."""
    last = (first_tried_at, *ladder(policy, first_tried_at))[-1]
    return last + timedelta(days=policy.grace_days)


def next_step(policy: DunningPolicy, *, first_tried_at: datetime, tried_at: datetime, now: datetime) -> Step:
    """After the decline of a try that was made at `tried_at`, of an invoice first tried at `first_tried_at`.

    A retry day that has passed already is skipped, so that an outage does not bring two tries in a row. A try that a
    person wanted, or a new card brought, before its day uses up no day."""
    after = max(tried_at, now)
    for at in ladder(policy, first_tried_at):
        if at > after:
            return RetryAt(at)
    end = ends_at(policy, first_tried_at)
    if policy.grace_days and end > after:
        return WaitUntil(end, policy.final_action)
    return GiveUp(policy.final_action)


def outlook(
    step: Step, policy: DunningPolicy, *, first_tried_at: datetime, subscription_runs: bool, number: int
) -> dict[str, Any]:
    """What follows the decline of the `number`-th try, for its event: when the next try is, how many are left, whether
    the subscription ends. `quiet`: this decline is not mailed."""
    quiet = number in policy.quiet_tries
    match step:
        case RetryAt(at):
            later = [one for one in ladder(policy, first_tried_at) if one > at]
            payload = {"next_attempt_at": at.isoformat(), "tries_left": 1 + len(later), "ends_subscription": False}
        case WaitUntil():
            payload = {"next_attempt_at": None, "tries_left": 0, "ends_subscription": False}
        case GiveUp(action):
            ends = subscription_runs and action is not FinalAction.KEEP
            payload = {"next_attempt_at": None, "tries_left": 0, "ends_subscription": ends}
    return {**payload, "quiet": True} if quiet else payload


# --- preview ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PreviewTry:
    """One try, assumed to be declined: the message that its decline causes, None for none."""

    number: int
    at: datetime
    message: MessageKind | None


@dataclass(frozen=True, slots=True)
class Preview:
    """All that follows a first decline if nothing is paid. `ends_at` is when the final action follows."""

    tries: tuple[PreviewTry, ...]
    ends_at: datetime
    action: FinalAction


def preview(policy: DunningPolicy, declined_at: datetime, *, subscription: bool = True) -> Preview:
    """What follows if the first try is declined at `declined_at`, and each later one as soon as it is made."""
    tries: list[PreviewTry] = []
    at = declined_at
    while True:
        number = len(tries) + 1
        step = next_step(policy, first_tried_at=declined_at, tried_at=at, now=at)
        payload = outlook(step, policy, first_tried_at=declined_at, subscription_runs=subscription, number=number)
        tries.append(PreviewTry(number, at, failure_message(payload)))
        match step:
            case RetryAt(at):
                continue
            case WaitUntil(end, action):
                return Preview(tuple(tries), end, action)
            case GiveUp(action):
                return Preview(tuple(tries), at, action)


# --- two policies by lot ----------------------------------------------------------------------------------

LOTS = 100


def lot_of(public_id: str) -> int:
    """From 0 to 99, always the same for one id, and spread evenly over ids."""
    return int.from_bytes(sha256(public_id.encode()).digest()[:8]) % LOTS


def gets_second(public_id: str, percent: int | None) -> bool:
    """Whether a subscription (for a one-off: an invoice) is in the share of the second of two policies."""
    return percent is not None and lot_of(public_id) < percent
