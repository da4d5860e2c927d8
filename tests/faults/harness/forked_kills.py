"""Kills of forked children: each runs the real `collect` and dies at a named point with charges in flight."""

import random
import signal
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

from billing.charging.collecting.collect import collect
from billing.models import PaymentAttempt
from billing.models.clock import database_now
from billing.operating.tuning import Tuning
from rm_gateway.simulator.process import SimulatorProcess
from tests.faults.deaths import arrange
from tests.faults.harness import oracle
from tests.faults.harness.forking import ending_of, in_child
from tests.faults.harness.world import World

BATCH = 50
MOST_INVOICES = 640  # far above what 50 drawn deaths can arm


@dataclass(frozen=True, slots=True)
class Death:
    """One child's: with so many senders, at the `nth` time that it passes the point."""

    senders: int
    nth: int
    delay_seconds: float

    @classmethod
    def drawn(cls, point: str, draw: random.Random) -> "Death":
        senders = draw.randint(1, 4)
        nth = draw.randint(1, senders) if point == "after_send" else draw.choice([1, 1, 1, 2])
        return cls(senders, nth, draw.choice([0, 0, 0, 0.001, 0.004]))

    @property
    def most_armed(self) -> int:
        return self.senders * (self.nth + 1)


def run_batch(world: World, *, point: str, profile: str, kills: int, seed: int) -> tuple[dict[str, Any], list[str]]:
    """Kills so many children one after the other, recovers, and counts; the figures, and what is wrong."""
    draw = random.Random(seed)
    deaths = [Death.drawn(point, draw) for _ in range(kills)]
    due = sum(death.most_armed for death in deaths)
    if due > MOST_INVOICES:
        raise ValueError(f"{kills} kills may need {due} cards, and there are {MOST_INVOICES}")
    latency = [0.05, 0.1] if point == "after_send" else draw.choice([[0, 0], [0, 0.01], [0, 0.03]])
    with world.batch(profile=profile, invoices=due, latency=latency) as simulator:
        begun = time.monotonic()
        for number, death in enumerate(deaths):
            status = ending_of(lambda death=death, number=number: _die(point, death, number))
            if status != -signal.SIGKILL:
                raise AssertionError(f"child {number} ended with {status} and was not killed: {death}")
        took = time.monotonic() - begun
        simulator.set(latency=[0, 0])
        lists_become_whole = draw.random() < 0.5
        if profile == "hostile" and lists_become_whole:
            simulator.clock(advance=3600)
        told = in_child(lambda: _recover_and_judge(simulator))
    figures = {"kills": len(deaths), "kill_seconds": took, **told["per_kill"]}
    found = oracle.Verdict(**told["verdict"])
    oracle.add(figures, found)
    return figures, found.problems


def _die(point: str, death: Death, number: int) -> None:
    arrange(point, nth=death.nth, delay_seconds=death.delay_seconds)
    # What a dead worker had in flight counts until its deadline, and here fifty die within seconds.
    tuning = replace(Tuning.from_settings(), senders=death.senders, canary=MOST_INVOICES)
    collect(tuning=tuning, clock=database_now, should_stop=lambda: False, worker=f"doomed-{number}")


def _recover_and_judge(simulator: SimulatorProcess) -> dict[str, Any]:
    left: dict[int, int] = {}
    for run in PaymentAttempt.objects.filter(state="sending").values_list("run_id", flat=True):
        left[run] = left.get(run, 0) + 1
    outage = oracle.recover(simulator)
    persons = dict.fromkeys(left, 0)
    for run in PaymentAttempt.objects.filter(state="needs_review").values_list("run_id", flat=True):
        persons[run] += 1
    return {
        "per_kill": {"unknown_per_kill": list(left.values()), "person_per_kill": list(persons.values())},
        "verdict": asdict(oracle.verdict(simulator, outage=outage)),
    }
