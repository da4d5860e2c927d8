"""Payments that were found at the gateway and recorded by a person, and whose money went back since.

No attempt has such a payment, so nothing settles its reversal: its invoice stays paid, and an event is recorded."""

from collections.abc import Collection, Sequence
from datetime import datetime

from billing.domain.late_money import FoundKind
from billing.gateway.connection import ReadTransaction
from billing.models import Invoice, OutsidePayment
from billing.models.bulk import watching
from billing.models.bulk.history import record_event


def recorded_by_a_person(account_id: int, transaction_ids: Collection[str]) -> set[str]:
    """Those of the transactions that a person recorded as the payment of an invoice."""
    rows = OutsidePayment.objects.filter(account_id=account_id, gateway_transaction_id__in=transaction_ids)
    return {name for name in rows.values_list("gateway_transaction_id", flat=True) if name}


def note(account_id: int, transactions: Sequence[ReadTransaction], *, now: datetime) -> None:
    """Inside the caller's transaction: puts what went back of recorded payments before a person, each amount once."""
    back = {one.transaction.transaction_id: one for one in transactions if one.went_back_minor}
    if not back:
        return
    paid = OutsidePayment.objects.filter(account_id=account_id, gateway_transaction_id__in=back)
    for payment in paid.select_related("invoice").order_by("pk"):
        _record_event(payment, back[payment.gateway_transaction_id or ""], now)


def _record_event(payment: OutsidePayment, seen: ReadTransaction, now: datetime) -> None:
    transaction, amount_minor = seen.transaction, seen.went_back_minor
    found = watching.NewFound(
        payment.account_id,
        transaction.transaction_id,
        transaction.order_additional_data or "",
        FoundKind.WENT_BACK.value,
        amount_minor,
        payment.currency,
        "",
        invoice_id=payment.invoice_id,
    )
    watching.list_found([found], now=now)
    Invoice.objects.select_for_update(no_key=True).get(pk=payment.invoice_id)
    payload = {
        "invoice": payment.invoice.public_id,
        "transaction": transaction.transaction_id,
        "status": transaction.status_text,
        "amount_minor": amount_minor,
        "currency": payment.currency,
    }
    record_event(
        account_id=payment.account_id,
        kind="payment.went_back",
        subject_type="invoice",
        subject_id=payment.invoice_id,
        occasion=f"{transaction.transaction_id} {amount_minor}",
        payload=payload,
        now=now,
    )
