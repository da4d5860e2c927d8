"""What must be true of subscriptions that are active once their first charge is paid, beside the simulator's ledger."""

from typing import Any

from billing.audit.invariants import Violation
from billing.models import Invoice, OutsidePayment, PaymentAttempt, Subscription, Transition
from tests.stateful.operator import OPEN, TAKEN
from tests.stateful.snapshot import Snapshot, marker_of
from tests.stateful.world import World

STARTED = ("active", "past_due", "paused", "completed")
UNRESOLVED = ("sending", "unknown", "in_process", "needs_review")
WAS_PAID = (*TAKEN, "REVERSED")


def check_step(world: World, snapshot: Snapshot) -> None:
    """What holds between any two steps."""
    for subscription in snapshot.subscriptions:
        if subscription.first_payment_ends_at is None:
            continue
        (first,) = (
            invoice
            for invoice in snapshot.invoices
            if invoice.subscription_id == subscription.pk and invoice.period_index == 0
        )
        if subscription.state in STARTED:
            _was_paid(world, snapshot, subscription, first)
        elif subscription.state == "incomplete":
            assert first.state in ("open", "uncollectible"), f"{subscription.public_id} waits, and is {first.state}"
            assert subscription.next_due_at is None, f"{subscription.public_id} waits, and falls due"
        elif subscription.state == "expired":
            _nothing_was_taken(world, snapshot, subscription, first)


def _was_paid(world: World, snapshot: Snapshot, subscription: Subscription, first: Invoice) -> None:
    """By a charge of the gateway, which may have been taken back since, or elsewhere."""
    paid = [charge for orders in _orders(world, snapshot, first).values() for charge in orders]
    elsewhere = OutsidePayment.objects.filter(invoice=first)
    assert any(charge["status"] in WAS_PAID for charge in paid) or elsewhere.exists(), (
        f"{subscription.public_id} is {subscription.state}, and was never paid for"
    )


def _nothing_was_taken(world: World, snapshot: Snapshot, subscription: Subscription, first: Invoice) -> None:
    """And nothing may be on its way: what the gateway had refused and paid late of its own accord is its own doing.
    At rest that is in the books too (S10)."""
    assert first.state == "void", f"{subscription.public_id} is expired, and its invoice is {first.state}"
    attempts = [attempt for attempt in snapshot.attempts if attempt.invoice_id == first.pk]
    unresolved = [attempt.public_id for attempt in attempts if attempt.state in UNRESOLVED]
    assert not unresolved, f"{subscription.public_id} is expired, and nobody knows what {unresolved} took"
    if first.state_reason != "first_payment_overdue":
        return  # a person voided it
    for orders in _orders(world, snapshot, first).values():
        asked_for = len(orders) == 1 and orders[0]["status"] in (*TAKEN, *OPEN)
        assert not asked_for, f"{subscription.public_id} is expired, and the gateway took its money: {orders}"


def _orders(world: World, snapshot: Snapshot, first: Invoice) -> dict[str, list[dict[str, Any]]]:
    """The ledger's records of the first invoice by order; those of attempts that the database forgot too."""
    markers = {attempt.marker for attempt in snapshot.attempts if attempt.invoice_id == first.pk}
    if world.disasters is not None and first.subscription is not None:
        key = (first.subscription.public_id, first.due_at.isoformat())
        markers |= {marker for marker, made in world.disasters.made.items() if made.key == key}
    orders: dict[str, list[dict[str, Any]]] = {}
    for charge in snapshot.charges:
        if marker_of(charge) in markers:
            orders.setdefault(charge["order_id"], []).append(charge)
    return orders


def waits_for_a_worker(violation: Violation) -> bool:
    """That it is overdue says only that no worker ran since."""
    return violation.invariant == "L7" and violation.text.endswith("has not expired.")


def states_seen() -> set[str]:
    """What the example came to, in words that the coverage list uses."""
    moves = Transition.objects.filter(subject_type="subscription", from_state="incomplete")
    names = {"active": "activated by its first payment", "expired": "expired"}
    reasons = ("first_payment_paid", "first_payment_overdue", "invoice_voided")
    seen = {names[to] for to in moves.filter(reason__in=reasons).values_list("to_state", flat=True)}
    if PaymentAttempt.objects.filter(invoice__subscription__state="expired", state="surplus").exists():
        seen.add("paid after it expired")
    return seen
