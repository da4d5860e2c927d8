"""An overpayment that may have been refunded already pays nothing, and what stays here pays anyway."""

import pytest
from django.db import transaction

from billing.charging.refunds.settle import record_seen
from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.refunds import RefundSource, RefundVerdict
from billing.models import Event, PaymentAttempt, Refund
from billing.models.bulk import arming
from tests.charging.refund_rows import settled, shown
from tests.charging.test_settle import settle_one
from tests.charging.test_settle_guards import DECLINED, surplus_beside
from tests.conftest import SHORT
from tests.factories import NOW, make_refund, move_refund

pytestmark = pytest.mark.django_db
V, S = RefundVerdict, RefundSource
PATHS = {
    "sending": ["sending"],
    "unknown": ["sending", "unknown"],
    "needs_review": ["sending", "unknown", "needs_review"],
}
# What ends a refund in each state without money having gone back.
STAYED = {
    "sending": (V.REFUSED, S.ANSWER, "refused"),
    "unknown": (V.NOT_SENT, S.ANSWER, "not_refunded"),
    "needs_review": (V.PERSON_NOT_REFUNDED, S.OPERATOR, "not_refunded"),
}
IN_ANY_STATE = pytest.mark.parametrize("state", list(PATHS))


def going_back(state: str, amount_minor: int = 1990) -> tuple[PaymentAttempt, Refund]:
    """Surplus with a refund in the state, whose invoice lost its holder since."""
    surplus, holder = surplus_beside("unknown")
    refund = move_refund(make_refund(surplus, amount_minor=amount_minor), *PATHS[state])
    settle_one(holder, DECLINED)
    again(surplus)
    return surplus, refund


def again(surplus: PaymentAttempt) -> None:
    surplus.refresh_from_db()
    surplus.invoice.refresh_from_db()


def holds_the_place(surplus: PaymentAttempt) -> bool:
    at = surplus.invoice.next_attempt_at
    assert at is not None
    with transaction.atomic():
        return arming.lock_invoices([surplus.invoice_id], now=at)[surplus.invoice_id].has_holder


@IN_ANY_STATE
def test_overpayment_being_refunded_keeps_its_invoice_uncharged(state: str) -> None:
    surplus, _ = going_back(state)
    assert (surplus.state, surplus.invoice.state) == ("surplus", "open")
    assert holds_the_place(surplus)


@IN_ANY_STATE
def test_kept_overpayment_becomes_the_payment_when_refund_ends(state: str) -> None:
    surplus, refund = going_back(state)
    verdict, source, ended = STAYED[state]
    assert settled(refund, verdict, source) == ended
    again(surplus)
    assert (surplus.state, surplus.state_reason) == ("succeeded", "holder_ended_without_money")
    assert (surplus.invoice.state, surplus.invoice.next_attempt_at) == ("paid", None)
    assert Event.objects.filter(kind="invoice.paid").count() == 1


@IN_ANY_STATE
def test_refunded_overpayment_pays_nothing_and_collection_runs(state: str) -> None:
    surplus, refund = going_back(state)
    assert settled(refund, V.REFUNDED, S.OPERATOR) == "succeeded"
    again(surplus)
    assert (surplus.state, surplus.amount_refunded_minor, surplus.invoice.state) == ("surplus", 1990, "open")
    assert not holds_the_place(surplus)


def test_rest_of_a_partly_refunded_overpayment_is_the_payment() -> None:
    surplus, refund = going_back("unknown", 500)
    settled(refund, V.REFUNDED, S.TRANSACTION_QUERY)
    again(surplus)
    assert (surplus.state, surplus.invoice.state, surplus.invoice.amount_refunded_minor) == ("succeeded", "paid", 500)


def test_overpayment_beside_a_standing_payment_stays_one() -> None:
    surplus, _ = surplus_beside("succeeded")
    refund = move_refund(make_refund(surplus), "sending")
    settled(refund, V.REFUSED)
    again(surplus)
    assert (surplus.state, surplus.invoice.state) == ("surplus", "paid")


def test_later_refund_of_a_former_overpayment_counts_on_invoice() -> None:
    surplus, refund = going_back("unknown")
    settled(refund, V.NOT_SENT)
    again(surplus)
    assert surplus.state == "succeeded"
    with transaction.atomic():
        (seen,) = record_seen(
            {surplus.pk: shown(transaction_id=surplus.gateway_transaction_id or "")}, tuning=SHORT, now=NOW
        )
    again(surplus)
    assert (seen.origin, surplus.invoice.amount_refunded_minor) == ("gateway", 1990), "who was wrong is corrected"


def test_reversed_invoice_is_held_while_overpayment_is_refunded() -> None:
    surplus, holder = surplus_beside("succeeded")
    refund = move_refund(make_refund(surplus), "sending", "unknown")
    settle_one(
        holder, Finding(Verdict.REVERSED, Source.TRANSACTION_QUERY, transaction_id=holder.gateway_transaction_id)
    )
    again(surplus)
    assert (surplus.state, surplus.invoice.state, surplus.invoice.hold) == ("surplus", "open", "reversed")
    settled(refund, V.NOT_SENT)
    again(surplus)
    assert (surplus.state, surplus.invoice.state, surplus.invoice.hold) == ("succeeded", "paid", None)
