"""Events to endpoints: handing out, claiming, and recording what came of a try.

Locks are taken in one order: the endpoint's row, then its deliveries'."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from billing.domain.webhooks import TEST_KIND
from billing.ids import new_id
from billing.models.bulk.sql import objects, rows, run

HANDED_OUT_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this caller may try, while it holds the lease of `token`."""

    delivery_id: int
    endpoint_id: int
    token: int
    tries: int
    first_try_at: datetime
    event_public_id: str
    body: Any
    url: str
    secret_encrypted: str
    old_secret_encrypted: str
    old_secret_ends_at: datetime | None


def endpoints_behind() -> list[int]:
    """Active endpoints whose account published something that was not handed out to them."""
    found = rows(
        """SELECT e.id FROM billing_webhookendpoint e
           WHERE e.state = 'active' AND EXISTS (
             SELECT 1 FROM billing_event v WHERE v.account_id = e.account_id AND v.sequence > e.sequence)
           ORDER BY e.id""",
        [],
    )
    return [endpoint for (endpoint,) in found]


def last_sequence(account_id: int) -> int:
    """The place of the account's newest published event; 0 before the first."""
    ((last,),) = rows("SELECT COALESCE(MAX(sequence), 0) FROM billing_event WHERE account_id = %s", [account_id])
    return int(last)


@dataclass(frozen=True, slots=True)
class _Reader:
    account_id: int
    sequence: int
    kinds: list[str]


@dataclass(frozen=True, slots=True)
class _Event:
    id: int
    public_id: str
    kind: str
    subject_type: str
    subject_id: int
    sequence: int


def hand_out(endpoint_id: int, *, now: datetime) -> int:
    """Writes deliveries of the events after the endpoint's cursor, and moves the cursor; how many events it passed.

    To be called in a transaction. Another worker that does the same is not waited for."""
    found = objects(
        _Reader,
        """SELECT account_id, sequence, kinds FROM billing_webhookendpoint
           WHERE id = %s AND state = 'active' FOR NO KEY UPDATE SKIP LOCKED""",
        [endpoint_id],
    )
    if not found:
        return 0
    (reader,) = found
    events = objects(
        _Event,
        """SELECT id, public_id, kind, subject_type, subject_id, sequence FROM billing_event
           WHERE account_id = %s AND sequence > %s ORDER BY sequence LIMIT %s""",
        [reader.account_id, reader.sequence, HANDED_OUT_AT_ONCE],
    )
    if events:
        wanted = [event for event in events if _is_wanted(event, reader.kinds, endpoint_id)]
        _insert(wanted, reader.account_id, endpoint_id, now)
        run("UPDATE billing_webhookendpoint SET sequence = %s WHERE id = %s", [events[-1].sequence, endpoint_id])
    return len(events)


def _is_wanted(event: _Event, kinds: Sequence[str], endpoint_id: int) -> bool:
    """A test goes to the endpoint that it tests, and to no other."""
    if event.kind == TEST_KIND:
        return event.subject_id == endpoint_id
    return not kinds or event.kind in kinds


def _insert(events: Sequence[_Event], account_id: int, endpoint_id: int, now: datetime) -> None:
    run(
        """INSERT INTO billing_webhookdelivery
             (account_id, endpoint_id, created_at, next_try_at, public_id, event_id, event_public_id, kind,
              subject_type, subject_id, sequence)
           SELECT %s, %s, %s, %s, v.* FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[],
                                                  %s::bigint[], %s::bigint[]) AS v
           ON CONFLICT ON CONSTRAINT one_delivery_per_endpoint_and_event DO NOTHING""",
        [
            account_id,
            endpoint_id,
            now,
            now,
            [new_id("whd", now) for _ in events],
            [event.id for event in events],
            [event.public_id for event in events],
            [event.kind for event in events],
            [event.subject_type for event in events],
            [event.subject_id for event in events],
            [event.sequence for event in events],
        ],
    )


def resend_span(
    endpoint_id: int, account_id: int, *, since: datetime, before: datetime, kinds: Sequence[str], now: datetime
) -> None:
    """Makes each of the account's events of the span, but tests, a pending delivery again, or for the first time.

    Events that the cursor has not reached come by themselves. To be called in a transaction that locks the endpoint."""
    events = objects(
        _Event,
        """SELECT v.id, v.public_id, v.kind, v.subject_type, v.subject_id, v.sequence FROM billing_event v
           JOIN billing_webhookendpoint e ON e.id = %(endpoint)s AND v.sequence <= e.sequence
           WHERE v.account_id = %(account)s AND v.created_at >= %(since)s AND v.created_at < %(before)s
             AND v.kind <> %(test)s AND (%(all)s OR v.kind = ANY(%(kinds)s)) ORDER BY v.sequence""",
        {
            "endpoint": endpoint_id,
            "account": account_id,
            "since": since,
            "before": before,
            "test": TEST_KIND,
            "all": not kinds,
            "kinds": list(kinds),
        },
    )
    _insert(events, account_id, endpoint_id, now)
    resend(endpoint_id, [event.id for event in events], now=now)


def count_span(account_id: int, *, since: datetime, before: datetime, kinds: Sequence[str], most: int) -> int:
    """How many events `resend_span` would find; counted up to `most` and one more."""
    ((count,),) = rows(
        """SELECT COUNT(*) FROM (
             SELECT 1 FROM billing_event WHERE account_id = %s AND created_at >= %s AND created_at < %s
               AND kind <> %s AND sequence IS NOT NULL AND (%s OR kind = ANY(%s)) LIMIT %s) AS found""",
        [account_id, since, before, TEST_KIND, not kinds, list(kinds), most + 1],
    )
    return int(count)


