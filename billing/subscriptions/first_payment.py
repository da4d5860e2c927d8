"""Subscriptions that are active once their first charge is paid (docs/adr/0025).

1. `begin`, with a usable card: the schedule is anchored and the first invoice is opened, in one commit. It is charged
   like any other; the subscription stays *incomplete*.
2. Paid: the subscription is active, and its schedule runs from the charge that paid (`schedule_from`).
3. Declined: nothing is asked for until there is another card (`charge_another_card`) or a person wants it.
4. Not paid in time: it expires (`charging/collecting/expire.py`).
"""

import json
from datetime import datetime
from zoneinfo import ZoneInfo

from django.db.models import F
from django.db.models.functions import Greatest

from billing import doorbell
from billing.domain.arming import Refusal
from billing.domain.attempts import AttemptState
from billing.domain.closing import CLOSABLE
from billing.domain.first_payment import ends_at, may_be_charged_again, pays_first, waits_for_a_card
from billing.domain.reasons import Reason
from billing.domain.resolution import ProposalKind, ProposalOutcome
from billing.domain.schedules import ScheduleEndedError, occurrence_after
from billing.domain.subscriptions import ActivatesOn, CardState, Collector, InvoiceState, SubscriptionState
from billing.ids import new_id
from billing.models import Invoice, PaymentMethod, Subscription
from billing.models.bulk import opening
from billing.models.bulk.history import record_transition
from billing.subscriptions.states import change_state, close_invoice
from billing.subscriptions.upcoming import schedule_of


def is_needed(subscription: Subscription) -> bool:
    """Whether the subscription, which has not begun, is active only once its first charge is paid."""
    return pays_first(
        ActivatesOn(subscription.activates_on),
        Collector(subscription.collector),
        charge_at_start=subscription.charge_at_start,
        trial_days=subscription.plan.trial_days,
    )


def begin(subscription: Subscription, *, now: datetime, actor: str) -> None:
    """Anchors a locked, incomplete subscription at `now` and opens its first invoice. It stays incomplete."""
    subscription.anchor_date = now.astimezone(ZoneInfo(subscription.time_zone)).date()
    subscription.occurrence = occurrence_after(schedule_of(subscription), now).index
    subscription.first_payment_ends_at = ends_at(now, subscription.account.first_payment_hours)
    subscription.period_index = subscription.periods_charged = 1
    change_state(subscription, SubscriptionState.INCOMPLETE, reason=Reason.FIRST_PAYMENT_DUE, actor=actor, now=now)
    (invoice_id,) = opening.insert_invoices([_first_invoice(subscription, now)], now=now)
    record_transition(
        account_id=subscription.account_id,
        subject_type="invoice",
        subject_id=invoice_id,
        from_state="",
        to_state=InvoiceState.OPEN.value,
        reason=Reason.PERIOD_DUE,
        actor=actor,
        now=now,
    )
    doorbell.ring_on_commit(doorbell.COLLECT)


def schedule_from(subscription: Subscription, at: datetime) -> opening.Started:
    """The first occurrence after `at`, when the charge that paid was started, or after the first due date where a
    clock was set back since. Periods due before `at` are not owed. Those due since are, however late the outcome
    came: they are opened by the subscription's rule for missed periods."""
    first_due_at = opening.last_due_at(subscription.pk)
    begins_at = max(at, first_due_at) if first_due_at else at
    over = subscription.repetitions is not None and subscription.periods_charged >= subscription.repetitions
    try:
        following = occurrence_after(schedule_of(subscription), begins_at)
    except ScheduleEndedError:
        return opening.Started(subscription.pk, begins_at, subscription.occurrence or 0, None)
    return opening.Started(subscription.pk, begins_at, following.index, None if over else following.due_at)


def start(subscription: Subscription, *, at: datetime, actor: str, now: datetime) -> None:
    """Makes a locked, incomplete subscription active whose first invoice was paid at `at` without a charge of ours."""
    started = schedule_from(subscription, at)
    subscription.activated_at = started.activated_at
    subscription.occurrence = started.occurrence
    subscription.next_due_at = started.next_due_at
    change_state(subscription, SubscriptionState.ACTIVE, reason=Reason.FIRST_PAYMENT_PAID, actor=actor, now=now)


