"""How the admin says things: states in words that support staff can say, money, moments, cards, schedules."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib.admin import display
from django.db.models import Model, OuterRef, QuerySet, Subquery
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.domain.attempts import AttemptState, Verdict
from billing.domain.checkouts import CheckoutState
from billing.domain.decisions import Decision
from billing.domain.money import display as display_money
from billing.domain.pacing import PaceState
from billing.domain.reason_words import reason_words
from billing.domain.reasons import Reason
from billing.domain.recurrence import Recurrence
from billing.domain.refunds import RefundEnd, RefundState, RefundVerdict
from billing.domain.resolution import ProposalOutcome
from billing.domain.schedules import Interval
from billing.domain.subscriptions import CardState, InvoiceState, SubscriptionState
from billing.domain.webhooks import DeliveryState, EndpointState
from billing.models import (
    Customer,
    Evidence,
    GatewayAccount,
    PaymentAttempt,
    PaymentMethod,
    Plan,
    RefundEvidence,
    Subscription,
    Transition,
)

NOTHING = "—"
GOOD, BAD, CARE, NEWS, QUIET = "success", "danger", "warning", "info", ""


@dataclass(frozen=True, slots=True)
class Label:
    """A state in words, and the theme's colour for it (one of the five above)."""

    text: str
    colour: str = QUIET


SUBSCRIPTION_LABELS: Mapping[str, Label] = {
    SubscriptionState.INCOMPLETE: Label("waiting for a card", CARE),
    SubscriptionState.TRIALING: Label("in trial", NEWS),
    SubscriptionState.ACTIVE: Label("active", GOOD),
    SubscriptionState.PAST_DUE: Label("past due", BAD),
    SubscriptionState.PAUSED: Label("paused", CARE),
    SubscriptionState.CANCELED: Label("cancelled"),
    SubscriptionState.COMPLETED: Label("completed"),
    SubscriptionState.EXPIRED: Label("expired unpaid"),
}
# What an incomplete subscription waits for that has a card.
FIRST_PAYMENT = "first_payment"
STANDING_LABELS: Mapping[str, Label] = {**SUBSCRIPTION_LABELS, FIRST_PAYMENT: Label("waiting for payment", CARE)}
INVOICE_LABELS: Mapping[str, Label] = {
    InvoiceState.OPEN: Label("open", NEWS),
    InvoiceState.PAID: Label("paid", GOOD),
    InvoiceState.UNCOLLECTIBLE: Label("uncollectible", BAD),
    InvoiceState.VOID: Label("void"),
}
ATTEMPT_LABELS: Mapping[str, Label] = {
    AttemptState.SENDING: Label("being sent", NEWS),
    AttemptState.SUCCEEDED: Label("paid", GOOD),
    AttemptState.DECLINED: Label("declined", BAD),
    AttemptState.NOT_SENT: Label("not sent"),
    AttemptState.IN_PROCESS: Label("in process", NEWS),
    AttemptState.UNKNOWN: Label("unknown", CARE),
    AttemptState.NOT_CHARGED: Label("not charged"),
    AttemptState.NEEDS_REVIEW: Label("needs review", BAD),
    AttemptState.SURPLUS: Label("overpayment", CARE),
    AttemptState.REVERSED: Label("reversed by the bank", BAD),
}
REFUND_LABELS: Mapping[str, Label] = {
    RefundState.REQUESTED: Label("requested", NEWS),
    RefundState.SENDING: Label("being sent", NEWS),
    RefundState.SUCCEEDED: Label("refunded", GOOD),
    RefundState.REFUSED: Label("refused by the gateway", BAD),
    RefundState.NOT_SENT: Label("not sent"),
    RefundState.UNKNOWN: Label("unknown", CARE),
    RefundState.NOT_REFUNDED: Label("not refunded"),
    RefundState.NEEDS_REVIEW: Label("needs review", BAD),
}
CHECKOUT_LABELS: Mapping[str, Label] = {
    CheckoutState.CREATING: Label("being made", NEWS),
    CheckoutState.OPEN: Label("open", NEWS),
    CheckoutState.PAID: Label("paid", GOOD),
    CheckoutState.CLOSED: Label("closed"),
}
CARD_LABELS: Mapping[str, Label] = {
    CardState.PENDING: Label("awaiting customer", CARE),
    CardState.ACTIVE: Label("active", GOOD),
    CardState.INACTIVE: Label("inactive", BAD),
    CardState.FAILED: Label("failed", BAD),
    CardState.REVOKED: Label("revoked"),
}
PROPOSAL_LABELS: Mapping[str, Label] = {
    ProposalOutcome.OPEN: Label("awaiting approval", CARE),
    ProposalOutcome.CONFIRMED: Label("confirmed", GOOD),
    ProposalOutcome.REJECTED: Label("rejected", BAD),
    ProposalOutcome.OVERTAKEN: Label("superseded"),
}
ENDPOINT_LABELS: Mapping[str, Label] = {
    EndpointState.ACTIVE: Label("active", GOOD),
    EndpointState.PAUSED: Label("paused", CARE),
    EndpointState.DISABLED: Label("disabled", BAD),
    EndpointState.DELETED: Label("deleted"),
}
DELIVERY_LABELS: Mapping[str, Label] = {
    DeliveryState.PENDING: Label("pending", NEWS),
    DeliveryState.DELIVERED: Label("delivered", GOOD),
    DeliveryState.FAILED: Label("failed", BAD),
    DeliveryState.CANCELED: Label("canceled"),
}
SWITCH_LABELS: Mapping[str, Label] = {"running": Label("running", GOOD), "stopped": Label("stopped", BAD)}
PACE_LABELS: Mapping[str, Label] = {
    PaceState.CLOSED: Label("charging", GOOD),
    PaceState.OPEN: Label("paused automatically", CARE),
    PaceState.HALF_OPEN: Label("testing with one charge", CARE),
    PaceState.HELD: Label("needs review", BAD),
}
LABELS: Mapping[str, Mapping[str, Label]] = {
    "subscription": SUBSCRIPTION_LABELS,
    "invoice": INVOICE_LABELS,
    "attempt": ATTEMPT_LABELS,
    "refund": REFUND_LABELS,
    "checkout": CHECKOUT_LABELS,
    "card": CARD_LABELS,
    "proposal": PROPOSAL_LABELS,
    "account": SWITCH_LABELS,
    "pace": PACE_LABELS,
    "installation": SWITCH_LABELS,
    "webhook_endpoint": ENDPOINT_LABELS,
}


