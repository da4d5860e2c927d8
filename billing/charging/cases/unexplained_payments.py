"""Payments at the gateway that no attempt of ours explains: whether one pays an invoice, and which may.

After our books lost an attempt its charge is such a payment: charging the invoice again would charge twice.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from billing.charging.cases.holds import ResolutionError, found_payments_of, unexplained_orders
from billing.domain.attempts import UNRESOLVED
from billing.domain.closing import CLOSABLE, FoundTransaction, Likeness, Owed, likeness, refuse_found
from billing.domain.matching import carries, marker_in
from billing.domain.reasons import Reason
from billing.domain.resolution import Refused
from billing.gateway.connection import ReadTransaction, TransactionNotKnownError, gateway_for
from billing.models import (
    FoundPayment,
    GatewayOrder,
    GatewayTransaction,
    Invoice,
    OutsidePayment,
    PaymentAttempt,
    PaymentMethod,
)
from billing.models.bulk.history import record_transition
from billing.models.bulk.holding import free_card

_TRANSACTION_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SeenPayment:
    """A transaction as the gateway showed it a moment ago, with the card on which its order was seen (or None)."""

    transaction_id: str
    order_id: str
    card_id: int | None
    transaction: FoundTransaction


@dataclass(frozen=True, slots=True)
class Candidate:
    """An order that nothing explains, or a payment that was found and that nobody has decided about: it may be the
    payment of an invoice which is still owed."""

    order: GatewayOrder | FoundPayment
    invoice: Invoice
    why: Likeness

    @property
    def named(self) -> str:
        """What a person calls it by: its order, or its transaction where no order is known."""
        return self.order.gateway_order_id or self.order.gateway_transaction_id


def owed(invoice: Invoice) -> Owed:
    return Owed(invoice.public_id, invoice.amount_minor, invoice.currency, invoice.due_at)


def read_payment(invoice: Invoice, transaction_id: str) -> SeenPayment:
    """Reads the transaction at the gateway, outside any database transaction.

    Raises ResolutionError for an id that is none or that the gateway does not know, GatewayUnavailableError."""
    if not transaction_id:
        raise ResolutionError("transaction_id", "required", "must be the gateway's transaction id")
    unknown = ResolutionError(
        "transaction_id", "unknown", "must be a transaction of the gateway; copy the id from the gateway's portal"
    )
    if not _TRANSACTION_ID.fullmatch(transaction_id):
        raise unknown
    gateway = gateway_for(invoice.account)
    try:
        gateway.ensure_token()
        read = gateway.read_transaction(transaction_id)
    except TransactionNotKnownError:
        raise unknown from None
    return _found(invoice, transaction_id, read)


def _found(invoice: Invoice, transaction_id: str, read: ReadTransaction) -> SeenPayment:
    seen = read.transaction
    order_id = seen.order_additional_data or ""
    order = (
        GatewayOrder.objects.filter(_same(transaction_id, order_id), account_id=invoice.account_id)
        .filter(payment_method__customer_id=invoice.customer_id)
        .first()
    )
    return SeenPayment(
        transaction_id,
        order.gateway_order_id if order else order_id,
        order.payment_method_id if order else None,
        FoundTransaction(
            status=seen.status_text,
            amount_minor=seen.amount_minor,
            currency=seen.currency,
            store_id=seen.store_id,
            made_at=seen.created_at or seen.transaction_at or (order.ordered_at if order else None),
            words=read.words,
            claimed_by="",  # asked under locks
            listed=order is not None,
        ),
    )


def _same(transaction_id: str, order_id: str) -> Q:
    same = Q(gateway_transaction_id=transaction_id)
    return same | Q(gateway_order_id=order_id) if order_id else same


def refuse_transaction(invoice: Invoice, found: SeenPayment) -> Refused | None:
    """Why the transaction is not the payment of the invoice, or None; the invoice is locked."""
    seen = found.transaction
    claimed_by = _claimed_by(invoice, found)
    named = [word for word in seen.words.split() if word.startswith("inv_") and word != invoice.public_id]
    others = Invoice.objects.filter(account_id=invoice.account_id, public_id__in=named)
    judged = FoundTransaction(
        seen.status,
        seen.amount_minor,
        seen.currency,
        seen.store_id,
        seen.made_at,
        seen.words,
        claimed_by,
        seen.listed,
    )
    return refuse_found(
        owed(invoice),
        invoice.account.store_id,
        judged,
        other_invoices=sorted(others.values_list("public_id", flat=True)),
    )


def _claimed_by(invoice: Invoice, found: SeenPayment) -> str:
    """What the transaction explains already: an attempt, by its ids or its marker, or another invoice."""
    in_account = PaymentAttempt.objects.filter(account_id=invoice.account_id)
    attempt = in_account.filter(_same(found.transaction_id, found.order_id)).first()
    marker = marker_in(found.transaction.words)
    if attempt is None and marker is not None and carries(found.transaction.words, marker):
        attempt = in_account.filter(marker=marker).first()
    if attempt is not None:
        return f"the attempt {attempt.public_id}"
    paid = OutsidePayment.objects.filter(
        account_id=invoice.account_id, gateway_transaction_id=found.transaction_id
    ).select_related("invoice")
    other = paid.first()
    return f"the invoice {other.invoice.public_id}" if other else ""


def mark_as_explained(found: SeenPayment, card_id: int, *, reason: str, actor: str, now: datetime) -> None:
    """The order is explained from now on; a card that was held for nothing else is free. The card is locked."""
    card = PaymentMethod.objects.get(pk=card_id)
    GatewayOrder.objects.filter(payment_method_id=card_id, gateway_order_id=found.order_id, attempt=None).update(
        in_baseline=True
    )
    if unexplained_orders(card_id).exists() or found_payments_of(card.customer_id).exists():
        return
    if not free_card(card_id, held_for=[Reason.UNEXPLAINED_ORDER], actor=actor, now=now):
        return
    record_transition(
        account_id=card.account_id,
        subject_type="card",
        subject_id=card.pk,
        from_state="held",
        to_state="free",
        reason=f"order {found.order_id} {reason}",
        actor=actor,
        now=now,
    )


def candidates(card: PaymentMethod) -> list[Candidate]:
    """The unexplained orders of the card, each with the invoices of its customer that it may have paid, and the found
    payments that name such an invoice, on whatever card they were made.

    An order whose words name an invoice is no other invoice's. An invoice whose attempt is still open is not charged
    beside it, and that attempt's case says whose the order is."""
    orders = list(unexplained_orders(card.pk).order_by("pk"))
    found = _found_payments(card, {order.gateway_transaction_id for order in orders})
    if not orders:
        return found
    words = dict(
        GatewayTransaction.objects.filter(
            account_id=card.account_id, gateway_transaction_id__in=[order.gateway_transaction_id for order in orders]
        ).values_list("gateway_transaction_id", "words")
    )
    waiting = PaymentAttempt.objects.filter(state__in=sorted(UNRESOLVED), invoice__customer_id=card.customer_id)
    invoices = (
        Invoice.objects.filter(customer_id=card.customer_id, state__in=sorted(CLOSABLE))
        .exclude(pk__in=waiting.values("invoice_id"))
        .order_by("due_at", "pk")
    )
    for order in orders:
        for invoice in invoices:
            why = likeness(
                owed(invoice),
                amount_minor=order.amount_minor,
                currency=order.currency,
                made_at=order.ordered_at,
                words=words.get(order.gateway_transaction_id, ""),
            )
            if why is not None:
                found.append(Candidate(order, invoice, why))
    return found


def _found_payments(card: PaymentMethod, listed: Collection[str]) -> list[Candidate]:
    """Those that are not among the card's orders, which are `listed` anyway."""
    rows = found_payments_of(card.customer_id).exclude(gateway_transaction_id__in=listed)
    waiting = rows.select_related("invoice").order_by("pk")
    return [Candidate(one, one.invoice, Likeness.NAMES_THE_INVOICE) for one in waiting if one.invoice is not None]
