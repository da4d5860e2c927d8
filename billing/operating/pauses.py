"""Accounts that charge nothing although something of theirs is due, in sentences for the operator."""

from datetime import datetime

from django.db.models import Exists, OuterRef

from billing.domain.pacing import PaceState
from billing.models import AccountPace, GatewayAccount, Invoice

PAUSED = (PaceState.OPEN.value, PaceState.HALF_OPEN.value, PaceState.HELD.value)


def sentences(now: datetime) -> list[str]:
    """One for each account that is stopped, pauses by itself or waits for a person while invoices are due."""
    due = Exists(Invoice.objects.filter(account_id=OuterRef("pk"), next_attempt_at__lte=now))
    stopped = GatewayAccount.objects.filter(due, stopped_at__isnull=False).order_by("pk")
    lines = [
        f"account {one.public_id} was stopped by {one.stopped_by} while invoices are due: {one.stopped_reason}"
        for one in stopped
    ]
    due = Exists(Invoice.objects.filter(account_id=OuterRef("account_id"), next_attempt_at__lte=now))
    paused = AccountPace.objects.filter(due, state__in=PAUSED, account__stopped_at=None).order_by("pk")
    return lines + [f"account {one.account.public_id} {words(one)}" for one in paused.select_related("account")]


def words(pace: AccountPace) -> str:
    """What the account does, and why; empty while it charges."""
    if pace.state == PaceState.HELD:
        return f"needs review: {pace.reason}"
    if pace.state in PAUSED:
        return f"is paused and retries automatically: {pace.reason}"
    return ""
