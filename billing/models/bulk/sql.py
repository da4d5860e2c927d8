"""Running SQL and writing history, for the modules beside this one."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from django.db import connection


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
    raise TypeError(f"no array of {type(value).__name__}")


def _bound(parameters: Any) -> Any:
    if isinstance(parameters, dict):
        return {name: array(value) if isinstance(value, list) else value for name, value in parameters.items()}
    return [array(value) if isinstance(value, list) else value for value in parameters]


def rows(query: str, parameters: Sequence[Any] | dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, _bound(parameters))
        return list(cursor.fetchall())


def run(query: str, parameters: Sequence[Any] | dict[str, Any]) -> int:
    """Executes and returns how many rows were touched."""
    with connection.cursor() as cursor:
        cursor.execute(query, _bound(parameters))
        return int(cursor.rowcount)


def columns(items: Sequence[Any], kind: type[Any]) -> list[list[Any]]:
    """The items' fields as parallel lists, in the order of the dataclass `kind`, for `unnest`."""
    return [[getattr(item, field.name) for item in items] for field in fields(kind)]


@dataclass(frozen=True, slots=True)
class NewTransition:
    account_id: int
    subject_type: str
    subject_id: int
    from_state: str
    to_state: str
    reason: str
    evidence_id: int | None


def insert_transitions(transitions: Sequence[NewTransition], *, actor: str, now: datetime) -> None:
    if not transitions:
        return
    run(
        """INSERT INTO billing_transition
             (account_id, subject_type, subject_id, from_state, to_state, reason, evidence_id, actor, at)
           SELECT *, %s, %s FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::text[], %s::text[],
                                        %s::text[], %s::bigint[])""",
        _transition_parameters(transitions, actor, now),
    )


def _transition_parameters(transitions: Sequence[NewTransition], actor: str, now: datetime) -> list[Any]:
    return [actor, now, *columns(transitions, NewTransition)]


@dataclass(frozen=True, slots=True)
class NewEvent:
    """`payload` is JSON text. `occasion` tells apart the times the same thing happens to one subject."""

    public_id: str
    account_id: int
    kind: str
    subject_type: str
    subject_id: int
    occasion: str
    payload: str


def insert_events(events: Sequence[NewEvent], *, now: datetime) -> None:
    """Writes what is not written yet; an event that is there already is left alone."""
    if not events:
        return
    run(
        """INSERT INTO billing_event
             (created_at, public_id, account_id, kind, subject_type, subject_id, occasion, payload)
           SELECT %s, e.* FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::text[], %s::bigint[],
                                      %s::text[], %s::jsonb[]) AS e
           ON CONFLICT ON CONSTRAINT an_event_is_told_once DO NOTHING""",
        [now, *columns(events, NewEvent)],
    )
