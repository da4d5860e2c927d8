"""Subscriptions that are active once their first charge is paid: beginning, another card, and what others may do."""

from datetime import date, timedelta
from typing import Any

import pytest

from billing.charging.cases.retry_now import retry_now
from billing.charging.cases.ways_out import pay_elsewhere, void, write_off
from billing.domain.closing import PaidBy
from billing.domain.decisions import Decision
from billing.domain.subscriptions import SubscriptionState
from billing.models import Invoice, Subscription, Transition
from billing.subscriptions.activate import activate_waiting
from billing.subscriptions.cards import make_default
from billing.subscriptions.lifecycle import cancel, pause
from billing.subscriptions.renew import open_due
from billing.subscriptions.start import SubscriptionError, start_subscription
from billing.subscriptions.upcoming import next_dates
from billing.subscriptions.update import update_subscription
from tests.factories import (
    NOW,
    make_attempt,
    make_card,
    make_customer,
    make_plan,
    make_unpaid,
    move_attempt,
)

pytestmark = pytest.mark.django_db
A_DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def declined(invoice: Invoice, **columns: Any) -> Invoice:
    """As settle leaves it after a decline."""
    card = invoice.customer.payment_methods.get(is_default=True)
    move_attempt(make_attempt(invoice, card), "declined", settled_at=NOW)
    waits = {"next_attempt_at": None, "refusal": "first_charge_declined", "refused_at": NOW, "tries": 1, **columns}
    Invoice.objects.filter(pk=invoice.pk).update(**waits)
    invoice.refresh_from_db()
    return invoice


def subscription_of(invoice: Invoice) -> Subscription:
    return Subscription.objects.get(invoices=invoice)


def moves(subscription: Subscription) -> list[tuple[str, str, str]]:
    rows = Transition.objects.filter(subject_type="subscription", subject_id=subscription.pk).order_by("id")
    return list(rows.values_list("from_state", "to_state", "reason"))


def test_it_begins_with_a_card_and_waits_for_its_payment() -> None:
    invoice = make_unpaid()
    subscription = invoice.subscription
    assert subscription is not None
    assert (subscription.state, subscription.anchor_date, subscription.activated_at) == (
        "incomplete",
        date(2026, 3, 2),
        None,
    )
    assert (subscription.next_due_at, subscription.period_index, subscription.periods_charged) == (None, 1, 1)
    assert subscription.first_payment_ends_at == NOW + timedelta(hours=23)
    assert (invoice.state, invoice.period_index, invoice.due_at, invoice.next_attempt_at) == ("open", 0, NOW, NOW)
    assert invoice.lines == [{"description": "Coffee club", "quantity": 1, "amount_minor": 1990}]
    assert moves(subscription) == [
        ("", "incomplete", "created"),
        ("incomplete", "incomplete", "first_payment_due"),
    ]


def test_it_waits_for_a_card_first_and_then_for_its_payment() -> None:
    customer = make_customer()
    plan = make_plan(customer.account, activates_on="payment")
    start_subscription(customer=customer, plan=plan, reference="s", now=NOW, charge_at_start=True)
    assert not Invoice.objects.exists()

    make_card(customer)
    activate_waiting(customer=customer, now=NOW + 9 * A_DAY)

    subscription = Subscription.objects.get()
    assert (subscription.state, subscription.anchor_date) == ("incomplete", date(2026, 3, 11))
    assert Invoice.objects.get().due_at == NOW + 9 * A_DAY


@pytest.mark.parametrize(
    ("plan", "at_start", "state"),
    [
        ({"activates_on": "card"}, True, "active"),
        ({"activates_on": "payment"}, False, "active"),
        ({"activates_on": "payment", "trial_days": 7}, True, "trialing"),
    ],
)
def test_it_is_active_at_once_unless_a_first_charge_is_due(plan: dict[str, Any], at_start: bool, state: str) -> None:
    card = make_card()
    subscription = start_subscription(
        customer=card.customer,
        plan=make_plan(card.account, **plan),
        reference="s",
        now=NOW,
        charge_at_start=at_start,
    )
    assert (subscription.state, subscription.first_payment_ends_at) == (state, None)
    assert not Invoice.objects.exists()


