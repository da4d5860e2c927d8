"""A simulator whose clock may be set, and a doorbell that is silent."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures._base import DoneAndNotDoneFutures
from typing import Any

import pytest
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

from billing import doorbell
from billing.charging.reading import before_decision, late_money, reconcile
from billing.charging.recovery import from_cards
from billing.charging.refunds import worker as refund_worker
from billing.gateway import sending_clock as gateway_clock
from billing.gateway.connection import AlignedClock
from rm_gateway import transport
from rm_gateway.simulator.process import SimulatorProcess
from tests.stateful.beginning import uptime
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
def one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one loop asks side by side arrives at the gateway in the order in which it was asked."""
    monkeypatch.setattr(refund_worker, "SENDERS", 1)
    for reader in (before_decision, reconcile, from_cards, late_money):
        monkeypatch.setattr(reader, "READERS", 1)
    monkeypatch.setattr(late_money, "wait", wait_for_the_first)


def wait_for_the_first(futures: Iterable[Future[Any]], **_: Any) -> DoneAndNotDoneFutures[Any]:
    """Of several that are done, the one that was asked for first is looked at first."""
    first, *others = futures
    first.exception()
    return DoneAndNotDoneFutures({first}, set(others))


@pytest.fixture
def compared_clocks(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """The database's clock is compared with the gateway's, by an uptime that is the world's."""
    settings.KITARAN_CLOCK_TOLERANCE_SECONDS = 10
    for module in (gateway_clock, transport):
        monkeypatch.setattr(module, "elapsed", uptime)


@pytest.fixture
def draws_that_no_edit_changes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hypothesis likes numbers that stand in the code it knows of, so that a seed would draw something else after each
    edit, and after each import."""
    monkeypatch.setattr(providers, "_get_local_constants", Constants)
    providers.CONSTANTS_CACHE.cache.clear()
    yield
    providers.CONSTANTS_CACHE.cache.clear()


@pytest.fixture
def alone(
    silent_doorbell: None,
    clock_that_stands: None,
    patience: None,
    one_after_another: None,
    draws_that_no_edit_changes: None,
) -> None:
    """What happens is what is done here, and nothing else."""


@pytest.fixture
def world(own_simulator: SimulatorProcess, alone: None) -> Iterator[World]:
    world = World(own_simulator, hostile=False)
    yield world
    world.close()
