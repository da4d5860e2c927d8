"""A person's decision on an attempt that evidence could not close, and the release of a card that waits behind it.

1. Refuse what is no case any more.
2. Look at the gateway, outside any transaction: a decision is taken beside what the gateway shows right now.
3. In one commit: lock, check again, and either write the decision as evidence, or, above the account's amount, a
   proposal for another person.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from billing import doorbell
from billing.charging.card_reading import record
from billing.charging.holds import ResolutionError, clear_hold, collect_held, unexplained_orders
from billing.charging.limits import Limits
from billing.charging.looking import Look, finding_of, look, object_to
from billing.charging.settle import Told, settle_in_transaction
from billing.domain.attempts import AttemptState
from billing.domain.resolution import ProposalKind, ProposalOutcome, Resolution, second_person_needed
from billing.ids import new_id
from billing.models import GatewayOrder, PaymentAttempt, PaymentMethod, Proposal, Transition
from billing.models.bulk import settling

__all__ = [
    "Decision",
    "Resolution",
    "ResolutionError",
    "clear_hold",
    "collect_held",
    "confirm",
    "deciders",
    "reject",
    "release_card",
    "resolve",
]

PERMISSION = "billing.change_paymentattempt"
_BACKEND = "django.contrib.auth.backends.ModelBackend"


@dataclass(frozen=True, slots=True)
class _Person:
    """Who decides: the name that the history keeps, and the user id; a program and the command line have none."""

    name: str
    user_id: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What came of it: the attempt's state now, and the open proposal when another person has to confirm."""

    state: AttemptState
    proposal: Proposal | None = None


def resolve(
    *,
    attempt: PaymentAttempt,
    resolution: Resolution,
    reason: str,
    actor: str,
    limits: Limits,
    now: datetime,
    transaction_id: str = "",
    user_id: int | None = None,
    despite_orders: Collection[str] = (),
    seen: Look | None = None,
) -> Decision:
    """Closes an attempt that *needs_human*, or proposes to, after a look at the gateway.

    `transaction_id` is the gateway's, needed to call it charged. `despite_orders` are ids of the card's unexplained
    orders that the person looked at: without them it is not called declined or not charged. `seen` is a look that was
    taken a moment ago. Raises ResolutionError when a rule forbids it, GatewayUnavailableError when the gateway cannot
    be asked: then nothing was changed."""
    transaction_id = transaction_id.strip()
    _check_words(resolution, reason, transaction_id)
    current = _case(attempt)
    _refuse_while_proposed(current)
    wish = _Wish(ProposalKind(resolution), reason.strip(), transaction_id, frozenset(despite_orders))
    return _act_on(
        current, wish, seen or look(current, transaction_id), _Person(actor, user_id), limits=limits, now=now
    )


def release_card(
    *, attempt: PaymentAttempt, reason: str, actor: str, now: datetime, user_id: int | None = None
) -> Decision:
    """Lets the card's later invoices go on, or proposes to, while this attempt's own invoice stays blocked."""
    if not reason.strip():
        raise ResolutionError("reason: say why the card may be charged again", "required")
    current = _case(attempt)
    if current.released_at is not None:
        raise ResolutionError("attempt: its card is released already", "state")
    _refuse_while_proposed(current)
    wish = _Wish(ProposalKind.RELEASE, reason.strip())
    person = _Person(actor, user_id)
    with transaction.atomic(durable=True):
        _lock_case(current)
        if needs_second_person(current):
            return Decision(AttemptState.NEEDS_HUMAN, _propose(current, wish, person, now))
        _release(current, wish.reason, actor, now)
    return Decision(AttemptState.NEEDS_HUMAN)


def confirm(*, proposal: Proposal, reason: str, actor: str, user_id: int, limits: Limits, now: datetime) -> Decision:
    """Another person carries a proposal out, after a look of their own at the gateway.

    Raises ResolutionError for the proposer, for what is decided already, and for all that forbids the decision now."""
    current, wish = _open_case_of(proposal)
    person = _Person(actor, user_id)
    if proposal.proposed_by_user_id == user_id or proposal.proposed_by == actor:
        raise ResolutionError("proposal: is your own; another person has to confirm it", "another_person")
    if not _who_may_decide().filter(pk=user_id).exists():
        raise ResolutionError("proposal: is confirmed by active staff who may decide about attempts", "permission")
    if wish.kind is ProposalKind.RELEASE:
        with transaction.atomic(durable=True):
            _lock_case(current)
            _decide_proposal(proposal, ProposalOutcome.CONFIRMED, reason, person, now)
            _release(current, _both(proposal, actor), actor, now)
        return Decision(AttemptState.NEEDS_HUMAN)
    seen = look(current, wish.transaction_id)
    return _act_on(current, wish, seen, person, limits=limits, now=now, confirmed=proposal, confirmed_why=reason)


def reject(*, proposal: Proposal, reason: str, actor: str, user_id: int, now: datetime) -> None:
    """A person says no to a proposal (the proposer too, who takes it back); the case stays open."""
    if not reason.strip():
        raise ResolutionError("reason: say why it is rejected", "required")
    current, _ = _open_case_of(proposal)
    with transaction.atomic(durable=True):
        _lock_case(current)
        _decide_proposal(proposal, ProposalOutcome.REJECTED, reason.strip(), _Person(actor, user_id), now)


