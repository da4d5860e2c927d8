"""Why an invoice that is due is not charged right now."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing.domain.arming import (
    LOOK_AGAIN,
    PREFLIGHT_FRESH,
    USABLE_SUBSCRIPTIONS,
    ArmFacts,
    Environment,
    Refusal,
    refusal,
)
from billing.domain.card_limits import Standing
from billing.domain.subscriptions import CardKind, CardState, SubscriptionState

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
FINE = ArmFacts(
    subscription_state=SubscriptionState.ACTIVE,
    collected_by_gateway=False,
    card_state=CardState.ACTIVE,
    card_kind=CardKind.TOKENIZED,
    card_environment=Environment.SIMULATOR,
    card_held=False,
    card_given_up=False,
    card_has_unresolved_attempt=False,
    invoice_has_holder=False,
    amount_minor=1990,
    amount_refunded_minor=0,
    account_environment=Environment.SIMULATOR,
    account_limit_minor=1990,
    preflight_needed=True,
    preflight_at=NOW,
    look_from_at=None,
)
# In the order in which the reasons are looked at, each with facts that give it alone.
REASONS: list[tuple[Refusal, dict[str, Any]]] = [
    (Refusal.INVOICE_HAS_HOLDER, {"invoice_has_holder": True}),
    (Refusal.CHECKOUT_OPEN, {"checkout_open": True}),
    (Refusal.COLLECTED_BY_GATEWAY, {"collected_by_gateway": True}),
    (Refusal.SUBSCRIPTION_NOT_USABLE, {"subscription_state": SubscriptionState.PAUSED}),
    (Refusal.NO_CARD, {"card_state": None, "card_kind": None, "card_environment": None}),
    (Refusal.CARD_HAS_GATEWAY_SCHEDULE, {"card_kind": CardKind.RECURRING}),
    (Refusal.CARD_NOT_ACTIVE, {"card_state": CardState.INACTIVE}),
    (Refusal.CARD_HELD, {"card_held": True}),
    (Refusal.CARD_UNREADABLE, {"card_given_up": True}),
    (Refusal.CARD_HAS_UNRESOLVED_ATTEMPT, {"card_has_unresolved_attempt": True}),
    (Refusal.ENVIRONMENT_DIFFERS, {"card_environment": Environment.LIVE}),
    (Refusal.ABOVE_LIMIT, {"amount_minor": 1991}),
    (Refusal.ALREADY_REFUNDED, {"amount_refunded_minor": 1}),
    (Refusal.PREFLIGHT_MISSING, {"preflight_at": None}),
    (Refusal.CARD_FROZEN, {"card_standing": Standing(frozen_by="43")}),
    (Refusal.CARD_RESTS, {"card_standing": Standing(rests_until=NOW + timedelta(seconds=1))}),
]
# Written on the invoice by the steps around the decision, never by the decision.
FOUND_ELSEWHERE = {
    Refusal.PREFLIGHT_FOUND_MONEY,
    Refusal.LISTS_MAY_LAG,
    Refusal.REQUEST_IMPOSSIBLE,
    Refusal.CONSTRAINT,
    Refusal.GATEWAY_UNAVAILABLE,
    Refusal.ACCOUNT_PAUSED,
    Refusal.NO_SENDER,
    Refusal.FIRST_CHARGE_DECLINED,
}


def test_an_invoice_with_everything_in_order_is_charged() -> None:
    assert refusal(FINE, NOW) is None


@pytest.mark.parametrize(("reason", "facts"), REASONS, ids=[reason for reason, _ in REASONS])
def test_each_reason_alone_refuses_the_charge(reason: Refusal, facts: dict[str, Any]) -> None:
    assert refusal(replace(FINE, **facts), NOW) is reason


def test_of_several_reasons_the_first_one_is_named() -> None:
    facts = FINE
    # NO_CARD and what is wrong with a card exclude each other.
    for reason, wrong in reversed([(reason, wrong) for reason, wrong in REASONS if reason is not Refusal.NO_CARD]):
        facts = replace(facts, **wrong)
        assert refusal(facts, NOW) is reason


def test_every_refusal_comes_from_the_decision_or_a_known_place() -> None:
    assert {reason for reason, _ in REASONS} | FOUND_ELSEWHERE == set(Refusal)


def test_every_refusal_has_a_time_to_try_again() -> None:
    assert set(LOOK_AGAIN) == set(Refusal)
    at_every_tick = {reason for reason, wait in LOOK_AGAIN.items() if not wait}
    assert at_every_tick == {Refusal.GATEWAY_UNAVAILABLE, Refusal.ACCOUNT_PAUSED, Refusal.NO_SENDER}
    assert all(timedelta(0) <= wait <= timedelta(days=1) for wait in LOOK_AGAIN.values())


@pytest.mark.parametrize("state", SubscriptionState)
def test_only_running_subscriptions_are_charged(state: SubscriptionState) -> None:
    expected = None if state in USABLE_SUBSCRIPTIONS else Refusal.SUBSCRIPTION_NOT_USABLE
    assert refusal(replace(FINE, subscription_state=state), NOW) is expected


def test_a_one_off_invoice_needs_no_subscription() -> None:
    assert refusal(replace(FINE, subscription_state=None), NOW) is None


@pytest.mark.parametrize("state", sorted(set(CardState) - {CardState.ACTIVE}))
def test_only_active_cards_are_charged(state: CardState) -> None:
    assert refusal(replace(FINE, card_state=state), NOW) is Refusal.CARD_NOT_ACTIVE


@pytest.mark.parametrize("card", Environment)
@pytest.mark.parametrize("account", Environment)
def test_card_and_account_are_of_one_environment(card: Environment, account: Environment) -> None:
    facts = replace(FINE, card_environment=card, account_environment=account)
    assert refusal(facts, NOW) is (None if card is account else Refusal.ENVIRONMENT_DIFFERS)


@pytest.mark.parametrize(
    ("age", "fresh"),
    [
        (timedelta(0), True),
        (PREFLIGHT_FRESH, True),
        (PREFLIGHT_FRESH + timedelta(microseconds=1), False),
        (timedelta(microseconds=-1), False),
    ],
)
def test_preflight_counts_for_a_minute_and_never_from_the_future(age: timedelta, fresh: bool) -> None:
    facts = replace(FINE, preflight_at=NOW - age)
    assert refusal(facts, NOW) is (None if fresh else Refusal.PREFLIGHT_MISSING)


@pytest.mark.parametrize("age", [timedelta(0), timedelta(seconds=59), PREFLIGHT_FRESH])
def test_read_too_early_to_show_the_last_attempt_proves_nothing(age: timedelta) -> None:
    looked = replace(FINE, preflight_at=NOW - age)
    assert refusal(replace(looked, look_from_at=NOW - age), NOW) is None
    later = NOW - age + timedelta(microseconds=1)
    assert refusal(replace(looked, look_from_at=later), NOW) is Refusal.PREFLIGHT_MISSING


def test_a_first_attempt_needs_no_preflight() -> None:
    assert refusal(replace(FINE, preflight_needed=False, preflight_at=None), NOW) is None
