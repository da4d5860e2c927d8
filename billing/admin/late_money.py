"""Payments that were found, and the daily reports that were read for them."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from billing.admin.toolkit.actions import Done, Given, PersonAction
from billing.admin.toolkit.base import HistoryAdmin, RecordAdmin
from billing.admin.toolkit.filters import AccountFilter, days
from billing.admin.toolkit.formats import NOTHING, Label, code, day_text, link, moment, moment_by, money
from billing.admin.toolkit.pages import Facts, Page, Words
from billing.admin.toolkit.search import Search
from billing.charging.cases.found_payments import decide_found
from billing.domain.late_money import FoundKind
from billing.models import FoundPayment, ReportDay

KIND_WORDS = {
    FoundKind.AFTER_THE_END: "paid after the subscription ended",
    FoundKind.UNKNOWN_MARKER: "paid, but not in this database",
    FoundKind.WITHOUT_MARKER: "paid on a saved card, unexplained",
    FoundKind.CHECKOUT_DIFFERS: "paid on a payment page, but not the amount that was owed",
    FoundKind.WENT_BACK: "refunded at the gateway after it paid an invoice",
}
KIND_ADVICE = {
    FoundKind.AFTER_THE_END: "The gateway took this money after the last try failed. Its invoice is paid now, and "
    "the subscription is unchanged. Refund the money on the attempt's page, or resume the "
    "subscription or start a new one.",
    FoundKind.UNKNOWN_MARKER: "The gateway's report lists this payment. It carries the marker of a Kitaran charge, "
    "but this database has no such charge. Either another installation charges this "
    "account, or this database is out of date. Find out which before you refund anything. "
    "If the payment names an invoice that is still owed, record it as the payment of that "
    "invoice. Until then the customer's cards stay on hold, so that nobody is charged "
    "twice.",
    FoundKind.WITHOUT_MARKER: "The gateway's report lists this payment. Its order is on a saved card, and no charge "
    "explains it. The card's orders are read, and the card is on hold while the order is "
    "unexplained.",
    FoundKind.CHECKOUT_DIFFERS: "Somebody paid on the payment page of an invoice, and the gateway shows another amount "
    "than the page requested, or that the money was refunded. It pays nothing here. Compare it in the portal: refund "
    "it there, or charge the difference. Until then the customer's cards stay on hold.",
    FoundKind.WENT_BACK: "A person recorded this payment as the invoice's. The gateway now shows that the money was "
    "refunded, but the invoice still counts as paid. Find out why. If the customer still owes "
    "the money, charge it as a one-off.",
}


def _decide(row: FoundPayment, given: Given) -> Done:
    decide_found(payment=row, decision=given.decision, now=given.now)
    return Done("Decision recorded. The payment is off the list.")


@admin.register(FoundPayment)
class FoundPaymentAdmin(RecordAdmin):
    noun, nouns = "found payment", "found payments"
    list_display = ("what", "amount", "found", "decided", "account")
    list_select_related = ("account",)
    list_filter = (("account", AccountFilter), days("found", column="found_at"))
    search_fields = ("gateway_transaction_id",)
    search_help_text = "Transaction id"
    search = Search(in_account=("gateway_transaction_id",))
    person_actions = (
        PersonAction(
            name="decide",
            label="Record a decision",
            icon="task_alt",
            permission="billing.change_foundpayment",
            offered=lambda row: row.decided_at is None,
            explain=lambda row: (
                "Takes the payment off the list. No money moves. To refund it, open the attempt's page."
            ),
            carry_out=_decide,
        ),
    )

    def page_queryset(self) -> QuerySet[Any]:
        related = ("account", "attempt__invoice__customer", "invoice__customer")
        return FoundPayment.objects.select_related(*related).defer("attempt__request_body")

    @admin.display(description="Payment")
    def what(self, row: FoundPayment) -> str:
        return KIND_WORDS[FoundKind(row.kind)]

    @admin.display(description="Amount")
    def amount(self, row: FoundPayment) -> str:
        return money(row)

    @admin.display(description="Found")
    def found(self, row: FoundPayment) -> str:
        return moment(row.found_at, row.account.time_zone)

    @admin.display(description="Decided")
    def decided(self, row: FoundPayment) -> str:
        return moment(row.decided_at, row.account.time_zone) if row.decided_at else "needs review"

    def subject(self, row: Any) -> str:
        return f"{money(row)}, transaction {row.gateway_transaction_id}"

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone, attempt = row.account.time_zone, row.attempt
        invoice = attempt.invoice if attempt else row.invoice
        facts = [
            ("Amount", money(row)),
            ("Customer", link(invoice.customer, invoice.customer.name) if invoice else NOTHING),
            ("Invoice", link(invoice, invoice.public_id) if invoice else NOTHING),
            ("Attempt", link(attempt, attempt.public_id) if attempt else NOTHING),
            ("Transaction", code(row.gateway_transaction_id)),
            ("Order", code(row.gateway_order_id)),
            ("Marker", code(row.marker)),
            ("Found", moment(row.found_at, zone)),
            ("Decided", moment_by(row.decided_at, row.decided_by, zone)),
            ("Decision", row.decided_reason or NOTHING),
            ("Account", link(row.account, row.account.name)),
        ]
        waits = row.decided_at is None
        label = Label("needs review", "warning") if waits else Label("decided", "success")
        advice = [Words(KIND_ADVICE[FoundKind(row.kind)], "warning")] if waits else []
        title = f"{KIND_WORDS[FoundKind(row.kind)][:1].upper()}{KIND_WORDS[FoundKind(row.kind)][1:]}"
        return Page(title, money(row), label, main=[*advice, Facts("Payment", facts)])


@admin.register(ReportDay)
class ReportDayAdmin(HistoryAdmin):
    noun, nouns = "daily report", "daily reports"
    list_display = ("date", "payments", "explained", "unexplained", "read", "state", "account")
    list_select_related = ("account",)
    list_filter = (("account", AccountFilter),)
    search_fields = ()

    @admin.display(description="Day")
    def date(self, row: ReportDay) -> str:
        return day_text(row.day)

    @admin.display(description="Last read")
    def read(self, row: ReportDay) -> str:
        return moment(row.read_at, row.account.time_zone)

    @admin.display(description="State")
    def state(self, row: ReportDay) -> str:
        if row.failure:
            return "failed"
        return "complete" if row.complete_at else "partly read"

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone = row.account.time_zone
        facts = [
            ("Day in Malaysia", f"{row.day:%-d %B %Y}"),
            ("State", self.state(row)),
            ("Payments in it", row.payments),
            ("Charges of Kitaran", row.explained),
            ("Unexplained", row.unexplained),
            ("Other sales", row.payments - row.explained - row.unexplained),
            ("Last read", moment(row.read_at, zone)),
            ("Read again", moment(row.next_read_at, zone)),
            ("Failure", row.failure or NOTHING),
            ("Account", link(row.account, row.account.name)),
        ]
        return Page(f"Report of {row.day:%-d %B %Y}", row.account.name, main=[Facts("Report", facts)])
