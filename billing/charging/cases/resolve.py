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

from django.db import IntegrityError
from django.db.models import F

from billing import doorbell
from billing.charging.attempts.settle import AttemptFinding, settle_in_transaction
from billing.charging.cases import approvals
from billing.charging.cases.approvals import deciders, refuse_while_proposed
from billing.charging.cases.clear_hold import clear_hold
from billing.charging.cases.holds import ResolutionError, collect_held, unexplained_orders
from billing.charging.reading.before_decision import Shown, finding_of, object_to, read_before
from billing.charging.reading.record import record
from billing.charging.refunds.settle import record_seen
from billing.domain.arming import Refusal
from billing.domain.attempts import AttemptState
from billing.domain.decisions import Decision
from billing.domain.reasons import Reason
from billing.domain.resolution import TOOK_MONEY, ProposalKind, ProposalOutcome, Resolution
from billing.models import GatewayOrder, PaymentAttempt, Proposal, Transition
from billing.models.bulk import settling
from billing.models.bulk.history import record_transition
from billing.models.bulk.holding import free_card
from billing.models.bulk.sql import durable
from billing.operating.tuning import Tuning
from billing.subscriptions.waking import wake

__all__ = [
    "Resolution",
    "ResolutionError",
    "Resolved",
    "clear_hold",
    "collect_held",
    "confirm",
    "deciders",
    "reject",
    "release_card",
    "resolve",
]


@dataclass(frozen=True, slots=True)
class Resolved:
    """What came of it: the attempt's state now, and the open proposal when another person has to confirm."""

    state: AttemptState
    proposal: Proposal | None = None


def resolve(
    *,
    attempt: PaymentAttempt,
    resolution: Resolution,
    decision: Decision,
    tuning: Tuning,
    now: datetime,
    transaction_id: str = "",
    despite_orders: Collection[str] = (),
    seen: Shown | None = None,
) -> Resolved:
    """Closes an attempt that *needs_review*, or proposes to, after a look at the gateway.

    `transaction_id` is the gateway's, needed to call it charged. `despite_orders` are ids of the card's unexplained
    orders that the person looked at: without them it is not called declined or not charged. `seen` is a look that was
    taken a moment ago. Raises ResolutionError when a rule forbids it, GatewayUnavailableError when the gateway cannot
    be asked: then nothing was changed."""
    transaction_id = transaction_id.strip()
    _check_words(resolution, decision, transaction_id)
    current = _case(attempt)
    refuse_while_proposed(current)
    wish = _Wish(ProposalKind(resolution), decision.reason, transaction_id, frozenset(despite_orders))
    return _act_on(current, wish, seen or read_before(current, transaction_id), decision, tuning=tuning, now=now)


def release_card(*, attempt: PaymentAttempt, decision: Decision, now: datetime) -> Resolved:
    """Lets the card's later invoices go on, or proposes to, while this attempt's own invoice stays blocked."""
    if not decision.reason:
        raise ResolutionError("reason", "required", "must state why the card can be charged again")
    current = _case(attempt)
    if current.released_at is not None:
        raise ResolutionError("attempt", "state", "its card is already released")
    refuse_while_proposed(current)
    wish = _Wish(ProposalKind.RELEASE, decision.reason)
    with durable():
        _lock_case(current)
        if needs_second_person(current, decision):
            return Resolved(AttemptState.NEEDS_REVIEW, _propose(current, wish, decision, now))
        _release(current, wish.reason, decision.actor, now)
    return Resolved(AttemptState.NEEDS_REVIEW)


def confirm(*, proposal: Proposal, decision: Decision, tuning: Tuning, now: datetime) -> Resolved:
    """Another person carries a proposal out, after a look of their own at the gateway.

    Raises ResolutionError for the proposer, for what is decided already, and for all that forbids the decision now."""
    current, wish = _open_case_of(proposal)
    approvals.refuse_same_person(proposal, decision)
    if wish.kind is ProposalKind.RELEASE:
        with durable():
            _lock_case(current)
            approvals.decide(proposal, ProposalOutcome.CONFIRMED, decision, now)
            _release(current, wish.reason, decision.actor, now)
        return Resolved(AttemptState.NEEDS_REVIEW)
    seen = read_before(current, wish.transaction_id)
    return _act_on(current, wish, seen, decision, tuning=tuning, now=now, confirmed=proposal)


