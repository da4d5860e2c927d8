"""What explanations and the audit say of invoices that people closed without a charge."""

import pytest

from billing.audit.invariants import violations
from billing.charging.cases.ways_out import confirm_closing, void, write_off
from billing.domain.decisions import Decision
from billing.explaining.explain import Answer, Kind, explain, find_invoice
from billing.models import GatewayOrder, GatewayTransaction, Invoice
from tests.charging.test_ways_out import close, two_persons
from tests.conftest import SHORT
from tests.factories import NOW, make_card, make_found_payment, make_invoice, make_outside_payment
from tests.promises.attacks import run

pytestmark = pytest.mark.django_db


def test_payment_elsewhere_is_explained_without_staff_notes() -> None:
    invoice = make_invoice()
    close("paid_elsewhere", invoice)
    invoice.refresh_from_db()
    told = explain(invoice=invoice, now=NOW, to_staff=False)
    assert told.answer is Answer.PAID_ELSEWHERE
    assert told.summary == (
        "The card was not charged RM 19.90 for Coffee club: it was paid by bank transfer on 1 March 2026."
    )
    text = " ".join(line.text for line in told.lines)
    assert "FT-2291" not in text
    assert "siti" not in text
    (decided,) = [
        line.text for line in explain(invoice=invoice, now=NOW, to_staff=True).lines if line.kind is Kind.DECIDED
    ]
    assert decided == (
        "siti recorded that it was paid elsewhere: by bank transfer on 1 March 2026 (FT-2291): "
        "seen on the bank statement."
    )


def test_who_proposed_to_close_it_is_named_to_staff_only() -> None:
    invoice = make_invoice()
    siti, mei = two_persons()
    proposal = close("void", invoice, user_id=siti.pk).proposal
    assert proposal is not None
    confirm_closing(proposal=proposal, decision=Decision("mei", "right", mei.pk), now=NOW)
    invoice.refresh_from_db()
    by_staff, by_others = (
        [line.text for line in explain(invoice=invoice, now=NOW, to_staff=to_staff).lines if line.kind is Kind.DECIDED]
        for to_staff in (True, False)
    )
    assert by_staff == [
        "mei made it void: nothing is owed for it (proposed by siti): seen on the bank statement.",
    ]
    assert by_others == ["A person made it void: nothing is owed for it."]


def test_void_and_written_off_invoices_are_explained_as_such() -> None:
    gone, owed = make_invoice(), make_invoice()
    void(invoice=gone, decision=Decision("siti", "a mistake"), now=NOW)
    write_off(invoice=owed, decision=Decision("siti", "moved away"), now=NOW)
    summaries = [
        explain(invoice=Invoice.objects.get(pk=one.pk), now=NOW, to_staff=False).summary for one in (gone, owed)
    ]
    assert summaries == [
        "The card was not charged RM 19.90 for Coffee club: nothing is owed for it.",
        "The card was not charged RM 19.90 for Coffee club: it was written off.",
    ]


def test_found_payment_is_a_charge_and_found_by_its_transaction() -> None:
    invoice = make_invoice()
    make_outside_payment(invoice, method="gateway", gateway_transaction_id="2001", reference="")
    Invoice.objects.update(state="paid", state_reason="paid_elsewhere", closed_at=NOW, next_attempt_at=None)
    assert find_invoice("2001").pk == invoice.pk
    told = explain(invoice=find_invoice("2001"), now=NOW, to_staff=False)
    assert (told.answer, "transaction 2001" in told.summary) == (Answer.CHARGED, True)


def test_s2_a_payment_from_elsewhere_whose_invoice_is_not_paid() -> None:
    payment = make_outside_payment()
    found = [one for one in violations(now=NOW, tuning=SHORT) if one.invariant == "S2"]
    assert [(one.subject, "paid elsewhere" in one.text) for one in found] == [(payment.public_id, True)]


def test_s2_outside_payment_of_another_amount() -> None:
    payment = make_outside_payment()
    Invoice.objects.update(state="paid", state_reason="paid_elsewhere", closed_at=NOW, next_attempt_at=None)
    assert [one for one in violations(now=NOW, tuning=SHORT) if one.invariant == "S2"] == []
    run("SET LOCAL session_replication_role = replica")
    run("UPDATE billing_outsidepayment SET amount_minor = 1")
    found = [one.subject for one in violations(now=NOW, tuning=SHORT) if one.invariant == "S2"]
    assert found == [payment.public_id]


@pytest.mark.parametrize("seen_by", ["transaction", "order"])
@pytest.mark.parametrize("status", ["REVERSED", "FULL_REFUNDED", "PARTIAL_REFUNDED"])
def test_s10_refunded_outside_payment_without_an_alert(seen_by: str, status: str) -> None:
    invoice = make_invoice(make_card())
    make_outside_payment(invoice, method="gateway", gateway_transaction_id="2001", reference="")
    Invoice.objects.update(state="paid", state_reason="paid_elsewhere", closed_at=NOW, next_attempt_at=None)
    shown = {"account": invoice.account, "gateway_order_id": "1001", "gateway_transaction_id": "2001"}
    shown |= {"amount_minor": 1990, "currency": "MYR", "first_seen_at": NOW, "last_seen_at": NOW}
    if seen_by == "transaction":
        row = GatewayTransaction.objects.create(**shown, status="SUCCESS", words="", content={})
    else:
        row = GatewayOrder.objects.create(  # type: ignore[assignment]
            **shown, status="SUCCESS", payment_method=invoice.payment_method, in_baseline=True
        )
    assert violations(now=NOW, tuning=SHORT) == []
    type(row).objects.update(status=status)
    (one,) = violations(now=NOW, tuning=SHORT)
    text = f"was paid by transaction 2001, which the gateway has as {status}, and no event was recorded."
    assert (one.invariant, one.subject, one.text) == ("S10", invoice.public_id, text)
    make_found_payment(invoice.account, kind="went_back", invoice=invoice)
    assert violations(now=NOW, tuning=SHORT) == []
