"""What the invariants say of refunds: S1, S3, S4, S7, S9, S10, L2, L3 and L4 of refunds.

The order of events is that of the transitions' ids, as with attempts.
"""

from collections.abc import Iterator
from datetime import datetime

from billing.audit.progress import SWEPT_WITHIN, TAKEN_UP_WITHIN
from billing.audit.queries import found
from billing.audit.violation import Violation
from billing.charging.refunds.worker import PATIENCE
from billing.domain.refunds import GIVEN_BACK, MAY_HAVE_ACTED, OPEN, REFUND_MOVES, WAITING
from billing.operating.tuning import Tuning


def violations(account_id: int | None, *, now: datetime, tuning: Tuning) -> Iterator[Violation]:
    """What of the refunds of the account, or of all, is not as it must be at `now`."""
    moves = sorted(REFUND_MOVES)
    parameters = {
        "account": account_id,
        "swept_before": now - SWEPT_WITHIN,
        "asked_before": now - TAKEN_UP_WITHIN,
        "unknown_since": now - max(tuning.ladder[-1], PATIENCE) - TAKEN_UP_WITHIN,
        "open": sorted(state.value for state in OPEN),
        "counted": sorted(state.value for state in OPEN | GIVEN_BACK),
        "acted": sorted(state.value for state in MAY_HAVE_ACTED),
        "waiting": sorted(state.value for state in WAITING),
        "move_from": [before.value for before, _ in moves],
        "move_to": [after.value for _, after in moves],
    }
    for check in CHECKS:
        yield from found(*check, parameters)


