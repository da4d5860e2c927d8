"""remind: once a day, by the clocks of the account, the merchant's system hears of each case that still waits, and of
each proposal that waits for another person."""

from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import Exists, OuterRef

from billing.charging.cases import approvals
from billing.models import Event, GatewayAccount, Proposal, waiting_proposals
from billing.models.bulk import holding
from billing.models.bulk.history import NewEvent, record_events
from billing.operating import troubles

KIND = "attempt.still_needs_review"
STILL_PROPOSED = "proposal.still_waiting"
BATCH = 500


def remind(*, now: datetime) -> int:
    """Writes the events of today that are not written yet; how many there were. One account never holds up another.

    The day on which an attempt came to a person has the event `attempt.needs_review`, and that on which something was
    proposed `proposal.created`; reminders begin the next day. One a day for each, by `an_event_is_told_once`, however
    many do this at the same time. What is being decided just now is locked, and left for the next time."""
    written = 0
    for account in GatewayAccount.objects.only("id", "time_zone").order_by("pk"):
        with troubles.isolated(account.pk, "remind", lambda: now):
            written += _of_account(account, now)
    return written


def _of_account(account: GatewayAccount, now: datetime) -> int:
    zone = ZoneInfo(account.time_zone)
    today = now.astimezone(zone).date()
    midnight = datetime.combine(today, time.min, zone)
    return _cases(account, today, midnight, now) + _proposals(account, today, midnight, now)


def _cases(account: GatewayAccount, today: date, midnight: datetime, now: datetime) -> int:
    recorded = 0
    while True:
        with transaction.atomic():
            cases = holding.cases_to_remind(
                account.pk, before=midnight, kind=KIND, occasion=today.isoformat(), limit=BATCH
            )
            if cases:
                _record_reminders(cases, today.isoformat(), now)
        recorded += len(cases)
        if len(cases) < BATCH:
            return recorded


def _proposals(account: GatewayAccount, today: date, midnight: datetime, now: datetime) -> int:
    occasion = today.isoformat()
    recorded_today = Event.objects.filter(
        kind=STILL_PROPOSED, subject_type="proposal", subject_id=OuterRef("pk"), occasion=occasion
    )
    waiting = waiting_proposals().filter(~Exists(recorded_today), account=account, proposed_at__lt=midnight)
    waiting = waiting.select_related("attempt", "invoice", "payment_method").defer("attempt__request_body")
    waiting = waiting.select_for_update(of=("self",), no_key=True, skip_locked=True)
    recorded = 0
    while True:
        with transaction.atomic():
            found = list(waiting.all()[:BATCH])
            record_events([_reminder(one, occasion) for one in found], now=now)
        recorded += len(found)
        if len(found) < BATCH:
            return recorded


def _reminder(proposal: Proposal, occasion: str) -> NewEvent:
    return NewEvent(
        account_id=proposal.account_id,
        kind=STILL_PROPOSED,
        subject_type="proposal",
        subject_id=proposal.pk,
        occasion=occasion,
        payload=approvals.details_of(proposal),
    )


def _record_reminders(cases: list[holding.OpenCase], occasion: str, now: datetime) -> None:
    found = holding.held_up([case.card_id for case in cases], now=now)
    events = []
    for case in cases:
        payload = {
            "attempt": case.attempt,
            "invoice": case.invoice,
            "reason": case.reason,
            "amount_minor": case.amount_minor,
            "currency": case.currency,
            "since": case.since.isoformat(),
            **holding.payload_of(case.card_id, found),
        }
        events.append(
            NewEvent(
                account_id=case.account_id,
                kind=KIND,
                subject_type="attempt",
                subject_id=case.attempt_id,
                occasion=occasion,
                payload=payload,
            )
        )
    record_events(events, now=now)
