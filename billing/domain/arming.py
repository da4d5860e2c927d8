"""Whether an invoice may be charged right now, and if not, why and when to look again."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from billing.domain.card_limits import Held, Standing, why_held
from billing.domain.subscriptions import RUNNING, CardKind, CardState, SubscriptionState

PREFLIGHT_FRESH = timedelta(seconds=60)
# An incomplete one has no invoice but its first, by whose payment it becomes active.
USABLE_SUBSCRIPTIONS = RUNNING | {SubscriptionState.INCOMPLETE}


class Environment(StrEnum):
    SIMULATOR = "simulator"
    SANDBOX = "sandbox"
    LIVE = "live"


class Refusal(StrEnum):
    """Why an invoice that was due was not charged; written on the invoice."""

    SUBSCRIPTION_NOT_USABLE = "subscription_not_usable"
    NO_CARD = "no_card"
    CARD_NOT_ACTIVE = "card_not_active"
    CARD_HELD = "card_held"
    CARD_HAS_GATEWAY_SCHEDULE = "card_has_gateway_schedule"
    CARD_HAS_UNRESOLVED_ATTEMPT = "card_has_unresolved_attempt"
    INVOICE_HAS_HOLDER = "invoice_has_holder"
    CHECKOUT_OPEN = "checkout_open"  # somebody may be paying it on a page of the gateway's
    COLLECTED_BY_GATEWAY = "collected_by_gateway"
    ENVIRONMENT_DIFFERS = "environment_differs"
    ABOVE_LIMIT = "above_limit"
    ALREADY_REFUNDED = "already_refunded"
    PREFLIGHT_MISSING = "preflight_missing"
    PREFLIGHT_FOUND_MONEY = "preflight_found_money"
    LISTS_MAY_LAG = "lists_may_lag"  # the gateway's lists need not show yet what the last attempt did
    CARD_UNREADABLE = "card_unreadable"  # a card's orders could not be read for long: a person decides
    REQUEST_IMPOSSIBLE = "request_impossible"
    CONSTRAINT = "constraint"
    GATEWAY_UNAVAILABLE = "gateway_unavailable"  # no token to be had: nothing is armed without one
    ACCOUNT_PAUSED = "account_paused"  # the account pauses by itself, or waits for a person; its page says why
    CARD_FROZEN = "card_frozen"  # its bank approves nothing more: another card is needed
    CARD_RESTS = "card_rests"  # it was declined too often lately
    NO_SENDER = "no_sender"  # this machine starts no threads
    # It is not tried again until there is another card, or a person wants it: only its payment starts the subscription.
    FIRST_CHARGE_DECLINED = "first_charge_declined"


LOOK_AGAIN: dict[Refusal, timedelta] = {
    Refusal.SUBSCRIPTION_NOT_USABLE: timedelta(hours=1),
    Refusal.NO_CARD: timedelta(hours=1),
    Refusal.CARD_NOT_ACTIVE: timedelta(hours=1),
    Refusal.CARD_HELD: timedelta(minutes=15),
    Refusal.CARD_HAS_GATEWAY_SCHEDULE: timedelta(hours=1),
    Refusal.CARD_HAS_UNRESOLVED_ATTEMPT: timedelta(minutes=1),
    Refusal.INVOICE_HAS_HOLDER: timedelta(minutes=5),
    Refusal.CHECKOUT_OPEN: timedelta(minutes=15),  # or sooner: when its page is over
    Refusal.COLLECTED_BY_GATEWAY: timedelta(hours=1),
    Refusal.ENVIRONMENT_DIFFERS: timedelta(hours=1),
    Refusal.ABOVE_LIMIT: timedelta(hours=1),
    Refusal.ALREADY_REFUNDED: timedelta(days=1),
    Refusal.PREFLIGHT_MISSING: timedelta(seconds=5),
    Refusal.PREFLIGHT_FOUND_MONEY: timedelta(minutes=15),
    Refusal.LISTS_MAY_LAG: timedelta(hours=1),  # or sooner: at the invoice's `look_from_at`
    Refusal.CARD_UNREADABLE: timedelta(hours=1),
    Refusal.REQUEST_IMPOSSIBLE: timedelta(hours=1),
    Refusal.CONSTRAINT: timedelta(minutes=15),
    Refusal.GATEWAY_UNAVAILABLE: timedelta(0),  # at every tick
    Refusal.ACCOUNT_PAUSED: timedelta(0),
    Refusal.CARD_FROZEN: timedelta(minutes=15),  # or sooner: the try is avoided, which dates the next one
    Refusal.CARD_RESTS: timedelta(minutes=15),  # the same; or when the card may be tried again
    Refusal.NO_SENDER: timedelta(0),
    Refusal.FIRST_CHARGE_DECLINED: timedelta(days=1),  # for completeness: settle writes it, and no time ends it
}

# The card's declines forbid the try (`domain.card_limits`).
FOR_ITS_DECLINES = frozenset({Refusal.CARD_FROZEN, Refusal.CARD_RESTS})


@dataclass(frozen=True, slots=True)
class ArmFacts:
    """Everything that arm re-checks, read under lock.

    `subscription_state` is None for a one-off invoice, and where a person decided to collect regardless of it;
    `card_state` is None when there is no card. `card_given_up`: a person went on without the card's orders, which
    cannot be read; `tried_card_held`: a card that the invoice was tried on before is held. A look that began before
    `look_from_at` excludes nothing. `checkout_open`: somebody may be paying on a page."""

    subscription_state: SubscriptionState | None
    collected_by_gateway: bool
    card_state: CardState | None
    card_kind: CardKind | None
    card_environment: Environment | None
    card_held: bool
    card_given_up: bool
    card_has_unresolved_attempt: bool
    invoice_has_holder: bool
    amount_minor: int
    amount_refunded_minor: int
    account_environment: Environment
    account_limit_minor: int
    preflight_needed: bool
    preflight_at: datetime | None
    look_from_at: datetime | None
    tried_card_held: bool = False
    checkout_open: bool = False
    card_standing: Standing = field(default_factory=Standing)
    asked_for: bool = False


def refusal(facts: ArmFacts, now: datetime) -> Refusal | None:
    """The first reason not to charge, or None."""
    checks = (
        (facts.invoice_has_holder, Refusal.INVOICE_HAS_HOLDER),
        (facts.checkout_open, Refusal.CHECKOUT_OPEN),
        (facts.collected_by_gateway, Refusal.COLLECTED_BY_GATEWAY),
        (
            facts.subscription_state is not None and facts.subscription_state not in USABLE_SUBSCRIPTIONS,
            Refusal.SUBSCRIPTION_NOT_USABLE,
        ),
        (facts.card_state is None, Refusal.NO_CARD),
        (facts.card_kind is CardKind.RECURRING, Refusal.CARD_HAS_GATEWAY_SCHEDULE),
        (facts.card_state is not CardState.ACTIVE, Refusal.CARD_NOT_ACTIVE),
        (facts.card_held, Refusal.CARD_HELD),
        (facts.card_given_up, Refusal.CARD_UNREADABLE),
        (facts.card_has_unresolved_attempt, Refusal.CARD_HAS_UNRESOLVED_ATTEMPT),
        (facts.tried_card_held, Refusal.PREFLIGHT_FOUND_MONEY),
        (facts.card_environment is not facts.account_environment, Refusal.ENVIRONMENT_DIFFERS),
        (facts.amount_minor > facts.account_limit_minor, Refusal.ABOVE_LIMIT),
        (facts.amount_refunded_minor > 0, Refusal.ALREADY_REFUNDED),
        # The last ones: a try is avoided only where it could have been made.
        (facts.preflight_needed and not _fresh(facts, now), Refusal.PREFLIGHT_MISSING),
        (facts.card_standing.frozen_by is not None, Refusal.CARD_FROZEN),
        (card_held(facts, now) is not None, Refusal.CARD_RESTS),
    )
    return next((reason for fails, reason in checks if fails), None)


def card_held(facts: ArmFacts, now: datetime) -> tuple[Held, datetime] | None:
    """Why the declines of the card forbid a try at `now`, and from when there may be one; None: they do not."""
    return why_held(facts.card_standing, asked_for=facts.asked_for, now=now)


def _fresh(facts: ArmFacts, now: datetime) -> bool:
    """Whether the look is recent, and began after everything that it must exclude could be seen."""
    at = facts.preflight_at
    if at is None or (facts.look_from_at is not None and at < facts.look_from_at):
        return False
    return timedelta(0) <= now - at <= PREFLIGHT_FRESH
