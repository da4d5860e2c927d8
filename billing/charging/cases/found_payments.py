"""Payments that were found and wait for a person: give the money back, or go on with the customer."""

from datetime import datetime

from billing.charging.cases.holds import ResolutionError
from billing.domain.decisions import Decision
from billing.domain.late_money import FoundKind
from billing.models import FoundPayment, Invoice


def decide_found(*, payment: FoundPayment, decision: Decision, now: datetime) -> None:
    """Writes down what a person decided about the payment. Nothing moves by this: a refund is asked for at its attempt,
    and a subscription is started anew by hand. Raises ResolutionError without a reason, and when it is decided."""
    if not decision.reason:
        raise ResolutionError("reason", "required", "must state the reason for the decision")
    decided = FoundPayment.objects.filter(pk=payment.pk, decided_at=None).update(
        decided_at=now, decided_by=decision.actor, decided_reason=decision.reason
    )
    if not decided:
        raise ResolutionError("payment", "state", "must be undecided; another person has decided it")


def close_found(invoice: Invoice, transaction_id: str, *, actor: str, now: datetime) -> None:
    """Inside the caller's transaction: nobody decides any more about a payment that was recorded as the invoice's."""
    waiting = FoundPayment.objects.filter(
        account_id=invoice.account_id, gateway_transaction_id=transaction_id, decided_at=None
    )
    waiting.exclude(kind=FoundKind.WENT_BACK.value).update(
        decided_at=now, decided_by=actor, decided_reason=f"it pays the invoice {invoice.public_id}"
    )