def words(code: str) -> str:
    """`card_not_active` as `card not active`."""
    return code.replace("_", " ")


# What says no more than the state beside it.
_SAYS_NOTHING = frozenset({"", Reason.ARMED, Reason.PAID, Reason.REFUNDED, Reason.SUCCESS})


def why_words(reason: str) -> str:
    """Why, in words; "" where the state says it all."""
    return "" if reason in _SAYS_NOTHING else reason_words(reason)


def why_of_evidence(row: Evidence | RefundEvidence) -> str:
    """Why, in words; of a person's decision who decided, and in which words."""
    if row.reason in (Reason.DECIDED_BY_PERSON, RefundEnd.WITHDRAWN):
        decided = Decision.of(row.content)
        first = f" (proposed by {decided.proposed_by})" if decided.proposed_by else ""
        return f"{decided.actor}{first}: {decided.reason}"
    return why_words(row.reason) if row.reason != row.verdict else ""


VERDICTS: Mapping[str, str] = {
    Verdict.UNCLEAR: "unclear: the outcome is unknown",
    Verdict.ABSENT: "not found yet",
    Verdict.ABSENT_AT_LAST: "not found at RM",
    Verdict.ABSENT_FOR_LONG: "not found at RM for the set time",
    Verdict.CONTRADICTION: "does not match",
    Verdict.PERSON_NOT_CHARGED: "not charged",
    RefundVerdict.ARMED: "started",
    RefundVerdict.CANNOT: "cannot be sent",
    RefundVerdict.UNCHANGED: "no change at RM",
    RefundVerdict.NOTHING_AT_LAST: "no refund found at RM",
    RefundVerdict.PERSON_NOT_REFUNDED: "not refunded",
}


def verdict_words(verdict: str) -> str:
    """What a piece of evidence shows, in words."""
    return VERDICTS.get(verdict, words(verdict))


def quoted(text: str) -> str:
    """What a person wrote, in quotation marks and with a full stop."""
    return f"“{text}”" if text[-1:] in tuple(".!?…") else f"“{text}.”"


