"""Attempts with their evidence, and the decision of a person on those that evidence could not close."""

import json
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.html import format_html

from billing.admin import fields
from billing.admin.actions import Done, Given, PersonAction
from billing.admin.base import HistoryAdmin, RecordAdmin
from billing.admin.fields import ReasonForm
from billing.admin.filters import AccountFilter, StateFilter, days
from billing.admin.formats import (
    ATTEMPT_LABELS,
    NOTHING,
    card_words,
    code,
    link,
    moment,
    moment_text,
    money,
    reason_words,
    state_column,
    words,
)
from billing.admin.pages import Cell, Facts, Page, Table, Verbatim, Words, timeline
from billing.admin.search import Search
from billing.charging.limits import Limits
from billing.charging.resolve import Resolution, release_card, resolve
from billing.domain.attempts import AttemptState
from billing.models import Evidence, GatewayAccount, PaymentAttempt

RESOLUTION_WORDS = {
    Resolution.CHARGED: "Charged: the money was taken",
    Resolution.DECLINED: "Declined: the bank refused",
    Resolution.NOT_CHARGED: "Not charged: no money moved, and it may be tried again",
}
MOST_EVIDENCE = 50


class ResolveForm(ReasonForm):
    resolution = fields.choice(
        "What happened", [("", "Choose…"), *((one.value, text) for one, text in RESOLUTION_WORDS.items())]
    )
    transaction_id = fields.text(
        "Transaction id", required=False, help_text="The gateway's, when the money was taken.", most=100
    )
    field_order = ("resolution", "transaction_id", "reason", "token")


def _resolve(row: PaymentAttempt, given: Given) -> Done:
    decision = resolve(
        attempt=row,
        resolution=Resolution(given.data["resolution"]),
        transaction_id=given.data["transaction_id"],
        reason=given.reason,
        actor=given.actor,
        limits=Limits.from_settings(),
        now=given.now,
    )
    return Done(f"The attempt is closed: {ATTEMPT_LABELS[decision.state].text}.")


def _release(row: PaymentAttempt, given: Given) -> Done:
    release_card(attempt=row, reason=given.reason, actor=given.actor, now=given.now)
    return Done("The card may be charged again. This attempt's own invoice still waits for a decision.")


def _needs_a_person(row: PaymentAttempt) -> bool:
    return row.state == AttemptState.NEEDS_HUMAN


