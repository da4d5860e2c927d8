"""What the demonstration shows, read from PostgreSQL: one row a subscription, in the words of support staff."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from billing.audit.run_counts import RunCounts, Start, count_run
from billing.domain.attempts import AttemptState
from billing.domain.money import display
from billing.domain.reason_words import reason_words
from billing.domain.reasons import Reason
from billing.domain.subscriptions import InvoiceState, SubscriptionState
from billing.models import Invoice, PaymentAttempt, Subscription, Transition
from billing.subscriptions.upcoming import schedule_of

S = AttemptState


@dataclass(frozen=True, slots=True)
class Row:
    """One subscription. Instants are UTC."""

    customer: str
    plan: str
    schedule: str
    amount: str
    state: str
    style: str
    last_attempt_at: datetime | None
    next_due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    at: datetime
    zone: str
    charge_times: str
    counts: RunCounts
    rows: tuple[Row, ...]
    next_due_at: datetime | None


def snapshot(*, account_id: int, zone: str, start: Start, now: datetime) -> Snapshot:
    subscriptions = list(
        Subscription.objects.filter(account_id=account_id).select_related("customer", "plan").order_by("id")
    )
    invoices = {
        invoice.subscription_id: invoice
        for invoice in Invoice.objects.filter(account_id=account_id, subscription__isnull=False)
        .exclude(state=InvoiceState.VOID.value)
        .order_by("period_index")
    }
    attempts = {
        attempt.invoice_id: attempt
        for attempt in PaymentAttempt.objects.filter(invoice__in=invoices.values())
        .only("invoice_id", "state", "checks_done", "armed_at")
        .order_by("number")
    }
    rows = []
    for subscription in subscriptions:
        invoice = invoices.get(subscription.pk)
        attempt = attempts.get(invoice.pk) if invoice else None
        rows.append(_row(subscription, invoice, attempt, now))
    dues = [one.next_due_at for one in subscriptions if one.next_due_at is not None]
    return Snapshot(
        at=now,
        zone=zone,
        charge_times=", ".join(sorted({f"{one.charge_time:%H:%M}" for one in subscriptions})),
        counts=count_run(account_id=account_id, start=start, now=now),
        rows=tuple(rows),
        next_due_at=min(dues, default=None),
    )


def _row(subscription: Subscription, invoice: Invoice | None, attempt: PaymentAttempt | None, now: datetime) -> Row:
    state, style = _state(subscription, invoice, attempt, now)
    return Row(
        customer=subscription.customer.name,
        plan=subscription.plan.name,
        schedule=_schedule(subscription),
        amount=display(subscription.amount_minor, subscription.currency),
        state=state,
        style=style,
        last_attempt_at=attempt.armed_at if attempt else None,
        next_due_at=subscription.next_due_at,
    )


def _schedule(subscription: Subscription) -> str:
    """The rule without time of day and zone, which are the same for all and stand below the table."""
    if subscription.anchor_date is None:
        return ""
    return schedule_of(subscription).describe().partition(" at ")[0]


def _state(
    subscription: Subscription, invoice: Invoice | None, attempt: PaymentAttempt | None, now: datetime
) -> tuple[str, str]:
    if subscription.next_due_at is not None and subscription.next_due_at <= now:
        return "due", "bold"
    if invoice is None:
        trial = subscription.state == SubscriptionState.TRIALING
        return ("on trial" if trial else "not due yet"), "dim"
    if invoice.state == InvoiceState.PAID:
        return "paid", "green"
    if attempt is None:
        return ("needs review", "magenta") if invoice.hold else ("due", "bold")
    return _attempt_words(attempt)


def _attempt_words(attempt: PaymentAttempt) -> tuple[str, str]:
    state = AttemptState(attempt.state)
    match state:
        case S.SENDING:
            return "being charged", "cyan"
        case S.SUCCEEDED:
            return "paid", "green"
        case S.DECLINED:
            return "declined", "red"
        case S.UNKNOWN:
            return f"unknown (check {attempt.checks_done + 1})", "yellow"
        case S.IN_PROCESS:
            return "in process", "yellow"
        case S.NEEDS_REVIEW:
            return "needs review", "magenta"
        case S.NOT_SENT | S.NOT_CHARGED:
            return "not charged", "bold"
        case S.SURPLUS:
            return "overpayment", "magenta"
        case S.REVERSED:
            return "reversed", "magenta"
        case _:
            assert_never(state)


def newest_transition() -> int:
    """Where news begin for somebody who starts to listen now."""
    return Transition.objects.order_by("-id").values_list("id", flat=True).first() or 0


def news(*, account_id: int, after: int) -> tuple[int, list[str]]:
    """Sentences about what happened to attempts after transition number `after`, and the newest number."""
    changes = list(
        Transition.objects.filter(account_id=account_id, subject_type="attempt", id__gt=after).order_by("id")
    )
    names = _customers({change.subject_id for change in changes})
    sentences = [_sentence(change, names.get(change.subject_id, "?")) for change in changes]
    return max((change.pk for change in changes), default=after), [text for text in sentences if text]


def _customers(attempts: Iterable[int]) -> dict[int, str]:
    found = PaymentAttempt.objects.filter(id__in=list(attempts)).values_list("id", "invoice__customer__name")
    return dict(found)


def _sentence(change: Transition, customer: str) -> str:
    """What a change means for the customer; empty for what is as it should be."""
    after, reason = change.to_state, change.reason
    doubtful = change.from_state in (S.UNKNOWN, S.IN_PROCESS)
    if after == S.UNKNOWN:
        why = "its worker is gone" if reason == Reason.SENDER_LOST else "the answer was lost"
        return f"{customer}: {why}; the charge is not repeated, the card's orders are read"
    if after == S.IN_PROCESS:
        return f"{customer}: the gateway has not finished; Kitaran checks again"
    if after == S.NEEDS_REVIEW:
        return f"{customer}: not found at the gateway after the last check; needs review"
    if after == S.DECLINED:
        return f"{customer}: declined ({reason_words(reason)}); retried on the retry days"
    if after == S.SUCCEEDED and doubtful:
        return f"{customer}: the money was taken; found in the card's orders, paid"
    if after in (S.SUCCEEDED, S.SENDING):
        return ""
    return f"{customer}: {after.replace('_', ' ')} ({reason_words(reason)})"
