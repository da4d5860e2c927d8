"""A simulator whose clock may be set, and a doorbell that is silent."""

from collections.abc import Iterator
from typing import Any

import pytest

from billing import doorbell
from billing.gateway.connection import AlignedClock
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
def clock_that_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two steps no time passes, however slow the machine is."""
    monkeypatch.setattr(AlignedClock, "__call__", lambda clock: clock._base[0])


@pytest.fixture
def patience(settings: Any) -> None:
    """An answer that is slow in coming is waited for: what the gateway does is told, not measured."""
    settings.KITARAN_GATEWAY_TOTAL_SECONDS = 100


@pytest.fixture
def alone(silent_doorbell: None, clock_that_stands: None, patience: None) -> None:
    """What happens is what is done here, and nothing else."""


@pytest.fixture
def world(own_simulator: SimulatorProcess, alone: None) -> Iterator[World]:
    world = World(own_simulator, hostile=False)
    yield world
    world.close()
