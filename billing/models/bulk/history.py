"""What happened, written down: each change of state, and each event for the merchant's system. Append-only."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from billing.domain.events import kind_of_move, subject_of
from billing.domain.messages import STAFF_NEWS, WAITS, MessageKind, message_of
from billing.ids import new_id
from billing.models.bulk import mailing
from billing.models.bulk.sql import rows
from billing.models.bulk.writing import by_name, insert
from billing.models.history import Event, Transition

# Fields whose values are in no history and in no `changes`: secrets, and how a customer is reached.
PRIVATE = frozenset(
    {"email", "country_code", "phone_number", "client_id", "client_secret", "private_key_pem", "gateway_public_key"}
)
LONGEST_VALUE = 200
MOVED = ("account_id", "subject_type", "subject_id", "from_state", "to_state", "reason", "evidence_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTransition:
    """One change of state of anything: from, to, why, on what evidence. `detail` is what its event says besides."""

    account_id: int
    subject_type: str
    subject_id: int
    from_state: str
    to_state: str
    reason: str
    evidence_id: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """`occasion` distinguishes the times that the same thing happens to one subject.

    Whoever records an event holds the lock of its subject's row until the commit, so that the events of one object have
    ids in the order in which they happened."""

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
    detail: Mapping[str, Any] | None = None,
) -> int:
    """Records one change of state, with its event; the id of its row."""
    one = NewTransition(
        account_id=account_id,
        subject_type=subject_type,
        subject_id=subject_id,
        from_state=from_state,
        to_state=to_state,
        reason=reason,
        evidence_id=evidence_id,
        detail=detail or {},
    )
    (number,) = record_transitions([one], actor=actor, now=now)
    return number


def record_transitions(transitions: Sequence[NewTransition], *, actor: str, now: datetime) -> list[int]:
    """Records changes of state with their events; the ids of their rows."""
    return record_history(transitions, actor=actor, now=now)


def record_history(lines: Sequence[NewTransition | NewEvent], *, actor: str, now: datetime) -> list[int]:
    """Records changes of state, their events, and events that change no state, in the order given; the ids of the
    changes."""
    moves = [line for line in lines if isinstance(line, NewTransition)]
    ids = _insert_transitions(moves, actor, now) if moves else []
    numbers = iter(ids)
    events = [_event_of(line, next(numbers)) if isinstance(line, NewTransition) else line for line in lines]
    record_events([event for event in events if event is not None], now=now)
    return ids


def record_change(
    *,
    account_id: int,
    subject_type: str,
    subject_id: int,
    state: str,
    kind: str | None,
    changes: Mapping[str, tuple[Any, Any]],
    actor: str,
    now: datetime,
    reason: str = "",
    words: str = "",
) -> None:
    """Records what changed of a row whose state stands: a line of history with the values before and after, and the
    event `kind`, if there is one. Of a field in PRIVATE both say only that it changed. `words` stand in history instead
    of values."""
    shown = {
        name: {"changed": True} if name in PRIVATE else {"from": before, "to": after}
        for name, (before, after) in changes.items()
    }
    line = NewTransition(
        account_id=account_id,
        subject_type=subject_type,
        subject_id=subject_id,
        from_state=state,
        to_state=state,
        reason=": ".join(filter(None, [words or _words_of(shown), reason])),
    )
    lines: list[NewTransition | NewEvent] = [line]
    if kind is not None:
        event = NewEvent(
            account_id=account_id,
            kind=kind,
            subject_type=subject_type,
            subject_id=subject_id,
            occasion=new_id("chg", now),
            payload={"changes": shown, "reason": reason},
        )
        lines.append(event)
    record_history(lines, actor=actor, now=now)


def _words_of(changes: Mapping[str, Mapping[str, Any]]) -> str:
    """`catch_up: all → skip; email changed`."""
    return "; ".join(
        f"{name} changed" if "changed" in change else f"{name}: {_value(change['from'])} → {_value(change['to'])}"
        for name, change in changes.items()
    )


def _value(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))[:LONGEST_VALUE]


def lock_account(account_id: int) -> None:
    """For an event of an account by a writer that does not change its row: the events of one account follow each
    other. Taken before cards and invoices, for charges are armed under a shared lock of the same row."""
    rows("SELECT id FROM billing_gatewayaccount WHERE id = %s FOR NO KEY UPDATE", [account_id])


def _insert_transitions(transitions: Sequence[NewTransition], actor: str, now: datetime) -> list[int]:
    inserted = insert(Transition, {**by_name(transitions, *MOVED), "actor": actor, "at": now})
    return [number for (number,) in inserted]


def _event_of(move: NewTransition, transition_id: int) -> NewEvent | None:
    kind = kind_of_move(move.subject_type, move.from_state, move.to_state)
    if kind is None:
        return None
    changes = {"state": {"from": move.from_state or None, "to": move.to_state}}
    return NewEvent(
        account_id=move.account_id,
        kind=kind,
        subject_type=subject_of(move.subject_type),
        subject_id=move.subject_id,
        occasion=f"transition {transition_id}",
        payload={"changes": changes, "reason": move.reason, **move.detail},
    )


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
    """Records events, and the messages that they cause; one that is recorded already is left alone."""
    columns = {**by_name(events), "public_id": [new_id("evt", now) for _ in events], "created_at": now}
    insert(Event, columns, conflict="ON CONFLICT ON CONSTRAINT an_event_is_told_once DO NOTHING")
    mailing.write([message for one in events for message in _messages_of(one, now)], now=now)


def _messages_of(event: NewEvent, now: datetime) -> list[mailing.NewMessage]:
    """A customer is written to once about each event, and once for ever about having enrolled."""
    kind = message_of(event.kind, event.payload)
    once = kind is MessageKind.ENROLLED
    occasion = " ".join((event.subject_type, str(event.subject_id), "" if once else f"{event.kind} {event.occasion}"))
    kinds = [kind] if kind else []
    if event.kind in STAFF_NEWS and settings.KITARAN_STAFF_MAIL:
        kinds.append(MessageKind.STAFF)
    return [
        mailing.NewMessage(
            account_id=event.account_id,
            kind=one,
            occasion=occasion.strip(),
            subject_type=event.subject_type,
            subject_id=event.subject_id,
            details=json.dumps({**event.payload, "event": event.kind}),
            not_before=now + WAITS.get(one, timedelta(0)),
        )
        for one in kinds
    ]
