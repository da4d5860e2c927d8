"""What waited for a card is charged when the card is there or free, in the commit that says so."""

import time
from datetime import timedelta

import pytest

from billing.charging.attempts.charge_now import charge_now
from billing.charging.attempts.settle import AttemptFinding, settle
from billing.charging.cases.clear_hold import clear_hold
from billing.charging.cases.resolve import release_card
from billing.charging.cases.retry_now import retry_now
from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.decisions import Decision
from billing.models import Customer, Event, Invoice, PaymentAttempt, PaymentMethod, Transition
from billing.models.bulk import settling
from billing.models.clock import database_now
from billing.subscriptions.cards import make_default
from billing.subscriptions.update import update_subscription
from tests.charging.held_rows import somebody_holds
from tests.conftest import Shop
from tests.factories import make_invoice, make_subscription, set_dunning

pytestmark = pytest.mark.django_db(transaction=True)
WHY = Decision("siti", "the customer asked")
DECLINES = "4000000000000002"


def one_off(shop: Shop, customer: Customer, card: PaymentMethod | None = None) -> Invoice:
    return charge_now(
        customer=customer,
        amount_minor=1990,
        currency="MYR",
        description="Beans",
        actor="siti",
        now=database_now(),
        payment_method=card,
    )


def waits(invoice: Invoice) -> bool:
    invoice.refresh_from_db()
    return invoice.state == "open" and (invoice.next_attempt_at is None or invoice.next_attempt_at > database_now())


def declined(shop: Shop, customer: Customer) -> Invoice:
    """A one-off that the customer's default card did not pay; its next try is days away."""
    invoice = one_off(shop, customer)
    shop.collect()
    invoice.refresh_from_db()
    assert (invoice.state, invoice.tries) == ("open", 1)
    assert waits(invoice)
    return invoice


def test_three_one_offs_of_one_card_are_paid_within_three_seconds(shop: Shop) -> None:
    shop.simulator.set(latency=[0.1, 0.1])
    card = shop.card()
    invoices = [one_off(shop, card.customer) for _ in range(3)]
    begun = time.monotonic()
    shop.collect()
    assert time.monotonic() - begun < 3
    assert [Invoice.objects.get(pk=one.pk).state for one in invoices] == ["paid"] * 3
    assert [len(shop.taken(one)) for one in invoices] == [1, 1, 1]


def test_new_default_card_is_charged_at_once_for_what_was_declined(shop: Shop) -> None:
    customer = shop.customer()
    first = shop.card(DECLINES, customer)
    invoice = declined(shop, customer)
    planned = invoice.next_attempt_at
    shop.card(customer=customer)
    assert waits(invoice), "the new card is not the default"
    make_default(card=customer.payment_methods.exclude(pk=first.pk).get(), now=database_now(), actor="siti")
    assert not waits(invoice)
    line = Transition.objects.filter(subject_type="invoice", subject_id=invoice.pk).latest("pk")
    assert (line.from_state, line.to_state, line.reason, line.actor) == ("open", "open", "another_card", "siti")
    assert planned is not None


def test_new_default_card_is_asked_within_five_seconds(shop: Shop) -> None:
    """Also after the old card was declined for good, so that it is not tried again."""
    set_dunning(shop.account, one_off_retry_days=[3])
    customer = shop.customer()
    shop.card("4000000000000192", customer)  # stolen
    declined(shop, customer)
    second = shop.card(customer=customer)
    begun = time.monotonic()
    make_default(card=second, now=database_now(), actor="siti")
    shop.collect()
    assert time.monotonic() - begun < 5
    asked = [one for one in shop.simulator.charges() if one["customer_id"] == second.gateway_customer_id]
    assert [one["status"] for one in asked] == ["SUCCESS"]


def test_decline_of_a_new_card_leaves_the_next_day_as_planned(shop: Shop) -> None:
    customer = shop.customer()
    shop.card(DECLINES, customer)
    invoice = declined(shop, customer)
    planned = invoice.next_attempt_at
    second = shop.card(DECLINES, customer)
    make_default(card=second, now=database_now())
    shop.collect()
    invoice.refresh_from_db()
    assert (invoice.tries, invoice.next_attempt_at) == (2, planned)


def test_card_that_declined_is_not_tried_again_for_being_the_default(shop: Shop) -> None:
    customer = shop.customer()
    first = shop.card(DECLINES, customer)
    invoice = declined(shop, customer)
    second = shop.card(customer=customer)
    PaymentMethod.objects.filter(pk=second.pk).update(state="inactive")
    make_default(card=first, now=database_now())
    assert waits(invoice)


def test_first_card_is_charged_at_once_for_what_waited_for_one(shop: Shop) -> None:
    customer = shop.customer()
    card = shop.card(customer=customer)
    invoice = one_off(shop, customer)
    PaymentMethod.objects.filter(pk=card.pk).update(is_default=False, state="revoked")
    shop.collect()
    assert waits(invoice)
    assert invoice.refusal == "no_card"
    shop.card(customer=customer)
    assert not waits(invoice)
    shop.collect()
    assert Invoice.objects.get(pk=invoice.pk).state == "paid"


