"""Payment pages: handed out from the invoice's page, and listed with what became of them."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from billing.admin.toolkit import tables
from billing.admin.toolkit.actions import Done, Given, PersonAction
from billing.admin.toolkit.base import RecordAdmin
from billing.admin.toolkit.fields import ActionForm
from billing.admin.toolkit.filters import AccountFilter, StateFilter, days
from billing.admin.toolkit.formats import (
    CHECKOUT_LABELS,
    NOTHING,
    code,
    link,
    moment,
    moment_text,
    money,
    page_of,
    state_column,
    why_words,
)
from billing.admin.toolkit.pages import Cell, Facts, Page, Table, timeline
from billing.admin.toolkit.search import Search
from billing.charging.checkouts.look import look_now
from billing.charging.checkouts.open import open_checkout
from billing.domain.attempts import HOLDS_PLACE
from billing.domain.checkouts import LIVE, CheckoutState
from billing.domain.closing import CLOSABLE
from billing.models import Checkout, Invoice
from billing.operating.tuning import Tuning


def _open(row: Invoice, given: Given) -> Done:
    checkout = open_checkout(invoice=row, actor=given.actor, now=given.now)
    until = moment_text(checkout.expires_at, row.account.time_zone)
    return Done(
        f"Send this link to {row.customer.name}. It can be used until {until}. No card is charged meanwhile.",
        page_of(row),
        ("Link to the payment page", checkout.url),
    )


def _may_be_paid(row: Invoice) -> bool:
    return row.state in CLOSABLE and not row.attempts.filter(state__in=HOLDS_PLACE).exists()


PAY_BY_PAGE = PersonAction(
    name="payment-page",
    label="Payment page",
    icon="qr_code_2",
    permission="billing.change_invoice",
    offered=_may_be_paid,
    explain=lambda row: (
        f"Requests Revenue Monster's page on which {row.customer.name} pays {money(row)} by FPX, DuitNow, a wallet or "
        "a card with 3D Secure. The link can be used for ten minutes. No card is charged while somebody may be paying. "
        "Money that arrives anyway is an overpayment."
    ),
    form=ActionForm,
    carry_out=_open,
    button="Get the link",
)


def _check(row: Checkout, given: Given) -> Done:
    state = look_now(row, tuning=Tuning.from_settings(), now=given.now)
    what = {
        CheckoutState.PAID: "The payment was received.",
        CheckoutState.CLOSED: "The page is over. Nothing was paid on it.",
    }
    return Done(what.get(state, "Nothing was paid on the page yet."))


@admin.register(Checkout)
class CheckoutAdmin(RecordAdmin):
    noun, nouns = "payment page", "payment pages"
    list_display = ("who", "invoice_text", "amount", "state_label", "requested", "account")
    list_select_related = ("account", "invoice__customer")
    list_filter = (("state", StateFilter), ("account", AccountFilter), days("requested", prefix="chk"))
    search_fields = ("public_id",)
    search_help_text = "Id, order or marker"
    search = Search(exact=("public_id", "marker"), in_account=("order_id",))
    state_label = state_column(CHECKOUT_LABELS)
    person_actions = (
        PersonAction(
            name="check",
            label="Check with Revenue Monster",
            icon="refresh",
            permission="billing.change_checkout",
            explain=lambda _: "Reads the payment at Revenue Monster now. Nothing is charged.",
            form=ActionForm,
            carry_out=_check,
        ),
    )

    @admin.display(description="Customer")
    def who(self, row: Checkout) -> str:
        return row.invoice.customer.name

    @admin.display(description="Invoice")
    def invoice_text(self, row: Checkout) -> str:
        return row.invoice.description

    @admin.display(description="Amount")
    def amount(self, row: Checkout) -> str:
        return money(row)

    @admin.display(description="Requested")
    def requested(self, row: Checkout) -> str:
        return moment(row.created_at, row.account.time_zone)

    def subject(self, row: Any) -> str:
        return f"Payment page of {row.invoice.description} for {row.invoice.customer.name}"

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone = row.account.time_zone
        paid = list(row.attempts.select_related("invoice__customer", "payment_method").order_by("number"))
        facts: list[tuple[str, Any]] = [
            ("Customer", link(row.invoice.customer, row.invoice.customer.name)),
            ("Invoice", link(row.invoice, row.invoice.description)),
            ("Amount", money(row)),
            ("Reason", why_words(row.state_reason) or NOTHING),
            ("Requested", moment(row.created_at, zone)),
            ("Requested by", row.requested_by),
            ("Handed out until", moment(row.expires_at, zone)),
            ("Closed", moment(row.closed_at, zone)),
            ("Next check", moment(row.next_check_at, zone)),
            ("Last check", moment(row.looked_at, zone)),
            ("Order", code(row.order_id)),
            ("Id", code(row.public_id)),
        ]
        if row.state == CheckoutState.OPEN:
            facts.insert(3, ("Link", code(row.url)))
        return Page(
            f"Payment page, {money(row)}",
            f"{row.invoice.description} for {row.invoice.customer.name}",
            CHECKOUT_LABELS[row.state],
            main=[
                tables.attempts(paid, zone, title="Payments", empty="Nothing was paid on this page.", of_one=True),
                timeline([("checkout", [row.pk])], zone),
            ],
            side=[Facts("Payment page", facts)],
        )


def pages_of(invoice: Invoice) -> list[Table]:
    """The invoice's payment pages, the newest first; nothing where there was none."""
    zone = invoice.account.time_zone
    rows = [
        [
            Cell(link(one, moment(one.created_at, zone))),
            Cell("", CHECKOUT_LABELS[one.state]),
            Cell(one.requested_by),
            Cell(code(one.url) if one.state in LIVE and one.url else why_words(one.state_reason) or NOTHING),
        ]
        for one in invoice.checkouts.order_by("-pk")[:10]
    ]
    return [Table("Payment pages", ["Requested", "State", "By", "Link or reason"], rows, "")] if rows else []
