"""Changing what may be changed of a subscription: its card, its catch-up policy and the merchant's notes."""

from datetime import datetime
from typing import Any

from django.db import transaction

from billing.domain.catch_up import CatchUp
from billing.domain.subscriptions import ENDED, CardState, InvoiceState, SubscriptionState
from billing.models import Invoice, PaymentMethod, Subscription
from billing.models.bulk.history import record_change
from billing.subscriptions.activate import activate, has_usable_card
from billing.subscriptions.first_payment import charge_another_card
from billing.subscriptions.start import SubscriptionError
from billing.subscriptions.waking import charge_on_another_card


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

    A subscription that waited for a card begins when the new one is usable, or is charged on it when its first charge
    was declined; and invoices that were refused for their card are tried again now. Raises SubscriptionError."""
    if isinstance(payment_method, PaymentMethod):
        _check_card(subscription, payment_method)
    with transaction.atomic():
        locked = Subscription.objects.select_for_update().get(pk=subscription.pk)
        if locked.state in ENDED and (catch_up is not None or not isinstance(payment_method, Keep)):
            raise SubscriptionError(
                "state", "state", f"the subscription is {locked.state}; only its metadata can change"
            )
        wanted = {"catch_up": catch_up.value if catch_up else None, "metadata": metadata}
        _write(locked, {name: value for name, value in wanted.items() if value is not None}, actor=actor, now=now)
        if not isinstance(payment_method, Keep):
            _change_card(locked, payment_method, actor=actor, now=now)
    return locked


def _write(subscription: Subscription, wanted: dict[str, Any], *, actor: str, now: datetime) -> None:
    changes = {name: (getattr(subscription, name), value) for name, value in wanted.items()}
    changes = {name: (before, after) for name, (before, after) in changes.items() if before != after}
    for name, (_, after) in changes.items():
        setattr(subscription, name, after)
    if changes:
        subscription.save(update_fields=list(changes))
        _record(subscription, changes, actor=actor, now=now)


def _record(
    subscription: Subscription, changes: dict[str, tuple[Any, Any]], *, actor: str, now: datetime, words: str = ""
) -> None:
    record_change(
        account_id=subscription.account_id,
        subject_type="subscription",
        subject_id=subscription.pk,
        state=subscription.state,
        kind="subscription.updated",
        changes=changes,
        actor=actor,
        now=now,
        words=words,
    )


def _check_card(subscription: Subscription, card: PaymentMethod) -> None:
    if card.customer_id != subscription.customer_id:
        raise SubscriptionError("payment_method", "not_usable", "must be one of this customer")
    if card.state != CardState.ACTIVE:
        raise SubscriptionError("payment_method", "not_usable", f"must be an active card; this one is {card.state}")


def _change_card(subscription: Subscription, card: PaymentMethod | None, *, actor: str, now: datetime) -> None:
    before = subscription.payment_method
    if before == card:
        return
    subscription.payment_method = card
    subscription.save(update_fields=["payment_method"])
    words = f"charged on {card.public_id}" if card else "charged on the default card"
    change = (before.public_id if before else None, card.public_id if card else None)
    _record(subscription, {"payment_method": change}, actor=actor, now=now, words=words)
    if subscription.state == SubscriptionState.INCOMPLETE and subscription.anchor_date is not None:
        charge_another_card(subscription, now=now, actor=actor)
    elif subscription.state == SubscriptionState.INCOMPLETE and has_usable_card(subscription):
        activate(subscription, now=now, actor=actor)
    charge_on_another_card(subscription.customer_id, actor=actor, now=now)


def charge_on_default(*, customer_id: int, actor: str, now: datetime) -> None:
    """What names a card of the customer, and has not ended, names none any more. In the caller's transaction."""
    named = Subscription.objects.select_for_update().filter(customer_id=customer_id, payment_method__isnull=False)
    for subscription in named.exclude(state__in=[state.value for state in ENDED]).order_by("id"):
        _change_card(subscription, None, actor=actor, now=now)
    one_offs = Invoice.objects.filter(customer_id=customer_id, subscription=None, state=InvoiceState.OPEN.value)
    one_offs.filter(payment_method__isnull=False).update(payment_method=None)
