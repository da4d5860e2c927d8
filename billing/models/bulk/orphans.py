"""Answers that no row accounts for: recorded once, and matched when what they belong to is found."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from billing.models.bulk.history import NewEvent, record_events
from billing.models.bulk.sql import rows, run
from billing.models.bulk.writing import by_name, insert
from billing.models.orphans import OrphanAnswer

ORPHAN_EVENTS = {"charge": "attempt.orphan_answer", "refund": "refund.orphan_answer"}


@dataclass(frozen=True, slots=True)
class NewOrphan:
    """`content` is JSON text. `matched_how` is set when nothing needs to be found."""

    account_id: int
    kind: str
    marker: str
    nonce: str
    gateway_customer_id: str
    amount_minor: int
    currency: str
    title: str
    description: str
    source: str
    verdict: str
    reason: str
    transaction_id: str
    order_id: str
    content: str
    digest: str
    matched_at: datetime | None
    matched_how: str | None


def insert_orphans(orphans: Sequence[NewOrphan], *, now: datetime) -> dict[tuple[str, str], int]:
    """Records what is new; ids by (nonce, digest)."""
    conflict = "ON CONFLICT ON CONSTRAINT an_orphan_answer_is_recorded_once DO NOTHING"
    columns = {**by_name(orphans), "recorded_at": now}
    inserted = insert(OrphanAnswer, columns, conflict=conflict, returning=("nonce", "digest", "id"))
    return {(nonce, digest): orphan for nonce, digest, orphan in inserted}


def record_new_orphans(orphans: Sequence[NewOrphan], *, now: datetime) -> None:
    """Records what is new, with one event for each that may be money."""
    ids = insert_orphans(orphans, now=now)
    events = [
        NewEvent(
            account_id=one.account_id,
            kind=ORPHAN_EVENTS[one.kind],
            subject_type="orphan",
            subject_id=ids[one.nonce, one.digest],
            payload={
                "marker": one.marker,
                "verdict": one.verdict,
                "transaction": one.transaction_id,
                "amount_minor": one.amount_minor,
                "currency": one.currency,
            },
        )
        for one in orphans
        if (one.nonce, one.digest) in ids and one.matched_at is None
    ]
    record_events(events, now=now)


def with_a_row(kind: str, *, after: int, limit: int) -> list[tuple[int, int]]:
    """Unmatched orphans, by id above `after`, that are of this kind and whose row is there: each with the row's id.

    A charge is known by its marker, and asked for the same; a refund by its id, which is sent with it. One that is
    only asked for, as in a database that was put back, was never sent by this one: an answer settles nothing of it."""
    of_kind = {
        "charge": """billing_paymentattempt r ON r.marker = o.marker
                     AND r.gateway_customer_id = o.gateway_customer_id""",
        "refund": "billing_refund r ON r.public_id = o.marker AND r.state <> 'requested'",
    }[kind]
    return [
        (orphan, row)
        for orphan, row in rows(
            f"""SELECT o.id, r.id FROM billing_orphananswer o JOIN {of_kind}
                  AND r.account_id = o.account_id AND r.amount_minor = o.amount_minor AND r.currency = o.currency
                WHERE o.matched_at IS NULL AND o.kind = %s AND o.id > %s ORDER BY o.id LIMIT %s""",  # noqa: S608
            [kind, after, limit],
        )
    ]


def mark_matched(orphan_id: int, *, how: str, row_id: int | None, by: str, note: str, now: datetime) -> bool:
    """Says what the orphan belongs to; False when that is known already."""
    return bool(
        run(
            """UPDATE billing_orphananswer
               SET matched_at = %s, matched_how = %s, matched_id = %s, matched_by = %s, matched_note = %s
               WHERE id = %s AND matched_at IS NULL""",
            [now, how, row_id, by, note, orphan_id],
        )
    )


def match_transactions(*, by: str, now: datetime) -> int:
    """Matches charges whose transaction a read of their card has put on record since: it has its id, or carries the
    marker. What a read finds and cannot explain holds the card and reaches a person by itself."""
    return run(
        """UPDATE billing_orphananswer u
           SET matched_at = %s, matched_how = 'transaction', matched_id = f.id, matched_by = %s
           FROM (SELECT o.id AS orphan, min(t.id) AS id
                 FROM billing_orphananswer o
                 JOIN billing_paymentmethod c ON c.account_id = o.account_id
                                             AND c.gateway_customer_id = o.gateway_customer_id
                 JOIN billing_gatewayorder g ON g.payment_method_id = c.id
                 JOIN billing_gatewaytransaction t ON t.account_id = o.account_id
                                                  AND t.gateway_transaction_id = g.gateway_transaction_id
                 WHERE o.matched_at IS NULL AND o.kind = 'charge'
                   AND (t.gateway_transaction_id = o.transaction_id OR position(o.marker IN t.words) > 0)
                   AND NOT EXISTS (SELECT 1 FROM billing_paymentattempt a WHERE a.marker = o.marker)
                 GROUP BY o.id) f
           WHERE u.id = f.orphan AND u.matched_at IS NULL""",
        [now, by],
    )
