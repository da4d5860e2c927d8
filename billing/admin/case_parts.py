"""The parts of pages about a case: what was proposed, the gateway's orders beside ours, what waits, the choices."""

from typing import Any

from django.urls import reverse
from django.utils.html import format_html

from billing.admin.actions import new_token
from billing.admin.formats import (
    ATTEMPT_LABELS,
    NOTHING,
    Label,
    age,
    card_words,
    code,
    link,
    moment,
    moment_text,
    money,
    page_of,
    reason_words,
    words,
)
from billing.admin.pages import Cell, Facts, Post, Table, Words
from billing.charging.case import BEFORE, NO_ORDER, TOOK_NOTHING, UNEXPLAINED, Case, Pair, read_case
from billing.domain.attempts import AttemptState
from billing.domain.money import display
from billing.domain.resolution import ProposalKind, ProposalOutcome
from billing.models import PaymentAttempt, Proposal
from billing.models.clock import database_now

MAY_DECIDE = "billing.change_paymentattempt"
KIND_WORDS = {
    ProposalKind.CHARGED: "Charged: the money was taken",
    ProposalKind.DECLINED: "Declined: the bank refused",
    ProposalKind.NOT_CHARGED: "Not charged: no money moved",
    ProposalKind.RELEASE: "Release the card only",
}
WHY_WORDS = {
    BEFORE: "was there before, or was looked at",
    UNEXPLAINED: "nothing explains it",
    NO_ORDER: "no order seen",
    TOOK_NOTHING: "failed: took nothing",
}
WATCHED = frozenset({AttemptState.NEEDS_HUMAN, AttemptState.UNKNOWN, AttemptState.IN_PROCESS})


def needs_a_person(row: PaymentAttempt) -> bool:
    return row.state == AttemptState.NEEDS_HUMAN


def is_watched(row: PaymentAttempt) -> bool:
    """Whether its outcome is still open and somebody may look at it."""
    return row.state in WATCHED


def case_of(row: PaymentAttempt) -> Case:
    """The row's case, read once for a page."""
    known: Case | None = row.__dict__.get("_case")
    if known is None:
        known = read_case(row, now=database_now())
        row.__dict__["_case"] = known
    return known


def open_proposal(row: PaymentAttempt) -> Proposal | None:
    """What waits for another person; asked for once a page, and only for what is with a person."""
    if not needs_a_person(row):
        return None
    if "_proposal" not in row.__dict__:
        row.__dict__["_proposal"] = Proposal.objects.filter(attempt=row, outcome=ProposalOutcome.OPEN.value).first()
    found: Proposal | None = row.__dict__["_proposal"]
    return found


def parts(row: PaymentAttempt) -> list[Any]:
    """The gateway's orders beside ours, and the button that reads them."""
    zone = row.account.time_zone
    return [_orders(row, zone), _read_button(row)]


def notices(row: PaymentAttempt) -> list[Words]:
    """An open proposal is the first thing to read."""
    proposal = open_proposal(row)
    if proposal is None:
        return []
    at = moment(proposal.proposed_at, row.account.time_zone)
    said = KIND_WORDS[ProposalKind(proposal.kind)]
    if proposal.transaction_id:
        said = f"{said}, transaction {proposal.transaction_id}"
    return [
        Words(
            format_html(
                "{} proposed on {}: {}. “{}” Another person confirms or rejects it.",
                proposal.proposed_by,
                at,
                said,
                proposal.reason,
            ),
            "warning",
        )
    ]


def _orders(row: PaymentAttempt, zone: str) -> Table:
    rows = [
        [
            Cell(_ours(pair, row, zone), label=ATTEMPT_LABELS[pair.attempt.state] if pair.attempt else None),
            Cell(_theirs(pair, zone)),
            Cell("" if pair.unexplained else WHY_WORDS.get(pair.why, "explained"), label=_mark(pair)),
            Cell(money(pair.order or pair.attempt), number=True),
        ]
        for pair in case_of(row).pairs
    ]
    return Table(
        "This card: our attempts beside the gateway's orders",
        ["Ours", "At the gateway", "Explained", "Amount"],
        rows,
        "Nothing of this card was seen yet: read it now.",
    )


