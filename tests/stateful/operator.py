"""People who decide by what the gateway's ledger really says, and only when the engine has asked in vain.

The first proposes and the second confirms, where two are needed."""

import contextlib

from billing.accounts.gateway_accounts import start_account
from billing.charging.cases.clear_hold import clear_hold, confirm_clearing, preview_hold, reject_clearing
from billing.charging.cases.holds import unexplained_orders
from billing.charging.cases.resolve import Resolution, ResolutionError, Resolved, confirm, reject, resolve
from billing.charging.cases.ways_out import record_found_payment
from billing.charging.reading.orphans import close_orphan
from billing.charging.refunds.ask import RefundError, RefundResolution, resolve_refund
from billing.domain.closing import CLOSABLE
from billing.domain.decisions import Decision
from billing.domain.refunds import RefundKind
from billing.domain.resolution import ProposalKind, ProposalOutcome
from billing.gateway.connection import GatewayUnavailableError
from billing.models import (
    GatewayAccount,
    Invoice,
    OrphanAnswer,
    PaymentAttempt,
    PaymentMethod,
    Proposal,
    Refund,
    Subscription,
)
from tests.stateful.disasters import Disasters, Key
from tests.stateful.snapshot import Snapshot, marker_of
from tests.stateful.world import World

KEPT = ("SUCCESS", "PARTIAL_REFUNDED")
TAKEN = (*KEPT, "FULL_REFUNDED")
OPEN = ("IN_PROCESS", "ON_HOLD")
WHO = "aisyah"


def ladder_ended(world: World, attempt: PaymentAttempt) -> bool:
    return world.now >= attempt.armed_at + world.tuning.ladder[-1]


def truth(snapshot: Snapshot, attempt: PaymentAttempt) -> tuple[Resolution, str] | None:
    """What became of the attempt, with the transaction when money was taken; None while the gateway works on it.

    Money of another amount that went back in full before anybody wrote it down is none: its invoice is charged anew."""
    found = snapshot.of_marker(attempt.marker)
    kept = [charge for charge in found if charge["status"] in KEPT]
    if kept:
        return Resolution.CHARGED, str(kept[-1]["transaction_id"])
    if any(charge["status"] in OPEN for charge in found):
        return None
    back = [one for one in found if one["status"] == "FULL_REFUNDED" and one["amount"] == attempt.amount_minor]
    if back:
        return Resolution.CHARGED_AND_GIVEN_BACK, str(back[-1]["transaction_id"])
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
            decide(world, attempt, resolution, transaction_id)
        elif (waiting.kind, waiting.transaction_id) == (resolution.value, transaction_id):
            confirm_by_another(world, waiting)
        else:
            reject_by(world, waiting, 1)


def decide(world: World, attempt: PaymentAttempt, resolution: Resolution, transaction_id: str = "") -> Resolved:
    return resolve(
        attempt=attempt,
        resolution=resolution,
        decision=Decision(WHO, "looked in the portal", world.people[0].pk),
        tuning=world.tuning,
        now=world.now,
        transaction_id=transaction_id,
        despite_orders=[order.gateway_order_id for order in unexplained_orders(attempt.payment_method_id)],
    )


def confirm_by_another(world: World, proposal: Proposal) -> None:
    confirm_by(world, proposal, 1)


def confirm_by(world: World, proposal: Proposal, which: int) -> None:
    person = world.people[which]
    decision = Decision(person.username, "so it is", person.pk)
    if proposal.kind == ProposalKind.CLEAR_HOLD:
        confirm_clearing(proposal=proposal, now=world.now, decision=decision)
    else:
        confirm(proposal=proposal, tuning=world.tuning, now=world.now, decision=decision)


def reject_by(world: World, proposal: Proposal, which: int) -> None:
    person = world.people[which]
    no = reject_clearing if proposal.kind == ProposalKind.CLEAR_HOLD else reject
    no(proposal=proposal, decision=Decision(person.username, "it is not so", person.pk), now=world.now)


def was_carried_out(snapshot: Snapshot, refund: Refund) -> bool:
    """Whether the gateway's ledger has it."""
    for charge in snapshot.charges:
        if charge["transaction_id"] == refund.attempt.gateway_transaction_id:
            if refund.kind == RefundKind.REVERSE:
                return bool(charge["status"] == "REVERSED")
            return any(given["reason"] == refund.public_id for given in charge["refunds"])
    raise AssertionError(f"{refund.public_id} is of a payment that the gateway does not have")


