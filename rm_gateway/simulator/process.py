"""The simulator as a process of its own, for tests, demos and benchmarks. Standard library only.

with SimulatorProcess(latency="0.2", switches={"echo": False}) as simulator:
    credentials = simulator.credentials
    ...
    simulator.set(outcome=["lost_after"])
    assert len(simulator.charges()) == 1
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlencode, urlsplit

START_TIMEOUT_SECONDS = 20.0
CALL_TIMEOUT_SECONDS = 20.0
PACKAGE_ROOT = Path(__file__).resolve().parents[2]


class SimulatorError(Exception):
    """The simulator did not start, or refused a control call; the message says why."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to reach the simulator, and as whom: what it prints when it listens. PEM texts are whole."""

    url: str
    oauth_url: str
    api_url: str
    pages_url: str
    client_id: str
    client_secret: str = field(repr=False)
    private_key: str = field(repr=False)
    merchant_id: str
    store_id: str
    server_public_key: str = field(repr=False)
    pid: int
    merchants: tuple[dict[str, str], ...] = field(repr=False)

    def of_merchant(self, number: int) -> Credentials:
        """The same simulator as another of its merchants (``--merchants``); 0 is the first."""
        own = self.merchants[number]
        values = {name: getattr(self, name) for name in self.__slots__}
        return Credentials(**cast("dict[str, Any]", {**values, **own}))


