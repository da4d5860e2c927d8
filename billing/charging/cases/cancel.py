"""A person cancels a subscription, and says what becomes of its open invoices."""

import contextlib
from datetime import datetime

from django.db import transaction

from billing.charging.cases.holds import ResolutionError
from billing.charging.cases.ways_out import void, write_off
from billing.domain.decisions import Decision
from billing.domain.subscriptions import InvoiceState, OpenInvoices
from billing.models import Invoice, Subscription
from billing.subscriptions import lifecycle

_WAYS = {OpenInvoices.VOID: void, OpenInvoices.WRITE_OFF: write_off}


def cancel(
    *, subscription: Subscription, open_invoices: OpenInvoices, decision: Decision, now: datetime
) -> list[Invoice]:
    """Ends it now; the invoices that are left to staff.

    An open invoice whose attempt may have taken the money is not closed: it is left to staff, and so is one about which
    another person is to decide. Above the account's amount, closing one waits for a second person. Raises
    SubscriptionError, and ResolutionError without a reason."""
    if not decision.reason:
        raise ResolutionError("reason", "required", "must state the reason for the decision")
    with transaction.atomic():
        lifecycle.cancel(
            subscription=subscription,
            reason=decision.reason,
            actor=decision.actor,
            now=now,
            keep_collecting=open_invoices is OpenInvoices.COLLECT,
        )
        rows = Invoice.objects.filter(subscription=subscription, state=InvoiceState.OPEN.value, hold__isnull=False)
        if open_invoices in _WAYS:
            for invoice in rows.order_by("pk"):
                _close(invoice, open_invoices, decision, now)
        return list(rows.order_by("pk"))


def _close(invoice: Invoice, way: OpenInvoices, decision: Decision, now: datetime) -> None:
    # One that cannot be closed now stays on hold, where a person finds it.
    with contextlib.suppress(ResolutionError), transaction.atomic():
        _WAYS[way](invoice=invoice, decision=decision, now=now)
