"""Attempts with their evidence, and the decision of a person on those that evidence could not close."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.html import format_html

from billing.admin.case_parts import MAY_DECIDE, case_of, evidence_in_order, held_up, is_watched, notices, parts
from billing.admin.cases import CASE_ACTIONS
from billing.admin.cases_in_bulk import SEVERAL, choose_several, several
from billing.admin.refunds import REFUND, REVERSE, refunds_of
from billing.admin.toolkit.base import RecordAdmin
from billing.admin.toolkit.filters import AccountFilter, StateFilter, days
from billing.admin.toolkit.formats import (
    ATTEMPT_LABELS,
    NOTHING,
    code,
    link,
    moment,
    moment_text,
    money,
    paid_with,
    state_column,
    why_words,
)
from billing.admin.toolkit.pages import Cell, Facts, Page, Table, Verbatim, Words, timeline
from billing.admin.toolkit.search import Search
from billing.admin.toolkit.tables import evidence_rows
from billing.domain.attempts import HAS_MONEY, AttemptState
from billing.domain.money import display
from billing.models import Evidence, PaymentAttempt

MOST_EVIDENCE = 50


@admin.register(PaymentAttempt)
class AttemptAdmin(RecordAdmin):
    noun, nouns = "attempt", "attempts"
    list_display = ("who", "amount", "state_label", "why", "card", "started", "account")
    list_select_related = ("account", "payment_method", "invoice__customer")
    list_filter = (("state", StateFilter), ("account", AccountFilter), days("started", prefix="att"))
    search_fields = ("public_id",)
    search_help_text = "Customer, card, marker, transaction, order or id"
    search = Search(
        exact=("public_id", "marker"),
        in_account=("gateway_transaction_id", "gateway_order_id"),
        card="payment_method_id",
    )
    state_label = state_column(ATTEMPT_LABELS)
    person_actions = (*CASE_ACTIONS, REFUND, REVERSE)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """One decision about several of the list, for those who may decide."""
        if not request.user.has_perm(MAY_DECIDE):
            return {}
        return {f"{what}_several": (_chooser(what), f"{what}_several", SEVERAL[what][0]) for what in SEVERAL}

    def get_urls(self) -> list[URLPattern]:
        several_at_once = path(
            "several/<str:what>/",
            self.admin_site.admin_view(self.several),
            name="billing_paymentattempt_several",
        )
        return [several_at_once, *super().get_urls()]

    def several(self, request: HttpRequest, what: str) -> HttpResponse:
        if not (self.has_view_permission(request) and request.user.has_perm(MAY_DECIDE)):
            raise PermissionDenied
        if what not in SEVERAL:
            raise Http404
        return several(self, request, what)

    def get_queryset(self, request: HttpRequest) -> QuerySet[PaymentAttempt]:
        # The request's bytes are for machines.
        return super().get_queryset(request).defer("request_body", "request_signature")

    @admin.display(description="Customer")
    def who(self, row: PaymentAttempt) -> str:
        return row.invoice.customer.name

    @admin.display(description="Amount")
    def amount(self, row: PaymentAttempt) -> str:
        return money(row)

    @admin.display(description="Reason")
    def why(self, row: PaymentAttempt) -> str:
        return why_words(row.state_reason) or NOTHING

    @admin.display(description="Card")
    def card(self, row: PaymentAttempt) -> str:
        return paid_with(row)

    @admin.display(description="Started")
    def started(self, row: PaymentAttempt) -> str:
        return moment(row.armed_at, row.account.time_zone)

    def subject(self, row: Any) -> str:
        return f"Attempt {row.number}: {row.invoice.description} for {row.invoice.customer.name}"

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone = row.account.time_zone
        return Page(
            f"Attempt {row.number}, {money(row)}",
            f"{row.invoice.description} for {row.invoice.customer.name}",
            ATTEMPT_LABELS[row.state],
            main=[
                *notices(row),
                *_notices(row, zone),
                *([refunds_of(row)] if row.state in HAS_MONEY else []),
                *([evidence_in_order(row), *parts(row)] if is_watched(row) else [_evidence(row), _orders(row)]),
                timeline(_subjects(row), zone),
            ],
            side=[_facts(row), *([held_up(row, zone)] if is_watched(row) else []), _request(row)],
        )


def _chooser(what: str) -> Any:
    def choose(model_admin: Any, request: HttpRequest, chosen: QuerySet[PaymentAttempt]) -> HttpResponse:
        return choose_several(model_admin, request, chosen, what)

    return choose


def _subjects(row: PaymentAttempt) -> list[tuple[str, list[int]]]:
    if not is_watched(row):
        return [("attempt", [row.pk])]
    return [("attempt", [row.pk]), ("proposal", [proposal.pk for proposal in case_of(row).proposals])]


def _notices(row: PaymentAttempt, zone: str) -> list[Words]:
    match AttemptState(row.state):
        case AttemptState.NEEDS_REVIEW:
            rest = " Its card was released." if row.released_at else " Until then its card is not charged."
            return [Words(f"Evidence could not settle this attempt. It needs review.{rest}", "danger")]
        case AttemptState.UNKNOWN | AttemptState.IN_PROCESS:
            text = (
                "The outcome is unknown. Kitaran checks with the gateway until it is known, and charges nothing "
                "meanwhile."
            )
            if row.next_check_at:
                text += f" Next check: {moment_text(row.next_check_at, zone)}."
            return [Words(text, "warning")]
        case AttemptState.SURPLUS:
            if row.amount_refunded_minor == row.amount_minor:
                return [Words("Overpayment: this money was not owed. It was refunded.", "info")]
            return [Words("Overpayment: this money was not owed. Refund it.", "warning")]
        case _:
            return []


def _evidence(row: PaymentAttempt) -> Table:
    """What was found, newest first."""
    found = Evidence.objects.filter(attempt_id=row.pk).order_by("-pk")[:MOST_EVIDENCE]
    rows = evidence_rows(found, row.account.time_zone)
    return Table("Evidence", ["Source", "Result", "Reason", "When"], rows, "No evidence yet.")


def _orders(row: PaymentAttempt) -> Table:
    zone = row.account.time_zone
    rows = [
        [
            Cell(link(one, one.gateway_order_id)),
            Cell(one.status.lower()),
            Cell(moment(one.ordered_at, zone)),
            Cell(money(one), number=True),
        ]
        for one in row.gateway_orders.order_by("-pk")[:MOST_EVIDENCE]
    ]
    empty = "No list of the card's orders shows it yet." if row.gateway_order_id else "No order matched."
    return Table("Orders at the gateway", ["Order", "Status", "When", "Amount"], rows, empty)


def _facts(row: PaymentAttempt) -> Facts:
    zone = row.account.time_zone
    rows: list[tuple[str, Any]] = [
        ("Customer", link(row.invoice.customer, row.invoice.customer.name)),
        ("Invoice", link(row.invoice, row.invoice.description)),
        ("Card", link(row.payment_method, paid_with(row)) if row.payment_method else paid_with(row)),
        ("Amount", money(row)),
        ("Refunded", display(row.amount_refunded_minor, row.currency) if row.amount_refunded_minor else NOTHING),
        ("Reason", why_words(row.state_reason) or NOTHING),
        ("Started", moment(row.armed_at, zone)),
        ("Closed", moment(row.settled_at, zone)),
        ("Transaction", code(row.gateway_transaction_id)),
        ("Order", code(row.gateway_order_id)),
        ("Marker", code(row.marker)),
        ("Id", code(row.public_id)),
    ]
    if row.released_at:
        rows.append(("Released", format_html("{} by {}: {}", moment(row.released_at, zone), *_released(row))))
    return Facts("Attempt", rows)


def _released(row: PaymentAttempt) -> tuple[str, str]:
    return row.released_by, row.released_reason


def _request(row: PaymentAttempt) -> Verbatim:
    text = f"{row.request_method} {row.request_url}\n\n{row.title}\n{row.description}"
    return Verbatim("Signed request", text)
