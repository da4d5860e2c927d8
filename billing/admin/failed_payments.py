"""Invoices that were declined and are not paid: the list that staff work through."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join

from billing.admin.dunning_panel import FAILED, SEND_LINK
from billing.admin.dunning_policies import FINAL_WORDS
from billing.admin.invoices import InvoiceAdmin
from billing.admin.toolkit.filters import AccountFilter, CustomerFilter
from billing.admin.toolkit.formats import NOTHING, moment
from billing.admin.ways_out import COLLECT_AGAIN, MAY_CHANGE, RETRY, VOID
from billing.domain.declines import DeclineKind, known_codes
from billing.domain.dunning import DunningPolicy
from billing.domain.subscriptions import InvoiceState, SubscriptionState
from billing.explaining.dunning import reason_of, standing_of
from billing.models import FailedPayment, Invoice
from billing.models.bulk.dunning import policy_value
from billing.models.clock import database_now

KIND_WORDS = {
    DeclineKind.HARD: "only another card helps",
    DeclineKind.SOFT: "another day may help",
    DeclineKind.UNKNOWN: "no known reason",
}


class ReasonKindFilter(admin.SimpleListFilter):
    """By what the bank's last answer says about another try."""

    title = "reason"
    parameter_name = "reason_kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind.value, words) for kind, words in KIND_WORDS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        known = known_codes()
        match self.value():
            case DeclineKind.UNKNOWN:
                return queryset.exclude(decline_code__in=sorted(known))
            case DeclineKind.HARD | DeclineKind.SOFT as kind:
                return queryset.filter(decline_code__in=sorted(c for c, one in known.items() if one.kind == kind))
            case _:
                return queryset


class NextTryFilter(admin.SimpleListFilter):
    """By when the next try is, or that there is none."""

    title = "next try"
    parameter_name = "next_try"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("day", "within a day"),
            ("week", "within a week"),
            ("later", "later"),
            ("grace", "no try left, still open"),
            ("none", "uncollectible"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        now = database_now()
        conditions = {
            "day": Q(next_attempt_at__lte=now + timedelta(days=1)),
            "week": Q(next_attempt_at__lte=now + timedelta(days=7)),
            "later": Q(next_attempt_at__gt=now + timedelta(days=7)),
            "grace": Q(state=InvoiceState.OPEN.value, next_attempt_at=None),
            "none": Q(state=InvoiceState.UNCOLLECTIBLE.value),
        }
        return queryset.filter(conditions.get(self.value() or "", Q()))


@admin.register(FailedPayment)
class FailedPaymentAdmin(InvoiceAdmin):
    noun, nouns = "failed payment", "failed payments"
    list_display = ("who", "what", "amount", "tried", "reason", "next_try", "then", "policy", "acts")  # type: ignore[assignment]
    list_select_related = (  # type: ignore[assignment]
        "account",
        "customer",
        "subscription__plan",
        "payment_method",
        "dunning_policy__account",
    )
    list_filter = (  # type: ignore[assignment]
        ReasonKindFilter,
        NextTryFilter,
        ("dunning_policy", CustomerFilter),
        ("account", AccountFilter),
        ("customer", CustomerFilter),
    )

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return any(request.user.has_perm(f"billing.{verb}_invoice") for verb in ("view", "change"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(tries__gt=0, state__in=FAILED)

    def get_list_display(self, request: HttpRequest) -> Any:
        may = request.user.has_perm(MAY_CHANGE)
        return [name for name in self.list_display if may or name != "acts"]

    @admin.display(description="For")
    def what(self, row: Invoice) -> str:
        kind = "" if row.subscription else "one-off, "
        due = moment(row.due_at, row.account.time_zone)
        return format_html('{}<span class="k-sub">{}due {}</span>', row.description, kind, due)

    @admin.display(description="Tries")
    def tried(self, row: Invoice) -> str:
        seen = standing_of(row, _policy(row))
        return f"{seen.tries} of {seen.of}"

    @admin.display(description="Reason")
    def reason(self, row: Invoice) -> str:
        return reason_of(row.decline_code)

    @admin.display(description="Next try")
    def next_try(self, row: Invoice) -> str:
        zone = row.account.time_zone
        if row.next_attempt_at is None and row.grace_ends_at is not None and row.state == InvoiceState.OPEN:
            return format_html("none, open until {}", moment(row.grace_ends_at, zone))
        return moment(row.next_attempt_at, zone)

    @admin.display(description="After the last")
    def then(self, row: Invoice) -> str:
        if row.state == InvoiceState.UNCOLLECTIBLE:
            return "uncollectible"
        if row.subscription and row.subscription.state != SubscriptionState.INCOMPLETE:
            return FINAL_WORDS[_policy(row).final_action]
        return NOTHING if row.subscription else "uncollectible"

    @admin.display(description="Policy")
    def policy(self, row: Invoice) -> str:
        return row.dunning_policy.name if row.dunning_policy else NOTHING

    @admin.display(description="Actions")
    def acts(self, row: Invoice) -> str:
        page = reverse("admin:billing_invoice_change", args=[row.pk])
        retry = COLLECT_AGAIN if row.state == InvoiceState.UNCOLLECTIBLE else RETRY
        links = [(page, action.name, action.label) for action in (retry, SEND_LINK, VOID)]
        return format_html_join(" · ", '<a class="k-link" href="{}{}/">{}</a>', links)


def _policy(row: Invoice) -> DunningPolicy:
    return policy_value(row.dunning_policy) if row.dunning_policy else DunningPolicy(())
