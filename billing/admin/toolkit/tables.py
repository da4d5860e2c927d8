"""Tables that several pages show: cards, subscriptions, invoices, attempts."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from billing.admin.toolkit.formats import (
    ATTEMPT_LABELS,
    CARD_LABELS,
    INVOICE_LABELS,
    NOTHING,
    STANDING_LABELS,
    age,
    card_words,
    link,
    moment,
    moment_text,
    money,
    paid_with,
    schedule_words,
    standing,
    verdict_words,
    why_of_evidence,
    why_words,
    words,
)
from billing.admin.toolkit.pages import Cell, Table
from billing.domain.arming import Refusal
from billing.domain.money import display
from billing.domain.reason_words import reason_words
from billing.domain.subscriptions import InvoiceState
from billing.models import Evidence, Invoice, PaymentAttempt, PaymentMethod, RefundEvidence, Subscription
from billing.models.bulk.holding import HeldUp

MOST_ROWS = 12


def what_is_next(invoice: Invoice, zone: str, *, sentence: bool = False) -> str:
    """What happens with the invoice next, in one line, or as a sentence of its own."""
    text = _next(invoice, zone)
    return f"{text[:1].upper()}{text[1:]}." if sentence else text


def _next(invoice: Invoice, zone: str) -> str:
    if invoice.state != InvoiceState.OPEN:
        return NOTHING
    if invoice.hold:
        return f"needs review: {reason_words(invoice.hold)}"
    if invoice.refusal == Refusal.FIRST_CHARGE_DECLINED:
        return reason_words(invoice.refusal)
    if invoice.next_attempt_at is None and invoice.grace_ends_at is not None:
        return f"no try is left; it can be paid until {moment_text(invoice.grace_ends_at, zone)}"
    if invoice.next_attempt_at is None:
        return "waiting for the outcome of an attempt"
    why = f": {reason_words(invoice.refusal)}" if invoice.refusal else ""
    return f"next try {moment_text(invoice.next_attempt_at, zone)}{why}"


def attempt_line(attempt: PaymentAttempt, zone: str) -> SafeString:
    """One attempt below its invoice."""
    text = why_words(attempt.state_reason)
    reason = f" ({text})" if text and text != attempt.state else ""
    label = ATTEMPT_LABELS[attempt.state].text
    return format_html(
        '<span class="k-sub">{}: {}{}, {}</span>',
        link(attempt, f"Attempt {attempt.number}"),
        label,
        reason,
        moment(attempt.armed_at, zone),
    )


def invoices(
    found: Sequence[Invoice], zone: str, *, more: str = "", title: str = "Invoices", attempts: bool = True
) -> Table:
    """Invoices with their attempts (prefetched as `attempts`), newest first."""
    rows = []
    for invoice in found:
        lines: Iterable[Any] = (attempt_line(a, zone) for a in invoice.attempts.all()) if attempts else ()
        rows.append(
            [
                Cell(
                    format_html(
                        "{}{}",
                        link(invoice, invoice.description),
                        format_html_join("", "{}", ((line,) for line in lines)),
                    )
                ),
                Cell(moment(invoice.due_at, zone)),
                Cell("", label=INVOICE_LABELS[invoice.state]),
                Cell(what_is_next(invoice, zone)),
                Cell(money(invoice), number=True),
            ]
        )
    return Table(title, ["Invoice", "Due", "State", "Next", "Amount"], rows, "No invoices yet.", more)


def cards(found: Sequence[PaymentMethod], zone: str, more: str = "") -> Table:
    rows = [
        [
            Cell(
                format_html(
                    "{}{}",
                    link(card, card_words(card)),
                    format_html('<span class="k-sub">{}</span>', _use(card, zone)),
                )
            ),
            Cell(f"on hold: {reason_words(card.held_reason)}" if card.held_at else "", label=CARD_LABELS[card.state]),
        ]
        for card in found
    ]
    return Table("Cards", ["Card", "State"], rows, "No cards yet. Save one to charge this customer.", more)


def _use(card: PaymentMethod, zone: str) -> str:
    since = moment(card.activated_at, zone) if card.activated_at else NOTHING
    return format_html("{}saved {}", "default, " if card.is_default else "", since)


def subscriptions(found: Sequence[Subscription], zone: str, more: str = "") -> Table:
    rows = [
        [
            Cell(format_html('{}<span class="k-sub">{}</span>', link(one, one.plan.name), schedule_words(one))),
            Cell("", label=STANDING_LABELS[standing(one)]),
            Cell(moment(one.next_due_at, zone)),
            Cell(money(one), number=True),
        ]
        for one in found
    ]
    return Table("Subscriptions", ["Subscription", "State", "Next due", "Price"], rows, "No subscriptions yet.", more)


def attempts(
    found: Sequence[PaymentAttempt], zone: str, *, title: str, empty: str, more: str = "", of_one: bool = False
) -> Table:
    """Attempts with their customer (`invoice__customer` selected), or by number when they are `of_one` invoice."""
    rows = [
        [
            Cell(
                format_html(
                    '{}<span class="k-sub">{}</span>',
                    link(one, f"Attempt {one.number}" if of_one else one.invoice.customer.name),
                    paid_with(one) if of_one else one.invoice.description,
                )
            ),
            Cell("", label=ATTEMPT_LABELS[one.state]),
            Cell(why_words(one.state_reason) or NOTHING),
            Cell(moment(one.armed_at, zone)),
            Cell(money(one), number=True),
        ]
        for one in found
    ]
    first = "Attempt" if of_one else "Customer"
    return Table(title, [first, "State", "Reason", "Started", "Amount"], rows, empty, more)


def evidence_rows(found: Iterable[Evidence | RefundEvidence], zone: str) -> list[list[Cell]]:
    """Source, result, reason and time of each piece of evidence."""
    return [
        [
            Cell(link(one, words(one.source))),
            Cell(verdict_words(one.verdict)),
            Cell(why_of_evidence(one) or NOTHING),
            Cell(moment(one.recorded_at, zone)),
        ]
        for one in found
    ]


def waiting_rows(invoices: Iterable[HeldUp], now: datetime, zone: str) -> list[list[Cell]]:
    """Each invoice that waits for a card, since when, and its amount."""
    return [
        [
            Cell(
                format_html(
                    '<a class="k-link" href="{}">{}</a>',
                    reverse("admin:billing_invoice_change", args=[one.invoice_id]),
                    one.description,
                )
            ),
            Cell(format_html('{}<span class="k-sub">due {}</span>', age(one.due_at, now), moment(one.due_at, zone))),
            Cell(display(one.amount_minor, one.currency), number=True),
        ]
        for one in invoices
    ]
