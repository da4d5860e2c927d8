"""S3, S4, S5, S7 and S9: the history of attempts, gone through again from the transitions.

Ids of transitions give the order of events: whoever arms or settles writes them while holding the locks of the
invoice, the card and the account, so of one invoice, card or switch they are in order, whatever the clocks showed.
"""

from collections.abc import Iterator

from billing.audit.queries import found
from billing.audit.violation import Violation
from billing.domain.attempts import HOLDS_PLACE, MOVES, UNRESOLVED


def violations(account_id: int | None) -> Iterator[Violation]:
    """S3, S4, S5, S7 and S9 of the account, or of all."""
    moves = sorted(MOVES)
    parameters = {
        "account": account_id,
        "holds": sorted(state.value for state in HOLDS_PLACE),
        "unresolved": sorted(state.value for state in UNRESOLVED),
        "move_from": [before.value for before, _ in moves],
        "move_to": [after.value for _, after in moves],
    }
    for check in CHECKS:
        yield from found(*check, parameters)


# (invariant, sentence, query): the query's rows fill the sentence.
CHECKS = (
    (
        "S3",
        "was armed {} times by its history.",
        """SELECT a.public_id, count(t.id)
            FROM billing_paymentattempt a
            LEFT JOIN billing_transition t ON t.subject_type = 'attempt' AND t.subject_id = a.id
                                          AND t.to_state = 'sending' AND t.from_state <> 'sending'
            WHERE OF_ACCOUNT(a.account_id) AND (a.recovered_at IS NULL AND a.checkout_id IS NULL OR EXISTS (
                SELECT 1 FROM billing_transition b WHERE b.subject_type = 'attempt' AND b.subject_id = a.id
                AND b.from_state = '' AND b.to_state = 'sending'))
            GROUP BY a.id HAVING count(t.id) <> 1 ORDER BY a.id""",
    ),
    (
        "S3",
        "has {} answers to its one request.",
        """SELECT a.public_id, count(*)
            FROM billing_evidence e JOIN billing_paymentattempt a ON a.id = e.attempt_id
            WHERE e.source = 'answer' AND OF_ACCOUNT(a.account_id)
            GROUP BY a.id HAVING count(*) > 1 ORDER BY a.id""",
    ),
    (
        "S3",
        "left sending for {} without evidence about it.",
        """SELECT a.public_id, a.state
            FROM billing_paymentattempt a
            WHERE a.state <> 'sending' AND OF_ACCOUNT(a.account_id)
              AND (NOT EXISTS (SELECT 1 FROM billing_evidence e WHERE e.attempt_id = a.id)
                   OR EXISTS (SELECT 1 FROM billing_transition t
                              WHERE t.subject_type = 'attempt' AND t.subject_id = a.id
                                AND t.from_state = 'sending' AND t.to_state <> 'sending'
                                AND NOT EXISTS (SELECT 1 FROM billing_evidence e
                                                WHERE e.id = t.evidence_id AND e.attempt_id = a.id)))
            ORDER BY a.id""",
    ),
    (
        "S4",
        "was armed for invoice {} while attempt {} was {}.",
        """WITH steps AS (ATTEMPT_STEPS)
            SELECT b.public_id, i.public_id, a.public_id, held.to_state
            FROM billing_paymentattempt b
            JOIN billing_paymentattempt a ON a.invoice_id = b.invoice_id AND a.id <> b.id
            JOIN billing_invoice i ON i.id = b.invoice_id
            JOIN steps armed ON armed.subject_id = b.id AND armed.to_state = 'sending'
            JOIN steps held ON held.subject_id = a.id AND held.to_state = ANY(%(holds)s)
             AND held.id < armed.id AND COALESCE(armed.id < held.next_id, true)
            ORDER BY b.id, held.id""",
    ),
    (
        "S4",
        "has {} attempts that took its money or still may.",
        """SELECT i.public_id, count(*)
            FROM billing_paymentattempt a JOIN billing_invoice i ON i.id = a.invoice_id
            WHERE a.state = ANY(%(holds)s) AND OF_ACCOUNT(a.account_id)
            GROUP BY i.id HAVING count(*) > 1 ORDER BY i.id""",
    ),
    # An attempt keeps its card from being armed until it is resolved, or until a person releases the card.
    (
        "S5",
        "was armed on card {} while an attempt there was still open.",
        """WITH steps AS (ATTEMPT_STEPS),
            released AS (
                SELECT t.subject_id, t.at, min(t.id) AS id FROM billing_transition t
                WHERE t.subject_type = 'card' AND t.to_state = 'released' AND OF_ACCOUNT(t.account_id)
                GROUP BY t.subject_id, t.at),
            busy AS (
                SELECT a.id, a.public_id, a.payment_method_id,
                       min(s.id) FILTER (WHERE s.to_state = 'sending') AS started,
                       LEAST(min(s.id) FILTER (WHERE s.to_state <> ALL(%(unresolved)s)), min(r.id)) AS ended
                FROM billing_paymentattempt a JOIN steps s ON s.subject_id = a.id
                LEFT JOIN released r ON r.subject_id = a.payment_method_id AND r.at = a.released_at
                GROUP BY a.id),
            in_turn AS (
                SELECT public_id, payment_method_id, id, started,
                       max(COALESCE(ended, 9223372036854775807)) OVER (
                           PARTITION BY payment_method_id ORDER BY started
                           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS busy_until
                FROM busy)
            SELECT n.public_id, c.public_id
            FROM in_turn n JOIN billing_paymentmethod c ON c.id = n.payment_method_id
            WHERE n.busy_until > n.started ORDER BY n.id""",
    ),
    (
        "S5",
        "has {} attempts whose outcome is open.",
        """SELECT c.public_id, count(*)
            FROM billing_paymentattempt a JOIN billing_paymentmethod c ON c.id = a.payment_method_id
            WHERE a.state = ANY(%(unresolved)s) AND a.released_at IS NULL AND OF_ACCOUNT(a.account_id)
            GROUP BY c.id HAVING count(*) > 1 ORDER BY c.id""",
    ),
    # The birth and the first step are S3's.
    (
        "S7",
        "went from {} to {} ({}).",
        """WITH moves AS (SELECT * FROM unnest(%(move_from)s::text[], %(move_to)s::text[]) AS m(before, after)),
            steps AS (SELECT t.id, t.subject_id, t.from_state, t.to_state, t.evidence_id,
                             lag(t.to_state) OVER (PARTITION BY t.subject_id ORDER BY t.id) AS stood_at
                      FROM billing_transition t
                      WHERE t.subject_type = 'attempt' AND OF_ACCOUNT(t.account_id))
            SELECT a.public_id, s.from_state, s.to_state,
                   CASE WHEN s.from_state <> s.stood_at THEN 'it was ' || s.stood_at
                        WHEN NOT EXISTS (SELECT 1 FROM moves m WHERE (m.before, m.after) = (s.from_state, s.to_state))
                        THEN 'no such move' ELSE 'without evidence' END
            FROM steps s JOIN billing_paymentattempt a ON a.id = s.subject_id
            WHERE s.stood_at IS NOT NULL
              AND (s.from_state <> s.stood_at
                   OR s.from_state <> s.to_state
                      AND (NOT EXISTS (SELECT 1 FROM moves m WHERE (m.before, m.after) = (s.from_state, s.to_state))
                           OR s.from_state <> 'sending'
                              AND NOT EXISTS (SELECT 1 FROM billing_evidence e
                                              WHERE e.id = s.evidence_id AND e.attempt_id = a.id)))
            ORDER BY s.id""",
    ),
    (
        "S7",
        "is {}, and its history ends at {}.",
        """SELECT a.public_id, a.state, t.to_state
            FROM billing_paymentattempt a
            JOIN LATERAL (SELECT to_state FROM billing_transition
                          WHERE subject_type = 'attempt' AND subject_id = a.id
                          ORDER BY id DESC LIMIT 1) t ON t.to_state <> a.state
            WHERE OF_ACCOUNT(a.account_id) ORDER BY a.id""",
    ),
    # Evidence of money made the attempt succeed, be surplus or a person's case, or raised an alarm.
    (
        "S7",
        "is {}, and evidence {} shows that it was paid.",
        """SELECT a.public_id, a.state, e.id
            FROM billing_evidence e JOIN billing_paymentattempt a ON a.id = e.attempt_id
            WHERE e.verdict = 'paid' AND e.source <> 'holder_ended'
              AND a.state NOT IN ('succeeded', 'surplus', 'needs_review', 'reversed') AND OF_ACCOUNT(a.account_id)
              AND NOT EXISTS (SELECT 1 FROM billing_transition t
                              WHERE t.subject_type = 'attempt' AND t.subject_id = a.id AND t.evidence_id = e.id)
            ORDER BY e.id""",
    ),
    (
        "S9",
        "was armed while {} was stopped.",
        """WITH switch AS (
                SELECT t.subject_type, t.subject_id, t.to_state, t.id AS stopped,
                       lead(t.id, 1, 9223372036854775807)
                           OVER (PARTITION BY t.subject_type, t.subject_id ORDER BY t.id) AS until
                FROM billing_transition t WHERE t.subject_type IN ('account', 'installation'))
            SELECT a.public_id, CASE s.subject_type WHEN 'account' THEN 'the account' ELSE 'everything' END
            FROM switch s
            JOIN billing_transition armed ON armed.subject_type = 'attempt' AND armed.to_state = 'sending'
             AND armed.from_state = '' AND armed.id > s.stopped AND armed.id < s.until
             AND (s.subject_type = 'installation' OR armed.account_id = s.subject_id)
            JOIN billing_paymentattempt a ON a.id = armed.subject_id AND a.recovered_at IS NULL
                                          AND a.checkout_id IS NULL
            WHERE s.to_state = 'stopped' AND OF_ACCOUNT(a.account_id) ORDER BY a.id""",
    ),
    (
        "S9",
        "is {}, and its history says {}.",
        """SELECT g.public_id, CASE WHEN g.stopped_at IS NULL THEN 'running' ELSE 'stopped' END,
                   COALESCE(t.to_state, 'nothing of it')
            FROM billing_gatewayaccount g
            LEFT JOIN LATERAL (SELECT to_state FROM billing_transition
                               WHERE subject_type = 'account' AND subject_id = g.id
                               ORDER BY id DESC LIMIT 1) t ON true
            WHERE (g.stopped_at IS NOT NULL) <> (COALESCE(t.to_state, '') = 'stopped')
              AND OF_ACCOUNT(g.id) ORDER BY g.id""",
    ),
    # What was found at the gateway and written down meanwhile was not armed.
    (
        "S9",
        "was armed while the account was in quarantine.",
        """WITH kept AS (
                SELECT t.subject_id, t.to_state, t.id AS began,
                       lead(t.id, 1, 9223372036854775807) OVER (PARTITION BY t.subject_id ORDER BY t.id) AS until
                FROM billing_transition t WHERE t.subject_type = 'quarantine')
            SELECT a.public_id
            FROM kept k
            JOIN billing_transition armed ON armed.subject_type = 'attempt' AND armed.to_state = 'sending'
             AND armed.from_state = '' AND armed.id > k.began AND armed.id < k.until
             AND armed.account_id = k.subject_id
            JOIN billing_paymentattempt a ON a.id = armed.subject_id AND a.recovered_at IS NULL
                                          AND a.checkout_id IS NULL
            WHERE k.to_state = 'quarantined' AND OF_ACCOUNT(a.account_id) ORDER BY a.id""",
    ),
    (
        "S9",
        "was armed while its card was declined for good.",
        """SELECT a.public_id
            FROM billing_paymentmethod c
            CROSS JOIN LATERAL (SELECT max(t.id) AS id FROM billing_transition t
                                WHERE t.subject_type = 'card' AND t.subject_id = c.id AND t.to_state = 'frozen') frozen
            JOIN billing_paymentattempt a ON a.payment_method_id = c.id AND a.recovered_at IS NULL
            JOIN billing_transition armed ON armed.subject_type = 'attempt' AND armed.subject_id = a.id
             AND armed.to_state = 'sending' AND armed.from_state = '' AND armed.id > frozen.id
            WHERE c.frozen_at IS NOT NULL AND OF_ACCOUNT(a.account_id) ORDER BY a.id""",
    ),
)
