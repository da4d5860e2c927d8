"""`manage.py demo` as a whole: real servers, real workers, the simulator, and what is left afterwards."""

import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.demo.conftest import Running, processes_of, wait_until_gone, words

Start = Callable[..., Running]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def charges(data_dir: Path) -> list[dict[str, object]]:
    """What the simulator has executed so far, from its own file."""
    lines = (data_dir / "simulator.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == "charge"]


def parent_of(process: psutil.Process) -> psutil.Process | None:
    try:
        return process.parent()
    except psutil.Error:
        return None


def charge_worker(running: Running) -> psutil.Process:
    """The main process of the worker that charges."""
    (main,) = (
        one for one in running.children() if "charge" in words(one) and "charge" not in words(parent_of(one) or one)
    )
    return main


def test_everything_due_is_settled_once_and_a_rerun_adds_nothing(start: Start, data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        first = start("demo", "--once", "--port", port)
        first.wait_for_line(rf"Port {port} is taken; the web process listens on \d+")
        second_start = start("demo", "--once")
        assert second_start.end(seconds=20) == 1
        assert "already running" in "\n".join(second_start.err)
        assert second_start.out == []
        assert first.end(seconds=120) == 0, first.everything()
    result = first.result()
    seconds = result.pop("seconds")
    assert result == {"due": 17, "paid": 13, "declined": 3, "unknown": 1, "double": 0, "missed": 0}
    assert 0 < seconds < 120
    wait_until_gone(processes_of(data_dir))

    before = charges(data_dir)
    again = start("demo", "--once")
    assert again.end(seconds=60) == 0, again.everything()
    result = again.result()
    assert result.pop("seconds") < 60
    assert result == {"due": 4, "paid": 0, "declined": 3, "unknown": 1, "double": 0, "missed": 0}
    assert charges(data_dir) == before
    wait_until_gone(processes_of(data_dir))


def test_killed_worker_is_restarted_and_nothing_is_charged_twice(start: Start, data_dir: Path) -> None:
    shorter = {"KITARAN_SEND_WINDOW_SECONDS": "3", "KITARAN_GATEWAY_TOTAL_SECONDS": "3"}
    running = start("demo", "--once", "--port", "0", KITARAN_CHECK_LADDER_SECONDS="2,4,9", **shorter)
    running.wait_for_line(r"in flight [1-9]")
    charge_worker(running).send_signal(signal.SIGKILL)
    running.wait_for_line(r"charge worker was killed \(signal 9\); restarted", seconds=20)
    assert running.end(seconds=120) == 0, running.everything()
    result = running.result()
    assert (result["due"], result["double"], result["missed"]) == (17, 0, 0)
    assert result["paid"] + result["declined"] + result["unknown"] == 17
    assert any("its worker is gone" in line for line in running.out), running.everything()


def test_nothing_outlives_a_killed_supervisor_or_ctrl_c(start: Start, data_dir: Path) -> None:
    running = start("demo", "--port", "0")
    running.wait_for_line(r"in flight [1-9]")
    everything = running.children()
    names = " ".join(word for one in everything for word in words(one))
    assert all(part in names for part in ("postgres", "valkey", "rm_gateway.simulator", "gunicorn", "beat", "worker"))
    os.kill(running.process.pid, signal.SIGKILL)
    wait_until_gone(everything)
    wait_until_gone(processes_of(data_dir))
    running.close()

    running = start("demo", "--port", "0")
    running.wait_for_line(r"^due \d+")
    everything = running.children()
    asked = time.monotonic()
    running.process.send_signal(signal.SIGINT)
    assert running.end(seconds=15) == 0, running.everything()
    assert time.monotonic() - asked < 15
    wait_until_gone(everything, seconds=1)


def test_one_server_without_the_other_is_refused(start: Start) -> None:
    running = start("demo", DATABASE_URL=os.environ["DATABASE_URL"])
    assert running.end(seconds=20) == 1
    assert "DATABASE_URL is set and REDIS_URL is not" in "\n".join(running.err)


def test_up_runs_the_services_until_it_is_asked_to_end(start: Start, data_dir: Path) -> None:
    running = start("up", "--port", "0")
    url = running.wait_for_line(r"Health +(http://\S+)")[1]
    health = wait_until_healthy(url)
    assert health == {**health, "ok": True, "problems": []}
    everything = running.children()
    running.process.send_signal(signal.SIGTERM)
    assert running.end(seconds=30) == 0, running.everything()
    assert not (data_dir / "simulator.jsonl").exists()
    wait_until_gone(everything, seconds=1)


def wait_until_healthy(url: str) -> dict[str, object]:
    parts = urlsplit(url)
    until = time.monotonic() + 40
    said = ""
    while time.monotonic() < until:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
        try:
            connection.request("GET", parts.path)
            answer = connection.getresponse()
            said = answer.read().decode()
            if answer.status == 200:
                found: dict[str, object] = json.loads(said)
                return found
        except OSError as error:
            said = str(error)
        finally:
            connection.close()
        time.sleep(0.3)
    raise AssertionError(f"{url} was not well in time: {said}")
