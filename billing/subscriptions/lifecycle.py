"""Pausing, resuming and cancelling. Nothing is owed for time spent paused."""

from datetime import datetime

from django.db import transaction

from billing.domain.reasons import Reason
from billing.domain.schedules import Occurrence, ScheduleError, occurrence_after
from billing.domain.subscriptions import ENDED, RUNNING, Collector, InvoiceState, SubscriptionState
from billing.models import Invoice, Subscription
from billing.models.bulk import opening
from billing.models.bulk.history import record_transitions
from billing.operating.clocks import is_known_to_be_wrong
from billing.subscriptions.first_payment import void_unpaid
from billing.subscriptions.leftovers import leave_to_staff
from billing.subscriptions.renew import open_before_ending
from billing.subscriptions.start import SubscriptionError
from billing.subscriptions.states import change_state
from billing.subscriptions.upcoming import schedule_of


def pause(*, subscription: Subscription, reason: str, actor: str, now: datetime) -> Subscription:
    """No period falls due and nothing is armed until it is resumed; open invoices wait, those of periods that were
    due by `now` included."""
    with transaction.atomic():
        locked = _lock(subscription)
        if locked.state not in RUNNING:
            raise SubscriptionError("state", "state", f"must be a running subscription; this one is {locked.state}")
        _open_what_is_due(locked, now)
        locked.next_due_at = None
        change_state(locked, SubscriptionState.PAUSED, reason=reason, actor=actor, now=now)
    return locked


def resume(*, subscription: Subscription, reason: str, actor: str, now: datetime) -> Subscription:
    """The next period is the first occurrence from now on; what was open before is collected again.

    When a clock has stepped back since, it is the first occurrence after the last that was opened. While the clock is
    known to be off it is refused: periods that are still to come would be left out."""
    with transaction.atomic():
        locked = _lock(subscription)
        if locked.state != SubscriptionState.PAUSED:
            raise SubscriptionError("state", "state", f"must be a paused subscription; this one is {locked.state}")
        _require_a_right_clock(locked, now)
        over = locked.repetitions is not None and locked.periods_charged >= locked.repetitions
        if locked.collector == Collector.ENGINE.value and not over:
            after = max(now, locked.trial_ends_at) if locked.trial_ends_at else now
            # The charge at the start is owed when the trial ends, if it had not ended yet.
            begins = locked.charge_at_start and locked.trial_ends_at is not None and now < locked.trial_ends_at
            opened_last = opening.last_due_at(locked.pk)
            if opened_last is not None and opened_last >= after:
                after, begins = opened_last, False
            following = _first_after(locked, after)
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


def cancel(
    *, subscription: Subscription, reason: str, actor: str, now: datetime, keep_collecting: bool = False
) -> Subscription:
    """Ends it now. Open invoices stay owed, but are collected only by a person's decision, or as before if
    `keep_collecting`; what was on hold stays so. An attempt that is under way is followed to its end. For what has not
    started nothing is owed: its first invoice is void, unless the outcome of an attempt is open or a person is to
    decide about it."""
    with transaction.atomic():
        locked = _lock(subscription)
        if locked.state in ENDED:
            raise SubscriptionError("state", "state", f"must not have ended; the subscription is {locked.state}")
        _open_what_is_due(locked, now)
        unpaid = locked.state == SubscriptionState.INCOMPLETE
        locked.next_due_at = None
        change_state(locked, SubscriptionState.CANCELED, reason=reason, actor=actor, now=now)
        if unpaid:
            void_unpaid(locked, state_reason=Reason.VOIDED, reason=Reason.ENDED_UNPAID, actor=actor, now=now)
        if not keep_collecting:
            record_transitions(leave_to_staff([locked.pk]), actor=actor, now=now)
        else:
            Invoice.objects.filter(subscription=locked, state=InvoiceState.OPEN.value).update(collect_regardless=True)
    return locked


def _first_after(locked: Subscription, after: datetime) -> Occurrence:
    try:
        return occurrence_after(schedule_of(locked), after)
    except ScheduleError as error:
        raise SubscriptionError(error.field, error.rule, f"{error.message}; correct that first") from error


def _open_what_is_due(locked: Subscription, now: datetime) -> None:
    """What fell due before is owed."""
    _require_a_right_clock(locked, now)
    if open_before_ending(subscription_id=locked.pk, now=now):
        locked.refresh_from_db()


def _require_a_right_clock(locked: Subscription, now: datetime) -> None:
    """Which periods are due, and which are still to come, a wrong clock does not know."""
    if is_known_to_be_wrong(locked.account.api_url, now):
        raise SubscriptionError(
            "clock",
            "not_usable",
            "must agree with the gateway's clock, so that all periods due before the change are known; try again later",
        )


def _lock(subscription: Subscription) -> Subscription:
    return Subscription.objects.select_for_update().get(pk=subscription.pk)
