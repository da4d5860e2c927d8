"""What happens after a decline: the next try, or the end of trying."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from billing.domain.errors import RefusedError

MOST_TRIES = 4
MOST_DAYS = 30
DEFAULT_RETRY_DAYS = (3, 7, 14)


class FinalAction(StrEnum):
    """What becomes of the subscription when the last try is declined; the invoice is uncollectible."""

    CANCEL = "cancel"
    PAUSE = "pause"
    KEEP = "keep"  # stays past due; later periods are charged as they come


class DunningError(RefusedError):
    """A policy that the rules do not allow; the message names the rule."""


@dataclass(frozen=True, slots=True)
class DunningPolicy:
    """`retry_days` count from the first try of the invoice, so retries do not drift."""

    retry_days: tuple[int, ...] = DEFAULT_RETRY_DAYS
    final_action: FinalAction = FinalAction.CANCEL

    def __post_init__(self) -> None:
        check_retry_days(self.retry_days)


class Terms(Protocol):
    """What an account says of declined invoices. `one_off_retry_days` are for those of no subscription."""

    retry_days: list[int]
    one_off_retry_days: list[int]
    final_action: str


def policy_of(account: Terms, *, one_off: bool) -> DunningPolicy:
    """The account's policy for an invoice of a subscription, or for a one-off."""
    days = account.one_off_retry_days if one_off else account.retry_days
    return DunningPolicy(tuple(days), FinalAction(account.final_action))


@dataclass(frozen=True, slots=True)
class RetryAt:
    at: datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    action: FinalAction


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


def next_step(
    policy: DunningPolicy, *, first_tried_at: datetime, tried_at: datetime, now: datetime
) -> RetryAt | GiveUp:
    """After the decline of a try that was made at `tried_at`, of an invoice first tried at `first_tried_at`.

    A retry day that has passed already is skipped, so that an outage does not bring two tries in a row. A try that a
    person wanted, or a new card brought, before its day uses up no day."""
    for day in policy.retry_days:
        at = first_tried_at + timedelta(days=day)
        if at > max(tried_at, now):
            return RetryAt(at)
    return GiveUp(policy.final_action)


def outlook(
    step: RetryAt | GiveUp, policy: DunningPolicy, *, first_tried_at: datetime, subscription_runs: bool
) -> dict[str, Any]:
    """What follows a decline, for its event: when the next try is, how many are left, whether the subscription ends."""
    match step:
        case RetryAt(at):
            later = [day for day in policy.retry_days if first_tried_at + timedelta(days=day) > at]
            return {"next_attempt_at": at.isoformat(), "tries_left": 1 + len(later), "ends_subscription": False}
        case GiveUp(action):
            ends = subscription_runs and action is not FinalAction.KEEP
            return {"next_attempt_at": None, "tries_left": 0, "ends_subscription": ends}