def test_no_period_falls_due_while_it_is_unpaid() -> None:
    invoice = make_unpaid()
    assert open_due(now=NOW + 40 * A_DAY).invoices == 0
    assert next_dates(subscription_of(invoice), count=3) == []


def test_the_hours_of_the_account_count() -> None:
    card = make_card()
    card.account.first_payment_hours = 1
    card.account.save()
    assert subscription_of(make_unpaid(card)).first_payment_ends_at == NOW + HOUR


# --- another card ---------------------------------------------------------------------------------------------


def test_a_card_that_is_saved_after_a_decline_is_charged() -> None:
    invoice = declined(make_unpaid())
    other = make_card(invoice.customer, is_default=False)

    activate_waiting(customer=invoice.customer, now=NOW + HOUR, saved=other)

    invoice.refresh_from_db()
    assert (invoice.next_attempt_at, invoice.refusal) == (NOW + HOUR, None)
    subscription = subscription_of(invoice)
    assert subscription.payment_method == other
    assert moves(subscription)[-1] == ("incomplete", "incomplete", f"charged on {other.public_id}")
    assert Invoice.objects.count() == 1, "it did not begin a second time"


def test_another_card_waits_for_what_the_lists_may_show() -> None:
    invoice = declined(make_unpaid(), look_from_at=NOW + 2 * HOUR)
    activate_waiting(customer=invoice.customer, now=NOW + HOUR, saved=make_card(invoice.customer, is_default=False))
    invoice.refresh_from_db()
    assert invoice.next_attempt_at == NOW + 2 * HOUR


def test_another_default_card_is_charged_and_the_same_is_not() -> None:
    invoice = declined(make_unpaid())
    same = invoice.customer.payment_methods.get()
    make_default(card=same, now=NOW + HOUR)
    invoice.refresh_from_db()
    assert invoice.next_attempt_at is None

    make_default(card=make_card(invoice.customer, is_default=False), now=NOW + HOUR)
    invoice.refresh_from_db()
    assert invoice.next_attempt_at == NOW + HOUR


def test_the_card_that_it_is_moved_to_is_charged() -> None:
    invoice = declined(make_unpaid())
    other = make_card(invoice.customer, is_default=False)
    update_subscription(subscription=subscription_of(invoice), payment_method=other, actor="shop", now=NOW + HOUR)
    invoice.refresh_from_db()
    assert (invoice.next_attempt_at, invoice.refusal) == (NOW + HOUR, None)


@pytest.mark.parametrize("state", ["sending", "unknown", "in_process", "needs_review"])
def test_no_card_is_charged_while_an_outcome_is_open(state: str) -> None:
    invoice = make_unpaid()
    attempt = make_attempt(invoice, invoice.customer.payment_methods.get())
    if state != "sending":
        move_attempt(attempt, state)
    activate_waiting(customer=invoice.customer, now=NOW + HOUR, saved=make_card(invoice.customer, is_default=False))
    invoice.refresh_from_db()
    assert invoice.next_attempt_at is None
    assert subscription_of(invoice).payment_method is None


def test_a_card_that_is_saved_before_the_charge_changes_nothing() -> None:
    invoice = make_unpaid()
    activate_waiting(customer=invoice.customer, now=NOW + HOUR, saved=make_card(invoice.customer, is_default=False))
    assert subscription_of(invoice).payment_method is None


def test_a_person_has_a_declined_first_charge_tried_again() -> None:
    invoice = declined(make_unpaid())
    retry_now(invoice=invoice, decision=Decision("siti", "the bank said yes"), now=NOW + HOUR)
    invoice.refresh_from_db()
    assert (invoice.next_attempt_at, invoice.refusal, invoice.refused_at) == (NOW + HOUR, None, None)


# --- what people do -------------------------------------------------------------------------------------------