def age(at: datetime, now: datetime) -> str:
    """`12 s ago`, `3 min ago`, `2 h ago`, `5 days ago`."""
    seconds = max(int((now - at).total_seconds()), 0)
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def with_zone(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Adds the account's time zone as `zone` to rows that have no foreign key to it."""
    accounts = GatewayAccount.objects.filter(pk=OuterRef("account_id"))
    found: QuerySet[Any] = rows.annotate(zone=Subquery(accounts.values("time_zone")[:1]))
    return found


def state_words(subject_type: str, state: str) -> str:
    """The state of a transition in words; what is no state of the subject is only made readable."""
    label = LABELS.get(subject_type, {}).get(state)
    return label.text if label else words(state)


def change_words(row: Transition) -> str:
    """A change of state in words: `open → paid`, or just `open` for what began so; `changed` where the state stands.
    An attempt whose state stands has evidence against it."""
    to = state_words(row.subject_type, row.to_state)
    if row.subject_type == "attempt" and row.from_state == row.to_state:
        return f"{to}, contradicted"
    if row.from_state == row.to_state:
        return "changed"
    return f"{state_words(row.subject_type, row.from_state)} → {to}" if row.from_state else to


def state_column(
    labels: Mapping[str, Label], read: Callable[[Any], str] = lambda row: str(row.state), description: str = "State"
) -> Callable[[Any, Any], tuple[str, str]]:
    """A list column that shows a state as the theme's coloured label."""

    @display(description=description)
    def column(_: Any, row: Any) -> tuple[str, str]:
        state = read(row)
        return state, labels[state].text

    # Where the theme looks for colours; its own decorator does the same.
    setattr(column, "label", {state: label.colour for state, label in labels.items()})  # noqa: B010
    return column


def standing(row: Subscription) -> str:
    """The state of a subscription, and what an incomplete one waits for: a key of `STANDING_LABELS`."""
    unpaid = row.state == SubscriptionState.INCOMPLETE and row.first_payment_ends_at is not None
    return FIRST_PAYMENT if unpaid else row.state


def money(row: Any) -> str:
    """The row's amount, such as `RM 19.90`."""
    return display_money(row.amount_minor, row.currency)


def zone_city(zone: str) -> str:
    """`Kuala Lumpur` for Asia/Kuala_Lumpur."""
    return zone.rpartition("/")[2].replace("_", " ")


def moment_text(at: datetime, zone: str) -> str:
    """`2 Mar 2026, 09:00` by the clocks of `zone`."""
    try:
        local = at.astimezone(ZoneInfo(zone))
    except (LookupError, ValueError, OSError):  # what is wrong with it is said elsewhere on the page
        return f"{moment_text(at, 'UTC')} UTC"
    return f"{day_text(local.date())}, {local:%H:%M}"


def day_text(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


def moment(at: datetime | None, zone: str) -> SafeString | str:
    """The moment in the zone's time; pointing at it shows the zone and UTC."""
    if at is None:
        return NOTHING
    title = f"{zone}; {at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return format_html(
        '<time class="k-time" datetime="{}" title="{}">{}</time>', at.isoformat(), title, moment_text(at, zone)
    )


def moment_by(at: datetime | None, who: str | None, zone: str) -> SafeString | str:
    """When, and by whom; nothing while it has not happened."""
    return format_html("{} by {}", moment(at, zone), who or NOTHING) if at else NOTHING


def card_words(card: PaymentMethod | None) -> str:
    """`Visa •••• 1111`, as the gateway's label allows."""
    if card is None:
        return "no card"
    if not card.label:
        return "card awaiting customer" if card.state == CardState.PENDING else "card without a label"
    scheme = {"4": "Visa", "5": "Mastercard"}.get(card.label[:1], "Card")
    return f"{scheme} •••• {card.label[-4:]}"


def paid_with(attempt: PaymentAttempt) -> str:
    """The card of an attempt, or that it was paid on a page."""
    return card_words(attempt.payment_method) if attempt.payment_method else "payment page"


def schedule_words(row: Plan | Subscription) -> str:
    """`every month on the last day at 09:00, Kuala Lumpur`."""
    recurrence = Recurrence(Interval(row.interval), row.target, row.every, row.charge_time, row.time_zone)
    return recurrence.describe().replace(row.time_zone, zone_city(row.time_zone))


def price_words(row: Plan | Subscription) -> str:
    """`RM 19.90 every day at 09:00, Kuala Lumpur`, with the end when there is one."""
    times = f", {row.repetitions} times" if row.repetitions else ""
    return f"{money(row)} {schedule_words(row)}{times}"


def page_of(row: Model) -> str:
    """The address of the row's page in the admin."""
    meta = row._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])


def list_of(model: type[Model], query: str = "") -> str:
    """The address of the model's list; `query` is what follows the question mark."""
    address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return f"{address}?{query}" if query else address


def link(row: Model, text: object) -> SafeString:
    """A link to the row's page."""
    return format_html('<a class="k-link" href="{}">{}</a>', page_of(row), text)


def code(text: str | None) -> SafeString | str:
    """An id or another word of machines; it may break anywhere, so that narrow screens do not scroll."""
    return format_html('<code class="k-code">{}</code>', text) if text else NOTHING


def choice_words(row: object) -> str:
    """The row as a choice of a form."""
    match row:
        case Customer():
            return f"{row.name} ({row.reference})"
        case Plan():
            return f"{row.name}, version {row.version}: {price_words(row)}"
        case PaymentMethod():
            return f"{card_words(row)}{' (default)' if row.is_default else ''}"
        case _:
            return str(row)
