"""What happened, written down: each change of state, and each event for the merchant's system. Append-only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from billing.ids import new_id
from billing.models.bulk.writing import by_name, insert
from billing.models.history import Event, Transition


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTransition:
    """One change of state of anything: from, to, why, on what evidence."""

    account_id: int
    subject_type: str
    subject_id: int
    from_state: str
    to_state: str
    reason: str
    evidence_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """`occasion` distinguishes the times that the same thing happens to one subject."""

    account_id: int
    kind: str
    subject_type: str
    subject_id: int
    occasion: str = ""
    payload: Mapping[str, Any]


def record_transition(
    *,
    account_id: int,
    subject_type: str,
    subject_id: int,
    from_state: str,
    to_state: str,
    reason: str,
    actor: str,
    now: datetime,
    evidence_id: int | None = None,
) -> int:
    """Records one change of state; the id of its row."""
    one = NewTransition(
        account_id=account_id,
        subject_type=subject_type,
        subject_id=subject_id,
        from_state=from_state,
        to_state=to_state,
        reason=reason,
        evidence_id=evidence_id,
    )
    (number,) = record_transitions([one], actor=actor, now=now)
    return number


def record_transitions(transitions: Sequence[NewTransition], *, actor: str, now: datetime) -> list[int]:
    """Records changes of state; the ids of their rows."""
    inserted = insert(Transition, {**by_name(transitions), "actor": actor, "at": now})
    return [number for (number,) in inserted]


def record_event(
    *,
    account_id: int,
    kind: str,
    subject_type: str,
    subject_id: int,
    payload: Mapping[str, Any],
    now: datetime,
    occasion: str = "",
) -> None:
    """Records one event, unless it is recorded already."""
    one = NewEvent(
        account_id=account_id,
        kind=kind,
        subject_type=subject_type,
        subject_id=subject_id,
        occasion=occasion,
        payload=payload,
    )
    record_events([one], now=now)


def record_events(events: Sequence[NewEvent], *, now: datetime) -> None:
    """Records events; one that is recorded already is left alone."""
    columns = {**by_name(events), "public_id": [new_id("evt", now) for _ in events], "created_at": now}
    insert(Event, columns, conflict="ON CONFLICT ON CONSTRAINT an_event_is_told_once DO NOTHING")
