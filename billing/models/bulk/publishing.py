"""The SQL of publishing events: which are not published yet, who may number them, and the numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from billing.models.bulk.sql import columns, objects, rows, run

# Of the advisory locks of this database: the feed of one account.
FEED = "kitaran.feed"


@dataclass(frozen=True, slots=True)
class Unpublished:
    """An event that has no place in the feed yet. `payload` is JSON text."""

    id: int
    public_id: str
    kind: str
    subject_type: str
    subject_id: int
    payload: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """The place of one event in its account's feed and among the events of its object. `body` is JSON text."""

    id: int
    sequence: int
    object_sequence: int
    body: str


def accounts_with_unpublished() -> list[int]:
    return [account for (account,) in rows("SELECT DISTINCT account_id FROM billing_event WHERE sequence IS NULL", [])]


def has_unpublished(account_id: int) -> bool:
    query = "SELECT EXISTS (SELECT 1 FROM billing_event WHERE account_id = %s AND sequence IS NULL)"
    ((found,),) = rows(query, [account_id])
    return bool(found)


def lock_feed(account_id: int, *, wait: bool) -> bool:
    """Takes the account's feed until the transaction ends; False when somebody else has it and nobody waits.

    What is committed before the lock is taken is visible to the statements that follow."""
    key = f"{FEED} {account_id}"
    if wait:
        rows("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))::text", [key])
        return True
    ((mine,),) = rows("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [key])
    return bool(mine)


def unpublished(account_id: int, *, limit: int) -> list[Unpublished]:
    """The account's committed events without a place, in the order in which they were written."""
    return objects(
        Unpublished,
        """SELECT id, public_id, kind, subject_type, subject_id, payload, created_at FROM billing_event
           WHERE account_id = %s AND sequence IS NULL ORDER BY id LIMIT %s""",
        [account_id, limit],
    )


def last_sequence(account_id: int) -> int:
    ((last,),) = rows(
        "SELECT COALESCE(max(sequence), 0) FROM billing_event WHERE account_id = %s AND sequence IS NOT NULL",
        [account_id],
    )
    return int(last)


def last_object_sequences(subjects: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """By type and id of the object; those without a published event are left out."""
    found = rows(
        """SELECT s.type, s.id, max(e.object_sequence)
           FROM unnest(%s::text[], %s::bigint[]) AS s(type, id)
           JOIN billing_event e ON e.subject_type = s.type AND e.subject_id = s.id AND e.sequence IS NOT NULL
           GROUP BY s.type, s.id""",
        [[kind for kind, _ in subjects], [number for _, number in subjects]],
    )
    return {(kind, number): last for kind, number, last in found}


def write_places(places: Sequence[Place], *, now: datetime) -> int:
    return run(
        """UPDATE billing_event e
           SET sequence = p.sequence, object_sequence = p.object_sequence, body = p.body, published_at = %s
           FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::jsonb[])
             AS p(id, sequence, object_sequence, body)
           WHERE e.id = p.id""",
        [now, *columns(places, Place)],
    )
