"""The start page: first what needs a person, then today, then what comes next.

Every query goes by an index. An attempt's id carries the time it was started, so "today" is a range of ids."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Count, Exists, F, OuterRef, Q, Sum
from django.http import HttpRequest

from billing.admin import quarantine
from billing.admin.accounts import InstallationAdmin, stop_notice
from billing.admin.late_money import KIND_WORDS
from billing.admin.toolkit import tables
from billing.admin.toolkit.actions import Button
from billing.admin.toolkit.formats import NOTHING, Label, age, link, list_of, moment, money, page_of, words
from billing.admin.toolkit.pages import Cell, Table, Words
from billing.admin.toolkit.search import id_floor
from billing.admin.webhooks import disabled_endpoints
from billing.charging.cases.holds import to_go_on_without
from billing.domain.attempts import UNRESOLVED, AttemptState
from billing.domain.closing import CLOSABLE
from billing.domain.late_money import FoundKind
from billing.domain.money import display
from billing.domain.reason_words import reason_words
from billing.domain.refunds import RefundState
from billing.domain.subscriptions import Hold, InvoiceState, SubscriptionState
from billing.models import (
    FoundPayment,
    GatewayAccount,
    Heartbeat,
    Installation,
    Invoice,
    PaymentAttempt,
    PaymentMethod,
    Proposal,
    Refund,
    Subscription,
    waiting_proposals,
)
from billing.models.clock import database_now
from billing.operating import health

ATTENTION = [AttemptState.NEEDS_REVIEW.value, AttemptState.UNKNOWN.value, AttemptState.IN_PROCESS.value]
# What stops an invoice that was to be charged by itself, and leaves it to whoever looks here.
HELD_FOR_A_PERSON = sorted({Hold.PRICE_JUMPED, Hold.ALWAYS_REFUSED, Hold.REVERSED, Hold.SUBSCRIPTION_CANCELED})
LISTED = 8
# Attempts that were started so long before today's midnight are still looked at for money that arrived today.
LATE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Tile:
    name: str
    value: str
    more: str
    url: str
    colour: str = ""


@dataclass(frozen=True, slots=True)
class Today:
    """From midnight to midnight by the clocks of the accounts of one time zone."""

    accounts: tuple[int, ...]
    starts_at: datetime
    ends_at: datetime


def days_of(accounts: list[GatewayAccount], now: datetime) -> list[Today]:
    """Today, once for each time zone."""
    zones: dict[str, list[int]] = {}
    for account in accounts:
        zones.setdefault(account.time_zone, []).append(account.pk)
    found = []
    for zone, keys in zones.items():
        day = now.astimezone(ZoneInfo(zone)).date()
        midnight = datetime.combine(day, time.min, ZoneInfo(zone))
        tomorrow = datetime.combine(day + timedelta(days=1), time.min, ZoneInfo(zone))
        found.append(Today(tuple(keys), midnight, tomorrow))
    return found


def start_page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the theme's start page shows; called by the theme."""
    user: Any = request.user
    if not (user.has_perm("billing.view_paymentattempt") and user.has_perm("billing.view_invoice")):
        return {**context, "title": "Dashboard", "sees_money": False}
    now = database_now()
    accounts = list(GatewayAccount.objects.order_by("pk"))
    installation = Installation.objects.get(pk=1)
    state = health.check(now)
    zone = accounts[0].time_zone if accounts else "UTC"
    unresolved = _unresolved()
    buttons = [
        Button(f"{page_of(installation)}{action.name}/", action)
        for action in InstallationAdmin.person_actions
        if action.allowed(request) and action.offered(installation)
    ]
    return {
        **context,
        "title": "Dashboard",
        "sees_money": True,
        "notices": _notices(installation, accounts, state, zone),
        "tiles": _tiles(state, unresolved["waiting"], days_of(accounts, now)),
        "main": [_attention(zone), *_also_waiting(zone), *_unpaid(), _next_due(now, zone)],
        "side": [_workers(state, now), _switches(installation, accounts)],
        "buttons": buttons,
    }


def _unresolved() -> Mapping[str, int]:
    rows = PaymentAttempt.objects.filter(state__in=_values(UNRESOLVED), released_at__isnull=True)
    waiting = Count("pk", filter=Q(state__in=[AttemptState.UNKNOWN.value, AttemptState.IN_PROCESS.value]))
    return rows.aggregate(waiting=waiting)


def _values(states: frozenset[AttemptState]) -> list[str]:
    return sorted(state.value for state in states)


def _notices(
    installation: Installation, accounts: list[GatewayAccount], state: health.Health, zone: str
) -> list[Words]:
    notices = stop_notice(installation, zone)
    for account in accounts:
        notices += quarantine.notice(account)
        notices += stop_notice(account, account.time_zone)
    silent = state.silent_queues
    notices += disabled_endpoints()
    notices += [
        Words(f"{one[:1].upper()}{one[1:]}.", "warning")
        for one in state.problems
        if not one.startswith("queue") and " has been in quarantine since " not in one
    ]
    if len(silent) == len(health.QUEUES):
        notices.append(Words("No worker is running. Nothing is charged until one starts.", "danger"))
    elif silent:
        notices.append(Words(f"No heartbeat for a minute from: {', '.join(silent)}.", "warning"))
    if not accounts:
        notices.append(Words("No accounts yet. Open one under Accounts to start.", "info"))
    return notices


