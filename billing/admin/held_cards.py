"""Parts of the page of a held card: what clearing the hold charges, and which orders may be payments already."""

from typing import Any

from django.http import HttpRequest
from django.utils.html import format_html

from billing.admin.case_parts import DecideForm, as_shown
from billing.admin.toolkit.actions import Done, Given, PersonAction
from billing.admin.toolkit.formats import link, moment, money, page_of, quoted
from billing.admin.toolkit.pages import Cell, Table, Words
from billing.admin.toolkit.tables import waiting_rows
from billing.charging.cases import approvals
from billing.charging.cases.clear_hold import confirm_clearing, preview_hold, reject_clearing
from billing.charging.cases.holds import ResolutionError
from billing.domain.closing import Likeness
from billing.domain.money import display
from billing.domain.plurals import counted
from billing.models import FoundPayment, Invoice, PaymentMethod, Proposal
from billing.models.clock import database_now

WHY_WORDS = {
    Likeness.NAMES_THE_INVOICE: "it names this invoice",
    Likeness.AMOUNT_AND_TIME: "its amount and time fit",
}


def open_card_proposal(card: PaymentMethod) -> Proposal | None:
    """What was proposed about the card and waits for another person."""
    return approvals.open_proposal(card) if card.held_at is not None else None


def what_it_charges(card: PaymentMethod) -> list[Any]:
    """An open proposal, the orders that may be payments with the way not to charge again, and what is charged."""
    seen, now, zone = preview_hold(card, now=database_now()), database_now(), card.account.time_zone
    return [*_proposed(card), *_may_be_paid(seen.candidates, zone), _charges(seen, now, zone)]


def _proposed(card: PaymentMethod) -> list[Words]:
    proposal = open_card_proposal(card)
    if proposal is None:
        return []
    text = format_html(
        "{} proposed on {} to release the hold: {} Another person confirms or rejects it.",
        proposal.proposed_by,
        moment(proposal.proposed_at, card.account.time_zone),
        quoted(proposal.reason),
    )
    return [Words(text, "warning")]


def _may_be_paid(candidates: Any, zone: str) -> list[Any]:
    if not candidates:
        return []
    rows = [
        [
            Cell(
                format_html(
                    '{}<span class="k-sub">{}, {}</span>',
                    link(one.order, one.order.gateway_transaction_id or one.order.gateway_order_id),
                    money(one.order),
                    moment(one.order.found_at if isinstance(one.order, FoundPayment) else one.order.ordered_at, zone),
                )
            ),
            Cell(
                format_html(
                    '{}<span class="k-sub">{}</span>', link(one.invoice, one.invoice.description), WHY_WORDS[one.why]
                )
            ),
            Cell(_offer(one.invoice, one.order.gateway_transaction_id)),
        ]
        for one in candidates
    ]
    warning = (
        "An unexplained order, or a found payment, may be the payment of an invoice that is still owed. Record it as "
        "that payment, and the customer is not charged again. If you release the hold instead, the invoice is "
        "charged once more."
    )
    headers = ["Order at the gateway", "May have paid", "If so"]
    return [Words(warning, "danger"), Table("Possible payments", headers, rows, "")]


def _offer(invoice: Invoice, transaction_id: str) -> str:
    if not transaction_id:
        return "check the Revenue Monster portal"
    return format_html(
        '<a class="k-link" href="{}found-payment/?transaction_id={}">Record as this invoice\'s payment</a>',
        page_of(invoice),
        transaction_id,
    )


def _charges(seen: Any, now: Any, zone: str) -> Table:
    rows = waiting_rows(seen.due, now, zone)
    if rows:
        total = display(seen.total_minor, seen.currency)
        rows.append([Cell("Total, charged now"), Cell(counted(len(seen.due), "invoice")), Cell(total, number=True)])
    title = "Charged when the hold is released"
    return Table(title, ["Invoice", "Waiting since", "Amount"], rows, "No invoice waits for this card.")


def _the_proposal(card: PaymentMethod) -> Proposal:
    found = open_card_proposal(card)
    if found is None:
        raise ResolutionError("proposal", "state", "this card has none")
    return found


def _confirm(card: PaymentMethod, given: Given) -> Done:
    confirm_clearing(proposal=as_shown(_the_proposal(card), given), decision=given.decision, now=given.now)
    return Done("Confirmed. The card can be charged again.")


def _reject(card: PaymentMethod, given: Given) -> Done:
    reject_clearing(proposal=as_shown(_the_proposal(card), given), decision=given.decision, now=given.now)
    return Done("Rejected. The card stays held.")


def _by_another(card: PaymentMethod, request: HttpRequest) -> bool:
    proposal = open_card_proposal(card)
    return proposal is not None and proposal.proposed_by_user_id != request.user.pk


HOLD_ACTIONS = (
    PersonAction(
        name="confirm",
        label="Confirm",
        icon="done_all",
        permission=approvals.PERMISSION,
        offered=lambda card: open_card_proposal(card) is not None,
        offered_to=_by_another,
        explain=lambda card: "The hold is released and recorded under both names, and the card is charged as shown.",
        form=DecideForm,
        carry_out=_confirm,
        before=what_it_charges,
        danger=True,
    ),
    PersonAction(
        name="reject",
        label="Reject",
        icon="undo",
        permission=approvals.PERMISSION,
        offered=lambda card: open_card_proposal(card) is not None,
        explain=lambda card: "The card stays held. Use this also to withdraw your own proposal.",
        form=DecideForm,
        carry_out=_reject,
        before=what_it_charges,
    ),
)
