"""Tokens, signatures, timestamps and nonces."""

from __future__ import annotations

import base64
import json
import secrets
import time
from typing import Any

import pytest

from rm_gateway.signing import canonical_json
from rm_gateway.simulator.process import SimulatorProcess


def test_a_token_is_given_for_the_right_client(caller: Any) -> None:
    answer = caller.login().json
    assert answer["tokenType"] == "Bearer"
    assert answer["expiresIn"] == 2591999
    assert answer["accessToken"].count(".") == 2


def test_refresh_returns_a_new_pair_and_ends_the_old_token(caller: Any) -> None:
    old = caller.login().json["refreshToken"]
    fresh = caller.login(grantType="refresh_token", refreshToken=old).json
    assert fresh["refreshToken"] != old
    assert caller.login(grantType="refresh_token", refreshToken=old).code == "INVALID_GRANT"


def test_without_rotation_the_old_refresh_token_lives_on(simulator: SimulatorProcess, caller: Any) -> None:
    simulator.set(refresh_rotation=False)
    old = caller.login().json["refreshToken"]
    for _ in range(2):
        assert caller.login(grantType="refresh_token", refreshToken=old).status == 200


def test_a_form_body_is_an_invalid_grant(caller: Any) -> None:
    keys = f"{caller.credentials.client_id}:{caller.credentials.client_secret}"
    headers = {
        "Authorization": f"Basic {base64.b64encode(keys.encode()).decode()}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    assert caller.raw("POST", "/v1/token", "grantType=client_credentials", headers).code == "INVALID_GRANT"


def test_a_wrong_secret_gets_no_token(caller: Any) -> None:
    keys = base64.b64encode(f"{caller.credentials.client_id}:wrong".encode()).decode()
    answer = caller.raw("POST", "/v1/token", '{"grantType":"client_credentials"}', {"Authorization": f"Basic {keys}"})
    assert (answer.status, answer.code) == (401, "INVALID_CLIENT")


def test_a_dead_or_missing_token_is_401(simulator: SimulatorProcess, caller: Any, bound: str) -> None:
    assert caller.call("GET", f"/v3/customer/{bound}", Authorization="Bearer nonsense").status == 401
    simulator.expire_tokens()
    answer = caller.call("GET", f"/v3/customer/{bound}")
    assert (answer.status, answer.code) == (401, "TOKEN_INVALID")
    caller.login()
    assert caller.call("GET", f"/v3/customer/{bound}").status == 200


def test_a_token_expires(simulator: SimulatorProcess, caller: Any, bound: str) -> None:
    simulator.set(token_lifetime=10, timestamp_window=0)
    caller.login()
    simulator.clock(skew=11)
    assert caller.call("GET", f"/v3/customer/{bound}").code == "TOKEN_EXPIRED"


def test_two_tokens_are_good_at_once(caller: Any, bound: str) -> None:
    first = caller.access
    caller.login()
    assert caller.access != first
    assert caller.call("GET", f"/v3/customer/{bound}", Authorization=f"Bearer {first}").status == 200
    assert caller.call("GET", f"/v3/customer/{bound}").status == 200


def test_a_bad_signature_is_explained_step_by_step(caller: Any, bound: str) -> None:
    body = {"currency": "MYR", "amount": 500, "title": "A&B"}
    path = f"/v3/customer/{bound}/order"
    answer = caller.call("POST", path, body, X_Nonce_Str="n" * 32, X_Signature="sha256 AAAA")
    assert (answer.status, answer.code) == (400, "INVALID_REQUEST_SIGNATURE")
    steps = answer.json["debug"]["preVerifyContent"]
    assert steps["step2"] == canonical_json(body)
    assert steps["step3"] == base64.b64encode(canonical_json(body).encode()).decode()
    assert steps["step4"].startswith(f"data={steps['step3']}&method=post&nonceStr={'n' * 32}&requestUrl=")
    assert f"requestUrl={caller.credentials.url}{path}&" in steps["step4"]
    assert answer.json["debug"]["requestHeader"]["X-Signature"] == {"value": "sha256 AAAA", "valid": False}


def test_a_signature_of_another_address_is_refused(caller: Any, bound: str) -> None:
    headers = caller.headers("GET", f"/v3/customer/{bound}/orders", None, {})
    assert caller.raw("GET", f"/v3/customer/{bound}/orders?cursor=", None, headers).status == 400
    assert caller.raw("GET", f"/v3/customer/{bound}/orders", None, headers).status == 200


def test_a_body_is_canonicalised_again_unless_the_bytes_must_be(
    simulator: SimulatorProcess, caller: Any, bound: str
) -> None:
    body = {"currency": "MYR", "amount": 500, "description": "naïve <b>"}
    path = f"/v3/customer/{bound}/order"
    untidy = json.dumps(body, indent=1)
    assert caller.raw("POST", path, untidy, caller.headers("POST", path, body, {})).status == 200
    simulator.set(body_check="exact")
    answer = caller.raw("POST", path, untidy, caller.headers("POST", path, body, {}))
    assert answer.code == "INVALID_REQUEST_SIGNATURE"
    assert caller.call("POST", path, body).status == 200


@pytest.mark.parametrize("age", [-150, 150])
def test_a_timestamp_outside_the_window_is_refused(
    simulator: SimulatorProcess, caller: Any, bound: str, age: int
) -> None:
    path = f"/v3/customer/{bound}"
    old = str(int(time.time()) - age)
    assert caller.call("GET", path, X_Timestamp=old).code == "INVALID_TIMESTAMP"
    simulator.set(timestamp_window=0)
    assert caller.call("GET", path, X_Timestamp=old).status == 200


def test_the_window_follows_a_skewed_clock(simulator: SimulatorProcess, caller: Any, bound: str) -> None:
    simulator.clock(skew=-300)
    assert caller.call("GET", f"/v3/customer/{bound}").code == "INVALID_TIMESTAMP"


def test_stopped_wall_clock_judges_by_the_time_it_shows(simulator: SimulatorProcess, caller: Any, bound: str) -> None:
    path, then = f"/v3/customer/{bound}", 1_900_000_000
    simulator.clock(wall="2030-03-17T17:46:40Z")
    assert simulator.clock()["wall"] == "2030-03-17T17:46:40.000000Z"
    caller.login(grantType="client_credentials")
    assert caller.call("GET", path).code == "INVALID_TIMESTAMP"
    assert caller.call("GET", path, X_Timestamp=str(then)).status == 200
    simulator.clock(real=True)
    assert caller.call("GET", path).status == 200


def test_milliseconds_and_floats_are_taken_only_when_chosen(
    simulator: SimulatorProcess, caller: Any, bound: str
) -> None:
    path = f"/v3/customer/{bound}"
    odd = [str(int(time.time() * 1000)), repr(time.time())]
    for text in odd:
        assert caller.call("GET", path, X_Timestamp=text).code == "INVALID_REQUEST_SIGNATURE"
    simulator.set(timestamp_format="any")
    for text in odd:
        assert caller.call("GET", path, X_Timestamp=text).status == 200


def test_a_nonce_serves_once(simulator: SimulatorProcess, caller: Any, bound: str) -> None:
    nonce = secrets.token_hex(16)
    path = f"/v3/customer/{bound}"
    assert caller.call("GET", path, X_Nonce_Str=nonce).status == 200
    assert caller.call("GET", path, X_Nonce_Str=nonce).code == "REQUEST_DUPLICATE"
    simulator.set(nonce_window=0)
    assert caller.call("GET", path, X_Nonce_Str=nonce).status == 200


def test_a_refused_signature_does_not_use_up_its_nonce(caller: Any, bound: str) -> None:
    path = f"/v3/customer/{bound}"
    assert caller.call("GET", path, X_Nonce_Str="k" * 32, X_Signature="sha256 AAAA").status == 400
    assert caller.call("GET", path, X_Nonce_Str="k" * 32).status == 200


def test_merchants_do_not_see_each_other(simulator: SimulatorProcess, caller: Any, bound: str) -> None:
    transaction_id = caller.charge(bound).item["transactionId"]
    other = type(caller)(simulator.credentials.of_merchant(1))
    other.login()
    assert other.call("GET", f"/v3/customer/{bound}").status == 404
    assert other.charge(bound).status == 404
    assert other.call("GET", f"/v3/payment/transaction/{transaction_id}").code == "TRANSACTION_NOT_FOUND"
    assert other.call("GET", "/v3/payment/transactions").json["items"] == []
    stolen = caller.headers("GET", f"/v3/customer/{bound}", None, {"Authorization": f"Bearer {other.access}"})
    assert other.raw("GET", f"/v3/customer/{bound}", None, stolen).code == "INVALID_REQUEST_SIGNATURE"
