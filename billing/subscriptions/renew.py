"""open: an invoice for every period that has fallen due, and the subscription's next due date, in one commit.

1. Claim due subscriptions, earliest first, skipping what another worker holds.
2. Work out, from the anchor, which occurrences are due, and what the catch-up policy says of the missed ones.
3. Insert an invoice each (a skipped period is a void invoice) and advance the subscriptions.

A batch that fails is opened one by one: a subscription whose periods cannot be opened gets a note on its row, is left
out of the batches from then on, and is tried again by itself, later and later. A due date that has an invoice already
is not opened again, whatever a clock did.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import InterfaceError, OperationalError, transaction

from billing import doorbell
from billing.domain.catch_up import CatchUp, Planned, Treatment, plan
from billing.domain.reasons import Reason
from billing.domain.schedules import Interval, Occurrence, Schedule, ScheduleEndedError, following
from billing.domain.subscriptions import Hold, InvoiceState, SubscriptionState
from billing.ids import new_id
from billing.models import Subscription
from billing.models.bulk import opening
from billing.models.bulk.history import NewTransition, record_event, record_transitions
from billing.models.bulk.sql import HeldError, durable
from billing.operating.clocks import addresses_not_to_open

logger = logging.getLogger(__name__)

BATCH = 200
MOST_PERIODS_AT_ONCE = 60  # of one subscription in one batch; the rest follow in the next
# What could not be opened is tried again one by one, so that no batch fails for it a second time.
TRIED_AGAIN_AT_ONCE = 50
TRIED_AGAIN_AFTER = timedelta(minutes=1)
TRIED_AGAIN_BY = timedelta(hours=1)
NOT_OPENED = "subscription.not_opened"
ERROR_LENGTH = 300


@dataclass(slots=True)
class Opened:
    """`subscriptions` counts those that were looked at; `failed` are those of them that could not be opened."""

    subscriptions: int = 0
    invoices: int = 0
    skipped: int = 0
    failed: int = 0

    def add(self, other: "Opened") -> None:
        self.subscriptions += other.subscriptions
        self.invoices += other.invoices
        self.skipped += other.skipped
        self.failed += other.failed


def open_due(*, now: datetime, limit: int = BATCH) -> Opened:
    """Opens what is due at `now` for at most `limit` subscriptions, but nothing where the clock may be wrong."""
    not_to_open = addresses_not_to_open(now)
    try:
        opened = _open_batch(now, limit, not_to_open)
    except (OperationalError, InterfaceError):
        raise
    except HeldError:
        opened = _open_each(opening.due_ids(now, limit, not_to_open=not_to_open), now)
    except Exception as error:  # noqa: BLE001  (one subscription must not hold up the others)
        logger.warning("open: a batch failed (%s); opening separately", type(error).__name__)
        opened = _open_each(opening.due_ids(now, limit, not_to_open=not_to_open), now)
    again = _open_each(opening.again_ids(now, TRIED_AGAIN_AT_ONCE, not_to_open=not_to_open), now)
    opened.invoices += again.invoices
    opened.skipped += again.skipped
    opened.failed += again.failed
    return opened


def _open_batch(now: datetime, limit: int, not_to_open: Sequence[str]) -> Opened:
    with durable():
        found = opening.claim_due(now, limit, not_to_open=not_to_open)
        return _open(found, now)


def _open_each(subscription_ids: Sequence[int], now: datetime) -> Opened:
    opened = Opened()
    for subscription_id in subscription_ids:
        try:
            with durable():
                one = _open_carefully(opening.claim_alone(subscription_id, now), now)
            opened.add(one)  # once it is committed
        except (OperationalError, InterfaceError):
            raise
        except HeldError:
            logger.warning("open: rows of subscription %s are locked; it stays due", subscription_id)
        except Exception as error:
            logger.exception("open: subscription %s could not be opened", subscription_id)
            with durable():
                _note(subscription_id, error, now)
            opened.subscriptions += 1
            opened.failed += 1
    return opened


def open_before_ending(*, subscription_id: int, now: datetime) -> bool:
    """Opens what fell due of a running subscription that is about to be paused or ended, inside the caller's
    transaction: a period that was due before is owed, however late it is opened. Whether there was any.

    What cannot be opened does not keep the subscription from ending; it is noted."""
    opened = False
    try:
        with transaction.atomic():
            while _open_carefully(opening.claim_of(subscription_id, now), now).subscriptions:
                opened = True
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        logger.exception("open: subscription %s ends, and what was due before could not be opened", subscription_id)
        _note(subscription_id, error, now)
        return True
    return opened


def _open_carefully(due: list[opening.DueSubscription], now: datetime) -> Opened:
    """Opens one subscription, but for due dates that have an invoice already: a clock had stepped forward once."""
    if not due:
        return Opened()
    (one,) = due
    occurrences = _due_occurrences(one, now)
    before = opening.opened_before(one.id, [occurrence.due_at for occurrence in occurrences])
    opened = _open(due, now, opened_before=before)
    record_transitions(
        [
            NewTransition(
                account_id=one.account_id,
                subject_type="subscription",
                subject_id=one.id,
                from_state=one.state,
                to_state=one.state,
                reason=f"opened before: {due_at.isoformat()}",
            )
            for due_at in sorted(before)
        ],
        actor="engine",
        now=now,
    )
    opening.forget_failure(one.id)
    return opened


def _note(subscription_id: int, error: Exception, now: datetime) -> None:
    text = f"{type(error).__name__}: {error}".splitlines()[0].replace("\x00", "")[:ERROR_LENGTH]
    first = opening.note_failed(subscription_id, text, now=now, least=TRIED_AGAIN_AFTER, most=TRIED_AGAIN_BY)
    if first:
        subscription = Subscription.objects.only("public_id", "account_id").get(pk=subscription_id)
        record_event(
            account_id=subscription.account_id,
            kind=NOT_OPENED,
            subject_type="subscription",
            subject_id=subscription_id,
            occasion=now.isoformat(),
            payload={"subscription": subscription.public_id, "error": text},
            now=now,
        )


def _open(
    due: list[opening.DueSubscription],
    now: datetime,
    *,
    opened_before: set[datetime] | frozenset[datetime] = frozenset(),
) -> Opened:
    """Opens all of them. `opened_before` are due dates of the one subscription of `due` that are left out."""
    if not due:
        return Opened()
    occurrences = {one.id: _due_occurrences(one, now) for one in due}
    behind = [pk for pk, found in occurrences.items() if len(found) > 1]
    waiting = opening.waiting_invoices(behind) if behind else {}
    invoices: list[opening.NewInvoice] = []
    advances: list[opening.Advance] = []
    for one in due:
        new = [occurrence for occurrence in occurrences[one.id] if occurrence.due_at not in opened_before]
        more = len(occurrences[one.id]) == MOST_PERIODS_AT_ONCE
        planned = _planned(one, new, now=now, waiting=waiting.get(one.id, 0), more_follow=more)
        invoices += [_invoice(one, one.period_index + n, step, now) for n, step in enumerate(planned)]
        advances.append(_advance(one, planned, occurrences[one.id]))
    ids = opening.insert_invoices(invoices, now=now)
    opening.advance_subscriptions(advances)
    record_transitions(_transitions(due, advances, invoices, ids), actor="engine", now=now)
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


def _planned(
    one: opening.DueSubscription, due: list[Occurrence], *, now: datetime, waiting: int, more_follow: bool
) -> list[Planned]:
    """The periods to open; the list ends when the repetitions are reached."""
    planned = plan(CatchUp(one.catch_up), due, now=now, already_waiting=waiting, more_follow=more_follow)
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
        state_reason=Reason.SKIPPED if skipped else "",
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
            account_id=invoice.account_id,
            subject_type="invoice",
            subject_id=invoice_id,
            from_state="",
            to_state=invoice.state,
            reason=invoice.state_reason or Reason.PERIOD_DUE,
        )
        for invoice, invoice_id in zip(invoices, ids, strict=True)
    ]
    rows += [
        NewTransition(
            account_id=before.account_id,
            subject_type="subscription",
            subject_id=before.id,
            from_state=before.state,
            to_state=after.state,
            reason=Reason.TRIAL_OVER,
        )
        for before, after in zip(due, advances, strict=True)
        if before.state != after.state
    ]
    return rows


def _schedule(one: opening.DueSubscription) -> Schedule:
    return Schedule(Interval(one.interval), one.target, one.anchor_date, one.every, one.charge_time, one.time_zone)
