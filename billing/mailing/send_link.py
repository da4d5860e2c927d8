"""A person has a customer told once more about a declined payment, with the link where another card is saved."""

import json
from datetime import datetime

from django.db import transaction

from billing.domain.errors import RefusedError
from billing.domain.messages import MessageKind
from billing.domain.subscriptions import InvoiceState
from billing.ids import new_id
from billing.models import Invoice, MailSettings, Message
from billing.models.bulk import mailing
from billing.models.bulk.history import record_transition
from billing.models.messages import WAITING

OWED = (InvoiceState.OPEN.value, InvoiceState.UNCOLLECTIBLE.value)


class LinkError(RefusedError):
    """A link that is not sent; the message says why."""


def send_link(*, invoice: Invoice, reason: str, actor: str, now: datetime) -> None:
    """Writes the mail about the declined payment again, due now, and a line of history. Raises LinkError."""
    with transaction.atomic():
        locked = (
            Invoice.objects.select_for_update(no_key=True, of=("self",)).select_related("customer").get(pk=invoice.pk)
        )
        _check(locked)
        details = {"code": locked.decline_code, "tries_left": 2 if locked.next_attempt_at else 0}
        message = mailing.NewMessage(
            account_id=locked.account_id,
            kind=MessageKind.PAYMENT_FAILED,
            occasion=f"{_of(locked)}{new_id('link', now)}",
            subject_type="invoice",
            subject_id=locked.pk,
            details=json.dumps(details),
            not_before=now,
        )
        mailing.write([message], now=now)
        record_transition(
            account_id=locked.account_id,
            subject_type="invoice",
            subject_id=locked.pk,
            from_state=locked.state,
            to_state=locked.state,
            reason=f"link sent: {reason}",
            actor=actor,
            now=now,
        )


def _of(invoice: Invoice) -> str:
    return f"invoice {invoice.pk} asked for "


def _check(invoice: Invoice) -> None:
    if not invoice.tries or invoice.state not in OWED:
        raise LinkError("invoice", "state", "must be declined and still owed")
    if not invoice.customer.email:
        raise LinkError("customer", "required", "must have an e-mail address; this one has none")
    if invoice.customer.silenced:
        raise LinkError("customer", "silenced", "must not be silenced; only what card networks require is sent")
    look = MailSettings.objects.filter(account_id=invoice.account_id, enabled=True).first()
    if look is None or MessageKind.PAYMENT_FAILED.value in look.kinds_off:
        raise LinkError("account", "not_usable", "must send mail about failed payments; it is switched off")
    on_its_way = Message.objects.filter(
        customer_id=invoice.customer_id, state__in=WAITING, subject_type="invoice", subject_id=invoice.pk,
        kind__in=[MessageKind.PAYMENT_FAILED.value, MessageKind.LAST_WARNING.value],
    )  # fmt: skip
    if on_its_way.exists():
        raise LinkError("invoice", "on_its_way", "has a mail about it on its way already")