def _tiles(state: health.Health, waiting: int, days: list[Today]) -> list[Tile]:
    with_a_person = state.with_a_person
    due, due_sum = _due_today(days)
    paid, paid_sum, declined, declined_sum = _settled_today(days)
    invoices, attempts = list_of(Invoice), list_of(PaymentAttempt)
    return [
        Tile(
            "Needs review",
            str(with_a_person),
            "waiting for your decision" if with_a_person else "nothing to review",
            f"{attempts}?state__exact=needs_review",
            "danger" if with_a_person else "",
        ),
        Tile(
            "Unknown",
            str(waiting),
            "being checked with the gateway" if waiting else "all outcomes are known",
            f"{attempts}?state__exact=unknown",
            "warning" if waiting else "",
        ),
        Tile("Still due today", str(due), due_sum, f"{invoices}?state__exact=open"),
        Tile("Paid today", str(paid), paid_sum, f"{attempts}?state__exact=succeeded"),
        Tile("Declined today", str(declined), declined_sum, f"{attempts}?state__exact=declined"),
    ]


def _due_today(days: list[Today]) -> tuple[int, str]:
    """Periods that fall due, and invoices that are tried, until midnight."""
    subscriptions, invoices = Q(pk__in=[]), Q(pk__in=[])
    for day in days:
        subscriptions |= Q(account_id__in=day.accounts, next_due_at__lt=day.ends_at)
        invoices |= Q(account_id__in=day.accounts, next_attempt_at__lt=day.ends_at)
    sums = {"many": Count("pk"), "minor": Sum("amount_minor")}
    opening = Subscription.objects.filter(subscriptions).aggregate(**sums)
    trying = Invoice.objects.filter(invoices).aggregate(**sums)
    minor = (opening["minor"] or 0) + (trying["minor"] or 0)
    return opening["many"] + trying["many"], display(int(minor), "MYR")


def _settled_today(days: list[Today]) -> tuple[int, str, int, str]:
    """Paid and declined: how many, and how much."""
    if not days:
        return 0, display(0, "MYR"), 0, display(0, "MYR")
    today = Q(pk__in=[])
    for day in days:
        today |= Q(account_id__in=day.accounts, settled_at__gte=day.starts_at, settled_at__lt=day.ends_at)
    floor = id_floor("att", min(day.starts_at for day in days) - LATE)
    sums: dict[str, Any] = {}
    for name, state in (("paid", AttemptState.SUCCEEDED), ("declined", AttemptState.DECLINED)):
        only = Q(state=state.value)
        sums |= {name: Count("pk", filter=only), f"{name}_minor": Sum("amount_minor", filter=only)}
    sums_of_today = PaymentAttempt.objects.filter(today, public_id__gte=floor).aggregate(**sums)
    paid, declined = (display(int(sums_of_today[f"{name}_minor"] or 0), "MYR") for name in ("paid", "declined"))
    return sums_of_today["paid"], paid, sums_of_today["declined"], declined


def _attention(zone: str) -> Table:
    """The oldest attempts that are not resolved, those with a person first."""
    rows = PaymentAttempt.objects.filter(state__in=ATTENTION, released_at__isnull=True)
    found = list(rows.select_related("invoice__customer").defer("request_body").order_by("pk")[: LISTED * 4])
    found.sort(key=lambda attempt: (attempt.state != AttemptState.NEEDS_REVIEW, attempt.pk))
    return tables.attempts(
        found[:LISTED],
        zone,
        title="Unresolved charges",
        empty="No unresolved charges.",
        more=list_of(PaymentAttempt, "state__exact=needs_review"),
    )


