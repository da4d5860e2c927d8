"""One POST: what it may reach, how long it may last, and what is made of each answer."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from billing.domain.webhooks import TryError
from billing.notifying import sending
from billing.notifying.sending import Answered, Letter, Postman
from tests.notifying.receiver import ReceiverProcess

PATIENCE = 2.0


def post(url: str, *, allow_private: bool = True, seconds: float = PATIENCE) -> Answered:
    with Postman(seconds=seconds, at_once=4, allow_private=allow_private) as postman:
        return postman.submit(Letter(url, {"webhook-id": "evt_1"}, b'{"a":1}')).result(timeout=20)


# --- answers --------------------------------------------------------------------------------------------


def test_request_arrives_as_it_was_written(receiver: ReceiverProcess) -> None:
    answered = post(receiver.url("/ok?a=%20b&c=/"))
    assert (answered.tried.status, answered.tried.error, answered.tried.answer) == (200, None, "thanks")
    (one,) = receiver.seen()
    assert (one["path"], one["body"], one["headers"]["webhook-id"]) == ("/ok?a=%20b&c=/", '{"a":1}', "evt_1")
    assert "cookie" not in one["headers"]
    assert "authorization" not in one["headers"]


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/status/500", 500, TryError.STATUS),
        ("/status/410", 410, TryError.STATUS),
        ("/after/30", 429, TryError.STATUS),
        ("/garbage", None, TryError.BAD_ANSWER),
        ("/reset", None, TryError.CONNECTION),
        ("/hang", None, TryError.TIMEOUT),
        ("/trickle", None, TryError.TIMEOUT),
        ("/headers", None, TryError.TIMEOUT),
    ],
)
def test_try_ends_in_time_with_a_name_when_it_fails(
    receiver: ReceiverProcess, path: str, status: int | None, error: TryError
) -> None:
    started = time.monotonic()
    answered = post(receiver.url(path))
    assert (answered.tried.status, answered.tried.error) == (status, error)
    assert time.monotonic() - started < PATIENCE + 1
    assert answered.duration_ms < (PATIENCE + 1) * 1000


def test_answer_is_kept_without_what_is_personal(receiver: ReceiverProcess) -> None:
    assert post(receiver.url("/status/500")).tried.answer == "no thanks, [e-mail] [digits]"


def test_retry_after_is_read(receiver: ReceiverProcess) -> None:
    assert post(receiver.url("/after/30")).tried.retry_after == "30"


def test_large_answer_is_left_in_the_socket(receiver: ReceiverProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    real = aiohttp.StreamReader.read

    async def read_and_count(self: aiohttp.StreamReader, n: int = -1) -> bytes:
        chunk = await real(self, n)
        read.append(len(chunk))
        return chunk

    monkeypatch.setattr(aiohttp.StreamReader, "read", read_and_count)
    answered = post(receiver.url("/large"))
    assert (answered.tried.status, answered.tried.error, len(answered.tried.answer)) == (200, None, len("[secret]"))
    assert sum(read) < sending.READ_AT_MOST + 20_000


def test_redirect_is_an_answer_and_nobody_goes_there(receiver: ReceiverProcess) -> None:
    answered = post(receiver.url(f"/redirect?to={receiver.url('/there')}"))
    assert (answered.tried.status, answered.tried.error) == (302, TryError.REDIRECT)
    assert receiver.seen("/there") == []


def test_refused_connection_and_unknown_name_are_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert post(f"http://127.0.0.1:{port}/").tried.error is TryError.CONNECTION
    assert post("http://nobody.invalid/").tried.error is TryError.NAME


def test_certificate_that_nobody_signed_is_refused(tmp_path: Path) -> None:
    with _tls_server(tmp_path) as port:
        assert post(f"https://127.0.0.1:{port}/").tried.error is TryError.TLS


def test_tls_handshake_that_hangs_ends_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        started = time.monotonic()
        assert post(f"https://127.0.0.1:{server.getsockname()[1]}/", seconds=1).tried.error is TryError.TIMEOUT
        assert time.monotonic() - started < 3


def test_hanging_name_server_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(10) and [])
    started = time.monotonic()
    assert post("https://slow.example/", seconds=1).tried.error is TryError.TIMEOUT
    assert time.monotonic() - started < 3
    release.set()


def test_many_that_hang_delay_no_other(receiver: ReceiverProcess) -> None:
    with Postman(seconds=PATIENCE, at_once=40, allow_private=True) as postman:
        hanging = [postman.submit(Letter(receiver.url("/hang"), {}, b"")) for _ in range(30)]
        started = time.monotonic()
        assert postman.submit(Letter(receiver.url("/ok"), {}, b"")).result(timeout=5).tried.succeeded
        assert time.monotonic() - started < PATIENCE / 2
        assert {one.result(timeout=10).tried.error for one in hanging} == {TryError.TIMEOUT}


def test_proxy_of_the_environment_is_not_used(receiver: ReceiverProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, receiver.url("/proxy"))
    assert post("http://nobody.invalid/").tried.error is TryError.NAME
    assert receiver.seen() == []


# --- where a request may go --------------------------------------------------------------------------------


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every address that this process connects to, seen below our own check; nothing leaves the machine."""
    made: list[Any] = []

    def connect(_: socket.socket, address: Any) -> None:
        made.append(address[0])
        raise ConnectionRefusedError(f"the test lets nothing out: {address[0]}")

    monkeypatch.setattr(socket.socket, "connect", connect)
    return made


