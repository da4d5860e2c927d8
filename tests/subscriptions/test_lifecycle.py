"""Beginning, pausing, resuming, cancelling; nothing is owed for time spent incomplete or paused."""

from datetime import timedelta
from typing import Any

import pytest

from billing.audit.invariants import violations
from billing.domain.money import MoneyError, Price
from billing.domain.recurrence import Recurrence
from billing.domain.schedules import ScheduleError
from billing.gateway.sending_clock import machine
from billing.models import AccountTrouble, GatewayClock, Invoice, PaymentMethod, Plan, Subscription, Transition
from billing.models.clock import database_now
from billing.subscriptions.activate import activate_waiting
from billing.subscriptions.cards import confirm_binding, make_default, revoke_card, start_binding
from billing.subscriptions.customers import ReferenceTakenError, create_customer
from billing.subscriptions.lifecycle import cancel, pause, resume
from billing.subscriptions.plans import PlanError, create_plan
from billing.subscriptions.renew import MOST_PERIODS_AT_ONCE, open_due
from billing.subscriptions.start import SubscriptionError, start_subscription
from tests.conftest import SHORT, Shop
from tests.factories import NOW, make_account, make_card, make_customer, make_invoice, make_plan, make_subscription

pytestmark = pytest.mark.django_db


def test_a_subscription_waits_for_a_card_and_begins_with_it() -> None:
    customer = make_customer()
    plan = make_plan(customer.account)
    subscription = start_subscription(customer=customer, plan=plan, reference="s-1", now=NOW)
    assert (subscription.state, subscription.next_due_at) == ("incomplete", None)

    make_card(customer)
    activate_waiting(customer=customer, now=NOW + timedelta(days=10, hours=2))

    subscription.refresh_from_db()
    assert subscription.state == "active"
    assert subscription.next_due_at == NOW + timedelta(days=11), "nothing is owed for the days without a card"
    moves = Transition.objects.filter(subject_type="subscription").order_by("id").values_list("to_state", flat=True)
    assert list(moves) == ["incomplete", "active"]


def test_first_charge_is_the_first_occurrence_after_the_start() -> None:
    card = make_card()
    subscription = start_subscription(
        customer=card.customer, plan=make_plan(card.account), reference="s", now=NOW + timedelta(minutes=1)
    )
    assert subscription.next_due_at == NOW + timedelta(days=1)


def test_charge_at_the_start_comes_first_and_the_schedule_next() -> None:
    card = make_card()
    begun = NOW + timedelta(hours=2)
    subscription = start_subscription(
        customer=card.customer, plan=make_plan(card.account), reference="s", now=begun, charge_at_start=True
    )
    assert subscription.next_due_at == begun
    open_due(now=begun)
    open_due(now=NOW + timedelta(days=1))
    due = list(Invoice.objects.order_by("period_index").values_list("due_at", flat=True))
    assert due == [begun, NOW + timedelta(days=1)]


def test_a_trial_moves_the_first_charge() -> None:
    card = make_card()
    subscription = start_subscription(
        customer=card.customer, plan=make_plan(card.account, trial_days=7), reference="s", now=NOW
    )
    assert subscription.state == "trialing"
    assert subscription.next_due_at == NOW + timedelta(days=8)


def test_paused_time_is_not_owed() -> None:
    subscription = make_subscription()
    pause(subscription=subscription, reason="holiday", actor="siti", now=NOW - timedelta(hours=1))
    assert open_due(now=NOW + timedelta(days=9)).invoices == 0

    resumed = resume(subscription=subscription, reason="back", actor="siti", now=NOW + timedelta(days=9, hours=1))

    assert (resumed.state, resumed.next_due_at) == ("active", NOW + timedelta(days=10))
    open_due(now=NOW + timedelta(days=10))
    assert Invoice.objects.get().period_index == 0


@pytest.mark.parametrize("change", [pause, resume, cancel])
def test_nothing_changes_while_the_clock_is_known_to_be_off(change: Any, settings: Any) -> None:
    """Nobody knows what is due; and a resume by a clock that is ahead leaves out the periods that are still to come."""
    settings.KITARAN_CLOCK_TOLERANCE_SECONDS = 10
    paused = change is resume
    subscription = make_subscription(state="paused" if paused else "active", next_due_at=None if paused else NOW)
    off = GatewayClock.objects.create(
        api_url=subscription.account.api_url,
        machine=f"not {machine()}",
        started_earliest=NOW,
        started_latest=NOW,
        uptime=timedelta(0),
        ahead=timedelta(days=3),
        checked_at=NOW,
    )
    with pytest.raises(SubscriptionError, match="clock: must agree with the gateway's"):
        change(subscription=subscription, reason="the customer asked", actor="siti", now=NOW)
    subscription.refresh_from_db()
    assert subscription.next_due_at == (None if paused else NOW)
    off.delete()
    change(subscription=subscription, reason="the customer asked", actor="siti", now=NOW)


