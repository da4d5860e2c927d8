"""Pausing, resuming and cancelling. Nothing is owed for time spent paused."""

from datetime import datetime

from django.db import transaction

from billing.domain.schedules import occurrence_after
from billing.domain.subscriptions import ENDED, RUNNING, Collector, Hold, InvoiceState, SubscriptionState
from billing.models import Invoice, Subscription
from billing.subscriptions.activate import change_state, schedule_of
from billing.subscriptions.start import SubscriptionError


def pause(*, subscription: Subscription, reason: str, actor: str, now: datetime) -> Subscription:
    """No period falls due and nothing is armed until it is resumed; open invoices wait."""
    with transaction.atomic():
        locked = _lock(subscription)
        if locked.state not in RUNNING:
            raise SubscriptionError(f"state: only a running subscription can be paused; this one is {locked.state}")
        locked.next_due_at = None
        change_state(locked, SubscriptionState.PAUSED, reason=reason, actor=actor, now=now)
    return locked


def resume(*, subscription: Subscription, reason: str, actor: str, now: datetime) -> Subscription:
    """The next period is the first occurrence from now on; what was open before is collected again."""
    with transaction.atomic():
        locked = _lock(subscription)
        if locked.state != SubscriptionState.PAUSED:
            raise SubscriptionError(f"state: only a paused subscription can be resumed; this one is {locked.state}")
        over = locked.repetitions is not None and locked.periods_charged >= locked.repetitions
        if locked.collector == Collector.ENGINE.value and not over:
            after = max(now, locked.trial_ends_at) if locked.trial_ends_at else now
            following = occurrence_after(schedule_of(locked), after)
            # The charge at the start is owed when the trial ends, if it had not ended yet.
            begins = locked.charge_at_start and locked.trial_ends_at is not None and now < locked.trial_ends_at
            locked.occurrence = following.index - 1 if begins else following.index
            locked.next_due_at = after if begins else following.due_at
        trialing = locked.trial_ends_at is not None and now < locked.trial_ends_at
        owes = Invoice.objects.filter(subscription=locked, state=InvoiceState.OPEN.value, tries__gt=0).exists()
        state = SubscriptionState.PAST_DUE if owes else SubscriptionState.ACTIVE
        change_state(locked, SubscriptionState.TRIALING if trialing else state, reason=reason, actor=actor, now=now)
        Invoice.objects.filter(subscription=locked, next_attempt_at__gt=now, refusal__isnull=False).update(
            next_attempt_at=now
        )
    return locked


def cancel(*, subscription: Subscription, reason: str, actor: str, now: datetime) -> Subscription:
    """Ends it now. Open invoices stay owed, but are collected only by a person's decision; an attempt that is
    under way is followed to its end."""
    with transaction.atomic():
        locked = _lock(subscription)
        if locked.state in ENDED:
            raise SubscriptionError(f"state: the subscription has ended already; it is {locked.state}")
        locked.next_due_at = None
        change_state(locked, SubscriptionState.CANCELED, reason=reason, actor=actor, now=now)
        Invoice.objects.filter(subscription=locked, state=InvoiceState.OPEN.value).update(
            next_attempt_at=None, hold=Hold.SUBSCRIPTION_CANCELED.value
        )
    return locked


def _lock(subscription: Subscription) -> Subscription:
    return Subscription.objects.select_for_update().get(pk=subscription.pk)