# --- steps ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Wish:
    kind: ProposalKind
    reason: str
    transaction_id: str = ""
    despite: frozenset[str] = frozenset()


def _check_words(resolution: Resolution, reason: str, transaction_id: str) -> None:
    if not reason.strip():
        raise ResolutionError("reason: say what the decision rests on", "required")
    if resolution is Resolution.CHARGED and not transaction_id:
        raise ResolutionError("transaction_id: a charge is named by the gateway's transaction", "required")
    if resolution is not Resolution.CHARGED and transaction_id:
        raise ResolutionError(
            f"transaction_id: names money, and {resolution.value} says that there is none", "not_here"
        )


def _case(attempt: PaymentAttempt) -> PaymentAttempt:
    current = PaymentAttempt.objects.select_related("account").get(pk=attempt.pk)
    if current.state != AttemptState.NEEDS_HUMAN:
        raise _no_case(current.state)
    return current


def _no_case(state: str) -> ResolutionError:
    return ResolutionError(f"attempt: is {state}, not with a person", "state")


def _refuse_while_proposed(attempt: PaymentAttempt) -> None:
    waiting = Proposal.objects.filter(attempt=attempt, outcome=ProposalOutcome.OPEN.value).first()
    if waiting is not None:
        raise ResolutionError(
            f"proposal: {waiting.proposed_by} has proposed {waiting.kind}; it is confirmed or rejected first", "state"
        )


def _open_case_of(proposal: Proposal) -> tuple[PaymentAttempt, _Wish]:
    fresh = Proposal.objects.get(pk=proposal.pk)
    if fresh.outcome != ProposalOutcome.OPEN:
        raise ResolutionError(f"proposal: is {fresh.outcome} already", "state")
    wish = _Wish(ProposalKind(fresh.kind), fresh.reason, fresh.transaction_id, frozenset(fresh.orders))
    return _case(fresh.attempt), wish


def _who_may_decide() -> QuerySet[User]:
    """Active staff with the permission."""
    return User.objects.with_perm(PERMISSION, is_active=True, backend=_BACKEND).filter(is_staff=True)


def deciders() -> int:
    """How many persons may decide. Where it is one, nobody could confirm, and that one decides alone."""
    return _who_may_decide().count()


def needs_second_person(attempt: PaymentAttempt) -> bool:
    """Whether what one person decides about it waits for another; the attempt's account is selected."""
    above = attempt.account.second_person_above_minor
    if above is None:
        return False
    return second_person_needed(amount_minor=attempt.amount_minor, above_minor=above, deciders=deciders())


def _act_on(
    attempt: PaymentAttempt,
    wish: _Wish,
    seen: Look,
    person: _Person,
    *,
    limits: Limits,
    now: datetime,
    confirmed: Proposal | None = None,
    confirmed_why: str = "",
) -> Decision:
    """Judges what was seen, records it, and decides or proposes."""
    resolution = Resolution(wish.kind)
    if refused := object_to(attempt, resolution, wish.transaction_id, seen, despite=wish.despite):
        raise ResolutionError(f"{refused.field}: {refused.message}", refused.rule)
    _record(attempt, resolution, seen, limits, now)
    try:
        with transaction.atomic(durable=True):
            state_reason = _lock_case(attempt)
            if confirmed is None and needs_second_person(attempt):
                return Decision(AttemptState.NEEDS_HUMAN, _propose(attempt, wish, person, now))
            if confirmed is not None:
                _decide_proposal(confirmed, ProposalOutcome.CONFIRMED, confirmed_why, person, now)
            said = _said(wish, person, confirmed, now)
            finding = finding_of(attempt, resolution, wish.transaction_id, seen, said)
            counts = settle_in_transaction([Told(attempt.pk, finding)], limits=limits, now=now, actor=person.name)
            if not counts:
                raise ResolutionError("transaction_id: it does not fit this attempt, or explains another", "claimed")
            _after(attempt, finding.order_id, state_reason, person, now)
            doorbell.ring_on_commit(doorbell.COLLECT)
    except IntegrityError as error:  # two attempts, one transaction, at the same moment
        raise ResolutionError("transaction_id: it explains another attempt since a moment ago", "claimed") from error
    return Decision(AttemptState(next(iter(counts))))


def _record(attempt: PaymentAttempt, resolution: Resolution, seen: Look, limits: Limits, now: datetime) -> None:
    """What the look showed is known from now on. The money that the person is about to name raises no alarm."""
    if seen.read is None:
        return
    told = [one for one in seen.read.findings if one.attempt_id != attempt.pk or resolution is not Resolution.CHARGED]
    record(seen.read, told, limits=limits, now=now)


