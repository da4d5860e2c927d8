"""SIGTERM to a real worker with charges in flight: they are waited for and settled, and nothing new is begun."""

import random
import signal
import time
from dataclasses import asdict
from functools import partial
from typing import Any

from django.conf import settings

from billing import doorbell
from billing.models import Evidence, PaymentAttempt
from rm_gateway.simulator.process import SimulatorProcess
from tests.faults.harness import oracle
from tests.faults.harness.forking import ChildError, in_child
from tests.faults.harness.workers import charging
from tests.faults.harness.world import World

IN_FLIGHT_SECONDS = 30
DRAINED_SECONDS = 15
PROCESSES = 2  # of Celery's worker; each sends so many at once


def run(world: World, *, kind: str, profile: str, charges: int, seed: int) -> tuple[dict[str, Any], list[str]]:
    """One worker with more to do than it sends at once; then the verdict."""
    draw = random.Random(seed)
    with world.batch(profile=profile, invoices=charges, latency=[1, draw.uniform(1, 1.5)]) as simulator:
        in_child(partial(doorbell.ring, doorbell.COLLECT))
        with charging(kind) as worker:
            _until_in_flight(simulator)
            told_at = time.monotonic()
            worker.send_signal(signal.SIGTERM)
            status = worker.wait(DRAINED_SECONDS)
            took = time.monotonic() - told_at
        simulator.set(latency=[0, 0])
        told = in_child(partial(_judge, simulator))
    found = oracle.Verdict(**told["verdict"])
    found.problems += told["problems"]
    if status != 0:
        found.problems.append(f"the worker ended with {status}")
    figures = {"drained": told["drained"], "drained_seconds": [round(took, 3)]}
    oracle.add(figures, found)
    return figures, found.problems


def _until_in_flight(simulator: SimulatorProcess) -> None:
    until = time.monotonic() + IN_FLIGHT_SECONDS
    while sum(simulator.requests()["by_marker"].values()) < settings.KITARAN_SENDERS:
        if time.monotonic() > until:
            raise ChildError("the worker sends nothing")
        time.sleep(0.02)


def _judge(simulator: SimulatorProcess) -> dict[str, Any]:
    states = list(PaymentAttempt.objects.values_list("state", flat=True))
    problems = []
    most = settings.KITARAN_SENDERS * PROCESSES
    if set(states) != {"succeeded"} or len(states) > most:
        problems.append(f"told to end with at most {most} in flight, it left {states}")
    outage = oracle.recover(simulator)
    if Evidence.objects.exclude(source="answer").exists():
        problems.append("something had to be found out otherwise than by its answer")
    return {
        "problems": problems,
        "drained": len(states),
        "verdict": asdict(oracle.verdict(simulator, outage=outage)),
    }
