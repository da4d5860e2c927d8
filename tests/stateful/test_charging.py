"""The use cases under every order of events that hypothesis thinks of, against the simulator's own ledger.

`pytest tests/stateful` tries the fixed seeds, as in CI. With FULL=1 it tries many more (SEEDS says how many), from a
random first seed, which is printed, or from FIRST. With SEED=… it tries that seed alone, which is how a failure is seen
again: nothing depends on the machine's clock.
"""

import os
import random
import sys
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from rm_gateway.simulator.process import SimulatorProcess
from tests.stateful.drawing import KINDS
from tests.stateful.machine import ChargingMachine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

FULL = bool(os.environ.get("FULL"))
CHOSEN = {"SEED", "SEEDS", "FIRST"}  # whoever names seeds need not come to everything
# Few that come to all of MUST_BE_REACHED. More are tried, up to MOST_SEEDS, where these do not any more: what a seed
# draws changes with the names of the rules.
FIXED_SEEDS: dict[str, Sequence[int]] = {
    "charges": (9, 10, 14, 105, 2, 3, 4, 6),
    "refunds": range(14),
    "people": range(5),
    "disasters": (2, 1, 7, 8, 9, 20),
}
MOST_SEEDS = 30
STEPS = 50
# Of each seed the simplest example, in which nothing happens, and one at random: what fails is then soon seen again.
EXAMPLES_OF_A_SEED = 2
# What the fixed seeds must have come to, so that nobody believes in a test that tries nothing.
MUST_BE_REACHED = {
    "charges": {
        "succeeded",
        "declined",
        "not_sent",
        "in_process",
        "unknown",
        "not_charged",
        "needs_review",
        "surplus",
        "late_money",
        "released",
        "commit_unacknowledged",
        "sender_lost",
        "paused while due",
        "canceled while due",
        "activated by its first payment",
        "expired",
    },
    "refunds": {
        "refund succeeded",
        "refund refused",
        "refund not_sent",
        "refund unknown",
        "refund not_refunded",
        "refund needs_review",
        "refund engine full",
        "refund engine partial",
        "refund engine reverse",
        "refund of surplus",
        "refund withdrawn",
        "refund decided",
        "refund carried out late",
        "reversed",
    },
    "people": {
        "proposal confirmed",
        "proposal rejected",
        "refused to the same person",
        "refused when it was over",
    },
    "disasters": {
        "restored",
        "restored under a worker that waits",
        "quarantined",
        "quarantine lifted",
        "recovered",
        "orphan",
        "answers of before beside new attempts",
        "copied",
        "the copy was quarantined",
        "the copy went on alone",
        "clock ahead",
        "clock behind",
        "worked by a wrong clock",
        "lied to about unknown",
        "lied to about declined",
        "lied to about succeeded",
        "made to look again and again",
        "refused falsely",
        "ended: cancel",
        "ended: void",
        "late_money",
    },
}


@pytest.fixture(params=list(KINDS))
def machine(request: pytest.FixtureRequest, own_simulator: SimulatorProcess, alone: None) -> type[ChargingMachine]:
    if request.param == "disasters":
        request.getfixturevalue("compared_clocks")
    own = {"simulator": own_simulator, "kind": request.param, "reached": set(), "findings": [], "steps": 0}
    return type("Machine", (ChargingMachine,), own)


def seeds(kind: str) -> Sequence[int]:
    if "SEED" in os.environ:
        return (int(os.environ["SEED"]),)
    if not FULL and not CHOSEN & set(os.environ):
        return FIXED_SEEDS[kind]
    first = int(os.environ.get("FIRST", random.SystemRandom().randrange(2**32) if FULL else 0))
    count = int(os.environ.get("SEEDS", 1000 if FULL else len(FIXED_SEEDS[kind])))
    return range(first, first + count)


def run(machine: type[ChargingMachine], chosen: int) -> None:
    try:
        run_state_machine_as_test(
            seed(chosen)(machine),
            settings=settings(
                max_examples=EXAMPLES_OF_A_SEED,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                print_blob=True,
                report_multiple_bugs=False,
                phases=(Phase.generate, Phase.shrink),
                # Every step speaks to a database and a gateway: an example takes a second, and that is no mistake.
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
    except Exception as error:
        error.add_note(
            f"again: SEED={chosen} .venv/bin/python -m pytest tests/stateful/test_charging.py -k {machine.kind}"
        )
        raise


@pytest.mark.timeout(0 if FULL else 1800)
def test_nobody_is_charged_twice_in_any_order_of_events(
    machine: type[ChargingMachine], capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = list(seeds(machine.kind))
    for each in chosen:
        run(machine, each)
    while not CHOSEN & set(os.environ) and MUST_BE_REACHED[machine.kind] - machine.reached and len(chosen) < MOST_SEEDS:
        chosen.append(max(chosen) + 1)
        run(machine, chosen[-1])
    few = len(chosen) <= MOST_SEEDS
    names = ", ".join(map(str, chosen)) if few else f"{chosen[0]} to {chosen[-1]}"
    with capsys.disabled():
        sys.stdout.write(f"\n{machine.kind}: seeds {names}, {machine.steps} steps\n")

    missed = MUST_BE_REACHED[machine.kind] - machine.reached
    assert CHOSEN & set(os.environ) or not missed, (
        f"no example came to {sorted(missed)}; only to {sorted(machine.reached)}"
    )


@pytest.mark.timeout(900)
@pytest.mark.parametrize("machine", ["charges", "refunds", "disasters"], indirect=True)
def test_seed_replays_the_same_story_each_time(machine: type[ChargingMachine]) -> None:
    """Or the command that a failure prints would be worth nothing."""
    stories: list[list[list[Any]]] = []
    for _ in range(2):
        machine.findings.clear()
        run(machine, seeds(machine.kind)[0])
        stories.append(list(machine.findings))
    assert len(stories[0]) > 1
    for example, (first, second) in enumerate(zip(*stories, strict=True)):
        parting = next((pair for pair in zip_longest(first, second) if pair[0] != pair[1]), None)
        assert parting is None, f"example {example}"
