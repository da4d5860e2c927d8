"""Fixtures of the client's tests: a key, a fake gateway, clients that are closed afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from rm_gateway.client import Client, Settings
from tests.rm_gateway.fake import FakeGateway

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PRIVATE_PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
PUBLIC_PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

MakeClient = Callable[..., Client]


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    server = FakeGateway()
    yield server
    server.close()


@pytest.fixture
def make_client(gateway: FakeGateway) -> Iterator[MakeClient]:
    clients: list[Client] = []

    def make(*, token: bool = True, **changes: Any) -> Client:
        own = {name: changes.pop(name) for name in ("clock", "transport", "token_source") if name in changes}
        client = Client(Settings(**settings_of(gateway, **changes)), **own)
        clients.append(client)
        if token:
            client.ensure_token()
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(make_client: MakeClient) -> Client:
    return make_client()


@pytest.fixture
def private_pem() -> str:
    return PRIVATE_PEM


@pytest.fixture
def public_pem() -> str:
    return PUBLIC_PEM


def settings_of(gateway: FakeGateway, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "client_id": "client",
        "client_secret": "the-client-secret",
        "private_key_pem": PRIVATE_PEM,
        "store_id": "1602660043994159611",
        "oauth_url": gateway.oauth_url,
        "api_url": gateway.api_url,
        "connect_timeout_seconds": 2,
        "read_timeout_seconds": 3,
        "total_timeout_seconds": 5,
    }
    return values | changes