def test_resuming_with_a_declined_invoice_is_past_due_again() -> None:
    subscription = make_subscription(state="past_due", period_index=1, next_due_at=NOW + timedelta(days=30))
    make_invoice(subscription.customer.payment_methods.get(), subscription, tries=1)
    pause(subscription=subscription, reason="holiday", actor="siti", now=NOW)
    assert resume(subscription=subscription, reason="back", actor="siti", now=NOW).state == "past_due"


def test_canceled_subscription_is_not_charged_and_debt_is_held() -> None:
    subscription = make_subscription()
    open_due(now=NOW)
    cancel(subscription=subscription, reason="moved away", actor="siti", now=NOW)

    subscription.refresh_from_db()
    invoice = Invoice.objects.get()
    assert (subscription.state, subscription.next_due_at, subscription.ended_at) == ("canceled", None, NOW)
    assert (invoice.state, invoice.hold, invoice.next_attempt_at) == ("open", "subscription_canceled", None)
    assert open_due(now=NOW + timedelta(days=3)).invoices == 0


@pytest.mark.parametrize(
    ("state", "action", "rule"),
    [
        ("paused", pause, "must be a running"),
        ("active", resume, "must be a paused"),
        ("canceled", cancel, "must not have ended"),
        ("completed", pause, "must be a running"),
    ],
)
def test_what_makes_no_sense_is_refused(state: str, action, rule: str) -> None:  # type: ignore[no-untyped-def]
    subscription = make_subscription(state=state, next_due_at=NOW if state == "active" else None)
    with pytest.raises(SubscriptionError, match=rule):
        action(subscription=subscription, reason="x", actor="siti", now=NOW)


def test_a_plan_names_what_is_wrong_with_it() -> None:
    account = make_account()

    def plan(amount: Any = 1000, currency: str = "MYR", trial: int = 0, times: int | None = None, **rule: Any) -> Plan:
        return create_plan(
            account=account,
            code="c",
            name="n",
            price=Price(amount, currency),
            recurrence=Recurrence.parse(**{"interval": "DAILY", "target": None, **rule}),
            trial_days=trial,
            repetitions=times,
            now=NOW,
        )

    changes: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"amount": 9}, MoneyError, "amount_minor"),
        ({"amount": 10.5}, MoneyError, "whole number"),
        ({"currency": "USD"}, MoneyError, "currency"),
        ({"interval": "MONTHLY", "target": 31}, ScheduleError, "use -1 for the last day"),
        ({"trial": -1}, PlanError, "trial_days"),
        ({"times": 0}, PlanError, "repetitions"),
        ({"zone": "Mars/Olympus"}, ScheduleError, "zone"),
    ]
    for change, error, words in changes:
        with pytest.raises(error, match=words):
            plan(**change)
    assert [plan().version, plan().version] == [1, 2]


def test_references_are_unique_within_the_account() -> None:
    customer = make_customer()
    with pytest.raises(ReferenceTakenError, match="reference"):
        create_customer(
            account=customer.account,
            reference=customer.reference,
            name="n",
            email="e@example.com",
            phone_number="1",
            now=NOW,
        )
    other = make_account()
    again = create_customer(
        account=other, reference=customer.reference, name="n", email="e@example.com", phone_number="1", now=NOW
    )
    assert again.pk != customer.pk


def test_a_plan_of_another_account_is_refused() -> None:
    with pytest.raises(SubscriptionError, match="plan"):
        start_subscription(customer=make_customer(), plan=make_plan(), reference="s", now=NOW)


