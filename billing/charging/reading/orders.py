"""What a read of a card showed, as rows: its orders, the transactions behind them, and the events about both."""

from collections.abc import Sequence
from datetime import datetime

from billing.charging.reading.known import CardRead, Unread
from billing.gateway.order_rows import order_row
from billing.models import GatewayOrder, GatewayTransaction, PaymentMethod
from billing.models.bulk import checking
from billing.models.bulk.history import NewEvent, record_events
from billing.models.bulk.sql import durable
from billing.operating.tuning import Tuning


def note_unread(unread: Sequence[Unread], *, tuning: Tuning, now: datetime) -> None:
    """Notes that the cards could not be read; the ones for which that has been so for long are put to a person."""
    cards = {one.card.id: one.card for one in unread}
    with durable():
        given_over = checking.note_unread(sorted(cards), now=now, unreadable_after=tuning.unreadable_after)
        record_events(
            [
                NewEvent(
                    account_id=cards[card].account_id,
                    kind="payment_method.unreadable",
                    subject_type="card",
                    subject_id=card,
                    occasion=str(now),
                    payload={"card": cards[card].public_id},
                )
                for card in given_over
            ],
            now=now,
        )


def write_orders(read: CardRead, now: datetime) -> None:
    """Every order of a complete read, with the attempt that explains it."""
    GatewayOrder.objects.bulk_create(
        [
            order_row(
                read.card.account_id,
                read.card.id,
                order,
                now,
                attempt_id=read.explained_by.get(order.order_id),
                in_baseline=read.card.explained.get(order.order_id, ("", 0))[1] is None,
            )
            for order in read.orders
            if order.is_understood or order.order_id not in {*read.card.explained, *read.explained_by}
        ],
        update_conflicts=True,
        unique_fields=["account", "gateway_order_id"],
        update_fields=["status", "gateway_transaction_id", "attempt", "last_seen_at", *_OF_THE_ORDER],
    )


# Written again in case the order was not understood when it was seen first.
_OF_THE_ORDER = ("amount_minor", "currency", "ordered_at")


def write_transactions(read: CardRead, now: datetime) -> None:
    """The transactions behind the orders, redacted."""
    GatewayTransaction.objects.bulk_create(
        [
            GatewayTransaction(
                account_id=read.card.account_id,
                gateway_transaction_id=transaction_id,
                gateway_order_id=found.transaction.order_additional_data or "",
                status=found.transaction.status_text,
                amount_minor=found.transaction.amount_minor,
                currency=found.transaction.currency,
                words=found.words,
                content=found.content,
                first_seen_at=now,
                last_seen_at=now,
            )
            for transaction_id, found in read.transactions.items()
        ],
        update_conflicts=True,
        unique_fields=["account", "gateway_transaction_id"],
        update_fields=["status", "content", "last_seen_at"],
    )


def alert_unexplained(read: CardRead, now: datetime) -> None:
    """One event for each order that nothing explains."""
    PaymentMethod.objects.select_for_update(no_key=True).get(pk=read.card.id)
    orders = sorted(order.order_id for order in read.unexplained)
    record_events(
        [
            NewEvent(
                account_id=read.card.account_id,
                kind="payment_method.unexplained_order",
                subject_type="card",
                subject_id=read.card.id,
                occasion=order,
                payload={"card": read.card.public_id, "order": order},
            )
            for order in orders
        ],
        now=now,
    )
