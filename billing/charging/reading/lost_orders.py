"""Orders at the gateway that carry words of ours and that this database never made: it has forgotten them, or another
installation charges with the same credentials."""

from datetime import datetime

from billing.charging.reading.known import CardRead
from billing.domain.recovery import Lost, our_words
from billing.models import GatewayOrder, PaymentAttempt
from billing.operating import quarantine


def lost_orders(read: CardRead) -> list[Lost]:
    """Orders of the card that carry words of ours and that no attempt of this database made."""
    found = []
    for order in read.orders:
        behind = read.transactions.get(order.transaction_id)
        known = order.order_id in read.explained_by or order.order_id in read.card.explained
        words = our_words(behind.words) if behind is not None and not known else None
        if words is not None:
            found.append(Lost(order.order_id, words, order.amount_minor, order.currency))
    if not found:
        return []
    issued = set(
        PaymentAttempt.objects.filter(marker__in=[one.words.marker for one in found]).values_list("marker", flat=True)
    )
    return [one for one in found if one.words.marker not in issued]


def new_lost_orders(read: CardRead) -> list[str]:
    """Those of the lost orders that took or may take money, and that were never seen before."""
    moving = {order.order_id for order in read.orders if order.status != "FAILED"}
    found = [one.order_id for one in lost_orders(read) if one.order_id in moving]
    seen = GatewayOrder.objects.filter(account_id=read.card.account_id, gateway_order_id__in=found)
    known = set(seen.values_list("gateway_order_id", flat=True))
    return [one for one in found if one not in known]


def quarantine_for_lost_orders(read: CardRead, *, now: datetime) -> None:
    """Begins a quarantine of the account, in a transaction of its own, when the read shows an order of that kind."""
    found = new_lost_orders(read)
    if found:
        quarantine.enter_for_lost_order(read.card.account_id, found[0], now=now)
