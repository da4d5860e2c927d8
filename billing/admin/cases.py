"""Decisions about cases: attempts that wait for a person."""

from typing import Any

from django import forms
from django.http import HttpRequest

from billing.admin.case_parts import (
    KIND_WORDS,
    MAY_DECIDE,
    DecideForm,
    as_shown,
    case_of,
    choices,
    evidence_in_order,
    held_up,
    invoice_facts,
    is_watched,
    needs_a_person,
    notices,
    open_proposal,
    parts,
)
from billing.admin.customers import EmptyForm
from billing.admin.toolkit import fields
from billing.admin.toolkit.actions import Done, Given, PersonAction
from billing.admin.toolkit.fields import ReasonForm
from billing.admin.toolkit.formats import (
    ATTEMPT_LABELS,
    page_of,
)
from billing.charging.cases.case import read_card_now, read_case
from billing.charging.cases.holds import ResolutionError
from billing.charging.cases.resolve import confirm, reject, release_card, resolve
from billing.charging.reading.before_decision import CARD_IS_GONE, CARD_IS_UNREADABLE
from billing.domain.money import display
from billing.domain.plurals import counted
from billing.domain.resolution import ProposalKind, Resolution
from billing.models import PaymentAttempt, Proposal
from billing.operating.tuning import Tuning


def _undecided(row: PaymentAttempt) -> bool:
    return needs_a_person(row) and open_proposal(row) is None


def _proposed_by_another(row: PaymentAttempt, request: HttpRequest) -> bool:
    proposal = open_proposal(row)
    return proposal is not None and proposal.proposed_by_user_id != request.user.pk


class ResolveForm(ReasonForm):
    resolution = fields.choice(
        "What happened", [("", "Choose…"), *((one.value, KIND_WORDS[ProposalKind(one)]) for one in Resolution)]
    )
    transaction_id = fields.text(
        "Transaction id",
        required=False,
        help_text="The gateway's id, if the money was taken. The transaction is read and compared.",
        most=64,
    )
    despite = fields.tick(
        "I reviewed each unexplained order: none of them is this charge",
        help_text=(
            "Required to decide that no money moved while unexplained orders are shown. The card stays held afterwards."
        ),
    )
    seen_orders = forms.CharField(widget=forms.HiddenInput, required=False, max_length=10_000)
    field_order = ("resolution", "transaction_id", "despite", "reason", "seen_orders", "token")

    def prepare(self, row: Any) -> None:
        orders = case_of(row).doubtful_orders
        self.initial["seen_orders"] = " ".join([*orders, CARD_IS_GONE, CARD_IS_UNREADABLE])
        if not orders and not self.is_bound:
            self.fields["despite"].help_text += " There are none now."


def _resolve(row: PaymentAttempt, given: Given) -> Done:
    decision = resolve(
        attempt=row,
        resolution=Resolution(given.data["resolution"]),
        transaction_id=given.data["transaction_id"],
        decision=given.decision,
        despite_orders=given.data["seen_orders"].split() if given.data["despite"] else (),
        tuning=Tuning.from_settings(),
        now=given.now,
    )
    if decision.proposal:
        return Done("Sent for approval. Nothing changes until another person confirms it.")
    return Done(f"Attempt closed: {ATTEMPT_LABELS[decision.state].text}.")


def _release(row: PaymentAttempt, given: Given) -> Done:
    decision = release_card(attempt=row, decision=given.decision, now=given.now)
    if decision.proposal:
        return Done("Sent for approval. The card waits until another person confirms it.")
    return Done("Card released. It can be charged again. This attempt's own invoice still needs a decision.")


def _the_proposal(row: PaymentAttempt) -> Proposal:
    proposal = Proposal.objects.filter(attempt=row).order_by("-pk").first()
    if proposal is None:
        raise ResolutionError("proposal", "state", "this attempt has none")
    return proposal


def _confirm(row: PaymentAttempt, given: Given) -> Done:
    confirm(
        proposal=as_shown(_the_proposal(row), given),
        decision=given.decision,
        tuning=Tuning.from_settings(),
        now=given.now,
    )
    return Done("Confirmed. The decision took effect.")


