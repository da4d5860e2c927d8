"""People who decide by what the gateway's ledger really says, and only when the engine has asked in vain.

The first proposes and the second confirms, where two are needed."""

import contextlib

from billing.accounts.gateway_accounts import start_account
from billing.charging.holds import clear_hold, unexplained_orders
from billing.charging.refund import RefundResolution, resolve_refund
from billing.charging.resolve import Decision, Resolution, ResolutionError, confirm, reject, resolve
from billing.domain.refunds import RefundKind
from billing.domain.resolution import ProposalOutcome
from billing.gateway.connection import GatewayUnavailableError
from billing.models import GatewayAccount, PaymentAttempt, PaymentMethod, Proposal, Refund
from tests.stateful.world import Snapshot, World

KEPT = ("SUCCESS", "PARTIAL_REFUNDED")
TAKEN = (*KEPT, "FULL_REFUNDED")
OPEN = ("IN_PROCESS", "ON_HOLD")
WHO = "aisyah"


def ladder_ended(world: World, attempt: PaymentAttempt) -> bool:
    return world.now >= attempt.armed_at + world.limits.ladder[-1]


def truth(snapshot: Snapshot, attempt: PaymentAttempt) -> tuple[Resolution, str] | None:
    """What became of the attempt, with the transaction when money was taken; None while the gateway works on it.

    Money that went back in full before anybody wrote it down is none: its invoice is charged anew."""
    found = snapshot.of_marker(attempt.marker)
    kept = [charge for charge in found if charge["status"] in KEPT]
    if kept:
        return Resolution.CHARGED, str(kept[-1]["transaction_id"])
    if any(charge["status"] in OPEN for charge in found):
        return None
    if found and found[-1]["status"] == "FAILED":
        return Resolution.DECLINED, ""
    return Resolution.NOT_CHARGED, ""


def resolve_truthfully(world: World, snapshot: Snapshot, attempt: PaymentAttempt) -> None:
    """Says what became of it, or has a word on what another person proposed. Waits for the ladder's end, and while
    the gateway works on it or shows something else."""
    found = truth(snapshot, attempt)
    if found is None or not ladder_ended(world, attempt):
        return
    resolution, transaction_id = found
    waiting = Proposal.objects.filter(attempt=attempt, outcome=ProposalOutcome.OPEN.value).first()
    with contextlib.suppress(ResolutionError, GatewayUnavailableError):
        if waiting is None:
            say(world, attempt, resolution, transaction_id)
        elif (waiting.kind, waiting.transaction_id) == (resolution.value, transaction_id):
            confirm_by_another(world, waiting)
        else:
            reject_by(world, waiting, 1)


def say(world: World, attempt: PaymentAttempt, resolution: Resolution, transaction_id: str = "") -> Decision:
    return resolve(
        attempt=attempt,
        resolution=resolution,
        reason="looked in the portal",
        actor=WHO,
        user_id=world.people[0].pk,
        limits=world.limits,
        now=world.now,
        transaction_id=transaction_id,
        despite_orders=[order.gateway_order_id for order in unexplained_orders(attempt.payment_method_id)],
    )


def confirm_by_another(world: World, proposal: Proposal) -> Decision:
    return confirm_by(world, proposal, 1)


def confirm_by(world: World, proposal: Proposal, which: int) -> Decision:
    person = world.people[which]
    return confirm(
        proposal=proposal,
        reason="so it is",
        actor=person.username,
        user_id=person.pk,
        limits=world.limits,
        now=world.now,
    )


def reject_by(world: World, proposal: Proposal, which: int) -> None:
    person = world.people[which]
    reject(proposal=proposal, reason="it is not so", actor=person.username, user_id=person.pk, now=world.now)


def was_carried_out(snapshot: Snapshot, refund: Refund) -> bool:
    """Whether the gateway's ledger has it."""
    for charge in snapshot.charges:
        if charge["transaction_id"] == refund.attempt.gateway_transaction_id:
            if refund.kind == RefundKind.REVERSE:
                return bool(charge["status"] == "REVERSED")
            return any(given["reason"] == refund.public_id for given in charge["refunds"])
    raise AssertionError(f"{refund.public_id} is of a payment that the gateway does not have")


def resolve_refund_truthfully(world: World, snapshot: Snapshot, refund: Refund) -> None:
    _resolve_refund(world, refund, carried_out=was_carried_out(snapshot, refund))


def resolve_refund_wrongly(world: World, snapshot: Snapshot, refund: Refund) -> None:
    carried_out = was_carried_out(snapshot, refund)
    _resolve_refund(world, refund, carried_out=not carried_out)
    (world.denied if carried_out else world.claimed).add(refund.public_id)


def _resolve_refund(world: World, refund: Refund, *, carried_out: bool) -> None:
    resolution = RefundResolution.REFUNDED if carried_out else RefundResolution.NOT_REFUNDED
    resolve_refund(
        refund=refund,
        resolution=resolution,
        reason="looked in the portal",
        actor=WHO,
        limits=world.limits,
        now=world.now,
    )


def do_the_days_work(world: World, snapshot: Snapshot) -> None:
    """Decides what can be decided, and lets go every card that is held."""
    for attempt in snapshot.in_state("needs_human"):
        for _ in world.people if world.two_people else world.people[:1]:
            resolve_truthfully(world, snapshot, attempt)
    for refund in snapshot.refunds:
        if refund.state == "needs_human":
            resolve_refund_truthfully(world, snapshot, refund)
    for card in snapshot.cards:
        if card.held_at is not None:
            clear(world, card)


def clear(world: World, card: PaymentMethod) -> None:
    """A card that was let go meanwhile with its case, or that the gateway still works on, is left alone."""
    with contextlib.suppress(ResolutionError):
        clear_hold(card=card, reason="looked in the portal", actor=WHO, now=world.now)


def start_again(world: World) -> None:
    start_account(account=GatewayAccount.objects.get(pk=world.account.pk), reason="repaired", actor=WHO, now=world.now)