def _lock_case(attempt: PaymentAttempt) -> str:
    """Locks everything around the attempt in the one order; why it is with a person. Raises when it is not."""
    locked = settling.lock_for_settlement([attempt.pk], lock_accounts=False).attempts[attempt.pk]
    if locked.state != AttemptState.NEEDS_HUMAN:
        raise ResolutionError(f"attempt: is {locked.state}; somebody else was first", "state")
    return locked.state_reason


def _said(wish: _Wish, person: _Person, confirmed: Proposal | None, now: datetime) -> dict[str, Any]:
    by = {"actor": person.name, "decided_at": now.isoformat(), "despite_orders": sorted(wish.despite)}
    if confirmed is None:
        return {**by, "reason": f"decided by {person.name}: {wish.reason}"}
    by |= {
        "proposal": confirmed.public_id,
        "proposed_by": confirmed.proposed_by,
        "proposed_at": confirmed.proposed_at.isoformat(),
        "confirmed_by": person.name,
    }
    return {**by, "reason": _both(confirmed, person.name)}


def _both(proposal: Proposal, second: str) -> str:
    return f"proposed by {proposal.proposed_by}, confirmed by {second}: {proposal.reason}"


def _propose(attempt: PaymentAttempt, wish: _Wish, person: _Person, now: datetime) -> Proposal:
    _refuse_while_proposed(attempt)
    proposal = Proposal.objects.create(
        public_id=new_id("prop", now),
        account_id=attempt.account_id,
        attempt_id=attempt.pk,
        kind=wish.kind.value,
        transaction_id=wish.transaction_id,
        orders=sorted(wish.despite),
        reason=wish.reason,
        proposed_by=person.name,
        proposed_by_user_id=person.user_id,
        proposed_at=now,
        outcome=ProposalOutcome.OPEN.value,
    )
    _log(proposal, "", f"proposed {wish.kind.value.replace('_', ' ')}: {wish.reason}", person.name, now)
    return proposal


def _decide_proposal(proposal: Proposal, outcome: ProposalOutcome, reason: str, person: _Person, now: datetime) -> None:
    decided = Proposal.objects.filter(pk=proposal.pk, outcome=ProposalOutcome.OPEN.value).update(
        outcome=outcome.value,
        decided_by=person.name,
        decided_by_user_id=person.user_id,
        decided_at=now,
        decided_reason=reason.strip(),
    )
    if not decided:
        raise ResolutionError("proposal: is decided already; somebody else was first", "state")
    proposal.outcome = outcome.value
    why = f"{reason.strip()} " if reason.strip() else ""
    _log(proposal, ProposalOutcome.OPEN.value, f"{why}(proposed by {proposal.proposed_by})", person.name, now)


def _log(proposal: Proposal, before: str, reason: str, actor: str, now: datetime) -> None:
    Transition.objects.create(
        account_id=proposal.account_id,
        subject_type="proposal",
        subject_id=proposal.pk,
        from_state=before,
        to_state=proposal.outcome,
        reason=reason,
        actor=actor,
        at=now,
    )


def _release(attempt: PaymentAttempt, reason: str, actor: str, now: datetime) -> None:
    released = PaymentAttempt.objects.filter(
        pk=attempt.pk, state=AttemptState.NEEDS_HUMAN.value, released_at=None
    ).update(released_at=now, released_by=actor, released_reason=reason)
    if not released:
        raise ResolutionError("attempt: is not with a person, or its card is released already", "state")
    # A card that is held for another reason too stays held for that one.
    PaymentMethod.objects.filter(pk=attempt.payment_method_id, held_reason=attempt.state_reason).update(
        held_at=None, held_reason=""
    )
    _log_card(attempt, "waiting", "released", reason, actor, now)
    doorbell.ring_on_commit(doorbell.COLLECT)


def _log_card(attempt: PaymentAttempt, before: str, after: str, reason: str, actor: str, now: datetime) -> None:
    Transition.objects.create(
        account_id=attempt.account_id,
        subject_type="card",
        subject_id=attempt.payment_method_id,
        from_state=before,
        to_state=after,
        reason=reason,
        actor=actor,
        at=now,
    )


def _after(attempt: PaymentAttempt, order_id: str | None, came_for: str, person: _Person, now: datetime) -> None:
    """The card after the decision: its order is explained; a hold that came with this case goes with it, and where
    orders are left that nothing explains, the card is held for those."""
    card_id = attempt.payment_method_id
    if order_id:
        GatewayOrder.objects.filter(
            account_id=attempt.account_id, payment_method_id=card_id, gateway_order_id=order_id, attempt=None
        ).update(attempt_id=attempt.pk, in_baseline=False)
    if unexplained_orders(card_id).exists():
        settling.hold_cards([(card_id, "unexplained_order")], now=now)
        return
    reasons = {came_for} | {
        reason.removeprefix("alarm: ")
        for reason in Transition.objects.filter(
            subject_type="attempt", subject_id=attempt.pk, reason__startswith="alarm: "
        ).values_list("reason", flat=True)
    }
    freed = PaymentMethod.objects.filter(pk=card_id, held_at__isnull=False, held_reason__in=reasons).update(
        held_at=None, held_reason=""
    )
    if freed:
        _log_card(attempt, "held", "free", f"the case {attempt.public_id} is closed", person.name, now)