def _reject(row: PaymentAttempt, given: Given) -> Done:
    reject(
        proposal=as_shown(_the_proposal(row), given),
        decision=given.decision,
        now=given.now,
    )
    return Done("Rejected. The attempt still needs a decision.")


def _read(row: PaymentAttempt, given: Given) -> Done:
    many = read_card_now(row, tuning=Tuning.from_settings(), now=given.now)
    row.refresh_from_db()
    left = len(read_case(row, now=given.now).doubtful_orders)
    found = f"The gateway shows {many} order{'' if many == 1 else 's'} of this card. "
    rest = f"Unexplained: {left}." if left else "All are explained."
    back = f"{page_of(row)}resolve/" if _undecided(row) else page_of(row)
    return Done(found + rest, back)


def _explain_resolve(row: PaymentAttempt) -> str:
    second = " The amount needs a second person, so your decision is sent for approval." if needs_two(row) else ""
    return (
        "Check the evidence and the Revenue Monster portal first, then choose what happened. Kitaran checks with the "
        f"gateway once more before it records the decision. The decision is final.{second}"
    )


def _explain_release(row: PaymentAttempt) -> str:
    waiting = case_of(row).holds_up
    total = sum(one.amount_minor for one in waiting)
    charges = "No other invoice waits for the card."
    if waiting:
        invoices = counted(len(waiting), "invoice")
        charges = f"The card is charged {display(total, waiting[0].currency)} now, for {invoices}."
    return (
        f"The card's other invoices are charged again. {charges} This attempt still needs review, and its own invoice "
        "stays blocked until it is resolved."
    )


def needs_two(row: PaymentAttempt) -> bool:
    return case_of(row).second_person


CASE_ACTIONS = (
    PersonAction(
        name="resolve",
        label="Resolve",
        icon="gavel",
        permission=MAY_DECIDE,
        offered=_undecided,
        explain=_explain_resolve,
        form=ResolveForm,
        carry_out=_resolve,
        before=lambda row: [*notices(row), *([choices(row)] if needs_a_person(row) else [])],
        below=lambda row: [*parts(row), evidence_in_order(row)],
        beside=lambda row: [invoice_facts(row), held_up(row, row.account.time_zone)],
        danger=True,
    ),
    PersonAction(
        name="release",
        label="Release the card",
        icon="lock_open",
        permission=MAY_DECIDE,
        offered=lambda row: _undecided(row) and row.released_at is None,
        explain=_explain_release,
        carry_out=_release,
        beside=lambda row: [held_up(row, row.account.time_zone)],
    ),
    PersonAction(
        name="confirm",
        label="Confirm",
        icon="done_all",
        permission=MAY_DECIDE,
        offered=lambda row: open_proposal(row) is not None,
        offered_to=_proposed_by_another,
        explain=lambda row: (
            "Kitaran checks with the gateway again. Then the decision takes effect and is recorded under both names."
        ),
        form=DecideForm,
        carry_out=_confirm,
        before=lambda row: [*notices(row), choices(row)],
        below=lambda row: [*parts(row), evidence_in_order(row)],
        beside=lambda row: [invoice_facts(row), held_up(row, row.account.time_zone)],
        danger=True,
    ),
    PersonAction(
        name="reject",
        label="Reject",
        icon="undo",
        permission=MAY_DECIDE,
        offered=lambda row: open_proposal(row) is not None,
        explain=lambda row: "The case stays open and nothing changes. Use this also to withdraw your own proposal.",
        form=DecideForm,
        carry_out=_reject,
        before=notices,
        beside=lambda row: [invoice_facts(row), held_up(row, row.account.time_zone)],
    ),
    PersonAction(
        name="read-card",
        label="Read the card now",
        icon="sync",
        permission=MAY_DECIDE,
        offered=is_watched,
        explain=lambda row: "Reads every order of this card at the gateway. Nothing is charged.",
        form=EmptyForm,
        carry_out=_read,
    ),
)