def test_it_cannot_be_paused_before_it_is_paid() -> None:
    with pytest.raises(SubscriptionError, match="must be a running subscription"):
        pause(subscription=subscription_of(make_unpaid()), reason="x", actor="siti", now=NOW)


def test_cancelling_it_voids_what_was_never_paid() -> None:
    invoice = declined(make_unpaid())
    cancel(subscription=subscription_of(invoice), reason="changed their mind", actor="siti", now=NOW + HOUR)
    invoice.refresh_from_db()
    assert (invoice.state, invoice.state_reason, invoice.closed_at) == ("void", "voided", NOW + HOUR)
    assert moves(subscription_of(invoice))[-1][1:] == ("canceled", "changed their mind")
    row = Transition.objects.get(subject_type="invoice", subject_id=invoice.pk, to_state="void")
    assert (row.from_state, row.reason, row.actor) == ("open", "ended_unpaid", "siti")


def test_cancelling_it_keeps_what_an_attempt_may_still_pay() -> None:
    invoice = make_unpaid()
    move_attempt(make_attempt(invoice, invoice.customer.payment_methods.get()), "unknown")
    cancel(subscription=subscription_of(invoice), reason="x", actor="siti", now=NOW + HOUR)
    invoice.refresh_from_db()
    assert (invoice.state, invoice.hold, invoice.next_attempt_at) == ("open", "subscription_canceled", None)


def test_a_payment_from_elsewhere_starts_it() -> None:
    invoice = declined(make_unpaid())
    pay_elsewhere(
        invoice=invoice,
        method=PaidBy.CASH,
        reference="till 4",
        paid_date=date(2026, 3, 2),
        decision=Decision("siti", "paid at the till"),
        now=NOW + 3 * HOUR,
    )
    subscription = subscription_of(invoice)
    assert (subscription.state, subscription.activated_at) == ("active", NOW + 3 * HOUR)
    assert (subscription.next_due_at, subscription.occurrence) == (NOW + A_DAY, 1)
    assert moves(subscription)[-1] == ("incomplete", "active", "first_payment_paid")


def test_a_payment_from_elsewhere_for_one_period_completes_it() -> None:
    card = make_card()
    invoice = make_unpaid(card, make_plan(card.account, activates_on="payment", repetitions=1))
    pay_elsewhere(
        invoice=invoice,
        method=PaidBy.CASH,
        reference="4",
        paid_date=date(2026, 3, 2),
        decision=Decision("s", "x"),
        now=NOW,
    )
    subscription = subscription_of(invoice)
    assert (subscription.state, subscription.next_due_at, subscription.ended_at) == ("completed", None, NOW)


def test_a_person_who_voids_the_first_invoice_ends_it() -> None:
    invoice = declined(make_unpaid())
    void(invoice=invoice, decision=Decision("siti", "a mistake"), now=NOW + HOUR)
    subscription = subscription_of(invoice)
    assert (subscription.state, subscription.ended_at) == (SubscriptionState.EXPIRED, NOW + HOUR)
    assert moves(subscription)[-1] == ("incomplete", "expired", "invoice_voided")


def test_a_write_off_leaves_it_waiting() -> None:
    invoice = declined(make_unpaid())
    write_off(invoice=invoice, decision=Decision("siti", "later"), now=NOW + HOUR)
    assert subscription_of(invoice).state == "incomplete"
    retry_now(invoice=invoice, decision=Decision("siti", "now"), now=NOW + 2 * HOUR)
    invoice.refresh_from_db()
    assert (invoice.state, invoice.next_attempt_at) == ("open", NOW + 2 * HOUR)


def test_what_expired_stays_expired() -> None:
    invoice = declined(make_unpaid())
    void(invoice=invoice, decision=Decision("siti", "x"), now=NOW)
    subscription = subscription_of(invoice)
    with pytest.raises(SubscriptionError, match="expired"):
        cancel(subscription=subscription, reason="x", actor="siti", now=NOW)
    with pytest.raises(SubscriptionError, match="expired"):
        update_subscription(subscription=subscription, payment_method=None, actor="siti", now=NOW)
