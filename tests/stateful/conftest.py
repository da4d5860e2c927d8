"""A simulator whose clock may be set, and a doorbell that is silent."""

from collections.abc import Iterator

import pytest

from billing import doorbell
from rm_gateway.simulator.process import SimulatorProcess
from tests.stateful.world import World


@pytest.fixture(scope="module")
def own_simulator() -> Iterator[SimulatorProcess]:
    """Nobody else speaks to it."""
    with SimulatorProcess(seed=1) as simulator:
        yield simulator


@pytest.fixture
def silent_doorbell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hint that is lost costs nothing here: every step is made by hand."""
    monkeypatch.setattr(doorbell, "ring", lambda _: None)


@pytest.fixture
def world(own_simulator: SimulatorProcess, silent_doorbell: None) -> Iterator[World]:
    world = World(own_simulator, hostile=False)
    yield world
    world.close()
