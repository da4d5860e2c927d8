"""What happened, read-only: changes of state, the gateway's side, runs, workers and repeated requests."""

import json
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from billing.admin.toolkit.base import HistoryAdmin
from billing.admin.toolkit.filters import AccountFilter, days
from billing.admin.toolkit.formats import (
    NOTHING,
    Label,
    change_words,
    code,
    link,
    moment,
    money,
    state_words,
    why_words,
    with_zone,
)
from billing.admin.toolkit.pages import Facts, Page, Verbatim
from billing.admin.toolkit.search import Search
from billing.models import (
    ChargeRun,
    Checkout,
    Customer,
    DunningPolicy,
    Evidence,
    GatewayAccount,
    GatewayOrder,
    GatewayTransaction,
    Heartbeat,
    IdempotencyRecord,
    Installation,
    Invoice,
    Message,
    PaymentAttempt,
    PaymentMethod,
    Plan,
    Proposal,
    Refund,
    RefundEvidence,
    Subscription,
    Transition,
    WebhookEndpoint,
)

SUBJECTS: dict[str, tuple[str, type[Model]]] = {
    "account": ("acct", GatewayAccount),
    "attempt": ("att", PaymentAttempt),
    "card": ("pm", PaymentMethod),
    "checkout": ("chk", Checkout),
    "customer": ("cus", Customer),
    "dunning_policy": ("dpol", DunningPolicy),
    "invoice": ("inv", Invoice),
    "plan": ("plan", Plan),
    "proposal": ("prop", Proposal),
    "refund": ("ref", Refund),
    "subscription": ("sub", Subscription),
    "webhook_endpoint": ("whe", WebhookEndpoint),
    "message": ("msg", Message),
}


def subject_link(row: Any) -> str:
    """The row that a transition or event is about."""
    if row.subject_type == "installation":
        return link(Installation(pk=1), "the installation")
    known = SUBJECTS.get(row.subject_type)
    return link(known[1](pk=row.subject_id), f"{row.subject_type} {row.subject_id}") if known else row.subject_type


class SubjectAdmin(HistoryAdmin):
    """History that names its subject by type and number: an id is looked up first, then the index of subjects."""

    search_fields = ("pk",)
    search_help_text = "Id of a subscription, invoice, attempt, card, customer or account"
    noted_at = "at"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return self.page_queryset()

    def page_queryset(self) -> QuerySet[Any]:
        # What concerns the installation belongs to no account; it is shown by the first account's clocks.
        first = GatewayAccount.objects.order_by("pk").values("time_zone")[:1]
        rows = with_zone(self.model._default_manager.all())
        found: QuerySet[Any] = rows.annotate(shown_zone=Coalesce("zone", Subquery(first)))
        return found

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        for subject_type, (prefix, model) in SUBJECTS.items():
            if term.startswith(f"{prefix}_"):
                keys = list(model._default_manager.filter(public_id=term).values_list("pk", flat=True))
                return queryset.filter(subject_type=subject_type, subject_id__in=keys), False
        return queryset.none(), False

    @admin.display(description="About")
    def about(self, row: Any) -> str:
        return subject_link(row)

    @admin.display(description="When")
    def when(self, row: Any) -> str:
        return moment(getattr(row, self.noted_at), row.shown_zone or "UTC")


@admin.register(Transition)
class TransitionAdmin(SubjectAdmin):
    noun, nouns = "change of state", "changes of state"
    list_display = ("when", "about", "what", "why", "by")
    list_display_links = ("when",)
    list_filter = (days("when", column="at"),)

    @admin.display(description="Change")
    def what(self, row: Transition) -> str:
        return change_words(row)

    @admin.display(description="Reason")
    def why(self, row: Transition) -> str:
        return why_words(row.reason) or NOTHING

    @admin.display(description="By")
    def by(self, row: Transition) -> str:
        return row.actor

    def page(self, request: HttpRequest, row: Any) -> Page:
        kind = RefundEvidence if row.subject_type == "refund" else Evidence
        evidence = link(kind(pk=row.evidence_id), f"number {row.evidence_id}") if row.evidence_id else NOTHING
        facts = [
            ("About", subject_link(row)),
            ("From", state_words(row.subject_type, row.from_state) or NOTHING),
            ("To", state_words(row.subject_type, row.to_state)),
            ("Reason", why_words(row.reason) or NOTHING),
            ("Evidence", evidence),
            ("By", row.actor),
            ("When", moment(row.at, row.shown_zone or "UTC")),
        ]
        return Page(f"{row.subject_type.capitalize()}: {self.what(row)}", main=[Facts("Change of state", facts)])


