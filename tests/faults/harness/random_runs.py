"""200 charges, several workers, and SIGKILL of any of them at any time; whoever dies is started again."""

import os
import random
import time
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.management import call_command

from billing.models import Invoice, PaymentAttempt
from rm_gateway.simulator.process import SimulatorProcess
from tests.faults.harness import oracle
from tests.faults.harness.forking import end, in_child, start
from tests.faults.harness.world import World

CHARGES = 200
WORKERS = 3
MOST_KILLS = 20
LOOK_SECONDS = 0.25
LONGEST_SECONDS = 60


def run(world: World, *, profile: str, charges: int, seed: int) -> tuple[dict[str, Any], list[str]]:
    """One run: kills until everything was tried, then recovery; the figures, and what is wrong."""
    draw = random.Random(seed)
    latency = draw.choice([[0.02, 0.1], [0.05, 0.3]])
    with world.batch(profile=profile, invoices=charges, latency=latency) as simulator:
        begun = time.monotonic()
        killed_at = _kill_until_all_are_tried(draw)
        took = time.monotonic() - begun
        simulator.set(latency=[0, 0])
        if profile == "hostile" and draw.random() < 0.5:
            simulator.clock(advance=3600)
        told = in_child(lambda: _recover_and_judge(simulator, killed_at))
    figures = {"runs": 1, "kills": len(killed_at), "kill_seconds": took, **told["figures"]}
    found = oracle.Verdict(**told["verdict"])
    oracle.add(figures, found)
    return figures, found.problems


def _kill_until_all_are_tried(draw: random.Random) -> list[float]:
    """Unix seconds of the kills. After the last one the workers are left alone until nothing waits."""
    killed_at: list[float] = []
    senders = draw.choice([2, 4])
    pause = draw.choice([0.1, 0.3])
    workers = {start(lambda: work(senders)) for _ in range(WORKERS)}
    give_up = time.monotonic() + LONGEST_SECONDS
    look = time.monotonic() + LOOK_SECONDS
    try:
        while time.monotonic() < give_up:
            time.sleep(draw.expovariate(1 / pause))
            if time.monotonic() >= look:
                if in_child(nothing_waits):
                    break
                look = time.monotonic() + LOOK_SECONDS
            if len(killed_at) < MOST_KILLS:
                victim = draw.choice(sorted(workers))
                killed_at.append(time.time())
                end(victim)
                workers.remove(victim)
                workers.add(start(lambda: work(senders)))
    finally:
        for worker in workers:  # with whatever they have in hand
            end(worker)
    return killed_at


def work(senders: int) -> None:
    settings.KITARAN_SENDERS = senders
    with open(os.devnull, "w") as nowhere:
        call_command("tick", loop=True, every=1, stdout=nowhere, stderr=nowhere)


def nothing_waits() -> bool:
    return not Invoice.objects.filter(attempt_count=0).exists()


def _recover_and_judge(simulator: SimulatorProcess, killed_at: list[float]) -> dict[str, Any]:
    armed = sorted(_seconds(at) for at in PaymentAttempt.objects.values_list("armed_at", flat=True))
    goes_on = [next((at - killed for at in armed if at > killed), None) for killed in killed_at]
    left = PaymentAttempt.objects.filter(state__in=oracle.OPEN_ENDED).count()
    outage = oracle.recover(simulator)
    persons = PaymentAttempt.objects.filter(state="needs_review").count()
    return {
        "figures": {
            "unknown_per_run": [left],
            "person_per_run": [persons],
            "goes_on_seconds": [round(seconds, 3) for seconds in goes_on if seconds is not None],
        },
        "verdict": asdict(oracle.verdict(simulator, outage=outage)),
    }


def _seconds(at: datetime) -> float:
    return at.timestamp()
