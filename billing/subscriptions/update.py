"""Changing what may be changed of a subscription: its card, its catch-up policy and the merchant's notes."""

from datetime import datetime
from typing import Any

from django.db import transaction

from billing.domain.catch_up import CatchUp
from billing.domain.subscriptions import ENDED, CardState, InvoiceState, SubscriptionState
from billing.models import Invoice, PaymentMethod, Subscription
from billing.models.bulk.history import record_transition
from billing.subscriptions.activate import activate, has_usable_card
from billing.subscriptions.start import SubscriptionError


class Keep:
    """Says that a field stays as it is, where None is a value."""


KEEP = Keep()


def update_subscription(
    *,
    subscription: Subscription,
    actor: str,
    now: datetime,
    payment_method: PaymentMethod | Keep | None = KEEP,
    catch_up: CatchUp | None = None,
    metadata: dict[str, Any] | None = None,
) -> Subscription:
    """Writes the values that are given; `payment_method` None means the customer's default card.

    A subscription that waited for a card begins when the new one is usable, and invoices that were refused for
    their card are tried again now. Raises SubscriptionError."""
    if isinstance(payment_method, PaymentMethod):
        _check_card(subscription, payment_method)
    with transaction.atomic():
        locked = Subscription.objects.select_for_update().get(pk=subscription.pk)
        if locked.state in ENDED and (catch_up is not None or not isinstance(payment_method, Keep)):
            raise SubscriptionError(
                "state", "state", f"the subscription is {locked.state}; only its metadata can change"
            )
        if metadata is not None:
            locked.metadata = metadata
        if catch_up is not None:
            locked.catch_up = catch_up.value
        locked.save(update_fields=["metadata", "catch_up"])
        if not isinstance(payment_method, Keep):
            _change_card(locked, payment_method, actor=actor, now=now)
    return locked


def _check_card(subscription: Subscription, card: PaymentMethod) -> None:
    if card.customer_id != subscription.customer_id:
        raise SubscriptionError("payment_method", "not_usable", "must be one of this customer")
    if card.state != CardState.ACTIVE:
        raise SubscriptionError("payment_method", "not_usable", f"must be an active card; this one is {card.state}")


def _change_card(subscription: Subscription, card: PaymentMethod | None, *, actor: str, now: datetime) -> None:
    before = subscription.payment_method_id
    subscription.payment_method = card
    if subscription.payment_method_id == before:
        return
    subscription.save(update_fields=["payment_method"])
    record_transition(
        account_id=subscription.account_id,
        subject_type="subscription",
        subject_id=subscription.pk,
        from_state=subscription.state,
        to_state=subscription.state,
        reason=f"charged on {card.public_id}" if card else "charged on the default card",
        actor=actor,
        now=now,
    )
    if subscription.state == SubscriptionState.INCOMPLETE and has_usable_card(subscription):
        activate(subscription, now=now, actor=actor)
    Invoice.objects.filter(subscription=subscription, next_attempt_at__gt=now, refusal__isnull=False).update(
        next_attempt_at=now
    )


def charge_on_default(*, customer_id: int, actor: str, now: datetime) -> None:
    """What names a card of the customer, and has not ended, names none any more. In the caller's transaction."""
    named = Subscription.objects.select_for_update().filter(customer_id=customer_id, payment_method__isnull=False)
    for subscription in named.exclude(state__in=[state.value for state in ENDED]).order_by("id"):
        _change_card(subscription, None, actor=actor, now=now)
    one_offs = Invoice.objects.filter(customer_id=customer_id, subscription=None, state=InvoiceState.OPEN.value)
    one_offs.filter(payment_method__isnull=False).update(payment_method=None)
