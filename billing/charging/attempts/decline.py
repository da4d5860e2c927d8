"""What follows a decline, or a try that is not made: the next try, or the end of trying and of the subscription."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, assert_never

from billing.charging.attempts.changes import Changes
from billing.charging.attempts.subjects import avoided_of, failure_of
from billing.domain.dunning import FinalAction, GiveUp, RetryAt, next_step, outlook, policy_of
from billing.domain.reasons import Reason
from billing.domain.subscriptions import RUNNING, InvoiceState, SubscriptionState
from billing.models.bulk import settling
from billing.subscriptions.renew import open_before_ending

# A late payment of one of these does not start it again: a person gives the money back, or goes on with the customer.
NO_OTHER_TRY = {"next_attempt_at": None, "tries_left": 0, "ends_subscription": False}


def after_decline(
    changes: Changes, attempt: settling.AttemptRow, invoice: settling.InvoiceRow, evidence_id: int
) -> None:
    """Counts the try and dates the next one, or ends trying. A decline of an invoice that is closed changes nothing."""
    if invoice.state != InvoiceState.OPEN:
        return
    invoice.not_sent_in_a_row = 0
    invoice.asked_for = False
    payload = failure_of(invoice, attempt, changes.rulings(invoice.account_id))
    _go_on(changes, invoice, attempt.armed_at, payload, str(attempt.number), evidence_id)


def after_avoided(changes: Changes, invoice: settling.InvoiceRow, *, code: str) -> None:
    """The same for a try that was due and is not made, because of a decline of its card with this code."""
    changes.touch(invoice)
    invoice.tries_avoided += 1
    changes.log(invoice, invoice.state, invoice.state, Reason.TRY_AVOIDED, None)
    payload = avoided_of(invoice, code, changes.rulings(invoice.account_id))
    _go_on(changes, invoice, changes.now, payload, f"avoided {invoice.tries_avoided}", None)


def _go_on(
    changes: Changes,
    invoice: settling.InvoiceRow,
    tried_at: datetime,
    payload: Mapping[str, Any],
    occasion: str,
    evidence_id: int | None,
) -> None:
    subscription = changes.subscription_of(invoice)
    if subscription and invoice.tries == 0:
        subscription.declined_invoices += 1
    invoice.tries += 1
    invoice.first_tried_at = invoice.first_tried_at or tried_at
    if subscription and subscription.state == SubscriptionState.INCOMPLETE:
        changes.first_payments.declined(subscription, invoice)
        changes.record_event("invoice.payment_failed", invoice, {**payload, **NO_OTHER_TRY}, occasion=occasion)
        return
    policy = policy_of(changes.accounts[invoice.account_id], one_off=subscription is None)
    step = next_step(policy, first_tried_at=invoice.first_tried_at, tried_at=tried_at, now=changes.now)
    runs = bool(subscription and subscription.state in RUNNING)
    then = outlook(step, policy, first_tried_at=invoice.first_tried_at, subscription_runs=runs)
    changes.record_event("invoice.payment_failed", invoice, {**payload, **then}, occasion=occasion)
    match step:
        case RetryAt(at):
            changes.try_again(invoice, at)
            if subscription and subscription.state in (SubscriptionState.ACTIVE, SubscriptionState.TRIALING):
                changes.set_subscription(subscription, SubscriptionState.PAST_DUE, Reason.INVOICE_DECLINED, evidence_id)
        case GiveUp(action):
            invoice.next_attempt_at = None
            changes.set_invoice(invoice, InvoiceState.UNCOLLECTIBLE, Reason.TRIES_EXHAUSTED, evidence_id)
            if subscription:
                _end(changes, subscription, action, evidence_id)
        case _:
            assert_never(step)


def _end(
    changes: Changes, subscription: settling.SubscriptionRow, action: FinalAction, evidence_id: int | None
) -> None:
    if subscription.state not in RUNNING:
        return
    if action is not FinalAction.KEEP and open_before_ending(subscription_id=subscription.id, now=changes.now):
        settling.read_again(subscription)
    match action:
        case FinalAction.CANCEL:
            changes.cancel(subscription, Reason.TRIES_EXHAUSTED, evidence_id)
        case FinalAction.PAUSE:
            subscription.next_due_at = None
            changes.set_subscription(subscription, SubscriptionState.PAUSED, Reason.TRIES_EXHAUSTED, evidence_id)
        case FinalAction.KEEP:
            if subscription.state != SubscriptionState.PAST_DUE:
                changes.set_subscription(subscription, SubscriptionState.PAST_DUE, Reason.TRIES_EXHAUSTED, evidence_id)
            changes.complete_if_over(subscription, evidence_id)
        case _:
            assert_never(action)
