"""Refunds: what was asked to go back, what came of it, and a person's decision where evidence could not tell."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from unfold.widgets import UnfoldAdminDecimalFieldWidget

from billing.admin.case_parts import invoice_facts
from billing.admin.toolkit import fields
from billing.admin.toolkit.actions import Done, Given, PersonAction
from billing.admin.toolkit.base import RecordAdmin
from billing.admin.toolkit.fields import ReasonForm
from billing.admin.toolkit.filters import AccountFilter, StateFilter, days
from billing.admin.toolkit.formats import (
    NOTHING,
    REFUND_LABELS,
    code,
    link,
    moment,
    moment_text,
    money,
    page_of,
    paid_with,
    state_column,
    why_words,
    words,
)
from billing.admin.toolkit.pages import Cell, Facts, Page, Table, Verbatim, Words, timeline
from billing.admin.toolkit.search import Search
from billing.admin.toolkit.tables import evidence_rows
from billing.charging.reading.refresh import check_with_gateway
from billing.charging.refunds.ask import RefundResolution, request_refund, request_reverse, resolve_refund, withdraw
from billing.domain.attempts import HAS_MONEY, AttemptState
from billing.domain.money import display
from billing.domain.refunds import REVERSE_WINDOW, RefundState
from billing.models import Invoice, PaymentAttempt, Refund, RefundEvidence
from billing.models.clock import database_now
from billing.operating.tuning import Tuning

MOST_ROWS = 50
RESOLUTION_WORDS = {
    RefundResolution.REFUNDED: "Refunded: the money was returned to the card",
    RefundResolution.NOT_REFUNDED: "Not refunded: no money was returned, and it can be refunded again",
}


# --- on the attempt, and on the invoice -----------------------------------------------------------------------


class RefundForm(ReasonForm):
    amount = forms.DecimalField(
        label="Amount in RM",
        required=False,
        decimal_places=2,
        min_value=Decimal("0.01"),
        help_text="Leave empty to refund all that is left. Partial refunds depend on the card's bank.",
        widget=UnfoldAdminDecimalFieldWidget(attrs={"inputmode": "decimal", "step": "0.01"}),
    )
    given_back = forms.IntegerField(widget=forms.HiddenInput, required=False)
    field_order = ("amount", "reason", "given_back", "token")

    def prepare(self, row: Any) -> None:
        self.initial["given_back"] = row.amount_refunded_minor


def _refund(row: PaymentAttempt, given: Given) -> Done:
    ringgit = given.data["amount"]
    refund = request_refund(
        attempt=row,
        amount_minor=None if ringgit is None else fields.minor(ringgit),
        decision=given.decision,
        now=given.now,
        given_back_minor=given.data.get("given_back"),
    )
    return Done(f"Refund of {money(refund)} requested. A worker sends it in a moment.", page_of(refund))


def _reverse(row: PaymentAttempt, given: Given) -> Done:
    refund = request_reverse(attempt=row, decision=given.decision, now=given.now)
    return Done("Reversal requested. A worker sends it in a moment.", page_of(refund))


def _left(row: PaymentAttempt) -> int:
    return row.amount_minor - row.amount_refunded_minor if row.state in HAS_MONEY else 0


def _may_reverse(row: PaymentAttempt, now: datetime) -> bool:
    fresh = now - row.armed_at < REVERSE_WINDOW
    return fresh and bool(row.gateway_order_id) and 0 < _left(row) == row.amount_minor


def _why_refund(row: PaymentAttempt) -> str:
    left = display(_left(row), row.currency)
    what = "overpayment" if row.state == AttemptState.SURPLUS else "payment"
    rest = "" if row.state == AttemptState.SURPLUS else " The invoice stays paid and is never charged again."
    gone = row.amount_refunded_minor
    before = f" {display(gone, row.currency)} was refunded before." if gone else ""
    return f"Refunds up to {left} of the {what} to the card it came from.{before} This cannot be undone.{rest}"


REFUND = PersonAction(
    name="refund",
    label="Refund",
    icon="undo",
    permission="billing.add_refund",
    offered=lambda row: _left(row) > 0,
    explain=_why_refund,
    form=RefundForm,
    carry_out=_refund,
    below=lambda row: [refunds_of(row)],
    beside=lambda row: [invoice_facts(row)],
    danger=True,
)
REVERSE = PersonAction(
    name="reverse",
    label="Reverse",
    icon="settings_backup_restore",
    permission="billing.add_refund",
    offered=lambda row: _left(row) > 0 and _may_reverse(row, database_now()),
    explain=lambda row: (
        f"Cancels the whole payment of {display(row.amount_minor, row.currency)}. The gateway allows this for 15 "
        "minutes after the charge. The invoice is then open again and needs review."
    ),
    carry_out=_reverse,
    danger=True,
)


def _check(row: Invoice, given: Given) -> Done:
    read = check_with_gateway(invoice=row, tuning=Tuning.from_settings(), now=given.now)
    return Done(f"{read} card{'' if read == 1 else 's'} read at the gateway. New findings are below.")


LOOK = PersonAction(
    name="look",
    label="Check with Revenue Monster",
    icon="visibility",
    permission="billing.change_invoice",
    offered=lambda row: row.attempt_count > 0,
    explain=lambda row: (
        "Reads this invoice's cards and payments at Revenue Monster. Late payments, and refunds made in the Revenue "
        "Monster portal, are recorded. Nothing is charged."
    ),
    carry_out=_check,
)


def refunds_of(row: PaymentAttempt | Invoice) -> Table:
    """The refunds of an attempt or an invoice, newest first."""
    zone = row.account.time_zone
    rows = [
        [
            Cell(
                format_html(
                    '{}<span class="k-sub">{}, {}</span>',
                    link(one, one.requested_reason),
                    words(one.kind),
                    moment(one.created_at, zone),
                )
            ),
            Cell(_why(one), label=REFUND_LABELS[one.state]),
            Cell(money(one), number=True),
        ]
        for one in row.refunds.order_by("-pk")[:MOST_ROWS]
    ]
    return Table("Refunds", ["Refund", "State", "Amount"], rows, "No refunds.")


def _why(row: Refund) -> str:
    why = why_words(row.state_reason)
    return format_html('<span class="k-sub">{}</span>', why) if why else ""


# --- the refund -----------------------------------------------------------------------------------------------


class ResolveRefundForm(ReasonForm):
    resolution = fields.choice(
        "What happened", [("", "Choose…"), *((one.value, text) for one, text in RESOLUTION_WORDS.items())]
    )
    field_order = ("resolution", "reason", "token")


def _resolve(row: Refund, given: Given) -> Done:
    state = resolve_refund(
        refund=row,
        resolution=RefundResolution(given.data["resolution"]),
        decision=given.decision,
        tuning=Tuning.from_settings(),
        now=given.now,
    )
    return Done(f"Refund closed: {REFUND_LABELS[state].text}.")


def _withdraw(row: Refund, given: Given) -> Done:
    withdraw(refund=row, decision=given.decision, tuning=Tuning.from_settings(), now=given.now)
    return Done("Refund withdrawn. Nothing was sent.")


@admin.register(Refund)
class RefundAdmin(RecordAdmin):
    noun, nouns = "refund", "refunds"
    list_display = ("who", "amount", "state_label", "why", "kind", "asked", "account")
    list_select_related = ("account", "attempt__payment_method", "invoice__customer")
    list_filter = (
        ("state", StateFilter),
        ("origin", StateFilter),
        ("account", AccountFilter),
        days("requested", prefix="ref"),
    )
    search_fields = ("public_id",)
    search_help_text = "Refund id"
    search = Search(exact=("public_id",))
    state_label = state_column(REFUND_LABELS)
    person_actions = (
        PersonAction(
            name="resolve",
            label="Resolve",
            icon="gavel",
            permission="billing.change_refund",
            offered=lambda row: row.state == RefundState.NEEDS_REVIEW,
            explain=lambda row: (
                "Check the evidence beside this form and the Revenue Monster portal first, then choose what "
                "happened. Kitaran reads the payment once more and refuses a decision that it contradicts. The "
                "decision is final."
            ),
            form=ResolveRefundForm,
            carry_out=_resolve,
            below=lambda row: [_evidence(row)],
            danger=True,
        ),
        PersonAction(
            name="withdraw",
            label="Withdraw",
            icon="cancel",
            permission="billing.change_refund",
            offered=lambda row: row.state == RefundState.REQUESTED,
            explain=lambda row: (
                f"Withdraws the refund of {money(row)}. Only a refund that was not sent yet can be withdrawn."
            ),
            carry_out=_withdraw,
        ),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # asked for on the attempt's page

    def get_queryset(self, request: HttpRequest) -> QuerySet[Refund]:
        # Requests' bytes are for machines.
        return super().get_queryset(request).defer("request_body", "attempt__request_body")

    @admin.display(description="Customer")
    def who(self, row: Refund) -> str:
        return row.invoice.customer.name

    @admin.display(description="Amount")
    def amount(self, row: Refund) -> str:
        return money(row)

    @admin.display(description="Details")
    def why(self, row: Refund) -> str:
        return why_words(row.state_reason) or NOTHING

    @admin.display(description="Requested")
    def asked(self, row: Refund) -> str:
        return moment(row.created_at, row.account.time_zone)

    def subject(self, row: Any) -> str:
        return f"{money(row)} for {row.invoice.customer.name}"

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone = row.account.time_zone
        return Page(
            f"Refund of {money(row)}",
            f"{row.invoice.description} for {row.invoice.customer.name}",
            REFUND_LABELS[row.state],
            main=[*_notices(row, zone), _evidence(row), timeline([("refund", [row.pk])], zone)],
            side=[_facts(row, zone), *_request(row)],
        )


def _notices(row: Refund, zone: str) -> list[Words]:
    match RefundState(row.state):
        case RefundState.NEEDS_REVIEW:
            return [Words("The gateway does not show the outcome of this refund. It needs review.", "danger")]
        case RefundState.UNKNOWN:
            text = (
                "The outcome is unknown. Kitaran checks with the gateway until it is known. The refund is never sent "
                "again."
            )
            if row.next_check_at:
                text += f" Next check: {moment_text(row.next_check_at, zone)}."
            return [Words(text, "warning")]
        case RefundState.REQUESTED:
            why = f": {why_words(row.state_reason)}" if row.state_reason else ""
            return [Words(f"Not sent yet{why}.", "info")]
        case _:
            return []


def _evidence(row: Refund) -> Table:
    found = RefundEvidence.objects.filter(refund_id=row.pk).order_by("-pk")[:MOST_ROWS]
    rows = evidence_rows(found, row.account.time_zone)
    return Table("Evidence", ["Source", "Result", "Details", "When"], rows, "No evidence yet.")


def _facts(row: Refund, zone: str) -> Facts:
    return Facts(
        "Refund",
        [
            ("Customer", link(row.invoice.customer, row.invoice.customer.name)),
            ("Invoice", link(row.invoice, row.invoice.description)),
            ("Attempt", link(row.attempt, f"number {row.attempt.number}")),
            ("Card", paid_with(row.attempt)),
            ("Amount", f"{money(row)}, {words(row.kind)}"),
            ("Requested by", row.requested_by),
            ("Reason", row.requested_reason),
            ("Requested", moment(row.created_at, zone)),
            ("Started", moment(row.armed_at, zone)),
            ("Closed", moment(row.settled_at, zone)),
            ("Details", why_words(row.state_reason) or NOTHING),
            ("Transaction", code(row.attempt.gateway_transaction_id)),
            ("Id", code(row.public_id)),
        ],
    )


def _request(row: Refund) -> list[Verbatim]:
    if row.armed_at is None:
        return []
    return [Verbatim("Signed request", f"{row.request_method} {row.request_url}")]