def test_subscription_that_gets_another_card_is_charged_on_it_at_once(shop: Shop) -> None:
    customer = shop.customer()
    bad = shop.card(DECLINES, customer)
    good = shop.card(customer=customer)
    subscription = make_subscription(bad, payment_method=bad, next_due_at=None)
    invoice = make_invoice(bad, subscription, payment_method=None, next_attempt_at=database_now())
    shop.collect()
    assert waits(invoice)
    update_subscription(subscription=subscription, payment_method=good, actor="siti", now=database_now())
    assert not waits(invoice)


@pytest.mark.parametrize(("days", "state"), [([], "uncollectible"), ([3], "open")])
def test_declined_one_off_follows_its_own_days(shop: Shop, days: list[int], state: str) -> None:
    set_dunning(shop.account, one_off_retry_days=days)
    customer = shop.card(DECLINES).customer
    invoice = one_off(shop, customer)
    subscription = make_subscription(customer.payment_methods.get(), next_due_at=None)
    other = make_invoice(customer.payment_methods.get(), subscription, next_attempt_at=database_now())
    shop.collect()
    assert Invoice.objects.get(pk=invoice.pk).state == state
    assert Invoice.objects.get(pk=other.pk).state == "open"
    event = Event.objects.get(kind="invoice.payment_failed", subject_id=invoice.pk)
    assert event.payload["tries_left"] == len(days)
    retry_now(invoice=invoice, decision=WHY, now=database_now())
    assert Invoice.objects.get(pk=invoice.pk).state == "open"


def test_card_that_is_let_go_is_charged_at_once(shop: Shop) -> None:
    card = shop.card()
    settling.hold_cards([(card.pk, "unexplained_order")], now=database_now())
    invoice = one_off(shop, card.customer)
    shop.collect()
    assert waits(invoice)
    card.refresh_from_db()
    clear_hold(card=card, decision=WHY, now=database_now())
    assert not waits(invoice)


def test_released_card_is_charged_at_once_for_later_invoices(shop: Shop) -> None:
    card = shop.card()
    stuck = one_off(shop, card.customer)
    shop.simulator.set_customer(str(card.gateway_customer_id), outcome="lost_after")
    shop.collect()
    attempt = PaymentAttempt.objects.get(invoice=stuck)
    later = one_off(shop, card.customer)
    shop.collect()
    assert waits(later)
    assert later.refusal == "card_has_unresolved_attempt"
    absent = Finding(Verdict.ABSENT_AT_LAST, Source.ORDER_LIST)
    settle([AttemptFinding(attempt.marker, absent)], tuning=shop.tuning, now=database_now())
    release_card(attempt=attempt, decision=WHY, now=database_now())
    assert not waits(later)
    assert waits(stuck)


def refused(invoice: Invoice, refusal: str) -> None:
    """Until tomorrow."""
    tomorrow = database_now() + timedelta(days=1)
    Invoice.objects.filter(pk=invoice.pk).update(next_attempt_at=tomorrow, refusal=refusal, refused_at=database_now())


def test_what_waits_for_another_card_is_left_alone(shop: Shop) -> None:
    card = shop.card()
    other = shop.card(customer=card.customer)
    waiting = one_off(shop, card.customer, other)
    refused(waiting, "card_has_unresolved_attempt")
    one_off(shop, card.customer)
    shop.collect()
    assert waits(waiting)


def test_nothing_is_charged_before_the_gateways_lists_must_show_the_last_try(shop: Shop) -> None:
    card = shop.card()
    waiting = one_off(shop, card.customer)
    refused(waiting, "card_has_unresolved_attempt")
    later = database_now() + timedelta(hours=1)
    Invoice.objects.filter(pk=waiting.pk).update(look_from_at=later)
    one_off(shop, card.customer)
    shop.collect()
    waiting.refresh_from_db()
    assert waiting.next_attempt_at == later
    refused(waiting, "no_card")
    make_default(card=card, now=database_now())
    waiting.refresh_from_db()
    assert waiting.next_attempt_at == later


def test_another_card_is_read_too_before_it_is_charged(shop: Shop) -> None:
    card = shop.card()
    waiting = one_off(shop, card.customer)
    refused(waiting, "no_card")
    waiting.refresh_from_db()
    make_default(card=card, now=database_now())
    assert Invoice.objects.get(pk=waiting.pk).lease_token > waiting.lease_token


def test_only_the_customer_with_the_card_is_charged(shop: Shop) -> None:
    waiting = one_off(shop, shop.card().customer)
    refused(waiting, "no_card")
    shop.card()
    assert waits(waiting)


def test_card_that_is_not_active_wakes_nothing(shop: Shop) -> None:
    card = shop.card()
    waiting = one_off(shop, card.customer, card)
    refused(waiting, "card_not_active")
    PaymentMethod.objects.filter(pk=card.pk).update(state="inactive")
    shop.card(customer=card.customer)
    assert waits(waiting)


def test_settling_waits_for_no_invoice_that_somebody_else_holds(shop: Shop) -> None:
    card = shop.card()
    waiting = one_off(shop, card.customer)
    refused(waiting, "card_has_unresolved_attempt")
    paid = one_off(shop, card.customer)
    with somebody_holds("invoice", waiting.pk):
        shop.collect()
    assert Invoice.objects.get(pk=paid.pk).state == "paid"
    assert waits(waiting)


def test_what_waits_for_another_reason_is_left_alone(shop: Shop) -> None:
    card = shop.card()
    waiting = one_off(shop, card.customer)
    refused(waiting, "above_limit")
    one_off(shop, card.customer)
    shop.collect()
    assert waits(waiting)