def _also_waiting(zone: str) -> list[Table]:
    """What waits for a person without an outcome being open: money to give back, proposals, refunds, found payments,
    invoices that are held, cards that are held or cannot be read; oldest first."""
    surplus = PaymentAttempt.objects.filter(
        state=AttemptState.SURPLUS.value, amount_refunded_minor__lt=F("amount_minor")
    )
    undecided = Refund.objects.filter(state=RefundState.NEEDS_REVIEW.value)
    cases = PaymentAttempt.objects.filter(
        payment_method=OuterRef("pk"), state=AttemptState.NEEDS_REVIEW.value, released_at=None
    )
    held = PaymentMethod.objects.filter(~Exists(cases), held_at__isnull=False).order_by("held_at")
    unreadable = to_go_on_without().order_by("unreadable_at")
    proposed = waiting_proposals().select_related(
        "attempt__invoice__customer", "invoice__customer", "payment_method__customer"
    )
    proposed = proposed.defer("attempt__request_body")
    stopped = Invoice.objects.filter(hold__in=HELD_FOR_A_PERSON, state=InvoiceState.OPEN.value)
    found = FoundPayment.objects.filter(decided_at=None)
    found = found.select_related("attempt__invoice__customer", "invoice__customer")
    found = found.defer("attempt__request_body")
    rows = [
        [Cell(link(one, name)), Cell(what), Cell(moment(since, zone)), Cell(amount, number=True)]
        for one, name, what, since, amount in (
            *(
                (one, one.invoice.customer.name, "overpayment: refund it", one.settled_at, money(one))
                for one in surplus.select_related("invoice__customer").defer("request_body").order_by("pk")[:LISTED]
            ),
            *((one, _proposed_about(one), _proposed_what(one), one.proposed_at, NOTHING) for one in proposed[:LISTED]),
            *(
                (one, one.invoice.customer.name, "refund needs review", one.created_at, money(one))
                for one in undecided.select_related("invoice__customer").order_by("pk")[:LISTED]
            ),
            *(
                (one, _payer(one), KIND_WORDS[FoundKind(one.kind)], one.found_at, money(one))
                for one in found.order_by("pk")[:LISTED]
            ),
            *(
                (one, one.customer.name, _why_held(one), one.due_at, money(one))
                for one in stopped.select_related("customer").order_by("due_at", "pk")[:LISTED]
            ),
            *(
                (one, one.customer.name, f"card on hold: {reason_words(one.held_reason)}", one.held_at, NOTHING)
                for one in held.select_related("customer")[:LISTED]
            ),
            *(
                (one, one.customer.name, "card whose orders the gateway does not show", one.unread_since, NOTHING)
                for one in unreadable.select_related("customer")[:LISTED]
            ),
        )
    ]
    return [Table("Also needs review", ["Customer", "What", "Since", "Amount"], rows, "")] if rows else []


def _why_held(one: Invoice) -> str:
    return f"invoice on hold: {reason_words(one.hold or '')}"


def _proposed_about(one: Proposal) -> str:
    invoice = one.attempt.invoice if one.attempt else one.invoice
    about = invoice or one.payment_method
    return about.customer.name if about else NOTHING


def _proposed_what(one: Proposal) -> str:
    return f"awaiting approval: {words(one.kind)}, proposed by {one.proposed_by}"


def _payer(one: FoundPayment) -> str:
    invoice = one.attempt.invoice if one.attempt else one.invoice
    return invoice.customer.name if invoice else f"transaction {one.gateway_transaction_id}"


def _unpaid() -> list[Table]:
    """Subscriptions that start when their first charge is paid, with what keeps them."""
    waiting = Invoice.objects.filter(
        subscription__state=SubscriptionState.INCOMPLETE.value,
        subscription__first_payment_ends_at__isnull=False,
        state__in=[state.value for state in CLOSABLE],
    ).select_related("subscription__customer")
    rows = [
        [
            Cell(link(one, one.customer.name)),
            Cell(tables.what_is_next(invoice, one.time_zone)),
            Cell(moment(one.first_payment_ends_at, one.time_zone)),
            Cell(money(one), number=True),
        ]
        for invoice in waiting.order_by("subscription__first_payment_ends_at")[:LISTED]
        if (one := invoice.subscription)
    ]
    more = list_of(Subscription, "state__exact=incomplete")
    table = Table("Waiting for a first payment", ["Customer", "Now", "Until", "Amount"], rows, "", more)
    return [table] if rows else []


def _next_due(now: datetime, zone: str) -> Table:
    due = Subscription.objects.filter(next_due_at__isnull=False).select_related("customer", "plan")
    rows = [
        [
            Cell(link(one, one.customer.name)),
            Cell(one.plan.name),
            Cell(moment(one.next_due_at, one.time_zone) if one.next_due_at and one.next_due_at > now else "now"),
            Cell(money(one), number=True),
        ]
        for one in due.order_by("next_due_at")[:LISTED]
    ]
    empty = "Nothing is due: no subscription is running."
    return Table("Next due", ["Customer", "Plan", "Due", "Amount"], rows, empty, list_of(Subscription))


def _workers(state: health.Health, now: datetime) -> Table:
    beats = {beat.queue: beat for beat in Heartbeat.objects.order_by("queue")}
    rows = []
    for queue in sorted({*health.QUEUES, *beats}):
        beat = beats.get(queue)
        silent = queue in state.silent_queues
        label = Label("silent", "danger") if silent else Label("running", "success")
        rows.append([Cell(queue), Cell("", label), Cell(age(beat.beat_at, now) if beat else "never")])
    return Table("Workers", ["Queue", "State", "Heartbeat"], rows, "No workers.", list_of(Heartbeat))


def _switches(installation: Installation, accounts: list[GatewayAccount]) -> Table:
    switches: list[tuple[Any, str]] = [(installation, "Everything"), *((one, one.name) for one in accounts)]
    rows = [
        [
            Cell(link(one, name)),
            Cell("", Label("stopped", "danger") if one.stopped_at else Label("running", "success")),
        ]
        for one, name in switches
    ]
    return Table("Stop switches", ["What", "Switch"], rows, "")