def reject(*, proposal: Proposal, decision: Decision, now: datetime) -> None:
    """A person says no to a proposal (the proposer too, who takes it back); the case stays open."""
    if not decision.reason:
        raise ResolutionError("reason", "required", "must state the reason for rejecting it")
    current, _ = _open_case_of(proposal)
    with durable():
        _lock_case(current)
        approvals.decide(proposal, ProposalOutcome.REJECTED, decision, now)


# --- steps ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Wish:
    kind: ProposalKind
    reason: str
    transaction_id: str = ""
    despite: frozenset[str] = frozenset()


def _check_words(resolution: Resolution, decision: Decision, transaction_id: str) -> None:
    if not decision.reason:
        raise ResolutionError("reason", "required", "must state the reason for the decision")
    if resolution in TOOK_MONEY and not transaction_id:
        raise ResolutionError("transaction_id", "required", "must be given with charged: the gateway's transaction id")
    if resolution not in TOOK_MONEY and transaction_id:
        raise ResolutionError("transaction_id", "not_here", f"must be left out with {resolution.value}")


def _case(attempt: PaymentAttempt) -> PaymentAttempt:
    current = PaymentAttempt.objects.select_related("account").get(pk=attempt.pk)
    if current.state != AttemptState.NEEDS_REVIEW:
        raise _no_case(current.state)
    return current


def _no_case(state: str) -> ResolutionError:
    return ResolutionError("attempt", "state", f"must need review; it is {state}")


def _open_case_of(proposal: Proposal) -> tuple[PaymentAttempt, _Wish]:
    fresh = approvals.still_open(proposal)
    if fresh.attempt is None:
        raise ResolutionError("proposal", "not_here", "must be about an attempt")
    wish = _Wish(ProposalKind(fresh.kind), fresh.reason, fresh.transaction_id, frozenset(fresh.orders))
    return _case(fresh.attempt), wish


def needs_second_person(attempt: PaymentAttempt, decision: Decision | None = None) -> bool:
    """Whether this decision, or anybody's, about it waits for another person; the attempt's account is selected."""
    return approvals.is_needed(attempt.account, attempt.amount_minor, decision)


def _act_on(
    attempt: PaymentAttempt,
    wish: _Wish,
    seen: Shown,
    decision: Decision,
    *,
    tuning: Tuning,
    now: datetime,
    confirmed: Proposal | None = None,
) -> Resolved:
    """Judges what was seen, records it, and decides or proposes."""
    resolution = Resolution(wish.kind)
    if refused := object_to(attempt, resolution, wish.transaction_id, seen, despite=wish.despite):
        raise ResolutionError(refused.field, refused.rule, refused.message)
    _record(attempt, resolution, seen, tuning, now)
    try:
        with durable():
            state_reason = _lock_case(attempt)
            if confirmed is None and needs_second_person(attempt, decision):
                return Resolved(AttemptState.NEEDS_REVIEW, _propose(attempt, wish, decision, now))
            if confirmed is not None:
                approvals.decide(confirmed, ProposalOutcome.CONFIRMED, decision, now)
            decided = _decision_detail(wish, decision.actor, confirmed, now)
            finding = finding_of(attempt, resolution, wish.transaction_id, seen, decided)
            findings = [AttemptFinding(attempt.marker, finding)]
            counts = settle_in_transaction(findings, tuning=tuning, now=now, actor=decision.actor)
            if not counts:
                raise ResolutionError("transaction_id", "claimed", "does not fit this attempt, or explains another one")
            if seen.named is not None:  # all of it, or a part, may have gone back by now
                record_seen({attempt.pk: seen.named}, tuning=tuning, now=now, actor=decision.actor)
            _after(attempt, finding.order_id, state_reason, decision.actor, now)
            doorbell.ring_on_commit(doorbell.COLLECT)
    except IntegrityError as error:  # two attempts, one transaction, at the same moment
        raise ResolutionError("transaction_id", "claimed", "now explains another attempt") from error
    return Resolved(AttemptState(next(iter(counts))))


