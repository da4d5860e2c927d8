"""What waits for a person without an attempt being in doubt: held invoices, and cards with something unexplained."""

from datetime import datetime

from django.db import transaction
from django.db.models import F, QuerySet

from billing import doorbell
from billing.domain.attempts import UNRESOLVED
from billing.domain.matching import Wanted, could_be
from billing.domain.subscriptions import InvoiceState
from billing.models import GatewayOrder, Invoice, PaymentAttempt, PaymentMethod, Transition


class ResolutionError(ValueError):
    """The decision is not possible. The message is `field: sentence`; `rule` is a stable word for why."""

    def __init__(self, message: str, rule: str = "not_possible") -> None:
        super().__init__(message)
        self.field, _, self.message = message.partition(": ")
        self.rule = rule


def collect_held(*, invoice: Invoice, reason: str, actor: str, now: datetime) -> None:
    """A person decides that an invoice which waits (missed periods, a reversal, a cancelled subscription) is
    collected after all. Raises ResolutionError when it does not wait."""
    with transaction.atomic():
        freed = Invoice.objects.filter(pk=invoice.pk, state=InvoiceState.OPEN.value, hold__isnull=False).update(
            hold=None, next_attempt_at=now, collect_regardless=True
        )
        if not freed:
            raise ResolutionError("invoice: does not wait for a person", "state")
        Transition.objects.create(
            account_id=invoice.account_id,
            subject_type="invoice",
            subject_id=invoice.pk,
            from_state=f"open ({invoice.hold})",
            to_state="open",
            reason=reason,
            actor=actor,
            at=now,
        )
        doorbell.ring_on_commit(doorbell.COLLECT)


def clear_hold(*, card: PaymentMethod, reason: str, actor: str, now: datetime) -> list[str]:
    """A person has looked at what was unexplained about the card: it may be charged again.

    The orders that nothing explained, whose ids are returned and kept in the history, count as looked at from now on,
    but for those that may be the money of an attempt that is still open. Raises ResolutionError without a reason, for
    a card that is not held, and while the gateway still works on one of the orders."""
    if not reason.strip():
        raise ResolutionError("reason: say what was found out about the card", "required")
    with transaction.atomic():
        PaymentMethod.objects.select_for_update().get(pk=card.pk)
        orders = list(unexplained_orders(card.pk).order_by("pk"))
        working = [order.gateway_order_id for order in orders if order.status == "IN_PROCESS"]
        if working:
            raise ResolutionError(
                f"payment_method: the gateway still works on {', '.join(working)}; read the card again later", "state"
            )
        cleared = PaymentMethod.objects.filter(pk=card.pk, held_at__isnull=False).update(held_at=None, held_reason="")
        if not cleared:
            raise ResolutionError("payment_method: is not held", "state")
        looked_at = _not_of_an_open_case(card, orders)
        GatewayOrder.objects.filter(pk__in=[order.pk for order in looked_at]).update(in_baseline=True)
        named = [order.gateway_order_id for order in looked_at]
        Transition.objects.create(
            account_id=card.account_id,
            subject_type="card",
            subject_id=card.pk,
            from_state="held",
            to_state="free",
            reason=f"{reason.strip()} (orders looked at: {', '.join(named)})" if named else reason.strip(),
            actor=actor,
            at=now,
        )
        Invoice.objects.filter(
            payment_method_id=card.pk, state=InvoiceState.OPEN.value, next_attempt_at__gt=now, refusal__isnull=False
        ).update(next_attempt_at=now, lease_token=F("lease_token") + 1)
    return named


def _not_of_an_open_case(card: PaymentMethod, orders: list[GatewayOrder]) -> list[GatewayOrder]:
    states = [state.value for state in UNRESOLVED]
    waiting = [
        Wanted(one.marker, one.amount_minor, one.currency, one.armed_at, one.gateway_transaction_id)
        for one in PaymentAttempt.objects.filter(payment_method=card, state__in=states)
    ]
    return [
        order
        for order in orders
        if not any(
            could_be(one, amount_minor=order.amount_minor, currency=order.currency, created_at=order.ordered_at)
            for one in waiting
        )
    ]


def unexplained_orders(card_id: int) -> QuerySet[GatewayOrder]:
    """The orders seen on the card that nothing explains and that may have taken money."""
    return GatewayOrder.objects.filter(payment_method_id=card_id, attempt=None, in_baseline=False).exclude(
        status="FAILED"
    )