@pytest.fixture
def forbidden(receiver: ReceiverProcess) -> Iterator[ReceiverProcess]:
    """A server inside: nothing may come."""
    yield receiver
    assert receiver.seen() == []


INSIDE = [
    "127.0.0.1",
    "127.0.0.1.",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "017700000001",
    "0177.0.0.1",
    "127.1",
    "127.0.1",
    "0",
    "0.0.0.0",  # noqa: S104
    "[::]",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "169.254.169.254",
    "0xa9fea9fe",
    "10.0.0.1",
    "100.64.0.1",
    "224.0.0.1",
    "localhost",
    "localhost.",
    "LocalHost",
    "x.localhost",
]


@pytest.mark.parametrize("host", INSIDE)
def test_nothing_connects_when_the_address_is_inside(
    host: str, forbidden: ReceiverProcess, connections: list[Any]
) -> None:
    answered = post(f"https://{host}:{forbidden.port}/", allow_private=False)
    assert answered.tried.error in (TryError.FORBIDDEN_ADDRESS, TryError.NAME), answered
    assert connections == []


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00::1"])
def test_nothing_connects_when_the_name_resolves_inside(
    address: str, forbidden: ReceiverProcess, connections: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _resolve(monkeypatch, [[address]], forbidden.port)
    answered = post(f"https://hooks.example:{forbidden.port}/", allow_private=False)
    assert answered.tried.error is TryError.FORBIDDEN_ADDRESS
    assert connections == []


def test_nothing_inside_is_reached_when_the_name_is_bound_again(
    forbidden: ReceiverProcess, connections: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer is public, each later one private: whoever resolves again after a check is led inside."""
    asked = _resolve(monkeypatch, [["1.1.1.1"], ["127.0.0.1"]], forbidden.port)
    for _ in range(3):
        post(f"https://hooks.example:{forbidden.port}/", allow_private=False)
    assert connections == ["1.1.1.1"]
    assert len(asked) == 3, "one resolution for one try"


def test_only_the_public_address_is_tried_when_both_are_answered(
    forbidden: ReceiverProcess, connections: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _resolve(monkeypatch, [["127.0.0.1", "1.1.1.1", "10.0.0.1"]], forbidden.port)
    post(f"https://hooks.example:{forbidden.port}/", allow_private=False)
    assert set(connections) == {"1.1.1.1"}


@pytest.mark.parametrize(
    "url",
    [
        "http://1.1.1.1/",
        "https://user@1.1.1.1/",
        "https://user:pw@1.1.1.1/",
        "https://1.1.1.1#@127.0.0.1/",
        "https://1.1.1.1\\@127.0.0.1/",
        "https://127\u30020\u30020\u30021/",
        "https://\u2460\u2461\u2466.0.0.1/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "unix:///var/run/docker.sock",
    ],
)
def test_nothing_connects_when_the_url_is_not_plain(
    url: str, forbidden: ReceiverProcess, connections: list[Any]
) -> None:
    assert post(url, allow_private=False).tried.error is TryError.FORBIDDEN_ADDRESS
    assert connections == []


def test_public_name_connects_to_the_address_that_was_resolved(
    connections: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _resolve(monkeypatch, [["1.1.1.1"]], 443)
    for host in ("hooks.example", "hooks.example.", "xn--mnchen-3ya.example"):
        assert post(f"https://{host}/", allow_private=False).tried.error is TryError.CONNECTION
    assert connections == ["1.1.1.1"] * 3


def _resolve(monkeypatch: pytest.MonkeyPatch, answers: list[list[str]], port: int) -> list[str]:
    """A resolver that gives these answers to a name, the last one for ever; numbers resolve to themselves."""
    real, asked = socket.getaddrinfo, []

    def resolve(host: str, *args: Any, **kwargs: Any) -> Any:
        if not str(host).rstrip(".").endswith(".example"):
            return real(host, *args, **kwargs)
        asked.append(host)
        found = answers[min(len(asked), len(answers)) - 1]
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (one, port, 0, 0))
            if ":" in one
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


class _tls_server:  # noqa: N801  (used as a context manager)
    """A TLS server with a certificate of its own making."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(_own_certificate(self._folder))
        self._server = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, args=(context,), daemon=True)
        self._thread.start()
        return int(self._server.getsockname()[1])

    def _serve(self, context: ssl.SSLContext) -> None:
        try:
            connection, _ = self._server.accept()
            with connection, context.wrap_socket(connection, server_side=True):
                pass
        except OSError:
            pass

    def __exit__(self, *_: object) -> None:
        self._thread.join(5)
        self._server.close()


def _own_certificate(folder: Path) -> Path:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "own.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path
