"""remind: once a day, by the clocks of the account, the merchant's system hears of each case that still waits."""

import json
from datetime import datetime, time
from zoneinfo import ZoneInfo

from django.db import transaction

from billing.ids import new_id
from billing.models import GatewayAccount
from billing.models.bulk import holding, sql

KIND = "attempt.still_needs_human"
BATCH = 500


def remind(*, now: datetime) -> int:
    """Writes the events of today that are not written yet; how many there were.

    The day on which an attempt came to a person has the event `attempt.needs_human`; reminders begin the next day.
    One a day a case, by `an_event_is_told_once`, however many do this at the same time."""
    return sum(_of_account(account, now) for account in GatewayAccount.objects.only("id", "time_zone").order_by("pk"))


def _of_account(account: GatewayAccount, now: datetime) -> int:
    zone = ZoneInfo(account.time_zone)
    today = now.astimezone(zone).date()
    midnight = datetime.combine(today, time.min, zone)
    told = 0
    while True:
        with transaction.atomic():
            cases = holding.cases_to_remind(
                account.pk, before=midnight, kind=KIND, occasion=today.isoformat(), limit=BATCH
            )
            if cases:
                _tell(cases, today.isoformat(), now)
        told += len(cases)
        if len(cases) < BATCH:
            return told


def _tell(cases: list[holding.OpenCase], occasion: str, now: datetime) -> None:
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
            **holding.told_of(case.card_id, found),
        }
        events.append(
            sql.NewEvent(
                new_id("evt", now), case.account_id, KIND, "attempt", case.attempt_id, occasion, json.dumps(payload)
            )
        )
    sql.insert_events(events, now=now)