class TestCards:
    def test_only_the_gateways_own_word_makes_a_card_usable(self, shop: Shop) -> None:
        card = start_binding(customer=shop.customer(), return_url="http://127.0.0.1:9/bind", now=database_now())
        assert (card.state, card.payment_url.startswith("http://127.0.0.1")) == ("pending", True)
        shop.simulator.bind(card.payment_url, action="cancel")
        shop.simulator.set(error_unbound=None)
        assert not confirm_binding(card=card, now=database_now())

        shop.simulator.bind(card.payment_url)
        assert confirm_binding(card=card, now=database_now())
        assert confirm_binding(card=card, now=database_now()), "asking again changes nothing"
        card.refresh_from_db()
        assert (card.state, card.is_default, card.label) == ("active", True, "411111******1111")
        assert Transition.objects.filter(subject_type="card", to_state="active").count() == 1

    def test_unstartable_subscription_blocks_no_card_and_no_other(self, shop: Shop) -> None:
        customer, now = shop.customer(), database_now()
        plan = make_plan(shop.account)
        bad, good = (
            start_subscription(customer=customer, plan=plan, reference=name, now=now) for name in ("bad", "good")
        )
        Subscription.objects.filter(pk=bad.pk).update(time_zone="Mars/Olympus")
        card = shop.card(customer=customer)
        assert (card.state, card.is_default) == ("active", True)
        assert dict(Subscription.objects.values_list("reference", "state")) == {"bad": "incomplete", "good": "active"}
        trouble = AccountTrouble.objects.get(account=shop.account)
        assert (trouble.work, trouble.error) == (f"begin {bad.public_id}", "ZoneInfoNotFoundError")
        Subscription.objects.filter(pk=bad.pk).update(time_zone="Asia/Kuala_Lumpur")
        make_default(card=card, now=now)
        assert Subscription.objects.get(pk=bad.pk).state == "active"
        assert Subscription.objects.get(pk=good.pk).state == "active"
        assert not AccountTrouble.objects.exists()

    def test_orders_that_were_there_before_are_a_baseline(self, shop: Shop) -> None:
        card = shop.card()
        make_invoice(card, next_attempt_at=database_now())
        shop.collect()
        # The same card holder is taken into use a second time, as after a database was lost.
        PaymentMethod.objects.filter(pk=card.pk).update(state="inactive", baseline_read_at=None)
        card.refresh_from_db()
        assert confirm_binding(card=card, now=database_now())
        assert card.gateway_orders.get().in_baseline

    def test_the_default_moves_and_a_revoked_card_is_no_default(self) -> None:
        first = make_card()
        second = make_card(first.customer, is_default=False)
        make_default(card=second, now=NOW)
        first.refresh_from_db()
        second.refresh_from_db()
        assert (first.is_default, second.is_default) == (False, True)
        revoke_card(card=second, reason="lost", actor="siti", now=NOW)
        second.refresh_from_db()
        assert (second.state, second.is_default) == ("revoked", False)


def test_return_page_asks_the_gateway_and_believes_nobody_else(shop: Shop, client) -> None:  # type: ignore[no-untyped-def]
    shop.simulator.set(error_unbound=None)
    card = start_binding(customer=shop.customer(), return_url="http://testserver/bind", now=database_now())
    forged = client.get(f"/bind/{card.return_token}/?status=SUCCESS&customerId={card.gateway_customer_id}")
    assert "was not saved" in forged.content.decode()
    card.refresh_from_db()
    assert card.state == "pending"

    shop.simulator.bind(card.payment_url)
    real = client.get(f"/bind/{card.return_token}/?status=FAILED&reason=forged")
    assert "Your card is saved" in real.content.decode()
    assert client.get("/bind/guess/").status_code == 404
    assert Subscription.objects.count() == 0


def test_pausing_within_a_trial_keeps_the_charge_at_its_end() -> None:
    card = make_card()
    subscription = start_subscription(
        customer=card.customer,
        plan=make_plan(card.account, trial_days=7),
        reference="s",
        now=NOW + timedelta(hours=2),
        charge_at_start=True,
    )
    pause(subscription=subscription, reason="holiday", actor="siti", now=NOW + timedelta(days=1))
    resumed = resume(subscription=subscription, reason="back", actor="siti", now=NOW + timedelta(days=2))
    assert (resumed.state, resumed.next_due_at) == ("trialing", NOW + timedelta(days=7, hours=2))

    open_due(now=NOW + timedelta(days=8))

    due = list(Invoice.objects.order_by("period_index").values_list("due_at", flat=True))
    assert due == [NOW + timedelta(days=7, hours=2), NOW + timedelta(days=8)]
    assert violations(now=NOW + timedelta(days=8), tuning=SHORT) == []


@pytest.mark.parametrize(("stop", "hold"), [(pause, None), (cancel, "subscription_canceled")])
def test_due_period_not_opened_yet_is_owed_when_it_is_stopped(stop: Any, hold: str | None) -> None:
    subscription = make_subscription()
    late = NOW + timedelta(minutes=3)

    stop(subscription=subscription, reason="asked", actor="siti", now=late)

    invoice = Invoice.objects.get()
    subscription.refresh_from_db()
    assert (invoice.due_at, invoice.state, invoice.hold) == (NOW, "open", hold)
    assert (subscription.period_index, subscription.next_due_at) == (1, None)
    assert not violations(now=late, account_id=subscription.account_id, tuning=SHORT)


def test_everything_that_was_due_before_a_pause_is_opened() -> None:
    days = 2 * MOST_PERIODS_AT_ONCE
    subscription = make_subscription(catch_up="ask")

    paused = pause(subscription=subscription, reason="asked", actor="siti", now=NOW + timedelta(days=days - 1))

    assert Invoice.objects.filter(subscription=subscription).count() == days
    assert (paused.period_index, paused.state, paused.next_due_at) == (days, "paused", None)
