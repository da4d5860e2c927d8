"""Refunds that somebody made in the gateway's own portal, and refunds of surplus money."""

import time
from datetime import timedelta
from typing import Any

import pytest

from billing.charging.attempts.settle import AttemptFinding, settle
from billing.charging.reading.refresh import check_with_gateway
from billing.domain.attempts import Finding, Source, Verdict
from billing.gateway.connection import Gateway, GatewayUnavailableError
from billing.models import Invoice, PaymentAttempt, PaymentMethod, Refund, RefundEvidence
from billing.models.clock import database_now
from tests.charging.refunding import LAST, ask, ask_reverse, at_gateway, events_of, in_the_portal, paid, posts
from tests.conftest import SHORT, Shop
from tests.factories import make_invoice, move_attempt

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("patience")]


def look(invoice: Invoice) -> int:
    return check_with_gateway(invoice=invoice, tuning=SHORT, now=database_now())


def test_portal_refund_is_recorded_once_when_the_card_is_read(shop: Shop, profile: str) -> None:
    attempt = paid(shop)
    in_the_portal(shop, attempt)
    assert not Refund.objects.exists()
    for _ in range(3):
        look(attempt.invoice)
    refund = Refund.objects.get()
    attempt.refresh_from_db()
    assert (refund.origin, refund.kind, refund.state, refund.amount_minor) == ("gateway", "full", "succeeded", 1990)
    assert (attempt.state, attempt.amount_refunded_minor) == ("succeeded", 1990)
    assert Invoice.objects.get().amount_refunded_minor == 1990
    assert events_of(refund) == ["refund.succeeded"]
    assert refund.last_evidence_id == RefundEvidence.objects.get(refund_id=refund.pk).pk
    assert PaymentMethod.objects.get().held_at is None, "that is no riddle, and holds no card"


def test_parts_in_the_portal_and_here_are_kept_apart(shop: Shop) -> None:
    attempt = paid(shop)
    ask(attempt, 500)
    shop.refund()
    in_the_portal(shop, attempt, 300)
    look(attempt.invoice)
    in_the_portal(shop, attempt, 200)
    look(attempt.invoice)
    look(attempt.invoice)
    rows = Refund.objects.order_by("id").values_list("origin", "kind", "amount_minor")
    assert list(rows) == [("engine", "partial", 500), ("gateway", "partial", 300), ("gateway", "partial", 200)]
    attempt.refresh_from_db()
    assert attempt.amount_refunded_minor == at_gateway(shop, attempt)["refunded"] == 1000


def test_read_before_another_charge_finds_a_portal_refund(shop: Shop, simulator: Any) -> None:
    attempt = paid(shop)
    in_the_portal(shop, attempt)
    again = make_invoice(attempt.payment_method, next_attempt_at=database_now(), amount_minor=101)  # declined
    shop.collect()
    Invoice.objects.filter(pk=again.pk).update(next_attempt_at=database_now(), asked_for=True)
    shop.collect()
    assert Refund.objects.get().attempt_id == attempt.pk


def test_reconciling_another_attempt_of_the_card_finds_it_too(shop: Shop, profile: str) -> None:
    attempt = paid(shop)
    in_the_portal(shop, attempt)
    make_invoice(attempt.payment_method, next_attempt_at=database_now(), amount_minor=103)  # nothing is done, no answer
    shop.collect()
    shop.reconcile(database_now() + timedelta(seconds=1))
    assert Refund.objects.get().attempt_id == attempt.pk


def test_unknown_attempt_that_was_refunded_still_needs_review(shop: Shop) -> None:
    invoice = make_invoice(shop.card(), next_attempt_at=database_now(), amount_minor=102)  # answer lost, money taken
    shop.collect()
    attempt = invoice.attempts.get()
    (charge,) = shop.taken(invoice)
    attempt.gateway_transaction_id = str(charge["transaction_id"])  # not saved: the engine does not know it
    in_the_portal(shop, attempt)
    shop.reconcile(database_now() + timedelta(seconds=1))
    attempt.refresh_from_db()
    assert (attempt.state, Refund.objects.exists()) == ("needs_review", False)


