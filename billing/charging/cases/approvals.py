"""A second person for what one person decides above the account's amount: proposing, and deciding a proposal.

Whoever calls holds the locks of what the proposal is about.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet

from billing.charging.cases.holds import ResolutionError
from billing.domain.resolution import ProposalKind, ProposalOutcome, second_person_needed
from billing.ids import new_id
from billing.models import GatewayAccount, Invoice, PaymentAttempt, PaymentMethod, Proposal
from billing.models.bulk.history import record_transition

PERMISSION = "billing.change_paymentattempt"
_BACKEND = "django.contrib.auth.backends.ModelBackend"
Subject = PaymentAttempt | Invoice | PaymentMethod


@dataclass(frozen=True, slots=True)
class Person:
    """Who decides: the name that the history keeps, and the user id; a program and the command line have none."""

    name: str
    user_id: int | None = None


def who_may_decide() -> QuerySet[User]:
    """Active staff with the permission."""
    return User.objects.with_perm(PERMISSION, is_active=True, backend=_BACKEND).filter(is_staff=True)


def deciders() -> int:
    """How many persons may decide. Where it is one, nobody could confirm, and that one decides alone."""
    return who_may_decide().count()


def is_needed(account: GatewayAccount, amount_minor: int, person: Person | None = None) -> bool:
    """Whether what this person, or any (None), decides about so much money of the account waits for another. Who may
    not decide, and a program, waits for the only one who may."""
    above = account.second_person_above_minor
    if above is None:
        return False
    people = deciders() if person is None else 1 + who_may_decide().exclude(pk=person.user_id or 0).count()
    return second_person_needed(amount_minor=amount_minor, above_minor=above, deciders=people)


def open_proposal(subject: Subject) -> Proposal | None:
    """What was proposed about it and waits for another person."""
    return subject.proposals.filter(outcome=ProposalOutcome.OPEN.value).first()


def refuse_while_proposed(subject: Subject) -> None:
    """Raises ResolutionError while a proposal about it waits."""
    waiting = open_proposal(subject)
    if waiting is not None:
        raise ResolutionError(
            "proposal",
            "state",
            f"confirm or reject the proposal by {waiting.proposed_by} ({waiting.kind}) first",
        )


def refuse_same_person(proposal: Proposal, person: Person) -> None:
    """Raises ResolutionError for the proposer, and for who may not decide."""
    if proposal.proposed_by_user_id == person.user_id or proposal.proposed_by == person.name:
        raise ResolutionError("proposal", "another_person", "must be confirmed by another person, not by its proposer")
    if person.user_id is None or not who_may_decide().filter(pk=person.user_id).exists():
        raise ResolutionError(
            "proposal", "permission", "must be confirmed by active staff with permission to decide about attempts"
        )


def still_open(proposal: Proposal) -> Proposal:
    """The proposal as it is now. Raises ResolutionError when it was decided."""
    fresh = Proposal.objects.get(pk=proposal.pk)
    if fresh.outcome != ProposalOutcome.OPEN:
        raise ResolutionError("proposal", "state", f"must be open; it is {fresh.outcome}")
    return fresh


def propose(
    subject: Subject,
    kind: ProposalKind,
    *,
    reason: str,
    person: Person,
    now: datetime,
    transaction_id: str = "",
    orders: Collection[str] = (),
    details: Mapping[str, Any] | None = None,
) -> Proposal:
    """Writes down what one person proposes about an attempt, an invoice or a card."""
    refuse_while_proposed(subject)
    proposal = Proposal.objects.create(
        public_id=new_id("prop", now),
        account_id=subject.account_id,
        attempt=subject if isinstance(subject, PaymentAttempt) else None,
        invoice=subject if isinstance(subject, Invoice) else None,
        payment_method=subject if isinstance(subject, PaymentMethod) else None,
        kind=kind.value,
        transaction_id=transaction_id,
        orders=sorted(orders),
        details=dict(details or {}),
        reason=reason,
        proposed_by=person.name,
        proposed_by_user_id=person.user_id,
        proposed_at=now,
        outcome=ProposalOutcome.OPEN.value,
    )
    _log(proposal, "", reason, person.name, now)
    return proposal


def details_of(proposal: Proposal) -> dict[str, Any]:
    """What a proposal's events say: what it is about, and since when it waits."""
    about = {"attempt": proposal.attempt, "invoice": proposal.invoice, "payment_method": proposal.payment_method}
    return {
        "proposal": proposal.public_id,
        "kind": proposal.kind,
        **{name: row.public_id for name, row in about.items() if row is not None},
        "proposed_by": proposal.proposed_by,
        "since": proposal.proposed_at.isoformat(),
    }


def decide(proposal: Proposal, outcome: ProposalOutcome, reason: str, person: Person, now: datetime) -> None:
    """Closes an open proposal. Raises ResolutionError when somebody else was first."""
    decided = Proposal.objects.filter(pk=proposal.pk, outcome=ProposalOutcome.OPEN.value).update(
        outcome=outcome.value,
        decided_by=person.name,
        decided_by_user_id=person.user_id,
        decided_at=now,
        decided_reason=reason.strip(),
    )
    if not decided:
        raise ResolutionError("proposal", "state", "must be open; another person has decided it")
    proposal.outcome = outcome.value
    _log(proposal, ProposalOutcome.OPEN.value, reason.strip(), person.name, now)


def _log(proposal: Proposal, before: str, reason: str, actor: str, now: datetime) -> None:
    record_transition(
        account_id=proposal.account_id,
        subject_type="proposal",
        subject_id=proposal.pk,
        from_state=before,
        to_state=proposal.outcome,
        reason=reason,
        actor=actor,
        now=now,
        detail=details_of(proposal),
    )
