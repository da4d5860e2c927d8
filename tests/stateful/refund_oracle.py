"""What must be true of money that goes back, beside the simulator's ledger: of our refunds and of everybody's."""

from collections import Counter, defaultdict
from typing import Any

from billing.models import Event, Refund, Transition
from tests.stateful.snapshot import Snapshot
from tests.stateful.world import World

NEVER_SENT = ("requested",)
NOT_CARRIED_OUT = ("refused", "not_sent")
OPEN = ("requested", "sending", "unknown", "needs_review")


def check_step(world: World, snapshot: Snapshot) -> None:
    """What holds between any two steps."""
    _asked_at_most_once(world, snapshot)
    _carried_out_at_most_once(world, snapshot)
    _one_open_at_a_time(snapshot)
    _counted_as_it_was(world, snapshot)
    _no_refunded_invoice_is_charged_again(snapshot)
    _each_case_has_one_event()


def _asked_at_most_once(world: World, snapshot: Snapshot) -> None:
    """A POST only for a refund that was committed, at most once."""
    by_name = {refund.public_id: refund for refund in snapshot.refunds}
    orders: Counter[str] = Counter(
        refund.attempt.gateway_order_id for refund in snapshot.refunds if refund.kind == "reverse" and refund.armed_at
    )
    for name, count in snapshot.refund_posts.items():
        if name == "by hand":
            continue
        if not name.startswith("ref_"):
            allowed = orders[name] + world.reversed_by_hand[name]
            assert count <= allowed, f"the order {name} was reversed {count} times, {allowed} were asked for"
            continue
        assert count <= 1 + (name in world.late), f"{name} was sent {count} times"
        refund = by_name[name]
        assert refund.armed_at is not None, f"{name} was sent, and was not armed"
        assert refund.state not in NEVER_SENT, f"{name} was sent, and is {refund.state}"


def _carried_out_at_most_once(world: World, snapshot: Snapshot) -> None:
    """What is called refused or not sent was not carried out, and nothing was twice."""
    states = {refund.public_id: refund.state for refund in snapshot.refunds}
    done: Counter[str] = Counter()
    for charge in snapshot.charges:
        assert charge["refunded"] <= charge["amount"], f"more was given back than taken: {charge}"
        done.update(given["reason"] for given in charge["refunds"])
    for name, count in done.items():
        if name == "by hand":
            continue
        assert count == 1, f"{name} was carried out {count} times"
        assert states[name] not in NOT_CARRIED_OUT, f"{name} was carried out, and is {states[name]}"
        assert states[name] != "not_refunded" or name in world.denied, f"{name} was carried out, and is denied"


def _one_open_at_a_time(snapshot: Snapshot) -> None:
    open_of = Counter(refund.attempt_id for refund in snapshot.refunds if refund.state in OPEN)
    assert all(count == 1 for count in open_of.values()), f"several refunds are open: {open_of}"


def _counted_as_it_was(world: World, snapshot: Snapshot) -> None:
    """What our books have as given back was given back, or a person said so; and it is no more than was taken."""
    counted = _counted(snapshot.refunds)
    charges = {charge["transaction_id"]: charge for charge in snapshot.charges}
    of_invoice: defaultdict[int, int] = defaultdict(int)
    for attempt in snapshot.attempts:
        of_invoice[attempt.invoice_id] += attempt.amount_refunded_minor
        assert attempt.amount_refunded_minor == counted[attempt.pk], f"{attempt.public_id} counts other refunds"
        assert attempt.amount_refunded_minor <= attempt.amount_minor
        if attempt.amount_refunded_minor:
            given = charges[attempt.gateway_transaction_id or ""]["refunded"] + _claimed(world, snapshot, attempt.pk)
            assert attempt.amount_refunded_minor <= given, f"{attempt.public_id} counts more than was given back"
    for invoice in snapshot.invoices:
        assert invoice.amount_refunded_minor <= min(invoice.amount_minor, of_invoice[invoice.pk])
        paying = [a for a in snapshot.in_state("succeeded") if a.invoice_id == invoice.pk]
        assert invoice.amount_refunded_minor >= sum(a.amount_refunded_minor for a in paying)


def _counted(refunds: list[Refund]) -> Counter[int]:
    counted: Counter[int] = Counter()
    for refund in refunds:
        if refund.state == "succeeded" and refund.kind != "reverse":
            counted[refund.attempt_id] += refund.amount_minor
    return counted


def _claimed(world: World, snapshot: Snapshot, attempt_id: int) -> int:
    """What a person called given back although it was not."""
    return sum(r.amount_minor for r in snapshot.refunds if r.public_id in world.claimed and r.attempt_id == attempt_id)


def _no_refunded_invoice_is_charged_again(snapshot: Snapshot) -> None:
    """Of a payment that was given back, wholly or in part, nothing is asked for again."""
    surplus = {attempt.pk for attempt in snapshot.in_state("surplus")}
    given_back_at: dict[int, Any] = {}
    for refund in snapshot.refunds:
        if refund.state == "succeeded" and refund.kind != "reverse" and refund.attempt_id not in surplus:
            at = given_back_at.setdefault(refund.invoice_id, refund.settled_at)
            given_back_at[refund.invoice_id] = min(at, refund.settled_at)  # type: ignore[type-var]
    for attempt in snapshot.attempts:
        at = given_back_at.get(attempt.invoice_id)
        assert at is None or attempt.armed_at <= at, f"{attempt.public_id} charges what was given back"


def _each_case_has_one_event() -> None:
    findings = Counter(Event.objects.filter(kind="refund.needs_review").values_list("subject_id", flat=True))
    went = Transition.objects.filter(subject_type="refund", to_state="needs_review")
    assert findings == Counter(went.values_list("subject_id", flat=True)), "a refund went to a person who was not told"


def check_rest(world: World, snapshot: Snapshot) -> None:
    """When everything had its time and every payment was looked at: all refunds are final, and the sums agree."""
    left = [
        (refund.public_id, refund.state, refund.state_reason) for refund in snapshot.refunds if refund.state in OPEN
    ]
    assert not left, f"refunds are still open: {left}"
    charges = {charge["transaction_id"]: charge for charge in snapshot.charges}
    for attempt in snapshot.in_state("succeeded", "surplus"):
        given = charges[attempt.gateway_transaction_id or ""]["refunded"]
        most = given + _claimed(world, snapshot, attempt.pk)
        assert given <= attempt.amount_refunded_minor <= most, (
            f"{attempt.public_id} counts {attempt.amount_refunded_minor} as given back, the gateway {given}"
        )


def states_seen() -> set[str]:
    """What became of refunds, in words that the coverage list uses."""
    moves = Transition.objects.filter(subject_type="refund").exclude(reason="seen_at_the_gateway")
    seen = {f"refund {state}" for state in moves.values_list("to_state", flat=True)}
    done = Refund.objects.filter(state="succeeded")
    seen |= {f"refund {origin} {kind}" for origin, kind in done.values_list("origin", "kind")}
    if done.filter(attempt__state="surplus").exists():
        seen.add("refund of surplus")
    if moves.filter(from_state="needs_review").exists():
        seen.add("refund decided")
    if moves.filter(reason__startswith="withdrawn").exists():
        seen.add("refund withdrawn")
    return seen
