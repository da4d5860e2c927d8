"""Letting an example come to rest: what was kept in memory dies, the gateway is itself again, and the engine and a
truthful person go on until nothing is left to find out."""

from datetime import datetime, timedelta

from tests.stateful import operator, oracle
from tests.stateful.disasters import Disasters
from tests.stateful.snapshot import Snapshot
from tests.stateful.world import World

ROUNDS = 60
ASKED_AGAIN_AFTER = timedelta(hours=3)
UNTIL_ALL_SHOWS = timedelta(days=6)  # longer than any card's orders stay hidden, and than any charge changes


def come_to_rest(world: World) -> Snapshot:
    for worker in world.workers:
        worker.die()
    world.be_away(False)
    if world.disasters is not None:
        _end_of_disasters(world.disasters)
    for gateway_id in world.gateway_ids:
        world.simulator.set_customer(gateway_id, outcome="auto")
    world.decide_refunds("auto")
    _go_on(world)
    world.let_time_pass(UNTIL_ALL_SHOWS)
    _go_on(world)
    if world.disasters is not None:
        _find_all_money(world)
    for gateway_id in world.gateway_ids:
        world.simulator.set_customer(gateway_id, query_delay=0)  # of what was charged just now too
    for card in world.snapshot().cards:
        world.read_card(card)
    return _go_on(world)


def _end_of_disasters(disasters: Disasters) -> None:
    """One installation is left, and its clock is right."""
    disasters.end_the_other()
    for worker in disasters.world.workers:
        worker.die()
    disasters.correct_the_clock()
    disasters.agree_about_the_clock()


def _find_all_money(world: World) -> None:
    """Within a day, without anybody who has a card read, and whether or not anything is owed any more."""
    for _ in range(5):
        world.let_time_pass(timedelta(hours=6))
        world.watch()
        operator.do_the_days_work(world, _go_on(world))
    oracle.check_books(world, world.snapshot())
    operator.close_orphans(world)


def _go_on(world: World) -> Snapshot:
    for _ in range(ROUNDS):
        operator.start_again(world)
        if world.disasters is not None:
            world.disasters.look_which_database_it_is()
            world.disasters.carry_through()
            world.watch()
        world.open_due()
        world.sweep()
        world.reconcile()
        operator.do_the_days_work(world, world.snapshot())
        world.collect()
        world.expire()
        world.sweep_refunds()
        world.give_back()
        snapshot = world.snapshot()
        following = _next_step(world, snapshot)
        if following is None:
            return snapshot
        world.let_time_pass(following - world.now)
    raise AssertionError(f"no rest after {ROUNDS} rounds: {[(a.public_id, a.state) for a in snapshot.attempts]}")


def _next_step(world: World, snapshot: Snapshot) -> datetime | None:
    """When something that is under way goes on by itself; None when nothing is."""
    at: list[datetime] = []
    if world.disasters is not None and world.disasters.quarantined_at is not None:
        at.append(world.now + timedelta(minutes=3))
    for attempt in snapshot.in_state("sending", "unknown", "in_process", "needs_review"):
        if attempt.state == "sending":
            at.append(attempt.deadline_at)
        elif attempt.next_check_at is not None:
            at.append(attempt.next_check_at)
        elif operator.truth(snapshot, attempt) is not None:
            # If the day's work left it, what the person would say does not show yet.
            at.append(max(attempt.armed_at + world.tuning.ladder[-1], world.now + ASKED_AGAIN_AFTER))
    for refund in snapshot.refunds:
        if refund.state == "sending":
            at.append(refund.deadline_at)
        elif refund.next_check_at is not None:
            at.append(refund.next_check_at)
        elif refund.state == "needs_review" and refund.public_id not in world.put_off:
            at.append(world.now)
    if any(
        invoice.next_attempt_at is not None and invoice.next_attempt_at <= world.now for invoice in snapshot.invoices
    ):
        at.append(world.now + timedelta(minutes=3))  # leased to a reader that died
    return max(min(at), world.now + timedelta(seconds=1)) if at else None
