"""A database that was restored, copied or promoted: nobody is charged twice, and a person finds the way out."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rm_gateway.simulator.process import SimulatorProcess
from tests.hostile.installation import Installation, captures

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(900)]
CARDS = 80
LATER = 3700  # the lists' lag and a little more


@pytest.fixture
def gateway() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(start_timeout_seconds=120) as simulator:
        simulator.set(timestamp_window=0)  # the hours to come are played
        yield simulator


@pytest.fixture
def shop(short_folder: Path, gateway: SimulatorProcess) -> Iterator[Installation]:
    with Installation(short_folder / "a", gateway) as installation:
        yield installation


@pytest.mark.parametrize("profile", ["default", "hostile"])
def test_restored_backup_charges_nothing_until_losses_are_found(
    shop: Installation, gateway: SimulatorProcess, profile: str
) -> None:
    """A1: charge 80, take the whole cluster back to before, start the workers again."""
    shop.begin(CARDS, due=CARDS // 2)
    gateway.use_profile(profile)
    gateway.set(timestamp_window=0)
    shop.keep("backup")
    shop.tick()
    taken = captures(gateway)
    assert taken
    assert max(taken.values()) == 1

    shop.restore("backup")
    shop.tick()
    shop.tick()
    assert captures(gateway) == taken, "nothing may be charged in a database that forgot"
    after = shop.state()
    assert after["quarantined"]
    assert after["reason"] == "attempts_forgotten"
    assert "account.quarantined" in after["events"]
    assert any("quarantine" in problem for problem in after["health"])

    shop.step("read", 0)
    assert "late" in shop.step("lift", 0)["refused"]
    gateway.clock(skew=LATER)
    shop.step("read", LATER)
    assert shop.step("lift", LATER)["refused"] == ""
    found = shop.state()
    if profile == "default":
        assert found["recovered"] == CARDS
        assert found["invoices"] == {"paid": CARDS}
        assert found["held"] == 0
    for _ in range(3):
        shop.tick(played=True)
    ended = captures(gateway)
    assert max(ended.values()) == 1
    state = shop.state()
    assert state["audit"] == []
    assert not state["quarantined"]


def test_running_worker_notices_a_restored_backup(shop: Installation, gateway: SimulatorProcess) -> None:
    """A1: the same under a worker that goes on running meanwhile."""
    shop.begin(12, due=6)
    shop.keep("backup")
    worker = shop.ticking()
    try:
        wait_until(lambda: len(captures(gateway)) == 12)
        shop.restore("backup")
        wait_until(lambda: shop.state()["quarantined"])
    finally:
        worker.kill()
        worker.wait()
    assert set(captures(gateway).values()) == {1}


def test_lists_that_lag_charge_nobody_twice_after_the_quarantine(shop: Installation, gateway: SimulatorProcess) -> None:
    """A1: complete lists that show an order only 30 minutes after it was made."""
    shop.begin(12, due=6)
    gateway.set(orders_visible_after=1800)
    shop.keep("backup")
    shop.tick()
    shop.restore("backup")
    shop.tick()
    assert shop.step("read", 0)["attempts"] == 0, "the lists do not show it yet"
    assert shop.step("lift", 0)["refused"]
    gateway.clock(skew=LATER)
    assert shop.step("read", LATER)["attempts"] == 12
    assert shop.step("lift", LATER) == {"refused": ""}
    shop.tick(played=True)
    assert set(captures(gateway).values()) == {1}


def test_copy_of_the_database_on_another_machine_charges_nothing(
    shop: Installation, gateway: SimulatorProcess, short_folder: Path
) -> None:
    """A2: two installations on one cloned cluster, each with a data folder of its own."""
    shop.begin(10, due=5)
    shop.sql("UPDATE billing_subscription SET next_due_at = next_due_at + interval '1 hour'")
    shop.tick()  # so that the database knows a host that charges
    shop.sql("UPDATE billing_subscription SET next_due_at = next_due_at - interval '1 hour'")
    with shop.twin(short_folder / "b") as twin:
        at_once(shop.tick, twin.tick)
        at_once(shop.tick, twin.tick)
        assert twin.state()["hosts"] == [True, False], "it watches whether the known host lives"
        twin.step("watch", 181)
        assert twin.state()["reason"] == "host_unknown"
        twin.tick()
    assert captures(gateway).total() == 10
    assert set(captures(gateway).values()) == {1}
    assert not shop.state()["quarantined"]


def test_two_copies_that_share_one_data_folder_notice_each_other(
    shop: Installation, gateway: SimulatorProcess, short_folder: Path
) -> None:
    """A2: the same with one data folder for both, so that neither is unknown."""
    shop.begin(10, due=5)
    shop.sql("UPDATE billing_subscription SET next_due_at = next_due_at + interval '1 hour'")
    shop.tick()
    shop.sql("UPDATE billing_subscription SET next_due_at = next_due_at - interval '1 hour'")
    with shop.twin(short_folder / "b", data=shop.data) as twin:
        for _ in range(3):
            at_once(shop.tick, twin.tick)
        states = [shop.state(), twin.state()]
    assert max(captures(gateway).values()) == 1
    assert any(state["quarantined"] for state in states)


def test_a_database_made_from_a_template_is_another_one(shop: Installation, gateway: SimulatorProcess) -> None:
    """A2: CREATE DATABASE ... TEMPLATE in the same cluster, with the same data folder."""
    shop.begin(8, due=4)
    shop.sql("UPDATE billing_subscription SET next_due_at = next_due_at + interval '1 hour'")
    shop.tick()
    copy = shop.copied_database("staging")
    copy.sql("UPDATE billing_subscription SET next_due_at = next_due_at - interval '1 hour'")
    copy.tick()
    assert captures(gateway).total() == 4
    after = copy.state()
    assert after["reason"] == "database_differs"
    assert "database " in after["detail"]
    assert not shop.state()["quarantined"]


def test_promoted_database_is_noticed_without_a_witness(shop: Installation, gateway: SimulatorProcess) -> None:
    """A3: the tail of the log is lost, and the copy that is behind becomes the primary, on a timeline of its own."""
    shop.begin(10, due=5)
    shop.sql("UPDATE billing_subscription SET next_due_at = next_due_at + interval '1 hour'")
    shop.tick()
    shop.sql("UPDATE billing_subscription SET next_due_at = next_due_at - interval '1 hour'")
    shop.keep("behind")
    shop.tick()
    taken = captures(gateway)
    assert taken.total() == 10
    shop.promote("behind")
    for file in (shop.data / "witness").glob("*.json"):
        file.unlink()
    shop.tick()
    assert captures(gateway) == taken
    after = shop.state()
    assert after["reason"] == "database_differs"
    assert after["detail"] == "timeline 00000001 -> 00000002"


def wait_until(condition: Callable[[], bool], seconds: int = 400) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.5)


def at_once(*steps: Callable[[], None]) -> None:
    with ThreadPoolExecutor(len(steps)) as pool:
        for future in [pool.submit(step) for step in steps]:
            future.result()
