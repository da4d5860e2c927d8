"""Beginning: when its card is usable, a subscription's schedule is anchored, and it becomes active, at once or once its
first charge is paid (`first_payment`)."""

import logging
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db import InterfaceError, OperationalError, transaction

from billing import doorbell
from billing.domain.reasons import Reason
from billing.domain.schedules import occurrence_after
from billing.domain.subscriptions import CardState, Collector, SubscriptionState
from billing.models import Customer, PaymentMethod, Subscription
from billing.operating import troubles
from billing.subscriptions import first_payment
from billing.subscriptions.states import change_state
from billing.subscriptions.upcoming import schedule_of

logger = logging.getLogger(__name__)


def activate_waiting(*, customer: Customer, now: datetime, saved: PaymentMethod | None = None) -> None:
    """Begins the customer's subscriptions that waited for a card, and charges those again that wait for another one;
    `saved` is the card that was saved just now, if one was. Runs inside the caller's transaction.

    One that cannot begin, such as for a time zone that does not exist, is noted as a trouble of its account; the card
    is used, and the others begin."""
    waiting = Subscription.objects.select_for_update().filter(
        customer=customer, state=SubscriptionState.INCOMPLETE.value
    )
    for subscription in waiting.order_by("id"):
        if subscription.anchor_date is not None:
            first_payment.charge_another_card(subscription, now=now, actor="engine", saved=saved)
        elif has_usable_card(subscription):
            _activate_alone(subscription, now)


def _activate_alone(subscription: Subscription, now: datetime) -> None:
    work = f"begin {subscription.public_id}"
    try:
        with transaction.atomic():
            activate(subscription, now=now)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        logger.exception("activate: subscription %s could not start; the others do", subscription.public_id)
        troubles.note(subscription.account_id, work, error, now=now)
    else:
        troubles.clear(subscription.account_id, work)


def has_usable_card(subscription: Subscription) -> bool:
    cards = PaymentMethod.objects.filter(customer_id=subscription.customer_id, state=CardState.ACTIVE.value)
    if subscription.payment_method_id is not None:
        return cards.filter(pk=subscription.payment_method_id).exists()
    return cards.filter(is_default=True).exists()


def activate(subscription: Subscription, *, now: datetime, actor: str = "engine") -> None:
    """Begins a locked, incomplete subscription at `now`; one that has to pay first stays incomplete until it has.

    The anchor is the activation. The first charge is the first occurrence after it (after the trial, when there
    is one), unless the subscription is charged at its start."""
    if first_payment.is_needed(subscription):
        first_payment.begin(subscription, now=now, actor=actor)
        return
    anchor = now.astimezone(ZoneInfo(subscription.time_zone)).date()
    subscription.anchor_date = anchor
    subscription.activated_at = now
    trial_days = subscription.plan.trial_days
    state = SubscriptionState.TRIALING if trial_days else SubscriptionState.ACTIVE
    starts_at = now + timedelta(days=trial_days)
    subscription.trial_ends_at = starts_at if trial_days else None
    if subscription.collector == Collector.ENGINE.value:
        first = occurrence_after(schedule_of(subscription), starts_at)
        subscription.occurrence = first.index - 1 if subscription.charge_at_start else first.index
        subscription.next_due_at = starts_at if subscription.charge_at_start else first.due_at
    change_state(subscription, state, reason=Reason.ACTIVATED, actor=actor, now=now)
    if subscription.next_due_at is not None and subscription.next_due_at <= now:
        doorbell.ring_on_commit(doorbell.OPEN_DUE)
