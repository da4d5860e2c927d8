"""Running SQL, for the modules beside this one."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from operator import itemgetter
from typing import Any, TypeVar

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable


class HeldError(DatabaseError):
    """Somebody else holds a row for longer than is waited for: nothing was written, and nobody else's work is at stake.

    It is none of Django's OperationalError, which says that the database is away."""


# The database is away, or chose us in a deadlock: the caller connects again and does the same once more.
CONNECTION_LOST = (OperationalError, InterfaceError)
# The same may succeed in a moment: no reason to give it up.
NOT_DONE_YET = (*CONNECTION_LOST, HeldError)

Kind = TypeVar("Kind", bound=object)


@contextmanager
def durable() -> Iterator[None]:
    """A transaction that says itself what it needs, whatever the session, the server or a pooler has set.

    When it has committed, it is on disk; it waits for a lock only so long, and a client that falls silent in it loses
    it. Raises HeldError for a lock that is not granted in time."""
    try:
        with transaction.atomic(durable=True):
            rows(
                "SELECT set_config(name, value, true) FROM unnest(%s::text[], %s::text[]) AS s(name, value)",
                [list(settings.KITARAN_TRANSACTION_SETTINGS), list(settings.KITARAN_TRANSACTION_SETTINGS.values())],
            )
            yield
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise HeldError(str(error)) from error
        raise


def array(values: Sequence[Any]) -> str:
    """A PostgreSQL array literal. psycopg's own dumper runs two regular expressions an element in Python."""
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return f'"\\\\x{value.hex()}"'
    if isinstance(value, Mapping):
        return _element(json.dumps(value))
    raise TypeError(f"no array of {type(value).__name__}")


def _bound(parameters: Any) -> Any:
    if isinstance(parameters, dict):
        return {name: array(value) if isinstance(value, list) else value for name, value in parameters.items()}
    return [array(value) if isinstance(value, list) else value for value in parameters]


def rows(query: str, parameters: Sequence[Any] | dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, _bound(parameters))
        return list(cursor.fetchall())


def objects(kind: type[Kind], query: str, parameters: Sequence[Any] | dict[str, Any]) -> list[Kind]:
    """Rows as `kind`, a dataclass: each column fills the field of its name. Raises TypeError unless the names agree."""
    with connection.cursor() as cursor:
        cursor.execute(query, _bound(parameters))
        in_order = _orders.get((kind, query))
        if in_order is None:
            in_order = _orders[kind, query] = _order(kind, tuple(column[0] for column in cursor.description))
        return [kind(*in_order(row)) for row in cursor.fetchall()]


# How a query's columns come into the order of the fields: worked out once, for reading their names costs microseconds.
_orders: dict[tuple[type[Any], str], Callable[[tuple[Any, ...]], tuple[Any, ...]]] = {}


def _order(kind: type[Any], names: tuple[str, ...]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    wanted = tuple(field.name for field in fields(kind))
    if sorted(wanted) != sorted(names):
        raise TypeError(f"{kind.__name__}: the columns must be {', '.join(wanted)}; got {', '.join(names)}")
    return tuple if names == wanted else itemgetter(*map(names.index, wanted))


def run(query: str, parameters: Sequence[Any] | dict[str, Any]) -> int:
    """Executes and returns how many rows were touched."""
    with connection.cursor() as cursor:
        cursor.execute(query, _bound(parameters))
        return int(cursor.rowcount)