def resolve_refund_truthfully(world: World, snapshot: Snapshot, refund: Refund) -> None:
    """Waits while the gateway cannot be asked, or shows something else than its ledger has."""
    world.put_off.discard(refund.public_id)
    try:
        _resolve_refund(world, refund, carried_out=was_carried_out(snapshot, refund))
    except (RefundError, GatewayUnavailableError):
        world.put_off.add(refund.public_id)


def resolve_refund_wrongly(world: World, snapshot: Snapshot, refund: Refund) -> bool:
    """Whether it was taken: what the gateway shows otherwise is refused, and nothing is decided while it cannot be
    asked."""
    carried_out = was_carried_out(snapshot, refund)
    try:
        _resolve_refund(world, refund, carried_out=not carried_out)
    except (RefundError, GatewayUnavailableError):
        return False
    (world.denied if carried_out else world.claimed).add(refund.public_id)
    return True


def _resolve_refund(world: World, refund: Refund, *, carried_out: bool) -> None:
    resolution = RefundResolution.REFUNDED if carried_out else RefundResolution.NOT_REFUNDED
    resolve_refund(
        refund=refund,
        resolution=resolution,
        decision=Decision(WHO, "looked in the portal"),
        tuning=world.tuning,
        now=world.now,
    )


def do_the_days_work(world: World, snapshot: Snapshot) -> None:
    """Decides what can be decided, and lets go every card that is held."""
    for attempt in snapshot.in_state("needs_review"):
        for _ in world.people if world.two_people else world.people[:1]:
            resolve_truthfully(world, snapshot, attempt)
    for refund in snapshot.refunds:
        if refund.state == "needs_review":
            resolve_refund_truthfully(world, snapshot, refund)
    for card in snapshot.cards:
        if card.held_at is not None:
            clear(world, card)


def clear(world: World, card: PaymentMethod) -> None:
    """A card that was let go meanwhile with its case, or that the gateway still works on, is left alone; where it was
    proposed to let it go, another person does."""
    if world.disasters is not None and not _find_payments(world, world.disasters, card):
        return
    waiting = Proposal.objects.filter(payment_method=card, outcome=ProposalOutcome.OPEN.value).first()
    with contextlib.suppress(ResolutionError):
        if waiting is not None:
            confirm_by_another(world, waiting)
        else:
            propose_to_clear(world, card)


def propose_to_clear(world: World, card: PaymentMethod) -> None:
    """It is done at once where nothing is charged by it, and where one person is enough."""
    foreign_orders = {one.order.gateway_order_id for one in preview_hold(card, now=world.now).candidates}
    clear_hold(
        card=card,
        decision=Decision(WHO, "looked in the portal", world.people[0].pk),
        now=world.now,
        charge_although=sorted(foreign_orders),
    )


def _find_payments(world: World, disasters: Disasters, card: PaymentMethod) -> bool:
    """Records each order that nothing explains as the payment that it is, as the portal shows; False while one cannot
    be yet. One that pays nothing of this database, such as what was sold since the backup, is left."""
    charges = {charge["transaction_id"]: charge for charge in world.simulator.charges()}
    for order in unexplained_orders(card.pk).order_by("pk"):
        charge = charges[order.gateway_transaction_id]
        made = disasters.made.get(marker_of(charge))
        invoice = invoice_of(made.key) if made is not None else None
        if charge["status"] in OPEN or made is None:
            return False
        if invoice is None:
            if (
                made.key[1]
                and Subscription.objects.filter(public_id=made.key[0], next_due_at__lte=made.due_at).exists()
            ):
                return False  # its period is not opened yet
            continue
        if charge["status"] in KEPT and invoice.state in CLOSABLE:
            try:
                record_found_payment(
                    invoice=invoice,
                    transaction_id=str(charge["transaction_id"]),
                    decision=Decision(WHO, "so the portal says"),
                    now=world.now,
                )
            except (ResolutionError, GatewayUnavailableError):
                return False
    return True


def close_orphans(world: World) -> None:
    """What was answered to charges that a database had forgotten: looked up in the portal, where all money is by now
    in the books or before somebody."""
    for orphan in OrphanAnswer.objects.filter(matched_at=None).order_by("pk"):
        close_orphan(orphan=orphan, decision=Decision(WHO, "looked in the portal"), now=world.now)


def invoice_of(key: Key) -> Invoice | None:
    """The invoice of this database that is for the same."""
    subscription, due_at = key
    if due_at:
        return Invoice.objects.filter(subscription__public_id=subscription, due_at=due_at).first()
    return Invoice.objects.filter(public_id=subscription).first()


def start_again(world: World) -> None:
    start_account(account=GatewayAccount.objects.get(pk=world.account.pk), reason="repaired", actor=WHO, now=world.now)
