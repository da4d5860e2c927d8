"""Clearing the hold of a card: what it will charge is shown first, and money that may be there already is not charged
again by the way."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import F

from billing import doorbell
from billing.charging.cases import approvals
from billing.charging.cases.holds import ResolutionError, unexplained_orders
from billing.charging.cases.unexplained_payments import Candidate, candidates
from billing.domain.attempts import UNRESOLVED
from billing.domain.decisions import Decision
from billing.domain.matching import Wanted, could_be
from billing.domain.resolution import ProposalKind, ProposalOutcome
from billing.domain.subscriptions import InvoiceState
from billing.models import GatewayOrder, Invoice, PaymentAttempt, PaymentMethod, Proposal
from billing.models.bulk.history import record_transition
from billing.models.bulk.holding import HeldUp, free_card, held_up


@dataclass(frozen=True, slots=True)
class HoldPreview:
    """What clearing the hold of a card causes: the invoices that are charged on it at once, the orders that count as
    looked at from then on, and those of them that may be the payment of an invoice which is still owed."""

    card: PaymentMethod
    due: Sequence[HeldUp]
    orders: Sequence[GatewayOrder]
    candidates: Sequence[Candidate]

    @property
    def total_minor(self) -> int:
        """Of all that is charged at once, in minor units."""
        return sum(one.amount_minor for one in self.due)

    @property
    def currency(self) -> str:
        return self.due[0].currency if self.due else "MYR"


@dataclass(frozen=True, slots=True)
class Cleared:
    """The orders that count as looked at from now on, or the proposal that waits for another person."""

    orders: Sequence[str]
    proposal: Proposal | None = None


def preview_hold(card: PaymentMethod, *, now: datetime) -> HoldPreview:
    """What clearing the card's hold would cause at `now`."""
    return HoldPreview(
        card,
        held_up([card.pk], now=now, by_clearing=True) if card.held_at is not None else [],
        list(unexplained_orders(card.pk).order_by("pk")),
        candidates(card),
    )


def clear_hold(
    *, card: PaymentMethod, decision: Decision, now: datetime, charge_although: Collection[str] = ()
) -> Cleared:
    """A person has looked at what was unexplained about the card: it may be charged again, or it is proposed.

    The orders that nothing explained, whose ids are returned and kept in the history, count as looked at from now on,
    but for those that may be the money of an attempt that is still open. An order that may be the payment of an
    invoice which is still owed, or a found payment that names one and that nobody has decided about, is named in
    `charge_although`: without that the invoice would be charged again by the way. Raises ResolutionError without a
    reason, for a card that is not held, and while the gateway still works on one of the orders."""
    return _clear(card, _stated(decision).reason, decision, frozenset(charge_although), now=now)


def confirm_clearing(*, proposal: Proposal, decision: Decision, now: datetime) -> Cleared:
    """Another person clears the hold that was proposed to be cleared. Raises ResolutionError."""
    fresh, card = _of_a_card(proposal)
    approvals.refuse_same_person(fresh, decision)
    return _clear(card, fresh.reason, decision, frozenset(fresh.orders), now=now, confirmed=fresh)


def reject_clearing(*, proposal: Proposal, decision: Decision, now: datetime) -> None:
    """A person says no to clearing the hold (the proposer too): the card stays held."""
    fresh, _ = _of_a_card(proposal)
    with transaction.atomic():
        approvals.decide(fresh, ProposalOutcome.REJECTED, _stated(decision), now)


def _of_a_card(proposal: Proposal) -> tuple[Proposal, PaymentMethod]:
    fresh = approvals.still_open(proposal)
    if fresh.payment_method is None:
        raise ResolutionError("proposal", "not_here", "must be about a card")
    return fresh, fresh.payment_method


def _stated(decision: Decision) -> Decision:
    if not decision.reason:
        raise ResolutionError("reason", "required", "must state the reason for releasing the hold")
    return decision


def _clear(
    card: PaymentMethod,
    reason: str,
    decision: Decision,
    although: frozenset[str],
    *,
    now: datetime,
    confirmed: Proposal | None = None,
) -> Cleared:
    with transaction.atomic():
        locked = PaymentMethod.objects.select_for_update(of=("self",)).select_related("account").get(pk=card.pk)
        if locked.held_at is None:
            raise ResolutionError("payment_method", "state", "must be on hold; it is not")
        if confirmed is None:
            approvals.refuse_while_proposed(locked)
        seen = preview_hold(locked, now=now)
        _refuse(seen, although)
        if confirmed is None and approvals.is_needed(locked.account, seen.total_minor, decision):
            return Cleared([], approvals.propose(locked, ProposalKind.CLEAR_HOLD, decision, now=now, orders=although))
        if confirmed is not None:
            approvals.decide(confirmed, ProposalOutcome.CONFIRMED, decision, now)
        return Cleared(_free(locked, seen, reason, decision.actor, now))


def _refuse(seen: HoldPreview, although: frozenset[str]) -> None:
    working = [order.gateway_order_id for order in seen.orders if order.status == "IN_PROCESS"]
    if working:
        raise ResolutionError(
            "payment_method",
            "state",
            f"the gateway is still processing {', '.join(working)}; read the card again later",
        )
    left = [
        one
        for one in seen.candidates
        if not {one.order.gateway_order_id, one.order.gateway_transaction_id} & (although - {""})
    ]
    if left:
        named = "; ".join(f"order {one.named} may be the payment of {one.invoice.public_id}" for one in left)
        raise ResolutionError(
            "charge_although",
            "could_be_payment",
            f"{named}. If it is, record it as a found payment of that invoice. If it is not, name the order here, and "
            "the invoice is charged",
        )


def _free(card: PaymentMethod, seen: HoldPreview, reason: str, actor: str, now: datetime) -> list[str]:
    free_card(card.pk, actor=actor, now=now)
    looked_at = _not_of_an_open_case(card, seen.orders)
    GatewayOrder.objects.filter(pk__in=[order.pk for order in looked_at]).update(in_baseline=True)
    named = [order.gateway_order_id for order in looked_at]
    record_transition(
        account_id=card.account_id,
        subject_type="card",
        subject_id=card.pk,
        from_state="held",
        to_state="free",
        reason=f"{reason} (orders reviewed: {', '.join(named)})" if named else reason,
        actor=actor,
        now=now,
    )
    Invoice.objects.filter(
        pk__in=[one.invoice_id for one in seen.due],
        state=InvoiceState.OPEN.value,
        next_attempt_at__gt=now,
        refusal__isnull=False,
    ).update(next_attempt_at=now, lease_token=F("lease_token") + 1)
    doorbell.ring_on_commit(doorbell.COLLECT)
    return named


def _not_of_an_open_case(card: PaymentMethod, orders: Sequence[GatewayOrder]) -> list[GatewayOrder]:
    states = [state.value for state in UNRESOLVED]
    waiting = [
        Wanted(one.marker, one.amount_minor, one.currency, one.armed_at, one.gateway_transaction_id)
        for one in PaymentAttempt.objects.filter(payment_method=card, state__in=states)
    ]
    return [
        order
        for order in orders
        if not any(
            could_be(one, amount_minor=order.amount_minor, currency=order.currency, created_at=order.ordered_at)
            for one in waiting
        )
    ]