def _record(attempt: PaymentAttempt, resolution: Resolution, seen: Shown, tuning: Tuning, now: datetime) -> None:
    """What the look showed is known from now on. The money that the person is about to name raises no alarm."""
    if seen.read is None:
        return
    findings = [one for one in seen.read.findings if one.marker != attempt.marker or resolution not in TOOK_MONEY]
    record(seen.read, findings, tuning=tuning, now=now)


def _lock_case(attempt: PaymentAttempt) -> str:
    """Locks everything around the attempt in the one order; why it is with a person. Raises when it is not."""
    locked = settling.lock_for_settlement([attempt.pk]).attempts[attempt.pk]
    if locked.state != AttemptState.NEEDS_REVIEW:
        raise ResolutionError("attempt", "state", f"must need review; it is now {locked.state}")
    return locked.state_reason


def _decision_detail(wish: _Wish, actor: str, confirmed: Proposal | None, now: datetime) -> dict[str, Any]:
    detail = Decision(actor, wish.reason).detail(now) | {"despite_orders": sorted(wish.despite)}
    if confirmed is None:
        return detail
    return detail | {
        "proposal": confirmed.public_id,
        "proposed_by": confirmed.proposed_by,
        "proposed_at": confirmed.proposed_at.isoformat(),
        "confirmed_by": actor,
    }


def _propose(attempt: PaymentAttempt, wish: _Wish, decision: Decision, now: datetime) -> Proposal:
    return approvals.propose(
        attempt,
        wish.kind,
        decision,
        now=now,
        transaction_id=wish.transaction_id,
        orders=wish.despite,
    )


def _release(attempt: PaymentAttempt, reason: str, actor: str, now: datetime) -> None:
    released = PaymentAttempt.objects.filter(
        pk=attempt.pk, state=AttemptState.NEEDS_REVIEW.value, released_at=None
    ).update(released_at=now, released_by=actor, released_reason=reason)
    if not released:
        raise ResolutionError("attempt", "state", "must need review with its card not released")
    # A card that is held for another reason too stays held for that one.
    free_card(attempt.card_id, held_for=[attempt.state_reason], actor=actor, now=now)
    _log_card(attempt, "waiting", "released", reason, actor, now)
    wake([attempt.card_id], Refusal.CARD_HAS_UNRESOLVED_ATTEMPT, now=now)
    doorbell.ring_on_commit(doorbell.COLLECT)


def _log_card(attempt: PaymentAttempt, before: str, after: str, reason: str, actor: str, now: datetime) -> None:
    record_transition(
        account_id=attempt.account_id,
        subject_type="card",
        subject_id=attempt.card_id,
        from_state=before,
        to_state=after,
        reason=reason,
        actor=actor,
        now=now,
    )


def _after(attempt: PaymentAttempt, order_id: str | None, came_for: str, actor: str, now: datetime) -> None:
    """The card after the decision: its order is explained; a hold that came with this case goes with it, and where
    orders are left that nothing explains, the card is held for those."""
    card_id = attempt.card_id
    if order_id:
        GatewayOrder.objects.filter(
            account_id=attempt.account_id, payment_method_id=card_id, gateway_order_id=order_id, attempt=None
        ).update(attempt_id=attempt.pk, in_baseline=False)
    if unexplained_orders(card_id).exists():
        settling.hold_cards([(card_id, Reason.UNEXPLAINED_ORDER)], now=now)
        return
    alarms = Transition.objects.filter(subject_type="attempt", subject_id=attempt.pk, from_state=F("to_state"))
    # Older rows say "alarm: " before the reason.
    reasons = {came_for} | {reason.removeprefix("alarm: ") for reason in alarms.values_list("reason", flat=True)}
    if free_card(card_id, held_for=reasons, actor=actor, now=now):
        _log_card(attempt, "held", "free", f"the case {attempt.public_id} is closed", actor, now)
