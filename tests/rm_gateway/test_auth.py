"""Access tokens: fetched once for all threads, refreshed early, dropped after a 401, shown nowhere."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

import pytest

from rm_gateway.errors import NotSent, Rejected, TokenUnavailable
from tests.rm_gateway.fake import TOKEN, FakeGateway, Received, customer, processed, reply

TOKEN_PATH = "/v1/token"


class Clock:
    """Unix seconds that only move when told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def token_reply(text: str, lifetime: Any = 7200, **more: Any) -> dict[str, Any]:
    return {"accessToken": text, "tokenType": "Bearer", "expiresIn": lifetime} | more


def test_the_token_request_is_json_with_basic_authorization(client: Any, gateway: FakeGateway) -> None:
    (request,) = gateway.requests(TOKEN_PATH)
    assert request.headers["Authorization"] == "Basic Y2xpZW50OnRoZS1jbGllbnQtc2VjcmV0"
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(request.body) == {"grantType": "client_credentials"}
    assert "X-Signature" not in request.headers


def test_twenty_threads_cause_one_fetch(make_client: Any, gateway: FakeGateway) -> None:
    client = make_client(token=False)
    answer, gate = gateway.scripts[TOKEN_PATH], threading.Event()

    def slow(sock: Any, request: Received) -> None:
        gate.wait(2)
        answer(sock, request)

    gateway.scripts[TOKEN_PATH] = slow
    threads = [threading.Thread(target=client.ensure_token) for _ in range(20)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join(5)
    assert client.has_token()
    assert len(gateway.requests(TOKEN_PATH)) == 1


def test_threads_that_wait_share_a_failure(make_client: Any, gateway: FakeGateway) -> None:
    client = make_client(token=False)
    gate, started = threading.Event(), threading.Barrier(10)

    def fail(sock: Any, request: Received) -> None:
        gate.wait(2)
        reply({"error": {"code": "InvalidGrant", "message": "no"}}, 400)(sock, request)

    gateway.scripts[TOKEN_PATH] = fail
    errors: list[TokenUnavailable] = []

    def ask() -> None:
        started.wait(5)
        try:
            client.ensure_token()
        except TokenUnavailable as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    while not gateway.requests(TOKEN_PATH):
        threading.Event().wait(0.01)
    threading.Event().wait(0.1)
    gate.set()
    for thread in threads:
        thread.join(5)
    assert len(errors) == 10
    assert len({id(error) for error in errors}) == 10
    assert all(error.refused and not error.may_have_acted and error.code == "InvalidGrant" for error in errors)
    assert len(gateway.requests(TOKEN_PATH)) == 1


def test_a_token_is_refreshed_early_with_its_refresh_token(make_client: Any, gateway: FakeGateway) -> None:
    clock = Clock()
    client = make_client(clock=clock)
    clock.now += 7199 - 301
    client.ensure_token()
    assert len(gateway.requests(TOKEN_PATH)) == 1
    clock.now += 2
    assert client.has_token()
    client.ensure_token()
    client.ensure_token()
    requests = gateway.requests(TOKEN_PATH)
    assert len(requests) == 2
    assert json.loads(requests[1].body) == {"grantType": "refresh_token", "refreshToken": "refresh-of-the-test"}


def test_an_early_refresh_that_fails_leaves_the_old_token_in_use(
    make_client: Any, gateway: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    client = make_client(clock=clock)
    clock.now += 7199 - 100
    gateway.scripts[TOKEN_PATH] = reply(b"<html>", 502)
    client.ensure_token()
    client.ensure_token()
    assert client.has_token()
    assert len(gateway.requests(TOKEN_PATH)) == 3
    assert TOKEN not in caplog.text
    clock.now += 80
    assert not client.has_token()
    with pytest.raises(TokenUnavailable):
        client.ensure_token()


def test_a_dead_refresh_token_falls_back_to_the_client_secret(make_client: Any, gateway: FakeGateway) -> None:
    clock = Clock()
    client = make_client(clock=clock)
    good = gateway.scripts[TOKEN_PATH]

    def script(sock: Any, request: Received) -> None:
        refused = b"refresh_token" in request.body
        (reply({"error": {"code": "INVALID_GRANT"}}, 400) if refused else good)(sock, request)

    gateway.scripts[TOKEN_PATH] = script
    clock.now += 7199
    client.ensure_token()
    assert [b"refresh_token" in request.body for request in gateway.requests(TOKEN_PATH)] == [False, True, False]


def test_a_short_life_is_honoured(make_client: Any, gateway: FakeGateway) -> None:
    clock = Clock()
    gateway.scripts[TOKEN_PATH] = reply(token_reply("short", 20))
    client = make_client(clock=clock)
    clock.now += 18.5
    assert client.has_token()
    clock.now += 0.6
    assert not client.has_token()


def test_a_401_invalidates_and_a_read_goes_on_with_a_new_token(client: Any, gateway: FakeGateway) -> None:
    def script(sock: Any, request: Received) -> None:
        dead = request.headers["Authorization"] == f"Bearer {TOKEN}"
        (reply(b"", 401) if dead else reply(processed(customer())))(sock, request)

    gateway.scripts["/v3/customer/C1"] = script
    gateway.scripts[TOKEN_PATH] = reply(token_reply("second"))
    assert client.get_customer("C1").is_active
    first, second = gateway.requests("/v3/customer/C1")
    assert second.headers["Authorization"] == "Bearer second"
    assert first.headers["X-Nonce-Str"] != second.headers["X-Nonce-Str"]
    assert first.headers["X-Signature"] != second.headers["X-Signature"]


def test_a_read_gives_up_after_the_second_401(client: Any, gateway: FakeGateway) -> None:
    gateway.scripts["/v3/customer/C1"] = reply(b"", 401)
    with pytest.raises(Rejected):
        client.get_customer("C1")
    assert len(gateway.requests("/v3/customer/C1")) == 2
    assert not client.has_token()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"<html>",
        b"{}",
        token_reply("", 100),
        token_reply("with\nline", 100),
        token_reply("t", "100"),
        token_reply("t", 0),
        token_reply("t", True),
        token_reply("t", 100, error={"code": "X"}),
    ],
)
def test_an_answer_without_a_usable_token_is_no_token(make_client: Any, gateway: FakeGateway, answer: Any) -> None:
    gateway.scripts[TOKEN_PATH] = reply(answer)
    client = make_client(token=False)
    with pytest.raises(TokenUnavailable) as caught:
        client.ensure_token()
    assert isinstance(caught.value, NotSent)
    assert not caught.value.refused
    assert not client.has_token()


def test_an_oauth_host_that_is_away_is_no_token(make_client: Any, gateway: FakeGateway) -> None:
    client = make_client(token=False, oauth_url="http://127.0.0.1:1/v1")
    with pytest.raises(TokenUnavailable) as caught:
        client.ensure_token()
    assert caught.value.kind == "connect"


def test_no_secret_is_in_any_repr_or_log(client: Any, gateway: FakeGateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="rm_gateway")
    gateway.scripts["/v3/customer/C1/orders"] = reply({"items": [], "code": "SUCCESS"})
    client.list_orders("C1")
    assert "GET /customer/{id}/orders: HTTP 200" in caplog.text
    tokens = client._channel.tokens
    shown = " ".join(map(repr, (client, client._settings, tokens, tokens._token))) + "".join(
        record.getMessage() for record in caplog.records if record.name.startswith("rm_gateway")
    )
    for secret in (TOKEN, "the-client-secret", "PRIVATE KEY", "refresh-of-the-test", "C1"):
        assert secret not in shown