def _ours(pair: Pair, row: PaymentAttempt, zone: str) -> Any:
    if pair.attempt is None:
        return NOTHING
    name = "this attempt" if pair.attempt.pk == row.pk else f"attempt {pair.attempt.number}"
    about = pair.attempt.invoice.description
    return format_html(
        '{}<span class="k-sub">{}, {}</span>', link(pair.attempt, name), about, moment(pair.attempt.armed_at, zone)
    )


def _theirs(pair: Pair, zone: str) -> Any:
    order = pair.order
    if order is None:
        known = pair.attempt.gateway_transaction_id if pair.attempt else None
        return format_html('{}<span class="k-sub">from its answer</span>', code(known)) if known else NOTHING
    below = format_html("{} {}", order.status.lower().replace("_", " "), moment(order.ordered_at, zone))
    named = code(order.gateway_transaction_id or order.gateway_order_id)
    return format_html('{}<span class="k-sub">{}</span>', link(order, named), below)


def _mark(pair: Pair) -> Label | None:
    return Label("unexplained", "danger") if pair.unexplained else None


def _read_button(row: PaymentAttempt) -> Post:
    return Post(
        "Read the card at the gateway now",
        "sync",
        f"{page_of(row)}read-card/",
        "Asks the gateway for every order of this card. Nothing is charged.",
        new_token(),
        MAY_DECIDE,
    )


def held_up(row: PaymentAttempt, zone: str) -> Table:
    """The other invoices that wait because the card is blocked."""
    now = database_now()
    rows = [
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
        for one in case_of(row).holds_up
    ]
    return Table("Held up by this card", ["Invoice", "Waits since", "Amount"], rows, "No other invoice waits for this.")


def choices(row: PaymentAttempt) -> Table:
    """Each choice with what it does, before anything is chosen; what was proposed alone, when it is to be confirmed."""
    proposal = open_proposal(row)
    zone = row.account.time_zone
    rows = [
        [
            Cell(KIND_WORDS[one.kind]),
            Cell(
                format_html(
                    '{}<span class="k-sub">Next charge: {}</span>',
                    one.invoice,
                    moment_text(one.next_charge_at, zone) if one.next_charge_at else "none by itself",
                )
            ),
            Cell(one.subscription),
            Cell(one.card),
        ]
        for one in case_of(row).choices
        if proposal is None or proposal.kind == one.kind
    ]
    title = "What each choice does" if proposal is None else "What was proposed does"
    first = "If you say" if proposal is None else "Proposed"
    return Table(title, [first, "The invoice", "The subscription", "The card"], rows, "")


def invoice_facts(row: PaymentAttempt) -> Facts:
    zone, invoice = row.account.time_zone, row.invoice
    rows: list[tuple[str, Any]] = [
        ("For", link(invoice, invoice.description)),
        ("Customer", link(invoice.customer, invoice.customer.name)),
        ("Amount", money(invoice)),
        ("Period", "one-off" if invoice.period_index is None else f"number {invoice.period_index + 1}"),
        ("Due", moment(invoice.due_at, zone)),
        ("State", invoice.state),
        ("Card", link(row.payment_method, card_words(row.payment_method))),
    ]
    if row.payment_method.held_at:
        rows.append(("Card is held", words(row.payment_method.held_reason)))
    return Facts("Invoice", rows)


def evidence_in_order(row: PaymentAttempt) -> Table:
    """Everything that was heard, the first thing first."""
    zone = row.account.time_zone
    rows = [
        [
            Cell(link(one, words(one.source))),
            Cell(words(one.verdict)),
            Cell((reason_words(one.reason) if one.reason != one.verdict else "") or NOTHING),
            Cell(moment(one.recorded_at, zone)),
        ]
        for one in case_of(row).evidence
    ]
    return Table("Evidence, in order", ["Source", "Says", "Why", "When"], rows, "Nothing was heard yet.")
