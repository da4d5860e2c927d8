"""Starting, stopping, and what survives."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rm_gateway.simulator import control
from rm_gateway.simulator.process import SimulatorError, SimulatorProcess
from tests.rm_gateway.simulator.conftest import Caller, bind
from tests.rm_gateway.simulator.load import measure

pytestmark = pytest.mark.slow


def everything(simulator: SimulatorProcess) -> dict[str, Any]:
    told = {"charges": simulator.charges(), "customers": simulator.customers()}
    requests = simulator.requests()
    return told | {"posts": requests["posts"], "titles": requests["by_title"]}


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restart_keeps_everything(tmp_path: Path, end: str) -> None:
    simulator = SimulatorProcess(state=tmp_path / "state.jsonl").start()
    try:
        before = simulator.credentials
        caller = Caller(before)
        caller.login()
        customer = bind(simulator, caller)
        transaction_id = caller.charge(customer, 700, title="A B").item["transactionId"]
        caller.charge(customer, 104)
        with pytest.raises(OSError):  # noqa: PT011
            caller.charge(customer, 102, title="lost X")
        simulator.set_customer(customer, outcome=["decline_51", "decline_9010"])
        caller.charge(customer)
        simulator.set(page_size=3)
        simulator.clock(advance=100)
        known = everything(simulator)
        getattr(simulator, end)()
        simulator.start()
        assert everything(simulator) == known
        after = simulator.credentials
        for name in ("url", "client_id", "client_secret", "private_key", "server_public_key", "store_id"):
            assert getattr(after, name) == getattr(before, name)
        assert after.pid != before.pid
        assert caller.call("GET", f"/v3/customer/{customer}").code == "TOKEN_INVALID"
        caller.login()
        assert caller.charge(customer).item["error"] == {"message": "9010"}
        assert caller.call("GET", f"/v3/payment/transaction/{transaction_id}").item["status"] == "SUCCESS"
        assert simulator.control("GET", "switches")["page_size"] == 3
        assert simulator.clock()["advanced"] == 100
        assert len(caller.orders(customer)) == 5
    finally:
        simulator.stop()


def test_what_was_answered_before_a_kill_is_known_after_it(tmp_path: Path) -> None:
    with SimulatorProcess(state=tmp_path / "state.jsonl") as simulator:
        caller = Caller(simulator.credentials)
        caller.login()
        customer = bind(simulator, caller)
        for round_ in range(3):
            answered = caller.charge(customer, 1000 + round_).item["transactionId"]
            simulator.kill()
            simulator.start()
            caller.login()
            assert simulator.charges()[-1]["transaction_id"] == answered
        assert len(simulator.charges()) == 3


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    state = tmp_path / "state.jsonl"
    with SimulatorProcess(state=state) as simulator:
        caller = Caller(simulator.credentials)
        caller.login()
        customer = bind(simulator, caller)
        caller.charge(customer)
        simulator.kill()
        with state.open("ab") as file:
            file.write(b'{"kind":"charge","order":{"id":"17')
        simulator.start()
        caller.login()
        caller.charge(customer)
        simulator.restart()
        assert len(simulator.charges()) == 2
    assert all(json.loads(line) for line in state.read_text().splitlines())


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    state = tmp_path / "state.jsonl"
    state.write_text('{"kind":"post","route":"x"}\nnonsense\n')
    with pytest.raises(SimulatorError, match="broken in line 2"):
        SimulatorProcess(state=state).start()


def test_no_card_number_is_kept(tmp_path: Path) -> None:
    state = tmp_path / "state.jsonl"
    with SimulatorProcess(state=state) as simulator:
        caller = Caller(simulator.credentials)
        caller.login()
        bind(simulator, caller)
    assert "4111111111111111" not in state.read_text()
    assert state.stat().st_mode & 0o077 == 0


def test_one_state_file_serves_one_process(tmp_path: Path) -> None:
    with (
        SimulatorProcess(state=tmp_path / "state.jsonl"),
        pytest.raises(SimulatorError, match="in use by another simulator"),
    ):
        SimulatorProcess(state=tmp_path / "state.jsonl").start()


def test_taken_port_is_reported_in_one_line() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        command = [sys.executable, "-m", "rm_gateway.simulator", "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


@pytest.mark.parametrize("arguments", [["--set", "nothing=1"], ["--set", "echo"], ["--latency", "5-1"]])
def test_wrong_options_are_reported_in_one_line(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "rm_gateway.simulator", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_it_stops_within_a_second_with_answers_in_flight() -> None:
    with SimulatorProcess(latency=30) as simulator:
        caller = Caller(simulator.credentials)
        caller.login()
        customer = bind(simulator, caller)
        caller.timeout = 0.2
        with pytest.raises(TimeoutError):
            caller.charge(customer)
        held = socket.create_connection(("127.0.0.1", simulator.port))
        started = time.monotonic()
        simulator.stop()
        assert time.monotonic() - started < 1
        held.close()
        with pytest.raises(ProcessLookupError):
            os.kill(simulator.pid, 0)


def test_a_public_address_is_what_browsers_are_given() -> None:
    command = [sys.executable, "-m", "rm_gateway.simulator", "--public-url", "http://gateway.example:8900/"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
        finally:
            process.terminate()
    assert said["pages_url"] == "http://gateway.example:8900"
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("peer", "allowed"),
    [
        (("127.0.0.1", 1), True),
        (("127.8.8.8", 1), True),
        (("::1", 1, 0, 0), True),
        (("::ffff:127.0.0.1", 1, 0, 0), True),
        (("10.0.0.7", 1), False),
        (("::ffff:10.0.0.7", 1, 0, 0), False),
        (None, False),
    ],
)
def test_the_control_interface_answers_this_machine_only(peer: Any, allowed: bool) -> None:
    request: Any = SimpleNamespace(transport=SimpleNamespace(get_extra_info=lambda _: peer))
    assert control._is_loopback(request) is allowed


def test_a_seed_repeats_weights(tmp_path: Path) -> None:
    def outcomes() -> list[str]:
        weights = {"success": 1, "decline_9010": 1}
        with SimulatorProcess(seed=11, switches={"outcome": weights}) as simulator:
            caller = Caller(simulator.credentials)
            caller.login()
            customer = bind(simulator, caller)
            for _ in range(12):
                caller.charge(customer)
            return [row["outcome"] for row in simulator.charges()]

    first = outcomes()
    assert len(set(first)) == 2
    assert outcomes() == first


def test_hundreds_of_charges_in_flight_need_one_thread() -> None:
    """A guard; the README's figures are measured with ``load`` by hand."""
    got = measure(charges=400, in_flight=400, latency="0.5")
    assert (got.wrong, got.executed, got.threads) == (0, 400, 1)
    assert got.cpu_seconds / 400 < 0.002
    assert got.seconds < 10


def test_any_switch_can_be_set_at_start() -> None:
    switches = {"echo": False, "error_unknown": [404, "NOBODY"], "outcome": "decline_51"}
    with SimulatorProcess(latency="0.01", profile="hostile", switches=switches) as simulator:
        held = simulator.control("GET", "switches")
    assert held["latency"] == [0.01, 0.01]
    assert (held["echo"], held["error_unknown"], held["outcome"]) == (False, [404, "NOBODY"], "decline_51")
    assert held["orders_visible_after"] == 1800