# (invariant, sentence, query): the query's rows fill the sentence.
CHECKS = (
    (
        "S1",
        "took {} {}, and {} of it was refunded or still may be.",
        """SELECT a.public_id, a.amount_minor, a.currency, sum(r.amount_minor)
            FROM billing_refund r JOIN billing_paymentattempt a ON a.id = r.attempt_id
            WHERE r.state = ANY(%(counted)s) AND OF_ACCOUNT(a.account_id)
            GROUP BY a.id HAVING sum(r.amount_minor) > a.amount_minor ORDER BY a.id""",
    ),
    (
        "S3",
        "was armed {} times by its history, and has {}.",
        """SELECT r.public_id, count(t.id), CASE WHEN r.armed_at IS NULL THEN 'no request' ELSE 'one request' END
            FROM billing_refund r
            LEFT JOIN billing_transition t ON t.subject_type = 'refund' AND t.subject_id = r.id
                                          AND t.to_state = 'sending'
            WHERE OF_ACCOUNT(r.account_id)
            GROUP BY r.id HAVING count(t.id) <> (r.armed_at IS NOT NULL)::int ORDER BY r.id""",
    ),
    (
        "S3",
        "has {} answers to its one request.",
        """SELECT r.public_id, count(*)
            FROM billing_refundevidence e JOIN billing_refund r ON r.id = e.refund_id
            WHERE e.source = 'answer' AND OF_ACCOUNT(r.account_id)
            GROUP BY r.id HAVING count(*) > 1 ORDER BY r.id""",
    ),
    (
        "S3",
        "went from {} to {} without evidence about it.",
        """SELECT r.public_id, t.from_state, t.to_state
            FROM billing_transition t JOIN billing_refund r ON r.id = t.subject_id
            WHERE t.subject_type = 'refund' AND t.from_state <> '' AND OF_ACCOUNT(r.account_id)
              AND NOT EXISTS (SELECT 1 FROM billing_refundevidence e
                              WHERE e.id = t.evidence_id AND e.refund_id = r.id)
            ORDER BY t.id""",
    ),
    (
        "S4",
        "has {} refunds whose outcome is open.",
        """SELECT a.public_id, count(*)
            FROM billing_refund r JOIN billing_paymentattempt a ON a.id = r.attempt_id
            WHERE r.state = ANY(%(open)s) AND OF_ACCOUNT(a.account_id)
            GROUP BY a.id HAVING count(*) > 1 ORDER BY a.id""",
    ),
    # A surplus was never the invoice's, and a reversal says that there was no payment.
    (
        "S4",
        "was armed for invoice {}, of which refund {} had refunded money.",
        """SELECT b.public_id, i.public_id, r.public_id
            FROM billing_refund r
            JOIN billing_invoice i ON i.id = r.invoice_id
            JOIN billing_transition back ON back.subject_type = 'refund' AND back.subject_id = r.id
             AND back.to_state = 'succeeded' AND r.kind <> 'reverse'
            JOIN LATERAL (SELECT t.to_state FROM billing_transition t
                          WHERE t.subject_type = 'attempt' AND t.subject_id = r.attempt_id AND t.id < back.id
                          ORDER BY t.id DESC LIMIT 1) stood ON stood.to_state = 'succeeded'
            JOIN billing_paymentattempt b ON b.invoice_id = r.invoice_id
            JOIN billing_transition armed ON armed.subject_type = 'attempt' AND armed.subject_id = b.id
             AND armed.from_state = '' AND armed.to_state = 'sending' AND armed.id > back.id
            WHERE OF_ACCOUNT(r.account_id) ORDER BY b.id, r.id""",
    ),
    (
        "S7",
        "went from {} to {} ({}).",
        """WITH moves AS (SELECT * FROM unnest(%(move_from)s::text[], %(move_to)s::text[]) AS m(before, after)),
            steps AS (SELECT t.id, t.subject_id, t.from_state, t.to_state,
                             lag(t.to_state, 1, '') OVER (PARTITION BY t.subject_id ORDER BY t.id) AS stood_at
                      FROM billing_transition t WHERE t.subject_type = 'refund' AND OF_ACCOUNT(t.account_id))
            SELECT r.public_id, s.from_state, s.to_state,
                   CASE WHEN s.from_state <> s.stood_at THEN 'it stood at ' || s.stood_at ELSE 'no such move' END
            FROM steps s JOIN billing_refund r ON r.id = s.subject_id
            WHERE s.from_state <> s.stood_at
               OR s.from_state <> ''
                  AND NOT EXISTS (SELECT 1 FROM moves m WHERE (m.before, m.after) = (s.from_state, s.to_state))
            ORDER BY s.id""",
    ),
    (
        "S7",
        "is {}, and its history ends at {}.",
        """SELECT r.public_id, r.state, COALESCE(t.to_state, 'nothing')
            FROM billing_refund r
            LEFT JOIN LATERAL (SELECT to_state FROM billing_transition
                               WHERE subject_type = 'refund' AND subject_id = r.id ORDER BY id DESC LIMIT 1) t ON true
            WHERE t.to_state IS DISTINCT FROM r.state AND OF_ACCOUNT(r.account_id) ORDER BY r.id""",
    ),
    # Refunded money is recorded, whatever state it finds.
    (
        "S7",
        "is {}, and evidence {} shows that the money was refunded.",
        """SELECT r.public_id, r.state, e.id
            FROM billing_refundevidence e JOIN billing_refund r ON r.id = e.refund_id
            WHERE e.verdict = 'refunded' AND r.state NOT IN ('succeeded', 'needs_review') AND OF_ACCOUNT(r.account_id)
              AND NOT EXISTS (SELECT 1 FROM billing_event v WHERE v.kind = 'refund.alarm'
                                AND v.subject_type = 'refund' AND v.subject_id = r.id)
            ORDER BY e.id""",
    ),
    (
        "S7",
        "counts {} as refunded, and its refunds come to {}.",
        """SELECT a.public_id, a.amount_refunded_minor, back.sum
            FROM billing_paymentattempt a
            CROSS JOIN LATERAL (SELECT COALESCE(sum(r.amount_minor), 0) AS sum FROM billing_refund r
                                WHERE r.attempt_id = a.id AND r.state = 'succeeded' AND r.kind <> 'reverse') back
            WHERE a.amount_refunded_minor <> back.sum AND OF_ACCOUNT(a.account_id) ORDER BY a.id""",
    ),
    (
        "S7",
        "counts {} as refunded, and the attempt that paid it {}.",
        """SELECT i.public_id, i.amount_refunded_minor, a.amount_refunded_minor
            FROM billing_paymentattempt a JOIN billing_invoice i ON i.id = a.invoice_id
            WHERE a.state = 'succeeded' AND i.amount_refunded_minor <> a.amount_refunded_minor
              AND OF_ACCOUNT(i.account_id) ORDER BY i.id""",
    ),
    (
        "S7",
        "took its payment back, and attempt {} is {}.",
        """SELECT r.public_id, a.public_id, a.state
            FROM billing_refund r JOIN billing_paymentattempt a ON a.id = r.attempt_id
            WHERE r.kind = 'reverse' AND r.state = 'succeeded' AND a.state <> 'reversed' AND OF_ACCOUNT(r.account_id)
            ORDER BY r.id""",
    ),
    (
        "S9",
        "was armed while {} was stopped.",
        """WITH switch AS (
                SELECT t.subject_type, t.subject_id, t.to_state, t.id AS stopped,
                       lead(t.id, 1, 9223372036854775807)
                           OVER (PARTITION BY t.subject_type, t.subject_id ORDER BY t.id) AS until
                FROM billing_transition t WHERE t.subject_type IN ('account', 'installation'))
            SELECT r.public_id, CASE s.subject_type WHEN 'account' THEN 'the account' ELSE 'everything' END
            FROM switch s
            JOIN billing_transition armed ON armed.subject_type = 'refund' AND armed.to_state = 'sending'
             AND armed.id > s.stopped AND armed.id < s.until
             AND (s.subject_type = 'installation' OR armed.account_id = s.subject_id)
            JOIN billing_refund r ON r.id = armed.subject_id
            WHERE s.to_state = 'stopped' AND OF_ACCOUNT(r.account_id) ORDER BY r.id""",
    ),
    # What the gateway showed of a payment after it was in our books; a refund that may have acted explains it.
    (
        "S10",
        "counts {} of {} {} as refunded, and the gateway has its order {} as {}.",
        """SELECT a.public_id, a.amount_refunded_minor, a.amount_minor, a.currency, o.gateway_order_id, o.status
            FROM billing_gatewayorder o JOIN billing_paymentattempt a ON a.id = o.attempt_id
            WHERE MONEY_KEPT AND o.gateway_order_id = a.gateway_order_id AND o.last_seen_at >= a.settled_at
              AND (o.status = 'FULL_REFUNDED' OR o.status = 'PARTIAL_REFUNDED' AND a.amount_refunded_minor = 0)
              AND NOT EXISTS (SELECT 1 FROM billing_refund r
                              WHERE r.attempt_id = a.id AND r.state = ANY(%(acted)s))
              AND OF_ACCOUNT(o.account_id) ORDER BY a.id""",
    ),
    (
        "L2",
        "is sending since {:%Y-%m-%d %H:%M:%S} UTC.",
        """SELECT r.public_id, r.armed_at FROM billing_refund r
            WHERE r.state = 'sending' AND r.deadline_at < %(swept_before)s AND OF_ACCOUNT(r.account_id)
            ORDER BY r.id""",
    ),
    (
        "L3",
        "is {}, and {}.",
        """SELECT r.public_id, r.state,
                   CASE WHEN r.next_check_at IS NULL THEN 'nobody looks at it again'
                        WHEN r.state = 'unknown' AND r.armed_at < %(unknown_since)s
                        THEN 'has been so since ' || to_char(r.armed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
                        ELSE 'nobody looked when it was time' END
            FROM billing_refund r
            WHERE r.state = ANY(%(waiting)s) AND OF_ACCOUNT(r.account_id)
              AND (r.next_check_at IS NULL OR r.next_check_at < %(asked_before)s
                   OR r.state = 'unknown' AND r.armed_at < %(unknown_since)s)
            ORDER BY r.id""",
    ),
    (
        "L4",
        "needed a person {}, and raised {} alerts.",
        """SELECT r.public_id, CASE came.times WHEN 0 THEN 'never' WHEN 1 THEN 'once' ELSE came.times || ' times' END,
                   alerts.times
            FROM billing_refund r
            CROSS JOIN LATERAL (SELECT GREATEST(count(*), (r.state = 'needs_review')::int) AS times
                                FROM billing_transition t WHERE t.subject_type = 'refund' AND t.subject_id = r.id
                                  AND t.to_state = 'needs_review') came
            CROSS JOIN LATERAL (SELECT count(*) AS times FROM billing_event e WHERE e.subject_type = 'refund'
                                  AND e.subject_id = r.id AND e.kind = 'refund.needs_review') alerts
            WHERE came.times <> alerts.times AND OF_ACCOUNT(r.account_id) ORDER BY r.id""",
    ),
)
