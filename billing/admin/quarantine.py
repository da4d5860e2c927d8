"""The page of an account in quarantine: why, what was read, what was found, and the button that ends it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.utils.html import format_html, format_html_join

from billing.admin.toolkit.actions import Done, Given, PersonAction
from billing.admin.toolkit.formats import ATTEMPT_LABELS, link, moment, moment_text, money, page_of, words
from billing.admin.toolkit.pages import Cell, Facts, Table, Words, timeline
from billing.domain.money import display
from billing.domain.plurals import counted
from billing.models import GatewayAccount
from billing.models.clock import database_now
from billing.operating import quarantine

LISTED = 100


def in_quarantine(row: GatewayAccount) -> bool:
    return row.quarantined_at is not None


def notice(row: GatewayAccount) -> list[Words]:
    """What the start page and the account's own say of it."""
    if row.quarantined_at is None:
        return []
    text = format_html(
        "{} has been in quarantine since {}: charges may be missing from this database. Nothing is charged or "
        "refunded until every card has been read at the gateway and a person lifts the quarantine. "
        '<a class="k-link" href="{}quarantine/">See what to do</a>',
        row.name,
        moment(row.quarantined_at, row.time_zone),
        page_of(row),
    )
    return [Words(text, "danger")]


def _status(row: GatewayAccount) -> quarantine.Status:
    """Read once for a page."""
    if "_quarantine" not in row.__dict__:
        row.__dict__["_quarantine"] = quarantine.status(row, now=database_now())
    found: quarantine.Status = row.__dict__["_quarantine"]
    return found


def _before(row: GatewayAccount) -> list[Any]:
    found, zone = _status(row), row.time_zone
    first = (
        Words(
            f"The quarantine cannot be lifted yet: {found.why_not_lifted.sentence(_when(row))}. The workers read the "
            "cards without your help.",
            "warning",
        )
        if found.why_not_lifted
        else Words("All cards have been read. Review what was found below, then lift the quarantine.", "info")
    )
    facts = [
        ("Since", moment(row.quarantined_at, zone)),
        ("Reason", found.why),
        ("Details", row.quarantine_detail),
        ("Charges may be missing since", moment(row.quarantine_point_at, zone) if row.quarantine_point_at else "ever"),
        ("Cards", found.cards),
        ("Read since the quarantine started", found.read_once),
        ("Not completely read", found.unread),
        ("Unreadable, set aside by a person", _given_up(found)),
        ("Reads are complete from", moment(found.complete_from, zone)),
        ("Recovered charges", _sum(found)),
        ("Unexplained orders", counted(len(found.unmatched), "order")),
    ]
    return [first, Facts("Quarantine", facts)]


def _given_up(found: quarantine.Status) -> Any:
    """Cards that count as read; they are not charged until the gateway shows their orders."""
    links = format_html_join(", ", "{}", ((link(card, card.customer.name),) for card in found.given_up[:LISTED]))
    return format_html("{} {}", counted(len(found.given_up), "card"), links)


def _when(row: GatewayAccount) -> Callable[[datetime], str]:
    """By the account's clocks; of a minute that has begun the end, so that nobody comes too early."""
    return lambda at: moment_text(at + timedelta(seconds=59), row.time_zone)


def _sum(found: quarantine.Status) -> str:
    minor = sum(one.amount_minor for one in found.recovered if one.state in ("succeeded", "surplus"))
    return f"{counted(len(found.recovered), 'charge')}, {display(minor, 'MYR')} paid"


def _below(row: GatewayAccount) -> list[Any]:
    found, zone = _status(row), row.time_zone
    recovered = [
        [
            Cell(link(one, one.invoice.customer.name)),
            Cell(link(one.invoice, one.invoice.description)),
            Cell("", ATTEMPT_LABELS[one.state]),
            Cell(moment(one.armed_at, zone)),
            Cell(money(one), number=True),
        ]
        for one in found.recovered[:LISTED]
    ]
    unmatched = [
        [
            Cell(link(one, one.payment_method.customer.name)),
            Cell(link(one.payment_method, "the card, which is on hold")),
            Cell(words(one.status.lower())),
            Cell(moment(one.ordered_at, zone) if one.ordered_at else "not known"),
            Cell(display(one.amount_minor, one.currency), number=True),
        ]
        for one in found.unmatched[:LISTED]
    ]
    return [
        Table(
            "Recovered charges",
            ["Customer", "Invoice", "Outcome", "Charged", "Amount"],
            recovered,
            "None yet.",
        ),
        Table(
            "Unexplained orders: check each one in the Revenue Monster portal. Refund it there, or release the "
            "card's hold if it is right. Until then this customer is not charged.",
            ["Customer", "Card", "Outcome", "Ordered", "Amount"],
            unmatched,
            "None. Every order at the gateway is explained.",
        ),
        Table("Cross-check", ["Daily reports"], _report_rows(found), ""),
        timeline([("quarantine", [row.pk])], zone),
    ]


def _report_rows(found: quarantine.Status) -> list[list[Cell]]:
    lines = [line.strip().removeprefix("daily reports: ") for line in quarantine.report_lines(found.reports)]
    return [[Cell(f"{line[:1].upper()}{line[1:]}.")] for line in lines]


def _explain(row: GatewayAccount) -> str:
    return (
        f"{row.name} charges again. Due invoices that were not found at the gateway are charged now. For a day each "
        "card is read once more before its first charge. Lift the quarantine only if no other installation charges "
        "with the same credentials."
    )


def _lift(row: GatewayAccount, given: Given) -> Done:
    try:
        quarantine.lift(account=row, reason=given.reason, actor=given.actor, now=given.now)
    except quarantine.NotYetError as error:
        raise quarantine.NotYetError(error.why, _when(row)) from error
    return Done("Quarantine lifted. Due invoices are charged, after each card has been read.")


LIFT = PersonAction(
    name="quarantine",
    label="Lift the quarantine",
    icon="lock_open",
    permission="billing.change_gatewayaccount",
    offered=in_quarantine,
    explain=_explain,
    carry_out=_lift,
    before=lambda row: _before(row) if in_quarantine(row) else [],
    below=lambda row: _below(row) if in_quarantine(row) else [],
    danger=True,
)
