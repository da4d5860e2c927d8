"""The charging use cases under every order of events that hypothesis thinks of, against the simulator's own ledger.

`pytest tests/stateful` tries the fixed seeds, as in CI; with FULL=1 many more, from a random first seed that is
printed; with SEED=… one seed alone, which is how a failure is seen again.
"""

import os
import random
import sys

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from rm_gateway.simulator.process import SimulatorProcess
from tests.stateful.machine import ChargingMachine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

FULL = bool(os.environ.get("FULL"))
SEEDS = int(os.environ.get("SEEDS", "2000" if FULL else "40"))
STEPS = 50
# Of each seed the simplest example, in which nothing happens, and one at random: what fails is then soon seen again.
EXAMPLES_OF_A_SEED = 2
MUST_BE_REACHED = frozenset(
    {
        "succeeded",
        "declined",
        "not_sent",
        "in_process",
        "unknown",
        "not_charged",
        "needs_human",
        "surplus",
        "reversed",
        "late_money",
        "released",
        "commit_unacknowledged",
        "sender_lost",
    }
)


@pytest.fixture
def machine(own_simulator: SimulatorProcess, silent_doorbell: None) -> type[ChargingMachine]:
    return type("Machine", (ChargingMachine,), {"simulator": own_simulator, "reached": set()})


def seeds() -> range:
    if "SEED" in os.environ:
        first, count = int(os.environ["SEED"]), 1
    else:
        first, count = (random.SystemRandom().randrange(2**32) if FULL else 0), SEEDS
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
                phases=(Phase.generate, Phase.shrink),
                # Every step speaks to a database and a gateway: an example takes a second, and that is no mistake.
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
    except Exception as error:
        error.add_note(f"again: SEED={chosen} .venv/bin/python -m pytest tests/stateful/test_charging.py")
        raise


@pytest.mark.timeout(0 if FULL else 600)
def test_whatever_happens_in_whatever_order_nobody_is_charged_twice_and_nothing_is_lost(
    machine: type[ChargingMachine], capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = seeds()
    with capsys.disabled():
        sys.stdout.write(f"\nseeds {chosen[0]} to {chosen[-1]}\n")

    for each in chosen:
        run(machine, each)

    missed = MUST_BE_REACHED - machine.reached
    assert len(chosen) == 1 or not missed, f"no example came to {sorted(missed)}; only to {sorted(machine.reached)}"
