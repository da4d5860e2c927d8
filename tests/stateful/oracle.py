"""What must be true of our books beside the simulator's ledger, after every step and at rest.

First with an oracle of its own, which shares no query with the engine, then with the audit that runs in production.
"""

from collections import Counter
from typing import Any

from billing.audit.invariants import Violation, ledger_violations, violations
from billing.models import Event, Evidence, GatewayOrder, OutsidePayment, PaymentAttempt, Proposal, Transition
from tests.stateful import disaster_oracle, first_payment_oracle, refund_oracle
from tests.stateful.operator import TAKEN, truth
from tests.stateful.snapshot import Snapshot, marker_of
from tests.stateful.world import World

HOLDERS = ("sending", "unknown", "in_process", "needs_review", "succeeded")
UNRESOLVED = ("sending", "unknown", "in_process", "needs_review")
WITH_MONEY = ("succeeded", "surplus")


# They take it that workers ran until now, and between two steps days may have passed in which none did.
WHEN_WORKERS_RAN = frozenset({"L1", "L2", "L3", "L6"})


def check_step(world: World, snapshot: Snapshot) -> None:
    """What holds between any two steps: S1 to S10, L4 and L5."""
    if world.disasters is not None:
        disaster_oracle.check_step(world, world.disasters, snapshot)
    _asked_at_most_once(world, snapshot)
    taken_at_most_once(snapshot)
    _paid_by_one_charge(world, snapshot)
    _one_holder_and_one_unresolved(snapshot)
    _each_case_has_one_event(snapshot)
    _two_people_where_two_are_needed(world, snapshot)
    refund_oracle.check_step(world, snapshot)
    first_payment_oracle.check_step(world, snapshot)
    broken = [each for each in _audit(world, snapshot) if each.invariant not in WHEN_WORKERS_RAN]
    broken = [each for each in broken if not first_payment_oracle.waits_for_a_worker(each)]
    if world.disasters is not None:  # that a clock is wrong is said; it may be right again by the time of the step
        broken = [each for each in broken if (each.invariant, each.subject) != ("T1", "clock")]
    assert not broken, broken


def _audit(world: World, snapshot: Snapshot) -> list[Violation]:
    found = violations(now=world.now, account_id=world.account.pk, tuning=world.tuning)
    if world.disasters is not None:
        found = [each for each in found if not disaster_oracle.waits_for_a_person(each)]
    return [each for each in found if not _is_recorded_surplus(snapshot, each) and not _is_known(world, snapshot, each)]


def _is_known(world: World, snapshot: Snapshot, violation: Violation) -> bool:
    """A person called money given back that was not: the books are wrong by that person's word."""
    wrong = [refund for refund in snapshot.refunds if refund.public_id in world.claimed]
    text = {refund.public_id for refund in wrong} | {refund.attempt.public_id for refund in wrong}
    return violation.invariant == "S10" and violation.subject in text


def _is_recorded_surplus(snapshot: Snapshot, violation: Violation) -> bool:
    """The gateway paid late of its own accord, it is in our books, and a person has been told to give it back."""
    extra = {attempt.invoice_id for attempt in snapshot.in_state("surplus")}
    return violation.invariant == "S1" and violation.subject in {
        invoice.public_id for invoice in snapshot.invoices if invoice.pk in extra
    }


def _asked_at_most_once(world: World, snapshot: Snapshot) -> None:
    """S3: a POST only for a committed attempt, at most once.

    After a disaster this database may never have had the attempt, or lack it for good: then it was committed in some
    installation. What the gateway made and called refused is rightly called not sent until a look shows it."""
    known = {attempt.marker for attempt in snapshot.attempts}
    lied_about: set[str] = set()
    if world.disasters is not None:
        known |= set(world.disasters.made)
        lied_about = disaster_oracle.lied_about(snapshot)
    for marker, count in snapshot.posts.items():
        if marker == "hand":  # somebody else's charge
            continue
        assert count <= 1, f"S3: attempt {marker} was sent {count} times"
        assert marker in known, f"S3: {marker} was sent, and no attempt was committed"
    unsent = {a.marker for a in snapshot.in_state("not_sent")} & {marker_of(c) for c in snapshot.charges} - lied_about
    assert not unsent, f"the gateway executed {unsent}, which are called not sent"