def charge_another_card(
    subscription: Subscription, *, now: datetime, actor: str, saved: PaymentMethod | None = None
) -> bool:
    """Charges the first invoice of a locked, incomplete subscription now, when it waits for another card and there is
    one; whether it does.

    `saved` is a card that the customer has just saved: it is the subscription's from then on, for nothing else will
    start it. Without one it is the card that the subscription has now."""
    invoice = Invoice.objects.select_for_update(no_key=True).filter(subscription=subscription).first()
    card = saved or _card_of(subscription)
    if invoice is None or card is None or not _waits_for(card, invoice):
        return False
    if saved is not None and _card_of(subscription) != saved:
        subscription.payment_method = saved
        reason = f"charged on {saved.public_id}"
        change_state(subscription, SubscriptionState.INCOMPLETE, reason=reason, actor=actor, now=now)
    _try_now(invoice, now)
    return True


def _card_of(subscription: Subscription) -> PaymentMethod | None:
    if subscription.payment_method_id is not None:
        return subscription.payment_method
    return PaymentMethod.objects.filter(customer_id=subscription.customer_id, is_default=True).first()


def _waits_for(card: PaymentMethod, invoice: Invoice) -> bool:
    """Whether the locked first invoice waits for a card, and this one is another than was tried last."""
    if invoice.state != InvoiceState.OPEN or card.state != CardState.ACTIVE:
        return False
    tried = list(invoice.attempts.order_by("number").values_list("state", "payment_method_id"))
    refusal = Refusal(invoice.refusal) if invoice.refusal else None
    if refusal is Refusal.FIRST_CHARGE_DECLINED and tried and tried[-1][1] == card.pk:
        return False
    return waits_for_a_card(
        [AttemptState(state) for state, _ in tried],
        held=invoice.hold is not None,
        next_attempt_at=invoice.next_attempt_at,
        refusal=refusal,
    )


def _try_now(invoice: Invoice, now: datetime) -> None:
    Invoice.objects.filter(pk=invoice.pk).update(
        next_attempt_at=Greatest(F("look_from_at"), now),
        refusal=None,
        refused_at=None,
        lease_token=F("lease_token") + 1,
    )
    doorbell.ring_on_commit(doorbell.COLLECT)


def expire(subscription: Subscription, *, now: datetime) -> bool:
    """Ends a locked, incomplete subscription that was not paid for in time; whether it did. Its caller has decided so
    under the locks of the invoice and its attempts."""
    overdue = Reason.FIRST_PAYMENT_OVERDUE
    if not void_unpaid(subscription, state_reason=overdue, reason=overdue, actor="engine", now=now):
        return False
    change_state(subscription, SubscriptionState.EXPIRED, reason=overdue, actor="engine", now=now)
    return True


def void_unpaid(subscription: Subscription, *, state_reason: str, reason: str, actor: str, now: datetime) -> bool:
    """A locked subscription ends before its first payment: nothing is owed for its first invoice. Whether it is void
    by that; not while an attempt's outcome is open or a person is to decide about it."""
    unpaid = Invoice.objects.select_for_update(no_key=True).filter(subscription=subscription, state__in=CLOSABLE)
    invoice = unpaid.first()
    if invoice is None:
        return False
    attempts = [AttemptState(state) for state in invoice.attempts.values_list("state", flat=True)]
    proposed = invoice.proposals.filter(outcome=ProposalOutcome.OPEN.value).exists()
    if invoice.hold is not None or proposed or not may_be_charged_again(attempts):
        return False
    detail = {"invoice": invoice.public_id, "way": ProposalKind.VOID.value}
    close_invoice(
        invoice, InvoiceState.VOID, state_reason=state_reason, reason=reason, actor=actor, now=now, detail=detail
    )
    return True


def _first_invoice(subscription: Subscription, now: datetime) -> opening.NewInvoice:
    name = subscription.plan.name
    return opening.NewInvoice(
        public_id=new_id("inv", now),
        account_id=subscription.account_id,
        customer_id=subscription.customer_id,
        subscription_id=subscription.pk,
        period_index=0,
        state=InvoiceState.OPEN.value,
        state_reason="",
        description=name,
        lines=json.dumps([{"description": name, "quantity": 1, "amount_minor": subscription.amount_minor}]),
        amount_minor=subscription.amount_minor,
        currency=subscription.currency,
        due_at=now,
        next_attempt_at=now,
        hold=None,
        closed_at=None,
    )
