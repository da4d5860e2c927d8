"""The parts of pages about a case: what was proposed, the gateway's orders beside ours, what waits, the choices."""

from typing import Any

from django import forms
from django.utils.html import format_html

from billing.admin.toolkit.actions import Given, new_token
from billing.admin.toolkit.fields import ReasonForm
from billing.admin.toolkit.formats import (
    ATTEMPT_LABELS,
    NOTHING,
    Label,
    card_words,
    code,
    link,
    moment,
    moment_text,
    money,
    page_of,
    quoted,
)
from billing.admin.toolkit.pages import Cell, Facts, Post, Table, Words
from billing.admin.toolkit.tables import evidence_rows, waiting_rows
from billing.charging.cases import approvals
from billing.charging.cases.case import BEFORE, NO_ORDER, TOOK_NOTHING, UNEXPLAINED, Case, Pair, read_case
from billing.charging.cases.holds import ResolutionError
from billing.domain.attempts import AttemptState
from billing.domain.reason_words import reason_words
from billing.domain.resolution import ProposalKind, ProposalOutcome
from billing.models import PaymentAttempt, Proposal
from billing.models.clock import database_now

MAY_DECIDE = "billing.change_paymentattempt"
KIND_WORDS = {
    ProposalKind.CHARGED: "Charged: the money was taken",
    ProposalKind.DECLINED: "Declined: the bank refused",
    ProposalKind.NOT_CHARGED: "Not charged: no money moved",
    ProposalKind.CHARGED_AND_GIVEN_BACK: "Charged and refunded: the money was taken, and all of it was refunded",
    ProposalKind.RELEASE: "Release the card only",
    ProposalKind.PAID_ELSEWHERE: "Paid elsewhere: the invoice was paid without this card",
    ProposalKind.VOID: "Void: nothing is owed for the invoice",
    ProposalKind.WRITE_OFF: "Write off: the invoice stays owed but is no longer collected",
    ProposalKind.CLEAR_HOLD: "Clear the hold of the card",
}
WHY_WORDS = {
    BEFORE: "seen before, or reviewed",
    UNEXPLAINED: "unexplained",
    NO_ORDER: "no order found",
    TOOK_NOTHING: "failed, no money taken",
}
WATCHED = frozenset({AttemptState.NEEDS_REVIEW, AttemptState.UNKNOWN, AttemptState.IN_PROCESS})


def needs_a_person(row: PaymentAttempt) -> bool:
    return row.state == AttemptState.NEEDS_REVIEW


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


class DecideForm(ReasonForm):
    """Names the proposal that the page showed: another one may have taken its place since."""

    shown = forms.CharField(widget=forms.HiddenInput, required=False, max_length=64)
    field_order = ("reason", "shown", "token")

    def prepare(self, row: Any) -> None:
        shown = approvals.open_proposal(row)
        self.initial["shown"] = shown.public_id if shown else ""


def as_shown(proposal: Proposal, given: Given) -> Proposal:
    """Raises ResolutionError unless it is the one that the page showed."""
    if given.data.get("shown") not in (None, "", proposal.public_id):
        raise ResolutionError("proposal", "state", "was replaced after this page was opened; open the page again")
    return proposal


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
    decision = KIND_WORDS[ProposalKind(proposal.kind)]
    if proposal.transaction_id:
        decision = f"{decision}, transaction {proposal.transaction_id}"
    return [
        Words(
            format_html(
                "{} proposed on {}: {}. Reason: {} Another person confirms or rejects it.",
                proposal.proposed_by,
                at,
                decision,
                quoted(proposal.reason),
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
        "No orders of this card are known yet. Read the card now.",
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
        "Reads every order of this card at the gateway. Nothing is charged.",
        new_token(),
        MAY_DECIDE,
    )


def held_up(row: PaymentAttempt, zone: str) -> Table:
    """The other invoices that wait because the card is blocked."""
    rows = waiting_rows(case_of(row).holds_up, database_now(), zone)
    return Table("Other invoices waiting", ["Invoice", "Waiting since", "Amount"], rows, "No other invoices wait.")


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
                    moment_text(one.next_charge_at, zone) if one.next_charge_at else "none automatically",
                )
            ),
            Cell(one.subscription),
            Cell(one.card),
        ]
        for one in case_of(row).choices
        if proposal is None or proposal.kind == one.kind
    ]
    title = "What each decision does" if proposal is None else "Effect of the proposal"
    first = "Decision" if proposal is None else "Proposed"
    return Table(title, [first, "The invoice", "The subscription", "The card"], rows, "")


def invoice_facts(row: PaymentAttempt) -> Facts:
    zone, invoice = row.account.time_zone, row.invoice
    rows: list[tuple[str, Any]] = [
        ("Description", link(invoice, invoice.description)),
        ("Customer", link(invoice.customer, invoice.customer.name)),
        ("Amount", money(invoice)),
        ("Period", "one-off" if invoice.period_index is None else f"number {invoice.period_index + 1}"),
        ("Due", moment(invoice.due_at, zone)),
        ("State", invoice.state),
        ("Card", link(row.card, card_words(row.card))),
    ]
    if row.card.held_at:
        rows.append(("Card on hold", reason_words(row.card.held_reason)))
    return Facts("Invoice", rows)


def evidence_in_order(row: PaymentAttempt) -> Table:
    """Everything that was found, the first thing first."""
    rows = evidence_rows(case_of(row).evidence, row.account.time_zone)
    return Table("Evidence, in order", ["Source", "Result", "Reason", "When"], rows, "No evidence yet.")
