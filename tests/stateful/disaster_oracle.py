"""What must be true of all installations together, by the gateway's ledger: what one of them forgot is judged too."""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from billing.audit.invariants import Violation
from billing.models import Event, FoundPayment, OrphanAnswer, OutsidePayment, PaymentAttempt, Transition
from tests.stateful.disasters import Disasters, Key
from tests.stateful.operator import TAKEN
from tests.stateful.snapshot import Snapshot, marker_of
from tests.stateful.world import World

# The gateway's seconds are whole ones, and clocks may be this far apart without anybody minding.
TOLERANCE = timedelta(seconds=11)


def check_step(world: World, disasters: Disasters, snapshot: Snapshot) -> None:
    """What holds between any two steps, in whichever database."""
    disasters.learn()
    _taken_at_most_once(disasters, snapshot)
    _nothing_before_it_is_due(disasters, snapshot)
    _absence_takes_its_time(world, disasters, snapshot)


def lied_about(snapshot: Snapshot) -> set[str]:
    """Markers of charges that the gateway made and called refused."""
    return {marker_of(charge) for charge in snapshot.charges if charge["outcome"] == "error_after"}


def _taken_at_most_once(disasters: Disasters, snapshot: Snapshot) -> None:
    """Of one period, over all that was ever armed for it. As for an invoice, an order that was FAILED and that the
    gateway paid later of its own accord is its own doing."""
    orders: defaultdict[Key, dict[str, list[dict[str, Any]]]] = defaultdict(dict)
    for charge in snapshot.charges:
        made = disasters.made.get(marker_of(charge))
        if made is not None:
            orders[made.key].setdefault(charge["order_id"], []).append(charge)
    for key, found in orders.items():
        taken = [one for one in found.values() if any(charge["status"] in TAKEN for charge in one)]
        asked_for = [one for one in taken if len(one) == 1]
        assert len(asked_for) <= 1, f"S1: {key} was taken {len(taken)} times: {taken}"


def _nothing_before_it_is_due(disasters: Disasters, snapshot: Snapshot) -> None:
    """By the true clock, whatever the database's said."""
    for charge in snapshot.charges:
        made = disasters.made.get(marker_of(charge))
        if made is not None and made.key[1]:
            at = datetime.fromisoformat(charge["created_at"])
            assert at >= made.due_at - TOLERANCE, f"{made.key} was charged at {at}, and is due at {made.due_at}"


def _absence_takes_its_time(world: World, disasters: Disasters, snapshot: Snapshot) -> None:
    """However often somebody makes us look: that nothing is there counts by the true time since it was armed."""
    tuning = world.tuning
    least = {"absent_in_reports": tuning.rungs[len(tuning.ladder)], "absent_no_report": tuning.rungs[-1]}
    for attempt in snapshot.in_state("needs_review"):
        made = disasters.made[attempt.marker]
        if attempt.state_reason not in least or attempt.marker in disasters.absent:
            continue
        disasters.absent.add(attempt.marker)
        went = Transition.objects.filter(subject_type="attempt", subject_id=attempt.pk, to_state="needs_review")
        after = went.latest("id").at - world.clock_ahead - made.armed_at
        assert after >= least[attempt.state_reason] - TOLERANCE, f"{attempt.public_id} was called absent after {after}"


def is_recorded(charge: dict[str, Any]) -> bool:
    """Whether money of which the books have no attempt is before a person, or was: as an order that nothing explains
    and that holds its card, as a payment that was found, or in the quarantine's reports."""
    order, transaction = charge["order_id"], charge["transaction_id"]
    if Event.objects.filter(kind="payment_method.unexplained_order", occasion=order).exists():
        return True
    if OutsidePayment.objects.filter(gateway_transaction_id=transaction).exists():
        return True
    return FoundPayment.objects.filter(gateway_transaction_id=transaction).exists()


def waits_for_a_person(violation: Violation) -> bool:
    """A payment of a daily report which this database has forgotten: the audit names it until somebody decides."""
    found = FoundPayment.objects.filter(gateway_transaction_id=violation.subject, decided_at=None)
    return violation.invariant == "S10" and found.exists()


def states_seen() -> set[str]:
    """What the database at work has come to, in words that the coverage list uses."""
    moves = Transition.objects.filter(subject_type="quarantine").values_list("to_state", flat=True)
    seen = {"quarantined" if to == "quarantined" else "quarantine lifted" for to in moves}
    if PaymentAttempt.objects.exclude(recovered_at=None).exists():
        seen.add("recovered")
    if OutsidePayment.objects.exists():
        seen.add("recorded as found")
    if OrphanAnswer.objects.exists():
        seen.add("orphan")
    return seen