def taken_at_most_once(snapshot: Snapshot) -> None:
    """S1. An order that was told to be FAILED and that the gateway paid later of its own accord is its own doing:
    what the engine owes then is to record it (at rest), and not to ask again once it could be seen."""
    given_back = {attempt.marker for attempt in snapshot.in_state("not_charged")}
    for invoice in snapshot.invoices:
        markers = {attempt.marker for attempt in snapshot.attempts if attempt.invoice_id == invoice.pk}
        orders: dict[str, list[dict[str, Any]]] = {}
        for charge in snapshot.charges:
            if marker_of(charge) in markers and not _went_back_unseen(charge, given_back):
                orders.setdefault(charge["order_id"], []).append(charge)
        taken = [found for found in orders.values() if any(charge["status"] in TAKEN for charge in found)]
        asked_for = [found for found in taken if len(found) == 1]
        assert len(asked_for) <= 1, f"S1: invoice {invoice.public_id} was taken {len(taken)} times: {taken}"


def _went_back_unseen(charge: dict[str, Any], given_back: set[str]) -> bool:
    """Somebody gave all of it back in the portal before it was in our books, and a person had it charged anew."""
    return charge["status"] == "FULL_REFUNDED" and marker_of(charge) in given_back


def _paid_by_one_charge(world: World, snapshot: Snapshot) -> None:
    """S2, S6: what we call money is one matching charge at the gateway; a paid invoice has exactly one, be it one that
    a person found at the gateway after a disaster, or money from elsewhere."""
    by_transaction = {charge["transaction_id"]: charge for charge in snapshot.charges}
    gateway_ids = {card.pk: card.gateway_customer_id for card in snapshot.cards}
    with_money = snapshot.in_state(*WITH_MONEY)
    claimed = Counter(attempt.gateway_transaction_id for attempt in with_money)
    for attempt in with_money:
        charge = by_transaction.get(attempt.gateway_transaction_id or "")
        assert charge is not None, f"S2: {attempt.public_id} names a transaction that the gateway does not have"
        assert claimed[attempt.gateway_transaction_id] == 1, f"S6: {attempt.gateway_transaction_id} is claimed twice"
        assert marker_of(charge) == attempt.marker, f"S2: {attempt.public_id} took over another attempt's charge"
        assert charge["customer_id"] == gateway_ids[attempt.card_id]
        assert (charge["amount"], charge["currency"]) == (attempt.amount_minor, attempt.currency)
        assert charge["status"] in (*TAKEN, "REVERSED"), f"S2: {attempt.public_id}: {charge['status']}"
    paying = Counter(attempt.invoice_id for attempt in snapshot.in_state("succeeded"))
    if world.disasters is not None:
        paying.update(OutsidePayment.objects.values_list("invoice_id", flat=True))
    for invoice in snapshot.invoices:
        expected = 1 if invoice.state == "paid" else 0
        assert paying[invoice.pk] == expected, f"S2: {invoice.public_id} is {invoice.state}, paid {paying[invoice.pk]}x"


def _one_holder_and_one_unresolved(snapshot: Snapshot) -> None:
    """S4, S5."""
    holders = Counter(attempt.invoice_id for attempt in snapshot.in_state(*HOLDERS))
    assert all(count == 1 for count in holders.values()), f"S4: {holders}"
    open_on = Counter(a.payment_method_id for a in snapshot.in_state(*UNRESOLVED) if a.released_at is None)
    assert all(count == 1 for count in open_on.values()), f"S5: {open_on}"


