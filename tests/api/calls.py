"""Calling the API as a merchant's program does, and looking at what it left in the database."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.apps import apps
from django.db import connection
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


@cache
def _everything() -> str:
    return " UNION ALL ".join(
        f"SELECT '{model.__name__}', jsonb_agg(to_jsonb(r) - 'last_used_at' ORDER BY {model._meta.pk.column})::text"  # noqa: S608
        f" FROM {model._meta.db_table} r"
        for model in apps.get_app_config("billing").get_models()
    )


def snapshot() -> dict[str, list[dict[str, Any]]]:
    """Every row of every table of ours as JSON, apart from when a key was last used: one query, as many tests ask."""
    with connection.cursor() as cursor:
        cursor.execute(_everything())
        return {model: json.loads(rows or "[]") for model, rows in cursor.fetchall()}


def problem(response: Any) -> tuple[int, str, list[tuple[str, str]]]:
    """Status, code, and (field, rule) of each error; and that it is a problem at all."""
    assert response["Content-Type"] == "application/problem+json", response.content
    body = response.json()
    assert body["status"] == response.status_code
    assert body["type"] == f"urn:kitaran:problem:{body['code']}"
    assert body["title"]
    assert body["detail"]
    return response.status_code, body["code"], [(error["field"], error["rule"]) for error in body["errors"]]
