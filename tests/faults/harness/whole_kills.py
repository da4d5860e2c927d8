"""Kills of whole workers: real processes started as in production, with all that they forked, in real time.

Beside the doomed one run a real background worker (it sweeps and reconciles) and beat, so that what is measured from
the kill on is what an installation would see: with the harness's short deadline, and its own ticks."""

import random
import signal
import time
from dataclasses import asdict
from functools import partial
from typing import Any

from billing import doorbell
from billing.models import Evidence, Invoice, PaymentAttempt
from billing.models.clock import database_now
from rm_gateway.simulator.process import SimulatorProcess
from tests.faults.deaths import POINTS
from tests.faults.harness import oracle
from tests.faults.harness.forking import in_child
from tests.faults.harness.workers import background, charging
from tests.faults.harness.world import World, make_due

LEAST_DUE_A_KILL, MOST_DUE_A_KILL = 3, 8  # a run arms four at once
DEATH_SECONDS = 60
SETTLED_SECONDS = 60


def run(
    world: World, *, kind: str, point: str, profile: str, kills: int, seed: int
) -> tuple[dict[str, Any], list[str]]:
    """Kills so many workers one after the other; `point` may be "each", which takes them in turn."""
    draw = random.Random(seed)
    latency = draw.choice([[0.05, 0.1], [0.1, 0.3]])
    cards = kills * MOST_DUE_A_KILL
    with world.batch(profile=profile, invoices=0, cards=cards, latency=latency) as simulator, background():
        killed_at = []
        for number in range(kills):
            in_child(partial(_make_due, number, draw.randint(LEAST_DUE_A_KILL, MOST_DUE_A_KILL)))
            chosen = POINTS[number % len(POINTS)] if point == "each" else point
            died = _kill_one(kind, chosen, nth=draw.randint(1, LEAST_DUE_A_KILL) if chosen == "after_send" else 1)
            killed_at.append(died)
        with charging(kind):
            _wait_until_settled()
        told = in_child(lambda: _judge(simulator, killed_at))
    figures = {"kills": kills, **told["figures"]}
    found = oracle.Verdict(**told["verdict"])
    oracle.add(figures, found)
    return figures, found.problems


def _make_due(number: int, due: int) -> None:
    make_due(due, skip=number * MOST_DUE_A_KILL)
    doorbell.ring(doorbell.COLLECT)


def _kill_one(kind: str, point: str, *, nth: int) -> float:
    """Starts a doomed worker and waits for its end; Unix seconds of it."""
    with charging(kind, dies_at=f"{point}:{nth}") as worker:
        status = worker.wait(DEATH_SECONDS)
    if status != -signal.SIGKILL:
        raise AssertionError(f"the worker ended with {status} and was not killed at {point}")
    return time.time()


def _wait_until_settled() -> None:
    until = time.monotonic() + SETTLED_SECONDS
    while time.monotonic() < until:
        if in_child(_settled):
            return
        time.sleep(0.5)
    # The verdict says what is left.


def _settled() -> bool:
    unsettled = PaymentAttempt.objects.filter(state__in=oracle.OPEN_ENDED)
    due = Invoice.objects.filter(next_attempt_at__lte=database_now())
    return not (unsettled.exists() or due.exists())


def _judge(simulator: SimulatorProcess, killed_at: list[float]) -> dict[str, Any]:
    attempts = list(PaymentAttempt.objects.all())
    swept = dict(Evidence.objects.filter(source="sweeper").values_list("attempt_id", "recorded_at"))
    armed = sorted(attempt.armed_at.timestamp() for attempt in attempts)
    unknown, person = [0] * len(killed_at), [0] * len(killed_at)
    checked_after_kill, after_deadline = [], []
    for attempt in attempts:
        if attempt.pk not in swept:
            continue
        kill = next(n for n, at in enumerate(killed_at) if at >= attempt.armed_at.timestamp())
        unknown[kill] += 1
        person[kill] += attempt.state == "needs_review"
        checked_after_kill.append(round(swept[attempt.pk].timestamp() - killed_at[kill], 3))
        after_deadline.append(round((swept[attempt.pk] - attempt.deadline_at).total_seconds(), 3))
    goes_on = [next((at - killed for at in armed if at > killed), None) for killed in killed_at]
    return {
        "figures": {
            "unknown_per_kill": unknown,
            "person_per_kill": person,
            "goes_on_seconds": [round(seconds, 3) for seconds in goes_on if seconds is not None],
            "checked_after_kill_seconds": checked_after_kill,
            "checked_after_deadline_seconds": after_deadline,
        },
        "verdict": asdict(oracle.verdict(simulator)),
    }
