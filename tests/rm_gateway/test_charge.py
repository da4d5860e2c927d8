"""The charge: exactly one request with exactly the stored bytes, and the right word for whatever comes back."""

from __future__ import annotations

import socket
import struct
import threading
import time
from typing import Any

import pytest

from rm_gateway.client import ChargePath, Client, PreparedRequest
from rm_gateway.errors import GatewayError, NotSent, Rejected, RequestExpired, Throttled, Unknown
from rm_gateway.models import TransactionStatus
from rm_gateway.signing import signing_plaintext, verify
from tests.rm_gateway.fake import TOKEN, FakeGateway, Received, processed, raw, reply, transaction

CHARGE = "/v3/customer/C1/order"


def prepared_by(client: Client, **changes: Any) -> PreparedRequest:
    values: dict[str, Any] = {
        "customer_id": "C1",
        "amount_minor": 4990,
        "currency": "MYR",
        "title": "Gym <fee>",
        "description": "Jun",
        "timestamp": int(time.time()),
    }
    return client.prepare_charge(**(values | changes))


def outcome(client: Client, **changes: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        client.send(prepared_by(client, **changes))
    return caught.value


def test_a_paid_charge_gives_the_transaction(client: Client, gateway: FakeGateway) -> None:
    gateway.scripts[CHARGE] = reply(processed(transaction()))
    paid = client.send(prepared_by(client))
    assert paid.status is TransactionStatus.SUCCESS
    assert (paid.amount_minor, paid.currency, paid.store_id) == (4990, "MYR", "1602660043994159611")
    assert paid.order_additional_data == "1668151341700658887"
    assert paid.raw["newMember"] == {"kept": True}
    assert paid.updated_at is not None
    assert paid.updated_at.microsecond == 123456


def test_the_published_failure_is_a_transaction_and_no_exception(client: Client, gateway: FakeGateway) -> None:
    gateway.scripts[CHARGE] = reply(
        processed(
            transaction(
                status="FAILED", error={"message": "9010"}, balanceAmount=0, transactionAt="0001-01-01T00:00:00Z"
            )
        )
    )
    declined = client.send(prepared_by(client))
    assert (declined.status, declined.error_code) == (TransactionStatus.FAILED, "9010")
    assert declined.transaction_at is None
    assert declined.balance_minor == 0


def test_a_status_nobody_knows_is_kept_as_unrecognised(client: Client, gateway: FakeGateway) -> None:
    gateway.scripts[CHARGE] = reply(processed(transaction(status="Success")))
    got = client.send(prepared_by(client))
    assert (got.status, got.status_text) == (TransactionStatus.UNRECOGNISED, "Success")


def test_the_stored_bytes_travel_as_they_are_and_once(client: Client, gateway: FakeGateway, public_pem: str) -> None:
    gateway.scripts[CHARGE] = reply(processed(transaction()))
    made = prepared_by(client, nonce="ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF")
    stored = (made.method, made.url, memoryview(made.body), made.nonce, made.timestamp, made.signature)
    rebuilt = PreparedRequest(*stored)  # type: ignore[arg-type]
    assert rebuilt == made
    assert rebuilt.sha256 == made.sha256
    client.send(rebuilt)
    (request,) = gateway.requests(CHARGE)
    assert request.method == "POST"
    assert request.body == b'{"amount":4990,"currency":"MYR","description":"Jun","title":"Gym \\u003cfee\\u003e"}'
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["X-Nonce-Str"] == "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF"
    assert request.headers["X-Timestamp"] == str(made.timestamp)
    plaintext = signing_plaintext(
        method="POST",
        url=made.url,
        nonce=made.nonce,
        timestamp=made.timestamp,
        body={"amount": 4990, "currency": "MYR", "title": "Gym <fee>", "description": "Jun"},
    )
    assert request.headers["X-Signature"].startswith("sha256 ")
    assert verify(plaintext, request.headers["X-Signature"], public_pem)
    assert "Cookie" not in request.headers


def test_the_other_path_is_taken_only_when_asked_for(client: Client, gateway: FakeGateway) -> None:
    gateway.scripts["/v3/recurring-payment/C1/charge"] = reply(processed(transaction()))
    client.send(prepared_by(client, charge_path=ChargePath.RECURRING_CHARGE))
    error = outcome(client)
    assert isinstance(error, Rejected)
    assert (error.kind, error.http_status) == ("path", 404)
    assert len(gateway.requests(CHARGE)) == 1
    assert len(gateway.requests("/v3/recurring-payment/C1/charge")) == 1


REJECTIONS = [
    (401, b"", "token"),
    (401, b'{"error":{"code":"TOKEN_EXPIRED"}}', "token"),
    (400, b'{"error":{"code":"INVALID_REQUEST_SIGNATURE","message":"x"},"debug":{"step1":"y"}}', "signature"),
    (200, b'{"error":{"code":"VALIDATION_ERROR","message":"email x@y.z"}}', "validation"),
    (403, b'{"error":{"code":"CLIENT_NO_PERMISSION"}}', "permission"),
    (400, b'{"error":{"code":"TOO_MANY_REQUEST_PER_SECOND"}}', "throttled"),
]


@pytest.mark.parametrize(("status", "body", "kind"), REJECTIONS)
def test_codes_of_the_short_list_are_rejections(
    client: Client, gateway: FakeGateway, status: int, body: bytes, kind: str
) -> None:
    gateway.scripts[CHARGE] = reply(body, status)
    error = outcome(client)
    assert isinstance(error, Rejected)
    assert (error.kind, error.may_have_acted) == (kind, False)
    assert "x@y.z" not in f"{error} {error!r}"
    assert len(gateway.requests(CHARGE)) == 1
    assert client.has_token() is (kind != "token")


UNKNOWN_ANSWERS = [
    (500, b'{"error":{"code":"SYSTEM_ERROR"}}'),
    (400, b'{"error":{"code":"INVALID_TIMESTAMP"}}'),
    (400, b'{"error":{"code":"ORDER_DUPLICATE"}}'),
    (503, b'{"error":{"code":"OVERLOAD"}}'),
    (400, b'{"error":{"code":"EXCEEDED_LIMIT"}}'),
    (400, b'{"error":{"code":"SOMETHING_NEW"}}'),
    (400, b'{"error":{"code":"validation_error"}}'),
    (400, b'{"error":{"code":7}}'),
    (400, b'{"error":"VALIDATION_ERROR"}'),
    (404, b'{"error":{"code":"CUSTOMER_NOT_FOUND"}}'),
    (400, b'{"code":"VALIDATION_ERROR"}'),
    (502, b"<html><title>Bad gateway</title></html>"),
    (404, b"<html><title>Not found</title></html>"),
    (200, b"<html>ok</html>"),
    (200, b""),
    (200, b"null"),
    (200, b"[]"),
    (200, b"{}"),
    (200, b'{"code":"SUCCESS"}'),
    (200, b'{"code":"SUCCESS","item":null}'),
    (200, b'{"code":"SUCCESS","item":{"status":"SUCCESS"}}'),
    (200, b'{"code":"SUCCESS","item":NaN}'),
    (200, b"\xff\xfe"),
    (200, b'{"a":' * 5000 + b"1" + b"}" * 5000),
    (200, b'{"code":"SUCCESS","item":' + b"[" * 40 + b"]" * 40 + b"}"),
    (302, b""),
    (204, b""),
    (500, b"null"),
]


@pytest.mark.parametrize(("status", "body"), UNKNOWN_ANSWERS)
def test_everything_else_is_unknown(client: Client, gateway: FakeGateway, status: int, body: bytes) -> None:
    gateway.scripts[CHARGE] = reply(body, status, ("Location: /v3/elsewhere",) if status == 302 else ())
    error = outcome(client)
    assert isinstance(error, Unknown)
    assert error.may_have_acted
    assert error.http_status == status
    assert len(gateway.received) == 2
    assert client.has_token()


ODD_ITEMS = [
    {"transactionId": 221111072221600425841118},
    {"transactionId": ""},
    {"status": None},
    {"status": 1},
    {"order": None},
    {"order": {"amount": 4990.0, "currencyType": "MYR"}},
    {"order": {"amount": "4990", "currencyType": "MYR"}},
    {"order": {"amount": True, "currencyType": "MYR"}},
    {"order": {"amount": -1, "currencyType": "MYR"}},
    {"order": {"amount": 10**30, "currencyType": "MYR"}},
    {"order": {"amount": 4990}, "currencyType": None},
    {"order": {"amount": 4990, "currencyType": "SGD"}},
    {"balanceAmount": 1.5},
]


@pytest.mark.parametrize("changes", ODD_ITEMS)
def test_an_item_with_an_odd_member_is_unknown(client: Client, gateway: FakeGateway, changes: dict[str, Any]) -> None:
    gateway.scripts[CHARGE] = reply(processed(transaction(**changes)))
    assert isinstance(outcome(client), Unknown)


def test_currency_beside_the_order_counts_when_it_has_none(client: Client, gateway: FakeGateway) -> None:
    gateway.scripts[CHARGE] = reply(processed(transaction(order={"id": "1", "amount": 100})))
    assert client.send(prepared_by(client)).currency == "MYR"


@pytest.mark.parametrize("status", [200, 400, 401, 429])
def test_an_error_beside_an_item_is_unknown(client: Client, gateway: FakeGateway, status: int) -> None:
    both = processed(transaction()) | {"error": {"code": "VALIDATION_ERROR"}}
    gateway.scripts[CHARGE] = reply(both, status)
    assert isinstance(outcome(client), Unknown)


@pytest.mark.parametrize("status", [400, 500, 302])
def test_a_paid_item_under_a_status_of_failure_is_unknown(client: Client, gateway: FakeGateway, status: int) -> None:
    gateway.scripts[CHARGE] = reply(processed(transaction()), status)
    assert isinstance(outcome(client), Unknown)


@pytest.mark.parametrize(
    ("header", "seconds"), [("Retry-After: 17", 17), ("Retry-After: soon", None), ("X-Other: 1", None)]
)
def test_throttling_carries_the_time_to_wait(
    client: Client, gateway: FakeGateway, header: str, seconds: int | None
) -> None:
    gateway.scripts[CHARGE] = reply(b"<html>slow down</html>", 429, (header,))
    error = outcome(client)
    assert isinstance(error, Throttled)
    assert error.retry_after_seconds == seconds
    assert len(gateway.requests(CHARGE)) == 1


def test_an_answer_larger_than_the_limit_is_unknown(make_client: Any, gateway: FakeGateway) -> None:
    client = make_client(max_response_bytes=2000)
    gateway.scripts[CHARGE] = reply(processed(transaction(extra="x" * 5000)))
    assert isinstance(outcome(client), Unknown)


def test_a_connection_refused_is_not_sent(client: Client, gateway: FakeGateway) -> None:
    made = prepared_by(client)
    gateway.close()
    with pytest.raises(NotSent) as caught:
        client.send(made)
    assert caught.value.kind == "connect"
    assert not caught.value.may_have_acted


def reset(sock: socket.socket, _: Received) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise ConnectionAbortedError


BROKEN = {
    "closed before an answer": raw(),
    "reset before an answer": reset,
    "no HTTP": raw(b"hello\r\n\r\n"),
    "cut in the status line": raw(b"HTTP/1.1 2"),
    "cut in the headers": raw(b"HTTP/1.1 200 OK\r\nContent-Type: app"),
    "cut in the body": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + b'{"code":"SUCCESS"'),
    "cut in a chunk": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n" + b'{"code":"SUCCESS"'),
    "an interim answer only": raw(
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    ),
    "headers without end": raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_request_on_a_broken_connection_is_unknown_and_sent_once(
    client: Client, gateway: FakeGateway, fault: str
) -> None:
    gateway.scripts[CHARGE] = BROKEN[fault]
    error = outcome(client)
    assert isinstance(error, Unknown)
    assert len(gateway.requests(CHARGE)) == 1
    gateway.scripts[CHARGE] = reply(processed(transaction()))
    assert client.send(prepared_by(client)).status is TransactionStatus.SUCCESS


TRICKLES = {
    "headers": raw(*[b"HTTP/1.1 200 OK\r\n", *[b"X"] * 100], pause=0.1),
    "interim answers": raw(*[b"HTTP/1.1 100 Continue\r\n\r\n"] * 100, pause=0.1),
    "a body": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", *[b"x"] * 100, pause=0.1),
    "a body that ends with the connection": raw(
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", *[b" "] * 100, pause=0.1
    ),
    "chunks": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n"] * 100, pause=0.1),
}


@pytest.mark.parametrize("fault", TRICKLES)
def test_a_trickling_answer_ends_at_the_total_deadline(make_client: Any, gateway: FakeGateway, fault: str) -> None:
    client = make_client(total_timeout_seconds=1.2)  # on a busy machine a connection takes a while too
    gateway.scripts[CHARGE] = TRICKLES[fault]
    started = time.monotonic()
    error = outcome(client)
    assert 1.1 < time.monotonic() - started < 3.2
    assert isinstance(error, Unknown)
    assert error.kind == "timeout"
    assert len(gateway.requests(CHARGE)) == 1


BYTE_BY_BYTE = {
    "headers": raw(b"HTTP/1.1 200 OK\r\nX: ", *[b"x"] * 20, pause=1),
    "body": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n", *[b"x"] * 20, pause=1),
}


@pytest.mark.parametrize("part", BYTE_BY_BYTE)
def test_trickled_answer_ends_within_two_seconds_of_the_deadline(
    make_client: Any, gateway: FakeGateway, part: str
) -> None:
    client = make_client(total_timeout_seconds=1.2, read_timeout_seconds=90)
    gateway.scripts[CHARGE] = BYTE_BY_BYTE[part]
    started = time.monotonic()
    error = outcome(client)
    assert 1.1 < time.monotonic() - started < 3.2
    assert isinstance(error, Unknown)
    assert error.kind == "timeout"
    assert len(gateway.requests(CHARGE)) == 1


def test_silence_ends_at_the_read_timeout(make_client: Any, gateway: FakeGateway) -> None:
    client = make_client(read_timeout_seconds=0.3)
    silent = threading.Event()
    gateway.scripts[CHARGE] = lambda _sock, _request: silent.wait(5) and None  # type: ignore[assignment]
    error = outcome(client)
    silent.set()
    assert isinstance(error, Unknown)
    assert error.kind == "timeout"
    assert len(gateway.requests(CHARGE)) == 1


def test_without_a_token_in_memory_nothing_is_sent(make_client: Any, gateway: FakeGateway) -> None:
    client = make_client(token=False)
    error = outcome(client)
    assert isinstance(error, NotSent)
    assert error.kind == "token"
    assert gateway.received == []


@pytest.mark.parametrize("offset", [-21, 21])
def test_a_request_outside_its_window_is_not_sent(make_client: Any, gateway: FakeGateway, offset: int) -> None:
    error = outcome(make_client(clock=lambda: 1000.0), timestamp=1000 + offset)
    assert isinstance(error, RequestExpired)
    assert isinstance(error, NotSent)
    assert gateway.requests(CHARGE) == []


def test_window_that_ends_while_connecting_sends_nothing(make_client: Any, gateway: FakeGateway) -> None:
    moments = iter([1000.0, 1000.0, 1000.0, 1000.0, 1050.0])
    client = make_client(clock=lambda: next(moments), token=False)
    client.ensure_token()
    error = outcome(client, timestamp=1000)
    assert isinstance(error, RequestExpired)
    assert gateway.requests(CHARGE) == []


def test_a_request_prepared_for_another_host_is_not_sent(client: Client, gateway: FakeGateway) -> None:
    made = prepared_by(client)
    url = "http://127.0.0.1:1/v3/customer/C1/order"
    foreign = PreparedRequest(made.method, url, made.body, made.nonce, made.timestamp, made.signature)
    with pytest.raises(NotSent) as caught:
        client.send(foreign)
    assert caught.value.kind == "environment"
    assert gateway.requests(CHARGE) == []


def test_a_stored_nonce_with_a_line_break_never_leaves(client: Client, gateway: FakeGateway) -> None:
    made = prepared_by(client)
    odd = PreparedRequest(made.method, made.url, made.body, "a\r\nX: y", made.timestamp, made.signature)
    with pytest.raises(NotSent):
        client.send(odd)
    assert gateway.requests(CHARGE) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"amount_minor": 9}, "amount_minor"),
        ({"amount_minor": True}, "amount_minor"),
        ({"amount_minor": 49.9}, "amount_minor"),
        ({"amount_minor": 2**53}, "amount_minor"),
        ({"currency": "myr"}, "currency"),
        ({"title": "t" * 33}, "title"),
        ({"description": "d" * 601}, "description"),
        ({"customer_id": "../refund"}, "customer_id"),
        ({"customer_id": ""}, "customer_id"),
        ({"timestamp": 1.5}, "timestamp"),
        ({"nonce": "with blank"}, "nonce"),
    ],
)
def test_a_charge_that_cannot_be_right_is_not_prepared(client: Client, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        prepared_by(client, **changes)


def test_preparing_needs_neither_network_nor_token(make_client: Any, gateway: FakeGateway) -> None:
    client = make_client(token=False)
    gateway.close()
    assert prepared_by(client).nonce != prepared_by(client).nonce