def _each_case_has_one_event(snapshot: Snapshot) -> None:
    """L4: whoever went to a person raised one event about it, and nobody else did."""
    findings = Counter(Event.objects.filter(kind="attempt.needs_review").values_list("subject_id", flat=True))
    went = Transition.objects.filter(subject_type="attempt", to_state="needs_review").exclude(from_state="needs_review")
    assert findings == Counter(went.values_list("subject_id", flat=True)), "L4"


def _two_people_where_two_are_needed(world: World, snapshot: Snapshot) -> None:
    cases = {attempt.pk for attempt in snapshot.in_state("needs_review")}
    held = {card.pk for card in snapshot.cards if card.held_at is not None}
    confirmed: set[tuple[int | None, bool]] = set()
    for proposal in snapshot.proposals:
        if proposal.outcome == "open":
            about = proposal.attempt_id in cases or proposal.payment_method_id in held
            assert about, f"{proposal.public_id} is about no case, and about no card that is held"
        elif proposal.outcome == "confirmed":
            assert proposal.decided_by != proposal.proposed_by, f"{proposal.public_id} was decided by one alone"
            confirmed.add((proposal.attempt_id, proposal.kind == "release"))
    if world.two_people:
        # What a person says of a reversal's outcome is told to its attempt too, and needs no other.
        text = Evidence.objects.filter(source="operator").exclude(verdict="reversed")
        decided = {(pk, False) for pk in text.values_list("attempt_id", flat=True)}
        decided |= {(attempt.pk, True) for attempt in snapshot.attempts if attempt.released_at is not None}
        assert decided <= confirmed, f"one person alone decided about {decided - confirmed}"


def check_rest(world: World, snapshot: Snapshot) -> None:
    """S10, L1 to L3, L5, L6: what holds when everything had its time and every card was read."""
    check_books(world, snapshot)
    _nothing_is_left_open(world, snapshot)
    _nothing_due_waits_untold(world, snapshot)
    refund_oracle.check_rest(world, snapshot)
    broken = _audit(world, snapshot)
    assert not broken, broken
    unlike = compare_with_ledger(world, snapshot)
    assert not unlike, unlike


def compare_with_ledger(world: World, snapshot: Snapshot) -> list[Violation]:
    """The audit's own comparison with the simulator, without what is recorded as surplus and what is not ours."""
    compared = ledger_violations(account_id=world.account.pk, charges=snapshot.charges, posts=snapshot.posts)
    foreign = {charge["transaction_id"] for charge in snapshot.charges if charge["order_id"] in world.foreign}
    if world.disasters is not None:
        # Of these charges this database knows nothing any more; `check_books` sees that they are before a person.
        ours = {attempt.marker for attempt in snapshot.attempts}
        foreign |= {charge["transaction_id"] for charge in snapshot.charges if marker_of(charge) not in ours}
        foreign |= set(world.disasters.made) - ours
    findings = [a for a in snapshot.attempts if any(_has_an_event(world, a, c) for c in snapshot.of_marker(a.marker))]
    invoices = {invoice.pk: invoice.public_id for invoice in snapshot.invoices}
    known = foreign | {a.public_id for a in findings} | {invoices[a.invoice_id] for a in findings}
    return [
        each
        for each in compared
        if each.subject not in known
        and not _is_recorded_surplus(snapshot, each)
        and not _is_known(world, snapshot, each)
    ]


