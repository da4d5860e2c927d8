"""Invoices and what is being done to collect them."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from billing.admin import tables
from billing.admin.actions import Done, Given, PersonAction
from billing.admin.base import RecordAdmin
from billing.admin.filters import AccountFilter, CustomerFilter, StateFilter, days
from billing.admin.formats import (
    INVOICE_LABELS,
    code,
    link,
    moment,
    moment_text,
    money,
    reason_words,
    state_column,
)
from billing.admin.pages import Cell, Facts, Page, Step, Story, Table, Words, timeline
from billing.admin.refunds import LOOK, refunds_of
from billing.admin.search import Search
from billing.audit.explain import Kind, explain
from billing.charging.resolve import collect_held
from billing.charging.retry_now import retry_now
from billing.domain.attempts import HAS_MONEY
from billing.domain.money import display
from billing.domain.subscriptions import InvoiceState
from billing.models import Invoice, PaymentAttempt
from billing.models.clock import database_now


def _retry(row: Invoice, given: Given) -> Done:
    retry_now(invoice=row, reason=given.reason, actor=given.actor, now=given.now)
    return Done("The invoice is tried now; a worker charges the card in a moment.")


def _collect(row: Invoice, given: Given) -> Done:
    collect_held(invoice=row, reason=given.reason, actor=given.actor, now=given.now)
    return Done("The invoice does not wait any more; a worker charges the card in a moment.")


def _why_collect(row: Invoice) -> str:
    why = tables.HOLD_WORDS[row.hold] if row.hold else "does not wait"
    return f"The invoice {why}. Collecting it charges the card now."


def _may_retry(row: Invoice) -> bool:
    waits = row.state == InvoiceState.OPEN and row.next_attempt_at is not None
    return row.hold is None and (waits or row.state == InvoiceState.UNCOLLECTIBLE)


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
    person_actions = (
        PersonAction(
            name="retry-now",
            label="Retry now",
            icon="replay",
            permission="billing.change_invoice",
            offered=_may_retry,
            explain=lambda row: (
                f"{display(row.amount_minor, row.currency)} is charged now instead of at the next try. "
                "All checks are made as always; an attempt that is not resolved comes first."
            ),
            carry_out=_retry,
        ),
        PersonAction(
            name="collect",
            label="Collect after all",
            icon="bolt",
            permission="billing.change_invoice",
            offered=lambda row: row.state == InvoiceState.OPEN and row.hold is not None,
            explain=_why_collect,
            carry_out=_collect,
        ),
        LOOK,
    )

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
        table = tables.attempts(tried, zone, title="Attempts", empty="Not charged yet.", of_one=True)
        subjects = [("invoice", [row.pk]), ("attempt", [attempt.pk for attempt in tried])]
        return Page(
            f"{row.description}, {money(row)}",
            f"{row.customer.name}, due {moment_text(row.due_at, zone)}",
            INVOICE_LABELS[row.state],
            main=[
                *_notices(row, tried, zone),
                _story(row),
                table,
                *_refunds(row, tried),
                _lines(row),
                timeline(subjects, zone),
            ],
            side=[_facts(row, zone)],
        )


def _notices(row: Invoice, tried: list[PaymentAttempt], zone: str) -> list[Words]:
    found = []
    if any(attempt.state == "needs_human" for attempt in tried):
        found.append(Words("An attempt needs a person's decision; the invoice waits for it.", "danger"))
    if row.state == InvoiceState.OPEN:
        colour = "warning" if row.hold or row.refusal else "info"
        found.append(Words(tables.what_is_next(row, zone, sentence=True), colour))
    return found


def _story(row: Invoice) -> Story:
    told = explain(invoice=row, now=database_now(), to_staff=True)
    named = {Kind.NOW: "now", Kind.NEXT: "next"}
    steps = [
        Step(named.get(line.kind) or moment(line.at, told.zone), line.text, ", ".join(line.evidence), "")
        for line in told.lines
    ]
    return Story("Why was the customer charged, or why not?", told.summary, steps)


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
        rows.append(("Kind", "charged once"))
    rows += [
        ("Account", link(row.account, row.account.name)),
        ("Due", moment(row.due_at, zone)),
        ("Next try", moment(row.next_attempt_at, zone)),
        ("Attempts", f"{row.attempt_count}, of which {row.tries} declined" if row.tries else row.attempt_count),
        ("Created", moment(row.created_at, zone)),
    ]
    if row.closed_at:
        rows.append(("Closed", moment(row.closed_at, zone)))
    if why := reason_words(row.state_reason):
        rows.append(("Why", why))
    if row.amount_refunded_minor:
        rows.append(("Refunded", display(row.amount_refunded_minor, row.currency)))
    return Facts("Invoice", [*rows, ("Id", code(row.public_id))])