class SimulatorProcess:
    """Starts the simulator and talks to its control interface. Everything else is left to a client.

    ``switches`` are set at start; ``state`` is a file that survives; ``port`` 0 takes a free one and keeps it for a
    ``restart``. The context manager stops the process.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        state: str | os.PathLike[str] | None = None,
        seed: int | None = None,
        latency: str | float | None = None,
        profile: str | None = None,
        merchants: int | None = None,
        switches: dict[str, Any] | None = None,
        start_timeout_seconds: float = START_TIMEOUT_SECONDS,
    ) -> None:
        self.host, self.port = host, port
        self._options: list[str] = []
        chosen = {"state": state, "seed": seed, "latency": latency, "profile": profile, "merchants": merchants}
        for name, value in chosen.items():
            if value is not None:
                self._options += [f"--{name}", str(value)]
        for name, value in (switches or {}).items():
            self._options += ["--set", f"{name}={json.dumps(value)}"]
        self._start_timeout = start_timeout_seconds
        self._process: subprocess.Popen[str] | None = None
        self._credentials: Credentials | None = None

    # -- the process -------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start it and wait until it listens. Raises SimulatorError with its output otherwise."""
        if self._process is not None:
            raise SimulatorError("the simulator runs already")
        command = [sys.executable, "-m", "rm_gateway.simulator", "--host", self.host, "--port", str(self.port)]
        paths = [str(PACKAGE_ROOT), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        with tempfile.TemporaryFile("w+") as complaints:
            process = subprocess.Popen(
                command + self._options,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                env=environment,
            )
            line = self._first_line(process)
            if not line:
                with contextlib.suppress(OSError):
                    process.kill()
                self._close(process)
                complaints.seek(0)
                raise SimulatorError(complaints.read().strip() or "the simulator did not start in time")
        hello = json.loads(line)
        self._process = process
        self._credentials = Credentials(**(hello | {"merchants": tuple(hello["merchants"])}))
        self.port = urlsplit(self._credentials.url).port or 0
        return self

    def _first_line(self, process: subprocess.Popen[str]) -> str:
        lines: list[str] = []
        output = process.stdout
        if output is None:  # never: it is a pipe
            return ""
        reader = threading.Thread(target=lambda: lines.append(output.readline()), daemon=True)
        reader.start()
        reader.join(self._start_timeout)
        if reader.is_alive():
            process.kill()
            reader.join()
            return ""
        return lines[0]

    @staticmethod
    def _close(process: subprocess.Popen[str]) -> None:
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def stop(self, *, timeout_seconds: float = 5.0) -> None:
        """Ask it to end (SIGTERM), and end it if it does not. Does nothing when it is not running."""
        self._end(kill=False, timeout_seconds=timeout_seconds)

    def kill(self) -> None:
        """End it at once (SIGKILL): what it answered to anybody is in its state file."""
        self._end(kill=True, timeout_seconds=5.0)

    def _end(self, *, kill: bool, timeout_seconds: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill() if kill else process.terminate()
        try:
            process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        self._close(process)

    def restart(self) -> Self:
        """Stop it when it runs, and start it again on the same port; with ``state`` it knows what it knew."""
        self.stop()
        return self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def credentials(self) -> Credentials:
        """What it printed at its last start."""
        if self._credentials is None:
            raise SimulatorError("the simulator was not started")
        return self._credentials

    @property
    def url(self) -> str:
        """Its root address, without a slash at the end."""
        return self.credentials.url

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self.credentials.pid

    # -- the control interface ---------------------------------------------------------------------------------------

    def charges(self) -> list[dict[str, Any]]:
        """Every charge that was executed, in order."""
        return cast("list[dict[str, Any]]", self.control("GET", "charges")["charges"])

    def requests(self) -> dict[str, Any]:
        """How many POSTs came: ``posts`` by route, ``by_title``, ``by_marker`` (a title's last word), and ``by_refund``
        (a refund's reason, a reversal's order id)."""
        return self.control("GET", "requests")

    def customers(self) -> list[dict[str, Any]]:
        """Every customer."""
        return cast("list[dict[str, Any]]", self.control("GET", "customers")["customers"])

    def set(self, **switches: Any) -> dict[str, Any]:
        """Set switches for everybody; returns all of them."""
        return self.control("POST", "switches", switches)

    def set_customer(self, customer_id: str, **switches: Any) -> dict[str, Any]:
        """Set switches for one customer; returns those that hold for it."""
        return self.control("POST", f"customers/{customer_id}/switches", switches)

    def use_profile(self, name: str) -> dict[str, Any]:
        """Set every switch as a profile has it (``default``, ``hostile``); returns all of them."""
        return self.control("POST", "profile", {"name": name})

    def notifies(self) -> list[dict[str, Any]]:
        """The notifies that were sent: ``encoding``, ``order_id``, ``at``, and ``status`` or ``error``."""
        return cast("list[dict[str, Any]]", self.control("GET", "notifies")["notifies"])

    def clock(self, **changes: Any) -> dict[str, Any]:
        """Read the clock, or set it: ``real=True``, ``skew=s``, ``wall`` and ``virtual="2026-01-31T00:00:00Z"``,
        ``advance=s``."""
        return self.control("POST", "clock", changes) if changes else self.control("GET", "clock")

    def reset(self) -> None:
        """Forget customers, charges, counters and settings; merchants and tokens stay."""
        self.control("POST", "reset", {})

    def expire_tokens(self) -> None:
        """End every access and refresh token."""
        self.control("POST", "tokens", {})

    def control(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One call of ``/_simulator/<path>``. Raises SimulatorError when it is refused."""
        data = json.dumps(body).encode() if body is not None else None
        status, _, answer = self._call(method, f"/_simulator/{path}", data, "application/json")
        parsed = json.loads(answer)
        if status != 200:
            raise SimulatorError(f"{method} {path}: {parsed.get('error', {}).get('message', status)}")
        return cast("dict[str, Any]", parsed)

    def checkouts(self) -> list[dict[str, Any]]:
        """Every checkout, as the query of it gives it."""
        return cast("list[dict[str, Any]]", self.control("GET", "checkouts")["checkouts"])

    def pay_checkout(self, order_id: str, *, outcome: str = "success", method: str = "FPX") -> str:
        """A payment of a checkout without the browser, also when its page is over; its transaction id."""
        answer = self.control("POST", f"checkouts/{order_id}/pay", {"outcome": outcome, "method": method})
        return str(answer["transaction_id"])

    # -- the customer's browser --------------------------------------------------------------------------------------

    def bind(self, payment_url: str, *, card: str = "4111111111111111", action: str = "bind") -> str:
        """Act as the customer: open the page, fill the form, press a button; returns where the browser is sent.

        Empty text when the page leads nowhere (switch ``redirect`` is never). Raises SimulatorError when the page
        refuses the form. The address that the browser is sent to is not opened.
        """
        parts = urlsplit(payment_url)
        target = f"{parts.path}?{parts.query}"
        status, _, page = self._call("GET", target)
        if status != 200 or "<form" not in page:
            raise SimulatorError(f"the bind page answered {status}")
        form = {"number": card, "name": "Test Customer", "expiry": "12/39", "cvv": "123", "action": action}
        kind = "application/x-www-form-urlencoded"
        status, location, page = self._call("POST", target, urlencode(form).encode(), kind)
        if status not in (200, 303):
            raise SimulatorError(f"the bind page refused the form ({status})")
        return location

    def use_checkout(self, url: str, *, action: str = "pay", method: str = "FPX") -> str:
        """Open a checkout's page and press ``pay``, ``later``, ``fail`` or ``cancel``; where the browser is led."""
        parts = urlsplit(url)
        target = f"{parts.path}?{parts.query}"
        status, _, page = self._call("GET", target)
        if status != 200 or "<form" not in page:
            raise SimulatorError(f"the checkout page answered {status}")
        form = urlencode({"action": action, "method": method}).encode()
        status, location, page = self._call("POST", target, form, "application/x-www-form-urlencoded")
        if status not in (200, 303):
            raise SimulatorError(f"the checkout page refused the form ({status})")
        return location

    def _call(self, method: str, target: str, data: bytes | None = None, kind: str = "") -> tuple[int, str, str]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=CALL_TIMEOUT_SECONDS)
        try:
            connection.request(method, target, data, {"Content-Type": kind} if kind else {})
            with connection.getresponse() as response:
                return response.status, response.headers.get("Location", ""), response.read().decode()
        finally:
            connection.close()
