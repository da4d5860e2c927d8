"""A subscription that is active once its first charge is paid: how long that may take, and when it expires.

The time runs from the start, and anew from each declined charge, so that the customer always has all of it to save
another card. It never ends while money may be taken, or before the engine has done its part.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from billing.domain.arming import Refusal
from billing.domain.attempts import HOLDS_PLACE, AttemptState
from billing.domain.subscriptions import ActivatesOn, Collector

DEFAULT_HOURS = 23
MOST_HOURS = 30 * 24
# Refusals that only another card ends. Every other one is ours, the merchant's or the gateway's to end.
NEEDS_ANOTHER_CARD = frozenset({Refusal.FIRST_CHARGE_DECLINED, Refusal.NO_CARD, Refusal.CARD_NOT_ACTIVE})

# The gateway may have taken the money of these all the same, until its lists were read.
UNPROVEN = frozenset({AttemptState.NOT_SENT, AttemptState.NOT_CHARGED})


class Wait(StrEnum):
    """Why a subscription whose time has passed does not expire yet."""

    TIME_LEFT = "time_left"
    ACCOUNT_STOPPED = "account_stopped"  # by a person, or in quarantine: a charge may be missing from the books
    OUTCOME_OPEN = "outcome_open"  # an attempt took the money, or still may
    NEEDS_REVIEW = "needs_review"  # a person decides about the invoice
    CARD_HELD = "card_held"  # what is unexplained on a card of the customer may be its money
    LISTS_MAY_LAG = "lists_may_lag"  # the gateway's lists need not show yet what the last attempt did
    NOT_READ = "not_read"  # nor did anybody read since whether the last attempt, called without money, took it
    CHECKOUT_OPEN = "checkout_open"  # somebody may be paying on a page
    CHARGE_DUE = "charge_due"  # a charge is due that the engine has not made yet


@dataclass(frozen=True, slots=True)
class Unpaid:
    """What expiry re-checks, read under lock. `attempts` are the states of all attempts of the first invoice, in their
    order; `preflight_at` is when the cards were last read for it."""

    ends_at: datetime
    account_stopped: bool
    attempts: Sequence[AttemptState]
    held: bool
    card_held: bool
    look_from_at: datetime | None
    preflight_at: datetime | None
    next_attempt_at: datetime | None
    refusal: Refusal | None
    checkout_open: bool = False


def pays_first(activates_on: ActivatesOn, collector: Collector, *, charge_at_start: bool, trial_days: int) -> bool:
    """Whether a subscription is active only once its first charge is paid: where one is made at the start."""
    at_start = charge_at_start and not trial_days
    return at_start and activates_on is ActivatesOn.PAYMENT and collector is Collector.ENGINE


def ends_at(now: datetime, hours: int) -> datetime:
    """When the time for the first payment ends that begins at `now`."""
    return now + timedelta(hours=hours)


def may_be_charged_again(attempts: Collection[AttemptState]) -> bool:
    """Whether no attempt of the first invoice took its money or still may."""
    return not any(state in HOLDS_PLACE or state is AttemptState.SURPLUS for state in attempts)


def waits_for_a_card(
    attempts: Collection[AttemptState], *, held: bool, next_attempt_at: datetime | None, refusal: Refusal | None
) -> bool:
    """Whether nothing more is asked for the unpaid first invoice until there is another card, or a person wants it.

    Without a next try and without a refusal it was written off."""
    return not held and may_be_charged_again(attempts) and not _is_due(next_attempt_at, refusal)


def _is_due(next_attempt_at: datetime | None, refusal: Refusal | None) -> bool:
    """Whether a charge is planned that does not need another card."""
    return next_attempt_at is not None and refusal not in NEEDS_ANOTHER_CARD


def why_not_expired(unpaid: Unpaid, now: datetime) -> Wait | None:
    """The first reason not to expire, or None: nothing was paid, nothing may be on its way, and nobody is to act."""
    checks = (
        (now < unpaid.ends_at, Wait.TIME_LEFT),
        (unpaid.account_stopped, Wait.ACCOUNT_STOPPED),
        (not may_be_charged_again(unpaid.attempts), Wait.OUTCOME_OPEN),
        (unpaid.checkout_open, Wait.CHECKOUT_OPEN),
        (unpaid.held, Wait.NEEDS_REVIEW),
        (unpaid.card_held, Wait.CARD_HELD),
        (unpaid.look_from_at is not None and now < unpaid.look_from_at, Wait.LISTS_MAY_LAG),
        (_is_unread(unpaid), Wait.NOT_READ),
        (_is_due(unpaid.next_attempt_at, unpaid.refusal), Wait.CHARGE_DUE),
    )
    return next((reason for applies, reason in checks if applies), None)


def _is_unread(unpaid: Unpaid) -> bool:
    """Whether the last attempt may have been refused falsely. A charge that is due reads the cards first; for an
    invoice that was written off nobody does."""
    if not unpaid.attempts or unpaid.attempts[-1] not in UNPROVEN or unpaid.look_from_at is None:
        return False
    return unpaid.preflight_at is None or unpaid.preflight_at < unpaid.look_from_at
