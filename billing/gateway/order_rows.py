"""Listed orders as rows."""

from collections.abc import Sequence
from datetime import datetime

from billing.gateway.connection import ListedOrder
from billing.models import GatewayOrder, PaymentMethod


def write_baseline(card: PaymentMethod, orders: Sequence[ListedOrder], now: datetime) -> None:
    """The orders that were there before the card became ours to charge: none of them is ever a candidate."""
    GatewayOrder.objects.bulk_create(
        [order_row(card.account_id, card.pk, order, now, in_baseline=True) for order in orders],
        update_conflicts=True,
        unique_fields=["account", "gateway_order_id"],
        update_fields=["status", "last_seen_at"],
    )


def order_row(
    account_id: int,
    card_id: int,
    order: ListedOrder,
    now: datetime,
    *,
    attempt_id: int | None = None,
    in_baseline: bool = False,
) -> GatewayOrder:
    """One order of a card, not saved; `attempt_id` explains it."""
    return GatewayOrder(
        account_id=account_id,
        payment_method_id=card_id,
        gateway_order_id=order.order_id,
        gateway_transaction_id=order.transaction_id,
        status=order.status,
        amount_minor=order.amount_minor,
        currency=order.currency,
        recurring_reference=order.recurring_reference,
        ordered_at=order.created_at,
        in_baseline=in_baseline,
        attempt_id=attempt_id,
        first_seen_at=now,
        last_seen_at=now,
    )
