"""Whoever records an event holds the lock of its object's row: asked of PostgreSQL, by a second session."""

# ruff: noqa: S608  (names of tables come from the models)

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connections

from billing.models import (
    Customer,
    GatewayAccount,
    Invoice,
    OrphanAnswer,
    PaymentAttempt,
    PaymentMethod,
    Plan,
    Proposal,
    Refund,
    Subscription,
)
from billing.models.bulk import history
from billing.models.bulk.sql import run as insert

MODELS: dict[str, Any] = {
    "account": GatewayAccount,
    "attempt": PaymentAttempt,
    "card": PaymentMethod,
    "customer": Customer,
    "invoice": Invoice,
    "orphan": OrphanAnswer,
    "plan": Plan,
    "proposal": Proposal,
    "refund": Refund,
    "subscription": Subscription,
}


@contextmanager
def watching_locks(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The kinds that are recorded meanwhile; an event whose object anybody else could lock just now is an error.

    A row that its writer inserted is not there for anybody else. Only tests that commit can see a difference."""
    kinds: set[str] = set()
    other = connections.create_connection("default")

    def checked(query: str, parameters: Any) -> int:
        if "INSERT INTO billing_event" in query:
            _, _, _, names, subjects, numbers, *_ = parameters
            kinds.update(names)
            for name, subject, number in zip(names, subjects, numbers, strict=True):
                assert not _is_free(other, subject, number), f"{name}: {subject} {number} is not locked by its writer"
        return insert(query, parameters)

    monkeypatch.setattr(history, "run", checked)
    try:
        yield kinds
    finally:
        monkeypatch.setattr(history, "run", insert)
        other.close()


def _is_free(other: Any, subject: str, number: int) -> bool:
    with other.cursor() as cursor:
        table = MODELS[subject]._meta.db_table
        cursor.execute(f"SELECT 1 FROM {table} WHERE id = %s FOR NO KEY UPDATE SKIP LOCKED", [number])
        return cursor.fetchone() is not None
