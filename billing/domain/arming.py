"""Whether an invoice may be charged right now, and if not, why and when to look again."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from billing.domain.subscriptions import CardKind, CardState, SubscriptionState

PREFLIGHT_FRESH = timedelta(seconds=60)
USABLE_SUBSCRIPTIONS = frozenset({SubscriptionState.TRIALING, SubscriptionState.ACTIVE, SubscriptionState.PAST_DUE})


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
    COLLECTED_BY_GATEWAY = "collected_by_gateway"
    ENVIRONMENT_DIFFERS = "environment_differs"
    ABOVE_LIMIT = "above_limit"
    ALREADY_REFUNDED = "already_refunded"
    PREFLIGHT_MISSING = "preflight_missing"
    PREFLIGHT_FOUND_MONEY = "preflight_found_money"
    REQUEST_IMPOSSIBLE = "request_impossible"
    CONSTRAINT = "constraint"
    GATEWAY_UNAVAILABLE = "gateway_unavailable"  # no token to be had: nothing is armed without one


LOOK_AGAIN: dict[Refusal, timedelta] = {
    Refusal.SUBSCRIPTION_NOT_USABLE: timedelta(hours=1),
    Refusal.NO_CARD: timedelta(hours=1),
    Refusal.CARD_NOT_ACTIVE: timedelta(hours=1),
    Refusal.CARD_HELD: timedelta(minutes=15),
    Refusal.CARD_HAS_GATEWAY_SCHEDULE: timedelta(hours=1),
    Refusal.CARD_HAS_UNRESOLVED_ATTEMPT: timedelta(minutes=1),
    Refusal.INVOICE_HAS_HOLDER: timedelta(minutes=5),
    Refusal.COLLECTED_BY_GATEWAY: timedelta(hours=1),
    Refusal.ENVIRONMENT_DIFFERS: timedelta(hours=1),
    Refusal.ABOVE_LIMIT: timedelta(hours=1),
    Refusal.ALREADY_REFUNDED: timedelta(days=1),
    Refusal.PREFLIGHT_MISSING: timedelta(seconds=5),
    Refusal.PREFLIGHT_FOUND_MONEY: timedelta(minutes=15),
    Refusal.REQUEST_IMPOSSIBLE: timedelta(hours=1),
    Refusal.CONSTRAINT: timedelta(minutes=15),
    Refusal.GATEWAY_UNAVAILABLE: timedelta(0),  # at every tick
}


@dataclass(frozen=True, slots=True)
class ArmFacts:
    """Everything that arm re-checks, read under lock.

    `subscription_state` is None for a one-off invoice, and where a person decided to collect regardless of it;
    `card_state` is None when there is no card."""

    subscription_state: SubscriptionState | None
    collected_by_gateway: bool
    card_state: CardState | None
    card_kind: CardKind | None
    card_environment: Environment | None
    card_held: bool
    card_has_unresolved_attempt: bool
    invoice_has_holder: bool
    amount_minor: int
    amount_refunded_minor: int
    account_environment: Environment
    account_limit_minor: int
    preflight_needed: bool
    preflight_at: datetime | None


def refusal(facts: ArmFacts, now: datetime) -> Refusal | None:
    """The first reason not to charge, or None."""
    checks = (
        (facts.invoice_has_holder, Refusal.INVOICE_HAS_HOLDER),
        (facts.collected_by_gateway, Refusal.COLLECTED_BY_GATEWAY),
        (
            facts.subscription_state is not None and facts.subscription_state not in USABLE_SUBSCRIPTIONS,
            Refusal.SUBSCRIPTION_NOT_USABLE,
        ),
        (facts.card_state is None, Refusal.NO_CARD),
        (facts.card_kind is CardKind.RECURRING, Refusal.CARD_HAS_GATEWAY_SCHEDULE),
        (facts.card_state is not CardState.ACTIVE, Refusal.CARD_NOT_ACTIVE),
        (facts.card_held, Refusal.CARD_HELD),
        (facts.card_has_unresolved_attempt, Refusal.CARD_HAS_UNRESOLVED_ATTEMPT),
        (facts.card_environment is not facts.account_environment, Refusal.ENVIRONMENT_DIFFERS),
        (facts.amount_minor > facts.account_limit_minor, Refusal.ABOVE_LIMIT),
        (facts.amount_refunded_minor > 0, Refusal.ALREADY_REFUNDED),
        (facts.preflight_needed and not _fresh(facts.preflight_at, now), Refusal.PREFLIGHT_MISSING),
    )
    return next((reason for fails, reason in checks if fails), None)


def _fresh(preflight_at: datetime | None, now: datetime) -> bool:
    return preflight_at is not None and timedelta(0) <= now - preflight_at <= PREFLIGHT_FRESH