@admin.register(PaymentAttempt)
class AttemptAdmin(RecordAdmin):
    noun, nouns = "attempt", "attempts"
    list_display = ("who", "amount", "state_label", "why", "card", "begun", "account")
    list_select_related = ("account", "payment_method", "invoice__customer")
    list_filter = (("state", StateFilter), ("account", AccountFilter), days("begun", prefix="att"))
    search_fields = ("public_id",)
    search_help_text = "Customer, card, marker, transaction, order or id"
    search = Search(
        exact=("public_id", "marker"),
        in_account=("gateway_transaction_id", "gateway_order_id"),
        card="payment_method_id",
    )
    state_label = state_column(ATTEMPT_LABELS)
    person_actions = (
        PersonAction(
            name="resolve",
            label="Resolve",
            icon="gavel",
            permission="billing.change_paymentattempt",
            offered=_needs_a_person,
            explain=lambda row: (
                "Say what really happened, after looking at the evidence beside this form and at the gateway's own "
                "portal. The decision is final and becomes evidence itself."
            ),
            form=ResolveForm,
            carry_out=_resolve,
            beside=lambda row: [_evidence(row, beside=True), _facts(row)],
            danger=True,
        ),
        PersonAction(
            name="release",
            label="Release the card",
            icon="lock_open",
            permission="billing.change_paymentattempt",
            offered=lambda row: _needs_a_person(row) and row.released_at is None,
            explain=lambda row: (
                "The card's other invoices are charged again. This attempt stays with a person, and its own invoice "
                "stays blocked until it is resolved."
            ),
            carry_out=_release,
            beside=lambda row: [_evidence(row, beside=True)],
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[PaymentAttempt]:
        # The request's bytes are for machines.
        return super().get_queryset(request).defer("request_body", "request_signature")

    @admin.display(description="Customer")
    def who(self, row: PaymentAttempt) -> str:
        return row.invoice.customer.name

    @admin.display(description="Amount")
    def amount(self, row: PaymentAttempt) -> str:
        return money(row)

    @admin.display(description="Why")
    def why(self, row: PaymentAttempt) -> str:
        return reason_words(row.state_reason) or NOTHING

    @admin.display(description="Card")
    def card(self, row: PaymentAttempt) -> str:
        return card_words(row.payment_method)

    @admin.display(description="Begun")
    def begun(self, row: PaymentAttempt) -> str:
        return moment(row.armed_at, row.account.time_zone)

    def subject(self, row: Any) -> str:
        return f"Attempt {row.number}: {row.invoice.description} for {row.invoice.customer.name}"

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone = row.account.time_zone
        return Page(
            f"Attempt {row.number}, {money(row)}",
            f"{row.invoice.description} for {row.invoice.customer.name}",
            ATTEMPT_LABELS[row.state],
            main=[*_notices(row, zone), _evidence(row), _orders(row), timeline([("attempt", [row.pk])], zone)],
            side=[_facts(row), _request(row)],
        )


def _notices(row: PaymentAttempt, zone: str) -> list[Words]:
    match AttemptState(row.state):
        case AttemptState.NEEDS_HUMAN:
            rest = " Its card was released." if row.released_at else " Until then its card is not charged."
            return [Words(f"Evidence could not close this attempt: a person decides.{rest}", "danger")]
        case AttemptState.UNKNOWN | AttemptState.IN_PROCESS:
            text = "The outcome is not known yet; the gateway is asked until it is. Nothing is charged again meanwhile."
            if row.next_check_at:
                text += f" Next look: {moment_text(row.next_check_at, zone)}."
            return [Words(text, "warning")]
        case AttemptState.SURPLUS:
            return [Words("Money that was not owed any more: refund it at the gateway.", "warning")]
        case _:
            return []


def _evidence(row: PaymentAttempt, *, beside: bool = False) -> Table:
    """What was heard, newest first; `beside` a form there is room for two columns."""
    zone = row.account.time_zone
    rows, empty = [], "Nothing was heard about this attempt yet."
    for one in Evidence.objects.filter(attempt_id=row.pk).order_by("-pk")[:MOST_EVIDENCE]:
        source, verdict, when = link(one, words(one.source)), words(one.verdict), moment(one.recorded_at, zone)
        why = reason_words(one.reason) if one.reason != one.verdict else ""
        if beside:
            below = format_html('{}<span class="k-sub">{} {}</span>', source, when, f"({why})" if why else "")
            rows.append([Cell(below), Cell(verdict)])
        else:
            rows.append([Cell(source), Cell(verdict), Cell(why or NOTHING), Cell(when)])
    return Table("Evidence", ["Source", "Says"] if beside else ["Source", "Says", "Why", "When"], rows, empty)


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
    return Table("Orders at the gateway", ["Order", "Status", "When", "Amount"], rows, "None was matched.")


def _facts(row: PaymentAttempt) -> Facts:
    zone = row.account.time_zone
    rows: list[tuple[str, Any]] = [
        ("Customer", link(row.invoice.customer, row.invoice.customer.name)),
        ("Invoice", link(row.invoice, row.invoice.description)),
        ("Card", link(row.payment_method, card_words(row.payment_method))),
        ("Amount", money(row)),
        ("Why", reason_words(row.state_reason) or NOTHING),
        ("Begun", moment(row.armed_at, zone)),
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
    return Verbatim("The request, as it was frozen", text)


@admin.register(Evidence)
class EvidenceAdmin(HistoryAdmin):
    noun, nouns = "piece of evidence", "evidence"
    list_display = ("attempt", "source", "verdict", "reason", "recorded")
    list_filter = (("source", StateFilter), days("recorded", column="recorded_at"))
    search_fields = ("pk",)
    search_help_text = "Attempt: id, marker, transaction or order"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Evidence]:
        return _with_attempt(super().get_queryset(request).defer("content"))

    def page_queryset(self) -> QuerySet[Any]:
        return _with_attempt(Evidence.objects.all())

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term.strip():
            return queryset, False
        by_attempt = Search(AttemptAdmin.search.exact, AttemptAdmin.search.in_account)
        found = by_attempt.narrow(PaymentAttempt.objects.order_by(), search_term).values_list("pk", flat=True)
        return queryset.filter(attempt_id__in=list(found)), False

    @admin.display(description="Attempt")
    def attempt(self, row: Any) -> str:
        return str(row.attempt_public_id)

    @admin.display(description="Recorded")
    def recorded(self, row: Any) -> str:
        return moment(row.recorded_at, row.zone)

    def page(self, request: HttpRequest, row: Any) -> Page:
        attempt = PaymentAttempt(pk=row.attempt_id)
        facts = Facts(
            "Evidence",
            [
                ("Attempt", link(attempt, row.attempt_public_id)),
                ("Source", words(row.source)),
                ("Says", words(row.verdict)),
                ("Why", reason_words(row.reason) or NOTHING),
                ("Recorded", moment(row.recorded_at, row.zone)),
            ],
        )
        told = Verbatim("Verbatim, without personal data", json.dumps(row.content, indent=2, ensure_ascii=False))
        title = f"{words(row.source).capitalize()}: {words(row.verdict)}"
        return Page(title, row.attempt_public_id, main=[facts, told])


def _with_attempt(rows: QuerySet[Evidence]) -> QuerySet[Any]:
    attempts = PaymentAttempt.objects.filter(pk=OuterRef("attempt_id"))
    found: QuerySet[Any] = with_zone(rows).annotate(attempt_public_id=Subquery(attempts.values("public_id")[:1]))
    return found


def with_zone(rows: QuerySet[Any], account: str = "account_id") -> QuerySet[Any]:
    """Adds the account's time zone as `zone` to rows that have no foreign key to it."""
    accounts = GatewayAccount.objects.filter(pk=OuterRef(account))
    found: QuerySet[Any] = rows.annotate(zone=Subquery(accounts.values("time_zone")[:1]))
    return found
