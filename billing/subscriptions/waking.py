"""What waited for a card is charged as soon as the card is there or free, not when its time would come."""

from collections.abc import Collection
from datetime import datetime

from billing import doorbell
from billing.domain.arming import Refusal
from billing.domain.reasons import Reason
from billing.domain.subscriptions import InvoiceState
from billing.models.bulk import waking
from billing.models.bulk.history import NewTransition, record_transitions

# Refusals for the sake of the card alone.
WAITS_FOR_A_CARD = (
    Refusal.NO_CARD,
    Refusal.CARD_NOT_ACTIVE,
    Refusal.CARD_HELD,
    Refusal.CARD_HAS_GATEWAY_SCHEDULE,
    Refusal.CARD_HAS_UNRESOLVED_ATTEMPT,
    Refusal.CARD_UNREADABLE,
    Refusal.ENVIRONMENT_DIFFERS,
    Refusal.CARD_FROZEN,
    Refusal.CARD_RESTS,
)


def wake(card_ids: Collection[int], refusal: Refusal, *, now: datetime) -> None:
    """In the caller's transaction: the reason for which invoices on these cards were refused has ended."""
    if card_ids and waking.wake_refused(sorted(card_ids), [refusal.value], now=now):
        doorbell.ring_on_commit(doorbell.COLLECT)


def charge_on_another_card(customer_id: int, *, actor: str, now: datetime) -> None:
    """In the caller's transaction: what the customer owes and what would be charged now on a card on which it was never
    tried is tried at once, also where a decline waits for its day. No retry day is used up by that."""
    refusals = [refusal.value for refusal in WAITS_FOR_A_CARD]
    woken = waking.wake_for_another_card(customer_id, refusals, now=now)
    if not woken:
        return
    state = InvoiceState.OPEN.value
    moves = [
        NewTransition(
            account_id=account,
            subject_type="invoice",
            subject_id=invoice,
            from_state=state,
            to_state=state,
            reason=Reason.ANOTHER_CARD,
        )
        for account, invoice in sorted(woken)
    ]
    record_transitions(moves, actor=actor, now=now)
    doorbell.ring_on_commit(doorbell.COLLECT)