def resend(endpoint_id: int, event_ids: Sequence[int], *, now: datetime) -> int:
    """Begins a new round for deliveries of the endpoint, whatever became of the last; how many.

    What is being sent at this moment keeps its lease and is sent once more afterwards."""
    return run(
        """UPDATE billing_webhookdelivery
           SET state = 'pending', tries = 0, first_try_at = NULL, next_try_at = %s, closed_at = NULL,
               lease_token = lease_token + 1
           WHERE endpoint_id = %s AND event_id = ANY(%s)""",
        [now, endpoint_id, list(event_ids)],
    )


def begin_again(endpoint_id: int, *, now: datetime) -> None:
    """Whatever is pending begins a new round: its endpoint takes part again."""
    run(
        """UPDATE billing_webhookdelivery SET tries = 0, first_try_at = NULL, next_try_at = %s
           WHERE endpoint_id = %s AND state = 'pending'""",
        [now, endpoint_id],
    )


def cancel_pending(endpoint_id: int, *, now: datetime) -> None:
    run(
        """UPDATE billing_webhookdelivery SET state = 'canceled', next_try_at = NULL, closed_at = %s
           WHERE endpoint_id = %s AND state = 'pending'""",
        [now, endpoint_id],
    )


def delete_ended(*, before: datetime, limit: int) -> int:
    """Deletes deliveries that ended before that, and their tries; how many. What somebody has locked is left alone."""
    return run(
        """WITH ended AS MATERIALIZED (
             SELECT id FROM billing_webhookdelivery WHERE closed_at < %s AND state <> 'pending'
             ORDER BY closed_at, id LIMIT %s FOR UPDATE SKIP LOCKED),
           tries AS (DELETE FROM billing_webhooktry WHERE delivery_id = ANY(ARRAY(SELECT id FROM ended)))
           DELETE FROM billing_webhookdelivery WHERE id = ANY(ARRAY(SELECT id FROM ended))""",
        [before, limit],
    )


def claim(*, now: datetime, lease_until: datetime, limit: int, of_one_endpoint: int, failing: bool) -> list[Claimed]:
    """Leases deliveries that are due at endpoints that are `failing`, or that are not. To be called in a transaction.

    One leaves only when no earlier event of the same object is pending at the same endpoint. An endpoint has at most
    `of_one_endpoint` under way."""
    locked = [
        endpoint
        for (endpoint,) in rows(
            """SELECT id FROM billing_webhookendpoint e
               WHERE state = 'active' AND (failing_since IS NOT NULL) = %s AND EXISTS (
                 SELECT 1 FROM billing_webhookdelivery d
                 WHERE d.endpoint_id = e.id AND d.state = 'pending' AND d.next_try_at <= %s)
               ORDER BY id FOR NO KEY UPDATE SKIP LOCKED""",
            [failing, now],
        )
    ]
    if not locked or limit < 1:
        return []
    # First one of each endpoint, then a second: a long queue at one place is no reason to wait at another.
    return objects(
        Claimed,
        """WITH taken AS (
             UPDATE billing_webhookdelivery SET lease_until = %(until)s, lease_token = lease_token + 1,
                    first_try_at = COALESCE(first_try_at, %(now)s)
             WHERE id = ANY(ARRAY(
               SELECT one.id FROM billing_webhookendpoint e
               CROSS JOIN LATERAL (SELECT COUNT(*) AS number FROM billing_webhookdelivery u
                                   WHERE u.endpoint_id = e.id AND u.state = 'pending' AND u.lease_until > %(now)s) busy
               CROSS JOIN LATERAL (
                 SELECT d.id, d.next_try_at, row_number() OVER (ORDER BY d.next_try_at, d.sequence) AS place
                 FROM billing_webhookdelivery d
                 WHERE d.endpoint_id = e.id AND d.state = 'pending' AND d.next_try_at <= %(now)s
                   AND (d.lease_until IS NULL OR d.lease_until <= %(now)s)
                   AND NOT EXISTS (
                     SELECT 1 FROM billing_webhookdelivery b
                     WHERE b.endpoint_id = d.endpoint_id AND b.state = 'pending' AND b.subject_type = d.subject_type
                       AND b.subject_id = d.subject_id AND b.sequence < d.sequence)
                 ORDER BY d.next_try_at, d.sequence LIMIT %(of_one)s) one
               WHERE e.id = ANY(%(locked)s)
                 AND busy.number + one.place <= %(of_one)s
               ORDER BY one.place, one.next_try_at, one.id LIMIT %(limit)s))
             RETURNING id, endpoint_id, lease_token, tries, first_try_at, event_id, event_public_id)
           SELECT t.id AS delivery_id, t.endpoint_id, t.lease_token AS token, t.tries, t.first_try_at,
                  t.event_public_id, v.body::text AS body, e.url, e.secret_encrypted, e.old_secret_encrypted,
                  e.old_secret_ends_at
           FROM taken t JOIN billing_webhookendpoint e ON e.id = t.endpoint_id JOIN billing_event v ON v.id = t.event_id
           ORDER BY t.id""",
        {
            "now": now,
            "until": lease_until,
            "limit": limit,
            "of_one": of_one_endpoint,
            "locked": locked,
        },
    )


def claim_notices(*, now: datetime, again_at: datetime) -> list[int]:
    """Endpoints about whose disabling a mail is due; tried again at `again_at` unless it is recorded as sent."""
    found = rows(
        """UPDATE billing_webhookendpoint SET notice_due_at = %s
           WHERE id = ANY(ARRAY(SELECT id FROM billing_webhookendpoint WHERE notice_due_at <= %s
                                ORDER BY notice_due_at LIMIT 5 FOR NO KEY UPDATE SKIP LOCKED))
           RETURNING id""",
        [again_at, now],
    )
    return [endpoint for (endpoint,) in found]
