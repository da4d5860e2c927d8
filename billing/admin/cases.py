"""Decisions about cases: attempts that wait for a person."""

from typing import Any

from django import forms
from django.http import HttpRequest

from billing.admin import fields
from billing.admin.actions import Done, Given, PersonAction
from billing.admin.case_parts import (
    KIND_WORDS,
    MAY_DECIDE,
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
from billing.admin.fields import ReasonForm
from billing.admin.formats import (
    ATTEMPT_LABELS,
    page_of,
)
from billing.charging.case import read_card_now, read_case
from billing.charging.holds import ResolutionError
from billing.charging.limits import Limits
from billing.charging.looking import CARD_IS_GONE
from billing.charging.resolve import confirm, reject, release_card, resolve
from billing.domain.resolution import ProposalKind, Resolution
from billing.models import PaymentAttempt, Proposal


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
        help_text="The gateway's, when the money was taken; it is read and compared.",
        most=64,
    )
    despite = fields.tick(
        "I looked at each order that nothing explains: none of them is this charge",
        help_text="Needed to say that no money moved while such orders are shown. The card stays held afterwards.",
    )
    seen_orders = forms.CharField(widget=forms.HiddenInput, required=False, max_length=10_000)
    field_order = ("resolution", "transaction_id", "despite", "reason", "seen_orders", "token")

    def prepare(self, row: Any) -> None:
        seen = [*case_of(row).doubtful_orders, CARD_IS_GONE]
        self.initial["seen_orders"] = " ".join(seen)
        if len(seen) == 1 and not self.is_bound:
            self.fields["despite"].help_text += " None is known now."


def _resolve(row: PaymentAttempt, given: Given) -> Done:
    decision = resolve(
        attempt=row,
        resolution=Resolution(given.data["resolution"]),
        transaction_id=given.data["transaction_id"],
        reason=given.reason,
        despite_orders=given.data["seen_orders"].split() if given.data["despite"] else (),
        actor=given.actor,
        user_id=given.user_id,
        limits=Limits.from_settings(),
        now=given.now,
    )
    if decision.proposal:
        return Done("Proposed. Another person has to confirm it; until then nothing changes.")
    return Done(f"The attempt is closed: {ATTEMPT_LABELS[decision.state].text}.")


def _release(row: PaymentAttempt, given: Given) -> Done:
    decision = release_card(attempt=row, reason=given.reason, actor=given.actor, user_id=given.user_id, now=given.now)
    if decision.proposal:
        return Done("Proposed. Another person has to confirm it; until then the card waits.")
    return Done("The card may be charged again. This attempt's own invoice still waits for a decision.")


def _the_proposal(row: PaymentAttempt) -> Proposal:
    proposal = Proposal.objects.filter(attempt=row).order_by("-pk").first()
    if proposal is None:
        raise ResolutionError("proposal: there is none about this attempt", "state")
    return proposal


def _confirm(row: PaymentAttempt, given: Given) -> Done:
    confirm(
        proposal=_the_proposal(row),
        reason=given.reason,
        actor=given.actor,
        user_id=given.user_id,
        limits=Limits.from_settings(),
        now=given.now,
    )
    return Done("Confirmed and carried out.")


def _reject(row: PaymentAttempt, given: Given) -> Done:
    reject(
        proposal=_the_proposal(row),
        reason=given.reason,
        actor=given.actor,
        user_id=given.user_id,
        now=given.now,
    )
    return Done("Rejected. The attempt still waits for a decision.")


def _read(row: PaymentAttempt, given: Given) -> Done:
    many = read_card_now(row, limits=Limits.from_settings(), now=given.now)
    row.refresh_from_db()
    left = len(read_case(row, now=given.now).doubtful_orders)
    found = f"The gateway shows {many} order{'' if many == 1 else 's'} of this card; "
    said = f"{left} of them nothing explains." if left else "every one of them is explained."
    back = f"{page_of(row)}resolve/" if _undecided(row) else page_of(row)
    return Done(found + said, back)


def _explain_resolve(row: PaymentAttempt) -> str:
    second = " Its amount needs a second person: what you say is proposed to them." if needs_two(row) else ""
    return (
        "Say what really happened, after looking at the evidence and at the gateway's own portal. The gateway is asked "
        f"once more before it is written down. The decision is final and becomes evidence itself.{second}"
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
        explain=lambda row: (
            "The card's other invoices are charged again. This attempt stays with a person, and its own invoice "
            "stays blocked until it is resolved."
        ),
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
        explain=lambda row: "It is carried out at once, after another look at the gateway, in both your names.",
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
        explain=lambda row: (
            "Nothing is carried out; the case stays open. A proposal of your own you take back this way."
        ),
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
        explain=lambda row: "The gateway is asked for every order of this card. Nothing is charged.",
        form=EmptyForm,
        carry_out=_read,
    ),
)
