"""open: an invoice for every period that has fallen due, and the subscription's next due date, in one commit.

1. Claim due subscriptions, earliest first, skipping what another worker holds.
2. Work out, from the anchor, which occurrences are due, and what the catch-up policy says of the missed ones.
3. Insert an invoice each (a skipped period is a void invoice) and advance the subscriptions.
"""

import json
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from billing import doorbell
from billing.domain.catch_up import CatchUp, Planned, Treatment, plan
from billing.domain.schedules import Interval, Occurrence, Schedule, ScheduleEndedError, following
from billing.domain.subscriptions import Hold, InvoiceState, SubscriptionState
from billing.ids import new_id
from billing.models.bulk import opening
from billing.models.bulk.sql import NewTransition, insert_transitions

BATCH = 200
MOST_PERIODS_AT_ONCE = 60  # of one subscription in one batch; the rest follow in the next


@dataclass(slots=True)
class Opened:
    subscriptions: int = 0
    invoices: int = 0
    skipped: int = 0


def open_due(*, now: datetime, limit: int = BATCH) -> Opened:
    """Opens what is due at `now` for at most `limit` subscriptions."""
    with transaction.atomic(durable=True):
        return _open(opening.claim_due(now, limit), now)


def open_before_ending(*, subscription_id: int, now: datetime) -> bool:
    """Opens what fell due of a running subscription that is about to be paused or ended, inside the caller's
    transaction: a period that was due before is owed, however late it is opened. Whether there was any."""
    opened = False
    while _open(opening.claim_of(subscription_id, now), now).subscriptions:
        opened = True
    return opened


def _open(due: list[opening.DueSubscription], now: datetime) -> Opened:
    if not due:
        return Opened()
    occurrences = {one.id: _due_occurrences(one, now) for one in due}
    behind = [pk for pk, found in occurrences.items() if len(found) > 1]
    waiting = opening.waiting_invoices(behind) if behind else {}
    invoices: list[opening.NewInvoice] = []
    advances: list[opening.Advance] = []
    for one in due:
        planned = _planned(one, occurrences[one.id], now=now, waiting=waiting.get(one.id, 0))
        invoices += [_invoice(one, one.period_index + n, step, now) for n, step in enumerate(planned)]
        advances.append(_advance(one, planned, occurrences[one.id]))
    ids = opening.insert_invoices(invoices, now=now)
    opening.advance_subscriptions(advances)
    insert_transitions(_transitions(due, advances, invoices, ids), actor="engine", now=now)
    doorbell.ring_on_commit(doorbell.COLLECT)
    skipped = sum(invoice.state == InvoiceState.VOID for invoice in invoices)
    return Opened(subscriptions=len(due), invoices=len(invoices), skipped=skipped)


def _due_occurrences(one: opening.DueSubscription, now: datetime) -> list[Occurrence]:
    """The occurrences due by `now`, at most `MOST_PERIODS_AT_ONCE`; the first is the one on the row."""
    schedule = _schedule(one)
    found = [Occurrence(one.occurrence, one.next_due_at)]
    while len(found) < MOST_PERIODS_AT_ONCE:
        try:
            later = following(schedule, found[-1].index)
        except ScheduleEndedError:
            break
        if later.due_at > now:
            break
        found.append(later)
    return found


def _planned(one: opening.DueSubscription, due: list[Occurrence], *, now: datetime, waiting: int) -> list[Planned]:
    """The periods to open; the list ends when the repetitions are reached."""
    more = len(due) == MOST_PERIODS_AT_ONCE
    planned = plan(CatchUp(one.catch_up), due, now=now, already_waiting=waiting, more_follow=more)
    if one.repetitions is None:
        return planned
    left = one.repetitions - one.periods_charged
    kept: list[Planned] = []
    for step in planned:
        if left <= 0:
            break
        kept.append(step)
        left -= step.treatment is not Treatment.SKIP
    return kept


def _advance(one: opening.DueSubscription, planned: list[Planned], due: list[Occurrence]) -> opening.Advance:
    charged = one.periods_charged + sum(step.treatment is not Treatment.SKIP for step in planned)
    over = one.repetitions is not None and charged >= one.repetitions
    last = planned[-1].occurrence if planned else due[-1]
    try:
        later = None if over else following(_schedule(one), last.index)
    except ScheduleEndedError:
        later = None
    state = SubscriptionState.ACTIVE.value if one.state == SubscriptionState.TRIALING else one.state
    return opening.Advance(
        id=one.id,
        state=state,
        occurrence=later.index if later else last.index,
        next_due_at=later.due_at if later else None,
        period_index=one.period_index + len(planned),
        periods_charged=charged,
    )


def _invoice(one: opening.DueSubscription, index: int, step: Planned, now: datetime) -> opening.NewInvoice:
    skipped = step.treatment is Treatment.SKIP
    line = {"description": one.plan_name, "quantity": 1, "amount_minor": one.amount_minor}
    return opening.NewInvoice(
        public_id=new_id("inv", now),
        account_id=one.account_id,
        customer_id=one.customer_id,
        subscription_id=one.id,
        period_index=index,
        state=InvoiceState.VOID.value if skipped else InvoiceState.OPEN.value,
        state_reason="skipped" if skipped else "",
        description=one.plan_name,
        lines=json.dumps([line]),
        amount_minor=one.amount_minor,
        currency=one.currency,
        due_at=step.occurrence.due_at,
        next_attempt_at=step.collect_at,
        hold=Hold.CATCH_UP.value if step.treatment is Treatment.ASK else None,
        closed_at=now if skipped else None,
    )


def _transitions(
    due: list[opening.DueSubscription],
    advances: list[opening.Advance],
    invoices: list[opening.NewInvoice],
    ids: list[int],
) -> list[NewTransition]:
    rows = [
        NewTransition(
            invoice.account_id, "invoice", invoice_id, "", invoice.state, invoice.state_reason or "period_due", None
        )
        for invoice, invoice_id in zip(invoices, ids, strict=True)
    ]
    rows += [
        NewTransition(before.account_id, "subscription", before.id, before.state, after.state, "trial_over", None)
        for before, after in zip(due, advances, strict=True)
        if before.state != after.state
    ]
    return rows


def _schedule(one: opening.DueSubscription) -> Schedule:
    return Schedule(Interval(one.interval), one.target, one.anchor_date, one.every, one.charge_time, one.time_zone)