def test_a_payment_that_cannot_be_read_holds_no_other_reading_up(
    shop: Shop, simulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = paid(shop)
    again = make_invoice(attempt.payment_method, next_attempt_at=database_now(), amount_minor=101)
    shop.collect()
    read = Gateway.read_transaction

    def gone(self: Gateway, transaction_id: str) -> object:
        if transaction_id == attempt.gateway_transaction_id:
            raise GatewayUnavailableError("not found")
        return read(self, transaction_id)

    monkeypatch.setattr(Gateway, "read_transaction", gone)
    Invoice.objects.filter(pk=again.pk).update(next_attempt_at=database_now(), asked_for=True)
    assert shop.collect().armed == 1
    with pytest.raises(GatewayUnavailableError):
        look(attempt.invoice)


def test_a_request_that_the_portal_was_faster_with_is_not_sent(shop: Shop, profile: str) -> None:
    attempt = paid(shop)
    in_the_portal(shop, attempt)
    before = posts(shop)
    refund = ask(attempt)
    shop.refund()
    refund.refresh_from_db()
    assert (refund.state, refund.state_reason, posts(shop)) == ("not_sent", "already_given_back", before)
    assert Refund.objects.get(origin="gateway").amount_minor == 1990


def test_portal_part_leaves_the_rest_to_be_requested_again(shop: Shop) -> None:
    attempt = paid(shop)
    in_the_portal(shop, attempt, 500)
    refund, before = ask(attempt, 1000), posts(shop)
    assert shop.refund().armed == 0
    refund.refresh_from_db()
    attempt.refresh_from_db()
    assert (refund.state_reason, attempt.amount_refunded_minor, posts(shop)) == ("partly_given_back", 500, before)
    rest = ask(attempt, 500)
    assert shop.refund().states == {"succeeded": 1}
    rest.refresh_from_db()
    attempt.refresh_from_db()
    assert (rest.state, attempt.amount_refunded_minor, at_gateway(shop, attempt)["refunded"]) == (
        "succeeded", 1000, 1000,
    )  # fmt: skip


def test_fully_refunded_is_no_refusal_but_a_reason_to_check(
    shop: Shop, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The portal was faster between our look and our request: the money goes back once, and is counted once."""
    attempt, now = paid(shop), database_now()
    send = Gateway.send_refund

    def overtaken(self: Gateway, *args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(Gateway, "send_refund", send)
        in_the_portal(shop, attempt, now=now)
        return send(self, *args, **kwargs)

    refund = ask(attempt)
    monkeypatch.setattr(Gateway, "send_refund", overtaken)
    shop.refund()
    refund.refresh_from_db()
    assert (refund.state, refund.state_reason) == ("unknown", "PAYMENT_FULLY_REFUNDED")
    shop.refund(database_now() + LAST)
    refund.refresh_from_db()
    attempt.refresh_from_db()
    look(attempt.invoice)
    assert (refund.state, attempt.amount_refunded_minor, Refund.objects.count()) == ("succeeded", 1990, 1)


def test_refund_seen_while_ours_may_have_acted_is_left_to_ours(shop: Shop, profile: str) -> None:
    attempt = paid(shop)
    shop.simulator.set(refund_outcome="lost_after")
    refund = ask(attempt)
    shop.refund()
    look(attempt.invoice)
    assert Refund.objects.count() == 1
    shop.refund(database_now() + LAST)
    refund.refresh_from_db()
    attempt.refresh_from_db()
    assert (refund.state, attempt.amount_refunded_minor) == ("succeeded", 1990)


def test_change_other_than_the_requested_one_needs_review(shop: Shop) -> None:
    attempt = paid(shop)
    shop.simulator.set(refund_outcome="dropped_before")
    refund = ask(attempt, 500)
    shop.refund()
    shop.simulator.set(refund_outcome="auto")
    in_the_portal(shop, attempt, 300)
    shop.refund(database_now() + LAST)
    refund.refresh_from_db()
    assert (refund.state, refund.state_reason) == ("needs_review", "amount_differs")


def test_payment_reversed_meanwhile_is_not_refunded_as_well(shop: Shop, profile: str) -> None:
    shop.simulator.set(settle_after=1)
    attempt = paid(shop, amount_minor=127)  # succeeds, and is reversed by the gateway itself
    until = time.monotonic() + 10
    while at_gateway(shop, attempt)["status"] != "REVERSED" and time.monotonic() < until:
        time.sleep(0.05)
    refund = ask(attempt)
    assert shop.refund().states == {"not_sent": 1}
    refund.refresh_from_db()
    attempt.refresh_from_db()
    assert (refund.state_reason, attempt.state) == ("no_money", "reversed")


# --- surplus ------------------------------------------------------------------------------------------------


def surplus(shop: Shop) -> tuple[PaymentAttempt, PaymentAttempt]:
    """Money that came late, and the payment that another attempt of the invoice made meanwhile."""
    shop.simulator.set(outcome=["lost_after"], orders_visible_after="never")
    invoice = make_invoice(shop.card(), next_attempt_at=database_now())
    shop.collect()
    late = move_attempt(invoice.attempts.get(), "not_charged", next_check_at=None)
    Invoice.objects.filter(pk=invoice.pk).update(next_attempt_at=database_now(), look_from_at=None)
    shop.collect()
    (first, _) = shop.taken(invoice)
    finding = Finding(
        Verdict.PAID,
        Source.TRANSACTION_QUERY,
        amount_minor=late.amount_minor,
        currency=late.currency,
        transaction_id=str(first["transaction_id"]),
        order_id=str(first["order_id"]),
    )
    settle([AttemptFinding(late.marker, finding)], tuning=SHORT, now=database_now())
    late.refresh_from_db()
    holder = invoice.attempts.exclude(pk=late.pk).get()
    assert (late.state, holder.state) == ("surplus", "succeeded")
    shop.simulator.set(orders_visible_after=0)
    return late, holder


def test_overpayment_refund_is_no_refund_of_the_invoice(shop: Shop) -> None:
    late, holder = surplus(shop)
    refund = ask(late)
    assert shop.refund().states == {"succeeded": 1}
    refund.refresh_from_db()
    late.refresh_from_db()
    assert (refund.state, late.state, late.amount_refunded_minor) == ("succeeded", "surplus", 1990)
    invoice = Invoice.objects.get()
    assert (invoice.state, invoice.amount_refunded_minor) == ("paid", 0)
    assert (at_gateway(shop, late)["refunded"], at_gateway(shop, holder)["refunded"]) == (1990, 0)


def test_refunded_overpayment_does_not_become_the_payment(shop: Shop) -> None:
    late, holder = surplus(shop)
    ask(late)
    shop.refund()
    ask_reverse(holder)
    shop.refund()
    late.refresh_from_db()
    invoice = Invoice.objects.get()
    assert (late.state, invoice.state, invoice.hold) == ("surplus", "open", "reversed")


def test_partly_refunded_overpayment_becomes_the_payment(shop: Shop) -> None:
    late, holder = surplus(shop)
    ask(late, 500)
    shop.refund()
    ask_reverse(holder)
    shop.refund()
    late.refresh_from_db()
    invoice = Invoice.objects.get()
    assert (late.state, invoice.state, invoice.amount_refunded_minor) == ("succeeded", "paid", 500)
    ask(late)
    shop.refund()
    assert Invoice.objects.get().amount_refunded_minor == 1990


def test_portal_refund_of_an_overpayment_spares_the_invoice(shop: Shop) -> None:
    late, _ = surplus(shop)
    in_the_portal(shop, late)
    look(late.invoice)
    late.refresh_from_db()
    assert (late.amount_refunded_minor, Invoice.objects.get().amount_refunded_minor) == (1990, 0)
