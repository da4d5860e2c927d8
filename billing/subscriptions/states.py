"""How a subscription and an invoice come to another state: the row, and the history that says why."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F

from billing.domain.subscriptions import ENDED, InvoiceState, SubscriptionState
from billing.models import Invoice, Subscription
from billing.models.bulk.history import record_transition


def change_state(
    subscription: Subscription, state: SubscriptionState, *, reason: str, actor: str, now: datetime
) -> None:
    """Writes a locked subscription in its new state, or with something new in the same one, and why."""
    before = subscription.state
    subscription.state = state.value
    if state in ENDED:
        subscription.ended_at = now
    with transaction.atomic():
        subscription.save(
            update_fields=[
                "state",
                "payment_method",
                "anchor_date",
                "activated_at",
                "trial_ends_at",
                "first_payment_ends_at",
                "occurrence",
                "period_index",
                "periods_charged",
                "next_due_at",
                "ended_at",
            ]
        )
        record_transition(
            account_id=subscription.account_id,
            subject_type="subscription",
            subject_id=subscription.pk,
            from_state=before,
            to_state=state.value,
            reason=reason,
            actor=actor,
            now=now,
        )


def close_invoice(
    invoice: Invoice,
    to: InvoiceState,
    *,
    state_reason: str,
    reason: str,
    actor: str,
    now: datetime,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Ends the collection of a locked invoice. Whatever leased it before may not write it any more."""
    Invoice.objects.filter(pk=invoice.pk).update(
        state=to.value,
        state_reason=state_reason,
        next_attempt_at=None,
        hold=None,
        closed_at=now,
        lease_token=F("lease_token") + 1,
    )
    record_transition(
        account_id=invoice.account_id,
        subject_type="invoice",
        subject_id=invoice.pk,
        from_state=invoice.state,
        to_state=to.value,
        reason=reason,
        actor=actor,
        now=now,
        detail=detail,
    )
