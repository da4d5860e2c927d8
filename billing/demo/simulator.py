"""Speaking to the simulator's process: what it says when it listens, its ledger, and its bind page as a browser."""

import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

CALL_SECONDS = 10.0
START_SECONDS = 30.0


class SimulatorError(Exception):
    """The simulator did not start or refused a call; the message says which."""


@dataclass(frozen=True, slots=True)
class Hello:
    """How to reach the simulator, and as whom."""

    url: str
    oauth_url: str
    api_url: str
    client_id: str
    client_secret: str = field(repr=False)
    private_key: str = field(repr=False)
    server_public_key: str = field(repr=False)
    store_id: str


def read_hello(path: Path) -> Hello | None:
    """What the simulator wrote at its last start; None when there is nothing whole."""
    try:
        text = path.read_text(encoding="utf-8")
        hello = json.loads(text) if text.endswith("\n") else None
    except (OSError, ValueError):
        return None
    return Hello(**{name: str(hello[name]) for name in Hello.__slots__}) if isinstance(hello, dict) else None


def wait_for(path: Path, *, port: int, has_died: Callable[[], bool]) -> Hello:
    """Waits until the simulator listens on `port`. Raises SimulatorError, at once when it has died."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and not has_died():
        hello = read_hello(path)
        if hello is not None and urlsplit(hello.url).port == port:
            return hello
        time.sleep(0.02)
    raise SimulatorError("The simulator did not start.")


def ledger(hello: Hello) -> list[dict[str, Any]]:
    """Every charge that the simulator executed, over all its lives. Raises SimulatorError."""
    status, _, body = _call("GET", f"{hello.url}/_simulator/charges")
    if status != 200:
        raise SimulatorError(f"The simulator's ledger answered {status}.")
    charges: list[dict[str, Any]] = json.loads(body)["charges"]
    return charges


def bind_as_browser(payment_url: str, *, card: str, name: str) -> bool:
    """Opens the bind page and sends its form as the customer would; whether it says that the card was bound.

    The address that the browser is sent to is not opened. Raises SimulatorError."""
    status, _, page = _call("GET", payment_url)
    if status != 200 or "<form" not in page:
        raise SimulatorError(f"The card page answered {status}.")
    form = {"number": card, "name": name, "expiry": "12/39", "cvv": "123", "action": "bind"}
    status, location, _ = _call("POST", payment_url, form)
    if status != 303:
        raise SimulatorError(f"The card page refused the form ({status}).")
    return parse_qs(urlsplit(location).query).get("status") == ["SUCCESS"]


def _call(method: str, url: str, form: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Status, Location and body. No proxy of the environment is asked, and no redirect followed."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=CALL_SECONDS)
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if form is not None else {}
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    try:
        connection.request(method, target, urlencode(form).encode() if form is not None else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Location", ""), answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        raise SimulatorError(f"The simulator at {parts.netloc} does not answer: {error}") from error
    finally:
        connection.close()
