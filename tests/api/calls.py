"""Calling the API as a merchant's program does, and looking at what it left in the database."""

import json
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.test import Client

from billing.accounts.api_keys import SCOPES, create_api_key
from billing.models import GatewayAccount
from tests.factories import NOW

V1 = "/api/v1"


@dataclass(slots=True)
class Api:
    """A client with a key; `key` None sends no Authorization header."""

    key: str | None

    def get(self, path: str, **headers: str) -> Any:
        return self.call("GET", path, None, **headers)

    def post(self, path: str, body: object = None, **headers: str) -> Any:
        return self.call("POST", path, body, **headers)

    def patch(self, path: str, body: object, **headers: str) -> Any:
        return self.call("PATCH", path, body, **headers)

    def call(self, method: str, path: str, body: object, *, client: Client | None = None, **headers: str) -> Any:
        """Headers are given as `Idempotency_Key="…"`. A body of bytes is sent as it is."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key is not None:
            named.setdefault("Authorization", f"Bearer {self.key}")
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        kind = named.pop("Content-Type", "application/json")
        return (client or Client()).generic(method, V1 + path, data, content_type=kind, headers=named)


def api_for(account: GatewayAccount, *scopes: str) -> Api:
    return Api(create_api_key(account=account, name="test", scopes=scopes or SCOPES, now=NOW)[1])


def snapshot() -> dict[str, list[dict[str, Any]]]:
    """Every row of every table of ours, apart from when a key was last used."""
    rows = {
        model.__name__: list(model._default_manager.order_by("pk").values())
        for model in apps.get_app_config("billing").get_models()
    }
    for row in rows["ApiKey"]:
        row.pop("last_used_at")
    return rows


def problem(response: Any) -> tuple[int, str, list[tuple[str, str]]]:
    """Status, code, and (field, rule) of each error; and that it is a problem at all."""
    assert response["Content-Type"] == "application/problem+json", response.content
    body = response.json()
    assert body["status"] == response.status_code
    assert body["type"] == f"urn:kitaran:problem:{body['code']}"
    assert body["title"]
    assert body["detail"]
    return response.status_code, body["code"], [(error["field"], error["rule"]) for error in body["errors"]]
