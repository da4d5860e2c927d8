"""The transport: reuse of connections, TLS, deadlines before the first byte, what the environment must not change."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from rm_gateway import connections
from rm_gateway.client import Settings, Transport
from rm_gateway.errors import NotSent, Unknown
from tests.rm_gateway.conftest import settings_of
from tests.rm_gateway.fake import FakeGateway, Received, processed, reply, transaction

HEADERS = {"Accept-Encoding": "identity"}


@pytest.fixture
def transport() -> Any:
    made = transport_of()
    yield made
    made.close()


def transport_of(**changes: Any) -> Transport:
    values = {"connect_timeout": 2, "read_timeout": 3, "total_timeout": 5, "max_response_bytes": 10_000}
    return Transport(**(values | changes))  # type: ignore[arg-type]


def test_a_connection_is_reused_while_it_is_young(
    transport: Transport, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.scripts["/v3/x"] = reply({})
    url = f"{gateway.api_url}/x"
    for _ in range(3):
        transport.exchange("GET", url, HEADERS)
    assert gateway.connections == 1
    monkeypatch.setattr(connections, "MAX_IDLE_SECONDS", 0.05)
    time.sleep(0.1)
    transport.exchange("POST", url, HEADERS, b"{}")
    assert gateway.connections == 2


def test_the_limit_of_idleness_is_four_seconds() -> None:
    assert connections.MAX_IDLE_SECONDS == 4


def test_connection_the_server_closed_is_replaced_before_sending(transport: Transport, gateway: FakeGateway) -> None:
    def once(sock: socket.socket, request: Received) -> None:
        reply({})(sock, request)
        raise ConnectionAbortedError

    gateway.scripts["/v3/x"] = once
    for number in range(1, 4):
        transport.exchange("POST", f"{gateway.api_url}/x", HEADERS, b"{}")
        time.sleep(0.05)
        assert len(gateway.requests("/v3/x")) == number


def test_unsolicited_answer_is_never_taken_for_the_next(transport: Transport, gateway: FakeGateway) -> None:
    def twice(sock: socket.socket, request: Received) -> None:
        for text in (request.target, "/stray"):
            reply({"asked": text})(sock, request)

    for number in range(10):
        gateway.scripts[f"/v3/{number}"] = twice
        answer = transport.exchange("POST", f"{gateway.api_url}/{number}", HEADERS, b"{}")
        assert f"/v3/{number}".encode() in answer.body
        time.sleep(0.01)


def test_each_thread_has_a_connection_of_its_own(transport: Transport, gateway: FakeGateway) -> None:
    gateway.scripts["/v3/x"] = reply({})
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait(5)
        for _ in range(5):
            transport.exchange("GET", f"{gateway.api_url}/x", HEADERS)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert gateway.connections == 8
    assert len(gateway.received) == 40


def test_answers_never_cross_between_threads(make_client: Any, gateway: FakeGateway) -> None:
    client = make_client()
    amounts = range(1000, 1040)
    for amount in amounts:
        value = transaction()
        value["order"] = value["order"] | {"amount": amount}
        gateway.scripts[f"/v3/customer/{amount}/order"] = reply(processed(value))
    wrong: list[int] = []

    def work(amount: int) -> None:
        for _ in range(5):
            made = client.prepare_charge(
                customer_id=str(amount),
                amount_minor=amount,
                currency="MYR",
                title="",
                description="",
                timestamp=int(time.time()),
            )
            if client.send(made).amount_minor != amount:
                wrong.append(amount)

    threads = [threading.Thread(target=work, args=(amount,)) for amount in amounts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert wrong == []
    assert len(gateway.received) == 201
    assert sum(thread.name == "rm-gateway-deadlines" for thread in threading.enumerate()) == 1


def test_the_environment_and_cookies_change_nothing(
    transport: Transport, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    gateway.scripts["/v3/x"] = reply({}, 200, ("Set-Cookie: a=b; Path=/",))
    for _ in range(2):
        transport.exchange("GET", f"{gateway.api_url}/x", HEADERS)
    assert len(gateway.received) == 2
    for request in gateway.received:
        assert "Cookie" not in request.headers
        assert "Authorization" not in request.headers


def test_a_redirect_is_not_followed_and_its_body_is_bounded(gateway: FakeGateway) -> None:
    transport = transport_of()
    gateway.scripts["/v3/x"] = reply(b"x" * 20_000, 307, (f"Location: {gateway.api_url}/y",))
    with pytest.raises(Unknown):
        transport.exchange("POST", f"{gateway.api_url}/x", HEADERS, b"{}")
    gateway.scripts["/v3/x"] = reply(b"x", 307, ("Location: http://[bad",))
    assert transport.exchange("POST", f"{gateway.api_url}/x", HEADERS, b"{}").status == 307
    assert gateway.requests("/v3/y") == []
    transport.close()


def test_a_name_that_does_not_resolve_is_not_sent(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(NotSent) as caught:
        transport.exchange("POST", "https://nowhere.invalid/x", HEADERS, b"{}")
    assert caught.value.kind == "dns"
    assert "nowhere" not in str(caught.value)


def test_a_connection_that_is_not_made_in_time_is_not_sent() -> None:
    transport = transport_of(connect_timeout=0.3)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        fillers = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        with pytest.raises(NotSent) as caught:
            transport.exchange("POST", f"http://127.0.0.1:{full.getsockname()[1]}/x", HEADERS, b"{}")
        for filler in fillers:
            filler.close()
    assert caught.value.kind == "timeout"


def test_handshake_that_trickles_ends_at_the_deadline_unsent() -> None:
    transport = transport_of(total_timeout=0.5)
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.recv(5000)
                try:
                    sock.sendall(b"\x16\x03\x03\x40\x00")
                    while not stop.wait(0.05):
                        sock.sendall(b"\x02")
                except OSError:
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        started = time.monotonic()
        with pytest.raises(NotSent):
            transport.exchange("POST", f"https://127.0.0.1:{listener.getsockname()[1]}/x", HEADERS, b"{}")
        assert time.monotonic() - started < 2.5
        stop.set()
        thread.join(5)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, SHA256())
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
    )
    return path


def serve_tls(listener: socket.socket, certificate: Path, pieces: list[bytes], pause: float) -> threading.Thread:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve() -> None:
        try:
            sock, _ = listener.accept()
            with context.wrap_socket(sock, server_side=True) as secure:
                secure.recv(5000)
                for piece in pieces:
                    secure.sendall(piece)
                    time.sleep(pause)
        except OSError:
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_a_certificate_that_nobody_vouches_for_is_not_sent(transport: Transport, certificate: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = serve_tls(listener, certificate, [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], 0)
        with pytest.raises(NotSent) as caught:
            transport.exchange("POST", f"https://127.0.0.1:{listener.getsockname()[1]}/x", HEADERS, b"{}")
        thread.join(5)
    assert caught.value.kind == "tls"


@pytest.mark.parametrize("trickle", [False, True])
def test_tls_works_and_its_trickles_end_too(certificate: Path, monkeypatch: pytest.MonkeyPatch, trickle: bool) -> None:
    context = connections.tls_context()
    own = ssl.create_default_context(cafile=str(certificate))
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    monkeypatch.setattr(connections, "tls_context", lambda: own)
    transport = transport_of(total_timeout=0.6)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n"
    pieces, pause = ([head, *[b" "] * 60], 0.05) if trickle else ([head + b" " * 60], 0.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = serve_tls(listener, certificate, pieces, pause)
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/x"
        started = time.monotonic()
        if trickle:
            with pytest.raises(Unknown) as caught:
                transport.exchange("POST", url, HEADERS, b"{}")
            assert caught.value.kind == "timeout"
            assert time.monotonic() - started < 2.5
        else:
            assert transport.exchange("POST", url, HEADERS, b"{}").body == b" " * 60
        transport.close()
        thread.join(5)


def test_child_process_has_its_own_connections_and_deadlines(transport: Transport, gateway: FakeGateway) -> None:
    gateway.scripts["/v3/x"] = reply({})
    url = f"{gateway.api_url}/x"
    transport.exchange("GET", url, HEADERS)
    line = transport._line()
    monkey = os.getpid() + 1
    line.process_id = monkey
    assert transport._line() is not line
    transport.exchange("GET", url, HEADERS)
    assert gateway.connections == 2


@pytest.mark.parametrize(
    "url",
    [
        "http://sb-open.revenuemonster.my/v3",
        "http://10.0.0.1/v3",
        "http://localhost.example/v3",
        "http://127.0.0.1.example/v3",
        "ftp://127.0.0.1/v3",
        "https://user:pass@host/v3",
        "https://host/v3?x=1",
        "https://host/v3#x",
        "https://",
        "host/v3",
        "",
        "https://ho st/v3",
        "https://host:port/v3",
        "https://[::1/v3",
    ],
)
def test_unsafe_url_is_refused_by_the_name_of_its_field(gateway: FakeGateway, url: str) -> None:
    for name in ("api_url", "oauth_url"):
        with pytest.raises(ValueError, match=f"^{name} "):
            Settings(**settings_of(gateway, **{name: url}))


@pytest.mark.parametrize(
    "url", ["http://localhost:8080/v3", "http://127.8.9.1/v3", "http://[::1]:80/v3/", "https://open.example/v3"]
)
def test_https_and_loopback_urls_are_taken(gateway: FakeGateway, url: str) -> None:
    assert Settings(**settings_of(gateway, api_url=url)).api_url == url.rstrip("/")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"client_id": "a:b"}, "client_id"),
        ({"client_secret": " "}, "client_secret"),
        ({"store_id": ""}, "store_id"),
        ({"read_timeout_seconds": 0}, "read_timeout_seconds"),
        ({"charge_path": "other"}, "ChargePath"),
    ],
)
def test_other_settings_are_checked_too(gateway: FakeGateway, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Settings(**settings_of(gateway, **changes))


def test_a_private_key_that_cannot_be_read_is_named(make_client: Any) -> None:
    with pytest.raises(ValueError, match=r"^private_key_pem: "):
        make_client(private_key_pem="nonsense")
