"""Beginning: a subscription becomes active when its card is usable, and its schedule is anchored that day."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db import transaction

from billing import doorbell
from billing.domain.schedules import Interval, Schedule, occurrence_after
from billing.domain.subscriptions import CardState, Collector, SubscriptionState
from billing.models import Customer, PaymentMethod, Subscription, Transition


def activate_waiting(*, customer: Customer, now: datetime) -> None:
    """Begins the customer's subscriptions that waited for a card. Runs inside the caller's transaction."""
    waiting = Subscription.objects.select_for_update().filter(
        customer=customer, state=SubscriptionState.INCOMPLETE.value
    )
    for subscription in waiting.order_by("id"):
        if has_usable_card(subscription):
            activate(subscription, now=now)


def has_usable_card(subscription: Subscription) -> bool:
    cards = PaymentMethod.objects.filter(customer_id=subscription.customer_id, state=CardState.ACTIVE.value)
    if subscription.payment_method_id is not None:
        return cards.filter(pk=subscription.payment_method_id).exists()
    return cards.filter(is_default=True).exists()


def activate(subscription: Subscription, *, now: datetime, actor: str = "engine") -> None:
    """Begins a locked, incomplete subscription at `now`.

    The anchor is the activation. The first charge is the first occurrence after it (after the trial, when there
    is one), unless the subscription is charged at its start."""
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
    change_state(subscription, state, reason="activated", actor=actor, now=now)
    if subscription.next_due_at is not None and subscription.next_due_at <= now:
        doorbell.ring_on_commit(doorbell.OPEN_DUE)


def schedule_of(subscription: Subscription) -> Schedule:
    """The subscription's schedule, anchored at its activation. It has one from then on."""
    if subscription.anchor_date is None:
        raise ValueError(f"subscription {subscription.public_id} has not begun")
    return Schedule(
        Interval(subscription.interval),
        subscription.target,
        subscription.anchor_date,
        subscription.every,
        subscription.charge_time,
        subscription.time_zone,
    )


def change_state(
    subscription: Subscription, state: SubscriptionState, *, reason: str, actor: str, now: datetime
) -> None:
    """Writes a locked subscription in its new state, with the row that says why."""
    before = subscription.state
    subscription.state = state.value
    if state in (SubscriptionState.CANCELED, SubscriptionState.COMPLETED):
        subscription.ended_at = now
    with transaction.atomic():
        subscription.save(
            update_fields=[
                "state",
                "anchor_date",
                "activated_at",
                "trial_ends_at",
                "occurrence",
                "next_due_at",
                "ended_at",
            ]
        )
        Transition.objects.create(
            account_id=subscription.account_id,
            subject_type="subscription",
            subject_id=subscription.pk,
            from_state=before,
            to_state=state.value,
            reason=reason,
            actor=actor,
            at=now,
        )
