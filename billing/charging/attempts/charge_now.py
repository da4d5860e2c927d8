"""Charging a customer once, outside any subscription."""

from datetime import datetime

from django.db import transaction

from billing import doorbell
from billing.charging.attempts.card_standing import why_not_tried
from billing.domain.errors import RefusedError
from billing.domain.money import check_charge
from billing.domain.reasons import Reason
from billing.domain.subscriptions import CardState, InvoiceState
from billing.ids import new_id
from billing.models import Customer, Invoice, PaymentMethod
from billing.models.bulk.history import record_transition


class ChargeNowError(RefusedError):
    """What was asked cannot be charged; the message names the field and the rule."""


def charge_now(
    *,
    customer: Customer,
    amount_minor: int,
    currency: str,
    description: str,
    actor: str,
    now: datetime,
    payment_method: PaymentMethod | None = None,
    reason: str = Reason.CHARGE_NOW,
) -> Invoice:
    """Issues a one-off invoice that is collected at once, on `payment_method` or the customer's default card.

    Raises MoneyError or ChargeNowError. The charge itself happens in a worker."""
    check_charge(amount_minor, currency)
    if not description.strip():
        raise ChargeNowError("description", "not_usable", "must state what the charge is for")
    cards = PaymentMethod.objects.filter(customer=customer, state=CardState.ACTIVE.value)
    card = cards.filter(pk=payment_method.pk) if payment_method else cards.filter(is_default=True)
    if not card.exists():
        raise ChargeNowError("payment_method", "not_usable", "must be an active card of the customer")
    if why := why_not_tried(card.get(), now):
        raise ChargeNowError("payment_method", "not_usable", why)
    with transaction.atomic():
        invoice = Invoice.objects.create(
            public_id=new_id("inv", now),
            account_id=customer.account_id,
            customer=customer,
            payment_method=payment_method,
            state=InvoiceState.OPEN.value,
            description=description.strip(),
            lines=[{"description": description.strip(), "quantity": 1, "amount_minor": amount_minor}],
            amount_minor=amount_minor,
            currency=currency,
            due_at=now,
            next_attempt_at=now,
            asked_for=True,
            created_at=now,
        )
        record_transition(
            account_id=customer.account_id,
            subject_type="invoice",
            subject_id=invoice.pk,
            from_state="",
            to_state=InvoiceState.OPEN.value,
            reason=reason,
            actor=actor,
            now=now,
        )
        doorbell.ring_on_commit(doorbell.COLLECT)
    return invoice
