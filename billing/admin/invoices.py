"""Invoices and what is being done to collect them."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from billing.admin.checkouts import PAY_BY_PAGE, pages_of
from billing.admin.dunning_panel import SEND_LINK, is_failed, panel
from billing.admin.payment_links import LINK_OF_INVOICE
from billing.admin.refunds import LOOK, refunds_of
from billing.admin.toolkit import tables
from billing.admin.toolkit.base import RecordAdmin
from billing.admin.toolkit.filters import AccountFilter, CustomerFilter, StateFilter, days
from billing.admin.toolkit.formats import (
    INVOICE_LABELS,
    code,
    link,
    moment,
    moment_text,
    money,
    state_column,
    why_words,
)
from billing.admin.toolkit.pages import Cell, Facts, Page, Step, Story, Table, Words, timeline
from billing.admin.toolkit.search import Search
from billing.admin.ways_out import INVOICE_ACTIONS, what_can_be_done
from billing.admin.ways_out import notices as proposal_notices
from billing.domain.attempts import HAS_MONEY
from billing.domain.money import display
from billing.domain.subscriptions import InvoiceState
from billing.explaining.explain import Kind, explain
from billing.explaining.wording import paid_by
from billing.models import Invoice, PaymentAttempt
from billing.models.clock import database_now


@admin.register(Invoice)
class InvoiceAdmin(RecordAdmin):
    noun, nouns = "invoice", "invoices"
    list_display = ("who", "description", "amount", "state_label", "due", "next_step", "account")
    list_select_related = ("account", "customer", "subscription__plan", "payment_method")
    list_filter = (
        ("state", StateFilter),
        ("hold", StateFilter),
        ("account", AccountFilter),
        ("customer", CustomerFilter),
        days("created", prefix="inv"),
    )
    search_fields = ("public_id",)
    search_help_text = "Customer or invoice id"
    search = Search(exact=("public_id",), customer="customer_id")
    state_label = state_column(INVOICE_LABELS)
    person_actions = (*INVOICE_ACTIONS, PAY_BY_PAGE, SEND_LINK, LOOK, LINK_OF_INVOICE)

    @admin.display(description="Customer")
    def who(self, row: Invoice) -> str:
        return row.customer.name

    @admin.display(description="Amount")
    def amount(self, row: Invoice) -> str:
        return money(row)

    @admin.display(description="Due")
    def due(self, row: Invoice) -> str:
        return moment(row.due_at, row.account.time_zone)

    @admin.display(description="Next")
    def next_step(self, row: Invoice) -> str:
        return tables.what_is_next(row, row.account.time_zone)

    def subject(self, row: Any) -> str:
        return f"{row.description} for {row.customer.name}"

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone = row.account.time_zone
        tried = list(row.attempts.select_related("invoice__customer", "payment_method").order_by("-number"))
        table = tables.attempts(tried, zone, title="Attempts", empty="No attempts yet.", of_one=True)
        subjects = [("invoice", [row.pk]), ("attempt", [attempt.pk for attempt in tried])]
        return Page(
            f"{row.description}, {money(row)}",
            f"{row.customer.name}, due {moment_text(row.due_at, zone)}",
            INVOICE_LABELS[row.state],
            main=[
                *proposal_notices(row),
                *_notices(row, tried, zone),
                *panel([row], zone),
                _story(row),
                *what_can_be_done(row, request),
                table,
                *pages_of(row),
                *_refunds(row, tried),
                _lines(row),
                timeline(subjects, zone),
            ],
            side=[_facts(row, zone)],
        )


def _notices(row: Invoice, tried: list[PaymentAttempt], zone: str) -> list[Words]:
    found = []
    if any(attempt.state == "needs_review" for attempt in tried):
        found.append(Words("An attempt needs review. The invoice waits for the decision.", "danger"))
    if row.state == InvoiceState.OPEN and (row.hold or row.refusal or not is_failed(row)):
        colour = "warning" if row.hold or row.refusal else "info"
        found.append(Words(tables.what_is_next(row, zone, sentence=True), colour))
    return found


def _story(row: Invoice) -> Story:
    explanation = explain(invoice=row, now=database_now(), to_staff=True)
    named = {Kind.NOW: "now", Kind.NEXT: "next"}
    steps = [
        Step(named.get(line.kind) or moment(line.at, explanation.zone), line.text, ", ".join(line.evidence), "")
        for line in explanation.lines
    ]
    return Story("Why was the customer charged, or not?", explanation.summary, steps)


def _refunds(row: Invoice, tried: list[PaymentAttempt]) -> list[Table]:
    return [refunds_of(row)] if any(attempt.state in HAS_MONEY for attempt in tried) else []


def _lines(row: Invoice) -> Table:
    lines = [
        [
            Cell(line.get("description", "")),
            Cell(line.get("quantity", 1), number=True),
            Cell(display(int(line.get("amount_minor", 0)), row.currency), number=True),
        ]
        for line in row.lines
    ]
    return Table("Lines", ["What", "Quantity", "Amount"], lines, f"{row.description}, {money(row)}")


def _facts(row: Invoice, zone: str) -> Facts:
    rows: list[tuple[str, Any]] = [("Customer", link(row.customer, row.customer.name))]
    if row.subscription:
        rows.append(("Subscription", link(row.subscription, row.subscription.plan.name)))
        rows.append(("Period", f"number {(row.period_index or 0) + 1}"))
    else:
        rows.append(("Kind", "one-off"))
    rows += [
        ("Account", link(row.account, row.account.name)),
        ("Due", moment(row.due_at, zone)),
        ("Next try", moment(row.next_attempt_at, zone)),
        ("Attempts", f"{row.attempt_count}, of which {row.tries} declined" if row.tries else row.attempt_count),
        ("Created", moment(row.created_at, zone)),
    ]
    if row.closed_at:
        rows.append(("Closed", moment(row.closed_at, zone)))
    if why := why_words(row.state_reason):
        rows.append(("Reason", why))
    if payment := row.outside_payments.first() if row.state == InvoiceState.PAID else None:
        rows.append(("Paid elsewhere", f"{paid_by(payment, to_staff=True)}, recorded by {payment.recorded_by}"))
        if payment.confirmed_by:
            rows.append(("Confirmed by", payment.confirmed_by))
    if row.amount_refunded_minor:
        rows.append(("Refunded", display(row.amount_refunded_minor, row.currency)))
    return Facts("Invoice", [*rows, ("Id", code(row.public_id))])
