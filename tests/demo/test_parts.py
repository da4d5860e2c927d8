"""Parts of the demonstration: what it seeds, its ports, its supervisor."""

import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from billing.demo import launch, ports
from billing.demo.catalogue import SEEDS, Begins, Card
from billing.demo.seeding import beginning, quiet_charge_time
from billing.demo.supervisor import Service, Supervisor
from billing.domain.schedules import Interval, Schedule, occurrences
from config.embedded import AlreadyRunning

KUALA_LUMPUR = ZoneInfo("Asia/Kuala_Lumpur")


def moments() -> Iterator[datetime]:
    """Instants of two years at all times of day, among them leap day and the edges of the charge times."""
    start = datetime(2027, 12, 31, 16, 0, tzinfo=UTC)
    for hour in range(0, 2 * 366 * 24, 37):
        yield start + timedelta(hours=hour)
    for seconds in (-1, 0, 1):
        yield datetime(2028, 2, 29, 9, 0, tzinfo=KUALA_LUMPUR) + timedelta(seconds=seconds)


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.slug)
def test_exactly_one_period_is_due_whenever_it_is_seeded(seed) -> None:
    for now in moments():
        charge_time = quiet_charge_time(now.astimezone(KUALA_LUMPUR))
        begins = beginning(seed, charge_time=charge_time, zone="Asia/Kuala_Lumpur", now=now)
        anchor = begins.astimezone(KUALA_LUMPUR).date()
        schedule = Schedule(Interval(seed.interval), seed.target, anchor, seed.every, charge_time)
        following = occurrences(schedule, begins)
        if seed.begins is Begins.BEFORE_LAST:
            assert next(following) <= now
        assert next(following) > now + timedelta(minutes=59)


def test_the_seeds_cover_every_rule_and_the_cards_that_go_wrong() -> None:
    rules = {(seed.interval, seed.target, seed.every) for seed in SEEDS}
    assert {("WEEKLY", day, 1) for day in range(7)} <= rules
    assert {("MONTHLY", day, 1) for day in (-1, 0, 15, 28)} <= rules
    assert {("DAILY", None, 1), ("MONTHLY", 15, 3)} <= rules
    assert len(SEEDS) == len({seed.slug for seed in SEEDS}) == len({seed.plan_code for seed in SEEDS}) == 24
    due = Counter(seed.card for seed in SEEDS if seed.begins is not Begins.NOW)
    assert due.total() >= 12
    assert due[Card.DECLINES] + due[Card.DECLINES_ONCE] == 3
    assert due[Card.LOSES_ANSWERS] + due[Card.LOSES_ONE_ANSWER] == 3
    assert all(seed.amount_minor >= 200 for seed in SEEDS)  # below are the simulator's own amounts


def test_a_taken_port_is_replaced() -> None:
    with socket.create_server((ports.HOST, 0)) as server:
        taken = server.getsockname()[1]
        assert ports.choose(taken) != taken
    free = ports.choose()
    assert ports.choose(free) == free
    assert ports.choose(free, taken=[free]) != free


def test_a_folder_has_one_supervisor(tmp_path: Path) -> None:
    with (
        launch.folder_lock(tmp_path),
        pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"),
        launch.folder_lock(tmp_path),
    ):
        pass
    with launch.folder_lock(tmp_path):
        pass


def test_dead_service_is_restarted_and_a_stubborn_one_killed(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(said.append)
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(99)"
    )
    service = Service(
        name="worker",
        argv=(sys.executable, "-c", stubborn),
        environment=dict(os.environ),
        folder=tmp_path,
        log=tmp_path / "worker.log",
        stop_seconds=0.2,
    )
    supervisor.start()
    supervisor.keep(service)
    try:
        first = wait_for_pid(supervisor, tmp_path, lives=1)
        os.kill(first, signal.SIGKILL)
        second = wait_for_pid(supervisor, tmp_path, lives=2)
    finally:
        supervisor.end()
    assert second != first
    assert said == [
        "worker was killed (signal 9); restarted",
        "worker did not stop in time and was killed",
    ]
    assert supervisor.pid("worker") is None


def wait_for_pid(supervisor: Supervisor, folder: Path, *, lives: int) -> int:
    until = time.monotonic() + 10
    log = folder / "worker.log"
    while time.monotonic() < until:
        pid = supervisor.pid("worker")
        if pid is not None and log.exists() and log.read_text().count("up") == lives:
            return pid
        time.sleep(0.02)
    raise AssertionError("the service did not start")