@admin.register(GatewayOrder)
class GatewayOrderAdmin(HistoryAdmin):
    noun, nouns = "gateway order", "gateway orders"
    list_display = ("gateway_order_id", "amount", "status", "explained", "ordered", "account")
    list_select_related = ("account", "payment_method__customer", "attempt")
    list_filter = (("account", AccountFilter), days("first seen", column="first_seen_at"))
    search_fields = ("gateway_order_id",)
    search_help_text = "Order id, or the card's or customer's id"
    search = Search(in_account=("gateway_order_id",), card="payment_method_id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("attempt__request_body")

    @admin.display(description="Amount")
    def amount(self, row: GatewayOrder) -> str:
        return money(row)

    @admin.display(description="Explained by")
    def explained(self, row: GatewayOrder) -> str:
        if row.attempt is not None:
            return link(row.attempt, f"attempt {row.attempt.number}")
        return "seen before" if row.in_baseline else "nothing"

    @admin.display(description="Ordered")
    def ordered(self, row: GatewayOrder) -> str:
        return moment(row.ordered_at, row.account.time_zone)

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone = row.account.time_zone
        facts = [
            ("Amount", money(row)),
            ("Status", row.status),
            ("Explained by", self.explained(row)),
            ("Customer", link(row.payment_method.customer, row.payment_method.customer.name)),
            ("Card", link(row.payment_method, row.payment_method.public_id)),
            ("Ordered", moment(row.ordered_at, zone)),
            ("First seen", moment(row.first_seen_at, zone)),
            ("Last seen", moment(row.last_seen_at, zone)),
            ("Transaction", code(row.gateway_transaction_id)),
            ("RM's own schedule", code(row.recurring_reference)),
            ("Account", link(row.account, row.account.name)),
        ]
        unexplained = row.attempt_id is None and not row.in_baseline
        label = Label("unexplained", "danger") if unexplained else None
        return Page(f"Order {row.gateway_order_id}", money(row), label, main=[Facts("Order at the gateway", facts)])


@admin.register(GatewayTransaction)
class GatewayTransactionAdmin(HistoryAdmin):
    noun, nouns = "gateway transaction", "gateway transactions"
    list_display = ("gateway_transaction_id", "amount", "status", "seen", "account")
    list_select_related = ("account",)
    list_filter = (("account", AccountFilter), days("first seen", column="first_seen_at"))
    search_fields = ("gateway_transaction_id",)
    search_help_text = "Transaction id"
    search = Search(in_account=("gateway_transaction_id",))

    @admin.display(description="Amount")
    def amount(self, row: GatewayTransaction) -> str:
        return money(row)

    @admin.display(description="Last seen")
    def seen(self, row: GatewayTransaction) -> str:
        return moment(row.last_seen_at, row.account.time_zone)

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone = row.account.time_zone
        facts = [
            ("Amount", money(row)),
            ("Status", row.status),
            ("Order", code(row.gateway_order_id)),
            ("Description", row.words or NOTHING),
            ("First seen", moment(row.first_seen_at, zone)),
            ("Last seen", moment(row.last_seen_at, zone)),
            ("Account", link(row.account, row.account.name)),
        ]
        verbatim = Verbatim("Verbatim, without personal data", json.dumps(row.content, indent=2, ensure_ascii=False))
        title = f"Transaction {row.gateway_transaction_id}"
        return Page(title, money(row), main=[Facts("Transaction at the gateway", facts), verbatim])


class MachineAdmin(HistoryAdmin):
    """What belongs to no account, by the first account's clocks."""

    search_fields = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return self.page_queryset()

    def page_queryset(self) -> QuerySet[Any]:
        zone = GatewayAccount.objects.order_by("pk").values("time_zone")[:1]
        found: QuerySet[Any] = self.model._default_manager.annotate(zone=Subquery(zone))
        return found


COUNTS = {
    "armed": "Charges",
    "succeeded": "Paid",
    "declined": "Declined",
    "not_sent": "Not sent",
    "in_process": "In process",
    "unknown": "Unknown",
    "needs_review": "Needs review",
    "refused": "Not started",
}


@admin.register(ChargeRun)
class ChargeRunAdmin(MachineAdmin):
    noun, nouns = "run", "runs"
    list_display = ("began", "took", "charges", "paid", "declined", "unknown", "refused", "worker")
    list_filter = (days("started", column="started_at"),)

    @admin.display(description="Started")
    def began(self, row: Any) -> str:
        return moment(row.started_at, row.zone or "UTC")

    @admin.display(description="Charges")
    def charges(self, row: ChargeRun) -> int:
        return row.armed

    @admin.display(description="Paid")
    def paid(self, row: ChargeRun) -> int:
        return row.succeeded

    @admin.display(description="Duration")
    def took(self, row: Any) -> str:
        if row.ended_at is None:
            return NOTHING
        return f"{round((row.ended_at - row.started_at) / timedelta(seconds=1))} s"

    def page(self, request: HttpRequest, row: Any) -> Page:
        facts = [("Started", self.began(row)), ("Duration", self.took(row)), ("Worker", code(row.worker))]
        counts = [(title, getattr(row, name)) for name, title in COUNTS.items()]
        return Page("Run of the engine", self.began(row), main=[Facts("Run", facts), Facts("Result", counts)])


@admin.register(Heartbeat)
class HeartbeatAdmin(MachineAdmin):
    noun, nouns = "worker", "workers"
    list_display = ("queue", "beat", "worker")

    @admin.display(description="Last heartbeat")
    def beat(self, row: Any) -> str:
        return moment(row.beat_at, row.zone or "UTC")

    def page(self, request: HttpRequest, row: Any) -> Page:
        facts = [("Queue", row.queue), ("Last heartbeat", self.beat(row)), ("Worker", code(row.worker))]
        return Page(f"Queue {row.queue}", main=[Facts("Worker", facts)])


@admin.register(IdempotencyRecord)
class IdempotencyRecordAdmin(HistoryAdmin):
    noun, nouns = "request with a key", "requests with a key"
    list_display = ("made", "key", "response_status", "account")
    list_select_related = ("account",)
    list_filter = (("account", AccountFilter), days("created", column="created_at"))
    search_fields = ("key",)
    search_help_text = "Idempotency key"
    search = Search(in_account=("key",))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("response_body")

    @admin.display(description="Created")
    def made(self, row: IdempotencyRecord) -> str:
        return moment(row.created_at, row.account.time_zone)

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone = row.account.time_zone
        facts = [
            ("Key", code(row.key)),
            ("Created", moment(row.created_at, zone)),
            ("Answered", moment(row.finished_at, zone)),
            ("Status", row.response_status or NOTHING),
            ("Account", link(row.account, row.account.name)),
        ]
        return Page("Request with a key", main=[Facts("Request", facts)])
