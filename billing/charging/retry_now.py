"""Collecting an invoice now instead of at its next try."""

from datetime import datetime

from django.db import transaction
from django.db.models import F

from billing import doorbell
from billing.domain.subscriptions import InvoiceState
from billing.models import Invoice, Transition


class RetryError(ValueError):
    """The invoice cannot be tried now; the message says why."""


def retry_now(*, invoice: Invoice, reason: str, actor: str, now: datetime) -> None:
    """Brings the next try of an invoice forward to `now`; an uncollectible one is opened again for it.

    Whether the card may be charged is decided when it is armed, as always. Raises RetryError when an attempt is
    under way, when the invoice waits for a person's decision, and when nothing is owed."""
    if not reason.strip():
        raise RetryError("reason: say why it is tried now")
    with transaction.atomic():
        rows = Invoice.objects.filter(pk=invoice.pk, hold__isnull=True, amount_refunded_minor=0)
        # An open invoice without a next try has an attempt that is not resolved.
        forward = rows.filter(state=InvoiceState.OPEN.value, next_attempt_at__isnull=False)
        again = rows.filter(state=InvoiceState.UNCOLLECTIBLE.value)
        before = InvoiceState.OPEN
        tried = forward.update(next_attempt_at=now, lease_token=F("lease_token") + 1)
        if not tried:
            before = InvoiceState.UNCOLLECTIBLE
            tried = again.update(
                state=InvoiceState.OPEN.value,
                state_reason="",
                closed_at=None,
                next_attempt_at=now,
                collect_regardless=True,
                lease_token=F("lease_token") + 1,
            )
        if not tried:
            raise RetryError(_why_not(Invoice.objects.get(pk=invoice.pk)))
        Transition.objects.create(
            account_id=invoice.account_id,
            subject_type="invoice",
            subject_id=invoice.pk,
            from_state=before.value,
            to_state=InvoiceState.OPEN.value,
            reason=reason,
            actor=actor,
            at=now,
        )
        doorbell.ring_on_commit(doorbell.COLLECT)


def _why_not(invoice: Invoice) -> str:
    if invoice.amount_refunded_minor:
        return "invoice: was refunded, and is never charged again"
    if invoice.hold is not None:
        return "invoice: waits for a decision; release it instead"
    if invoice.state == InvoiceState.OPEN:
        return "invoice: an attempt is under way; its outcome comes first"
    return f"invoice: is {invoice.state}; nothing is owed"