def check_books(world: World, snapshot: Snapshot) -> None:
    """S10: all money that the gateway keeps is in the books under its transaction, and no other."""
    ours = {attempt.gateway_transaction_id: attempt for attempt in snapshot.in_state(*WITH_MONEY)}
    seen = set(GatewayOrder.objects.values_list("gateway_order_id", flat=True))
    by_marker = {attempt.marker: attempt for attempt in snapshot.attempts}
    for charge in snapshot.charges:
        attempt = ours.pop(charge["transaction_id"], None)
        if charge["order_id"] in world.foreign:
            assert attempt is None, "S10: somebody else's charge was taken for one of ours"
            assert charge["order_id"] in seen, "S10: somebody else's charge was not seen"
        elif charge["status"] in TAKEN:
            maker = by_marker.get(marker_of(charge))
            findings = _has_an_event(world, maker, charge) or (
                # What this database has forgotten, and could not be given to an invoice, is before a person.
                world.disasters is not None and maker is None and disaster_oracle.is_recorded(charge)
            )
            assert attempt is not None or findings, (
                f"S10: money was taken and is not in the books: {charge}; {maker}: {maker and maker.state}"
            )
        else:
            assert attempt is None, f"S10: the books have money that the gateway has not: {charge}"
    assert not ours, f"S10: the gateway knows nothing of {ours}"


def _has_an_event(world: World, maker: PaymentAttempt | None, charge: dict[str, Any]) -> bool:
    """Money that a person was told of, and that only a person can put down to its attempt: it went back in full before
    it was seen, or a person called it declined where nothing is echoed, and the gateway took it after all."""
    if maker is None:
        return False
    if maker.state == "not_charged" and charge["status"] == "FULL_REFUNDED":
        return True
    unexplained = Event.objects.filter(kind="payment_method.unexplained_order", occasion=charge["order_id"])
    by_a_person = Evidence.objects.filter(attempt_id=maker.pk, source="operator")
    return world.hostile and maker.state == "declined" and by_a_person.exists() and unexplained.exists()


def _nothing_is_left_open(world: World, snapshot: Snapshot) -> None:
    assert not snapshot.in_state("sending"), "L2"
    for attempt in snapshot.in_state("unknown", "in_process", "needs_review"):
        assert truth(snapshot, attempt) is None, f"L3: {attempt.public_id} is still {attempt.state}"


def _nothing_due_waits_untold(world: World, snapshot: Snapshot) -> None:
    for subscription in snapshot.subscriptions:
        due = subscription.next_due_at
        running = subscription.state in ("trialing", "active", "past_due")
        assert due is None or due > world.now, f"L1: {subscription.public_id} is due since {due}"
        assert due is not None or not running, f"L5: {subscription.public_id} runs without a next date"
        periods = {i.period_index for i in snapshot.invoices if i.subscription_id == subscription.pk}
        assert periods == set(range(subscription.period_index)), f"L1: {subscription.public_id}: {sorted(periods)}"  # type: ignore[type-var]
    waiting = {attempt.invoice_id for attempt in snapshot.in_state("unknown", "in_process", "needs_review")}
    for invoice in snapshot.invoices:
        if invoice.state != "open":
            continue
        later = invoice.next_attempt_at is not None and invoice.next_attempt_at > world.now
        assert later or invoice.hold or invoice.pk in waiting, f"L6: {invoice.public_id} is forgotten"


def moves() -> list[tuple[Any, ...]]:
    """Every change of state, in order."""
    return list(
        Transition.objects.order_by("id").values_list("at", "subject_type", "subject_id", "from_state", "to_state")
    )


def states_seen() -> set[str]:
    """What the example came to, in words that the coverage list uses."""
    moves = Transition.objects.filter(subject_type="attempt").values_list("to_state", "reason")
    seen = {state for state, _ in moves} | {reason for _, reason in moves if reason in REASONS}
    if PaymentAttempt.objects.exclude(released_at=None).exists():
        seen.add("released")
    seen |= {f"proposal {outcome}" for outcome in Proposal.objects.values_list("outcome", flat=True)}
    return seen | first_payment_oracle.states_seen() | refund_oracle.states_seen() | disaster_oracle.states_seen()


REASONS = frozenset({"late_money", "commit_unacknowledged", "holder_ended_without_money", "sender_lost"})
