"""One simulator per module, reset before each test; a caller that signs its requests."""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from rm_gateway.signing import canonical_json, load_private_key, sign, signing_plaintext
from rm_gateway.simulator.process import Credentials, SimulatorProcess

GOOD = "4111111111111111"


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def item(self) -> Any:
        assert "error" not in self.json, self.json
        return self.json["item"]

    @property
    def code(self) -> str:
        return self.json["error"]["code"]


@dataclass
class Caller:
    """A merchant's client, as small as can be: one connection per request, signed for real."""

    credentials: Credentials
    access: str = ""
    timeout: float = 10.0
    overrides: dict[str, str] = field(default_factory=dict)

    def login(self, **body: str) -> Any:
        keys = f"{self.credentials.client_id}:{self.credentials.client_secret}"
        headers = {"Authorization": f"Basic {base64.b64encode(keys.encode()).decode()}"}
        answer = self.raw("POST", "/v1/token", json.dumps(body or {"grantType": "client_credentials"}), headers)
        if answer.status == 200:
            self.access = answer.json["accessToken"]
        return answer

    def headers(self, method: str, path: str, body: Any, overrides: dict[str, str]) -> dict[str, str]:
        nonce = overrides.get("X-Nonce-Str", secrets.token_hex(16))
        timestamp = overrides.get("X-Timestamp", str(int(time.time())))
        plaintext = signing_plaintext(
            method=method, url=self.credentials.url + path, nonce=nonce, timestamp=timestamp, body=body
        )
        return {
            "Authorization": f"Bearer {self.access}",
            "X-Nonce-Str": nonce,
            "X-Timestamp": timestamp,
            "X-Signature": f"sha256 {sign(plaintext, load_private_key(self.credentials.private_key))}",
        } | overrides

    def call(self, method: str, path: str, body: Any = None, **overrides: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in overrides.items()}
        data = None if body is None else canonical_json(body)
        return self.raw(method, path, data, self.headers(method, path, body, named))

    def raw(self, method: str, path: str, data: str | None, headers: dict[str, str]) -> Answer:
        host = self.credentials.url.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=self.timeout)
        try:
            kind = {"Content-Type": "application/json"}
            connection.request(method, path, data.encode() if data is not None else None, kind | headers)
            with connection.getresponse() as response:
                return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def customer(self, **changes: Any) -> Any:
        body = {
            "storeId": self.credentials.store_id,
            "email": "aminah@example.com",
            "name": " Aminah Tan",
            "countryCode": "60",
            "phoneNumber": "187824152",
            "productName": "Monthly plan",
            "productDescription": "All you can read",
            "redirectUrl": "https://shop.example/back?session=a%20b&status=old#done",
        }
        return self.call("POST", "/v3/tokenized-payment", body | changes).item

    def charge(self, customer_id: str, amount: int = 1200, *, path: str = "customer", **body: Any) -> Answer:
        target = {"customer": f"/v3/customer/{customer_id}/order"}.get(
            path, f"/v3/recurring-payment/{customer_id}/charge"
        )
        return self.call("POST", target, {"currency": "MYR", "amount": amount} | body)

    def orders(self, customer_id: str) -> list[Any]:
        found: list[Any] = []
        cursor = ""
        while True:
            query = f"?cursor={cursor}" if cursor else ""
            answer = self.call("GET", f"/v3/customer/{customer_id}/orders{query}")
            found += answer.json["items"]
            cursor = answer.json["meta"].get("cursor", "")
            if not cursor:
                return found


@pytest.fixture(scope="module")
def running() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(merchants=2, seed=7) as process:
        yield process


@pytest.fixture
def simulator(running: SimulatorProcess) -> SimulatorProcess:
    running.reset()
    return running


@pytest.fixture
def caller(simulator: SimulatorProcess) -> Caller:
    made = Caller(simulator.credentials)
    assert made.login().status == 200
    return made


@pytest.fixture
def bound(simulator: SimulatorProcess, caller: Caller) -> str:
    """The id of a customer whose card is good."""
    return bind(simulator, caller)


def bind(simulator: SimulatorProcess, caller: Caller, card: str = GOOD) -> str:
    customer = caller.customer()
    assert "status=SUCCESS" in simulator.bind(customer["paymentUrl"], card=card)
    return str(customer["id"])
