"""Every answer that the simulator has to a charge, and the money that moves after the answer was given."""

import time

import pytest

from billing.models import Event, Evidence, Invoice, PaymentAttempt
from billing.models.clock import database_now
from rm_gateway.simulator.outcomes import OUTCOMES, Money
from tests.conftest import Shop
from tests.factories import make_invoice
from tests.faults.recovery import audit, settle_down

pytestmark = [pytest.mark.django_db, pytest.mark.faults, pytest.mark.timeout(240)]

MONEY_LATER = {"success_then_reversed", "failed_then_success"}
DECLINES = sorted(name for name, outcome in OUTCOMES.items() if outcome.money is Money.FAILED)
LATER_SECONDS = 0.3


def charge_answered_by(shop: Shop, outcome: str) -> Invoice:
    card = shop.card()
    shop.simulator.set(settle_after=LATER_SECONDS)
    shop.simulator.set_customer(str(card.gateway_customer_id), outcome=[outcome])
    invoice = make_invoice(card, next_attempt_at=database_now())
    shop.collect()
    return invoice


@pytest.mark.parametrize("outcome", sorted(set(OUTCOMES) - MONEY_LATER))
def test_any_answer_charges_nobody_twice_and_loses_nothing(shop: Shop, profile: str, outcome: str) -> None:
    shop.simulator.set(failed_becomes_success=False)  # that is the next test's
    invoice = charge_answered_by(shop, outcome)
    if OUTCOMES[outcome].later is Money.REVERSED:
        time.sleep(LATER_SECONDS + 0.2)  # a look before would find it paid, and rightly so
    attempt = settle_down(shop, invoice)

    taken = shop.taken(invoice)
    invoice.refresh_from_db()
    assert len(taken) <= 1
    assert shop.simulator.requests()["by_marker"][attempt.marker] == 1
    assert Evidence.objects.filter(attempt_id=attempt.pk).exists()
    if attempt.state == "succeeded":
        assert len(taken) == 1
        assert invoice.state == "paid"
    elif taken:
        assert attempt.state == "needs_review", f"{outcome}, {profile}: money was taken; the attempt is {attempt.state}"
    else:
        assert attempt.state in ("declined", "not_sent", "not_charged", "needs_review")
        assert invoice.state == "open"
    if attempt.state == "needs_review":
        assert Event.objects.filter(kind="attempt.needs_review", subject_id=attempt.pk).count() == 1
        assert invoice.next_attempt_at is None
    assert audit(shop) == []


@pytest.mark.parametrize("outcome", DECLINES)
def test_money_that_came_after_a_decline_is_not_taken_again(shop: Shop, profile: str, outcome: str) -> None:
    shop.simulator.set(failed_becomes_success=True)
    invoice = charge_answered_by(shop, outcome)
    time.sleep(LATER_SECONDS + 0.2)
    shop.simulator.set(orders_visible_after=0)  # the next try is a day later
    if settle_down(shop, invoice).state == "declined":
        Invoice.objects.filter(pk=invoice.pk).update(next_attempt_at=database_now(), asked_for=True)

    shop.collect()

    invoice.refresh_from_db()
    assert len(shop.taken(invoice)) == 1
    assert (invoice.state, invoice.attempts.get().state) in {("paid", "succeeded"), ("open", "needs_review")}
    assert audit(shop) == []


def test_reversal_after_a_success_is_seen_when_the_card_is_read(shop: Shop, profile: str) -> None:
    invoice = charge_answered_by(shop, "success_then_reversed")
    assert invoice.attempts.get().state == "succeeded"
    time.sleep(LATER_SECONDS + 0.2)
    shop.simulator.set_customer(str(invoice.payment_method.gateway_customer_id), outcome=["dropped_before"])
    again = make_invoice(invoice.payment_method, next_attempt_at=database_now())
    shop.collect()

    settle_down(shop, again)

    invoice.refresh_from_db()
    assert shop.taken(invoice) == []
    assert (invoice.state, invoice.hold, invoice.attempts.get().state) == ("open", "reversed", "reversed")
    assert PaymentAttempt.objects.count() == 2
    assert audit(shop) == []
