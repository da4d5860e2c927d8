"""The charging use cases under every order of events that hypothesis thinks of, against the simulator's own ledger.

    .venv/bin/python -m pytest tests/stateful                    the fixed examples, as in CI
    FULL=1 .venv/bin/python -m pytest tests/stateful             many more, from a random seed that is printed
    FULL=1 SEED=… .venv/bin/python -m pytest tests/stateful      the same again
"""

import os
import random
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from billing import doorbell
from rm_gateway.simulator.process import SimulatorProcess
from tests.stateful.machine import ChargingMachine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

FULL = bool(os.environ.get("FULL"))
EXAMPLES = int(os.environ.get("EXAMPLES", "400" if FULL else "25"))
STEPS = int(os.environ.get("STEPS", "50"))
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
    }
)


@pytest.fixture(scope="module")
def own_simulator() -> Iterator[SimulatorProcess]:
    """One whose clock may be set: nobody else speaks to it."""
    with SimulatorProcess(seed=1) as simulator:
        yield simulator


@pytest.fixture
def silent_doorbell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is called: a hint that is lost costs nothing here, and every step is made by hand."""
    monkeypatch.setattr(doorbell, "ring", lambda task: None)


@pytest.mark.timeout(0 if FULL else 300)
def test_whatever_happens_in_whatever_order_nobody_is_charged_twice_and_nothing_is_lost(
    own_simulator: SimulatorProcess, silent_doorbell: None, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = int(os.environ.get("SEED", random.randrange(2**32))) if FULL else 0
    again = f"FULL=1 SEED={chosen} EXAMPLES={EXAMPLES} STEPS={STEPS} .venv/bin/python -m pytest tests/stateful"
    if FULL:
        with capsys.disabled():
            print(f"\nagain: {again}")

    class Machine(ChargingMachine):
        simulator = own_simulator
        reached: set[str] = set()  # noqa: RUF012

    machine = seed(chosen)(Machine) if FULL else Machine
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                derandomize=not FULL,
                database=None,
                print_blob=True,
                verbosity=Verbosity.normal,
                phases=(Phase.generate, Phase.shrink),
                # Every step speaks to a database and a gateway: an example takes seconds, and that is no mistake.
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
    except Exception as error:
        if FULL:
            error.add_note(f"again: {again}")
        raise
    missed = MUST_BE_REACHED - Machine.reached
    assert not missed, f"no example came to {sorted(missed)}; only to {sorted(Machine.reached)}"
