"""The web process itself: what happens to a connection, and what is refused before Django sees it."""

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

pytestmark = pytest.mark.slow
BIG = b"x" * 5_000_000


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A gunicorn as in production, whose database has no tables."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
    command = ["-m", "gunicorn", "config.wsgi", "--worker-class", "config.web.Worker", "--threads", "2"]
    command += ["--no-control-socket", "--log-level", "critical", "--bind", f"127.0.0.1:{number}"]
    with subprocess.Popen([sys.executable, *command]) as web:
        try:
            _wait_for(number)
            yield number
        finally:
            web.terminate()


def _wait_for(port: int) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.05)


def ask(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    """The answer, and its body. The request may be cut off while it is sent: what was answered counts."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, path, body or None, headers)
        with connection.getresponse() as answer:
            return answer, answer.read()


@pytest.mark.parametrize(("path", "status"), [("/callbacks/rm/notify/", 413), ("/api/v1/customers/", 401)])
def test_the_connection_is_closed_after_a_refused_body(port: int, path: str, status: int) -> None:
    answer, _ = ask(port, "POST", path, BIG)
    assert (answer.status, answer.headers["Connection"]) == (status, "close")


def test_the_connection_stays_open_after_a_small_request(port: int) -> None:
    answer, _ = ask(port, "POST", "/api/v1/customers/", b"{}")
    assert (answer.status, answer.headers["Connection"]) == (401, "keep-alive")


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [("/api/v1/plans/", {"Idempotency-Key": "k" * 10_000}, 431), (f"/api/v1/{'p' * 10_000}/", {}, 414)],
)
def test_what_is_too_long_to_be_read_is_a_problem(port: int, path: str, headers: dict[str, str], status: int) -> None:
    answer, body = ask(port, "GET", path, **headers)
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
    problem = json.loads(body)
    assert (problem["status"], problem["code"], problem["errors"]) == (status, "unreadable_request", [])
