"""What is open when a subscription is cancelled: nobody collects it by itself, and somebody is told."""

from collections.abc import Sequence

from billing.domain.subscriptions import Hold, InvoiceState
from billing.models.bulk import settling
from billing.models.bulk.history import NewTransition

HELD = Hold.SUBSCRIPTION_CANCELED.value


def leave_to_staff(subscription_ids: Sequence[int]) -> list[NewTransition]:
    """Takes the open invoices of locked subscriptions that are just being cancelled off the work list; the lines of
    history, for the caller to record. They are on the dashboard until a person decides about each, and each has its
    event `invoice.held`."""
    state = InvoiceState.OPEN.value
    return [
        NewTransition(
            account_id=one.account_id,
            subject_type="invoice",
            subject_id=one.id,
            from_state=f"{state} ({one.hold})" if one.hold else state,
            to_state=f"{state} ({HELD})",
            reason=HELD,
            detail={"invoice": one.public_id, "hold": HELD},
        )
        for one in settling.hold_invoices_of(subscription_ids, hold=HELD)
    ]
