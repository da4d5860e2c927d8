"""Collecting an invoice now instead of at its next try."""

from datetime import datetime

from django.db import transaction
from django.db.models import F

from billing import doorbell
from billing.charging.attempts.card_standing import card_of, why_not_tried
from billing.charging.cases.approvals import refuse_while_proposed
from billing.domain.arming import Refusal
from billing.domain.decisions import Decision
from billing.domain.errors import RefusedError
from billing.domain.subscriptions import InvoiceState
from billing.models import Invoice
from billing.models.bulk import checking
from billing.models.bulk.history import record_transition


class RetryError(RefusedError):
    """The invoice cannot be tried now; the message says why."""


def retry_now(*, invoice: Invoice, decision: Decision, now: datetime) -> datetime:
    """Brings the next try of an invoice forward to `now`; an uncollectible one is opened again for it. When it is
    tried: later than `now` while the gateway's lists may not show yet what the last attempt did.

    Whether the card may be charged is decided when it is armed, as always. Raises RetryError when an attempt is
    under way, when the invoice waits for a person's decision, when nothing is owed, and for a card that was declined
    for good; and ResolutionError while another person is to confirm that it is closed: only an open invoice has a hold
    that says so."""
    if not decision.reason:
        raise RetryError("reason", "required", "must state the reason for trying now")
    with transaction.atomic():
        locked = Invoice.objects.select_for_update(no_key=True).get(pk=invoice.pk)
        refuse_while_proposed(locked)
        card = card_of(locked)
        if card is not None and (why := why_not_tried(card, now)):
            raise RetryError("payment_method", "not_usable", why)
        rows = Invoice.objects.filter(pk=invoice.pk, hold__isnull=True, amount_refunded_minor=0)
        # An open invoice without a next try has an attempt that is not resolved.
        # Or it is a first charge that was declined, and is tried again only if somebody wants it.
        forward = rows.filter(state=InvoiceState.OPEN.value, next_attempt_at__isnull=False)
        first = rows.filter(state=InvoiceState.OPEN.value, refusal=Refusal.FIRST_CHARGE_DECLINED.value)
        again = rows.filter(state=InvoiceState.UNCOLLECTIBLE.value)
        before = InvoiceState.OPEN
        tried = forward.update(next_attempt_at=now, asked_for=True, lease_token=F("lease_token") + 1) or first.update(
            next_attempt_at=now, asked_for=True, refusal=None, refused_at=None, lease_token=F("lease_token") + 1
        )
        if not tried:
            before = InvoiceState.UNCOLLECTIBLE
            tried = again.update(
                state=InvoiceState.OPEN.value,
                state_reason="",
                closed_at=None,
                next_attempt_at=now,
                refusal=None,
                refused_at=None,
                collect_regardless=True,
                asked_for=True,
                lease_token=F("lease_token") + 1,
            )
        if not tried:
            raise RetryError("invoice", "state", _why_not(Invoice.objects.get(pk=invoice.pk)))
        record_transition(
            account_id=invoice.account_id,
            subject_type="invoice",
            subject_id=invoice.pk,
            from_state=before.value,
            to_state=InvoiceState.OPEN.value,
            reason=decision.reason,
            actor=decision.actor,
            now=now,
        )
        doorbell.ring_on_commit(doorbell.COLLECT)
        checking.wait_for_lists(now=now, invoice_id=invoice.pk)
    return max(now, Invoice.objects.values_list("look_from_at", flat=True).get(pk=invoice.pk) or now)


def _why_not(invoice: Invoice) -> str:
    if invoice.amount_refunded_minor:
        return "must not be refunded; a refunded invoice is never charged again"
    if invoice.hold is not None:
        return "must not need a decision; it does. Collect it instead"
    if invoice.state == InvoiceState.OPEN:
        return "an attempt is under way; its outcome must be known first"
    return f"must be owed; it is {invoice.state}"
