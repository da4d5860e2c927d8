"""S1, S2, S6 and S10, as far as the database knows: who took money, for what, and what the gateway showed us."""

from collections.abc import Iterator, Mapping
from typing import Any

from billing.audit.queries import found
from billing.audit.run_counts import KEPT_BY_THE_GATEWAY
from billing.audit.violation import Violation
from billing.domain.attempts import ENDED_WITHOUT_MONEY

SUCCESS_OR_REFUNDED = sorted(KEPT_BY_THE_GATEWAY | {"FULL_REFUNDED"})
GIVEN_BACK = ["FULL_REFUNDED", "PARTIAL_REFUNDED", "REVERSED"]


def violations(account_id: int | None) -> Iterator[Violation]:
    """S1, S2, S6 and S10 of the account, or of all."""
    parameters = {
        "account": account_id,
        "kept": sorted(KEPT_BY_THE_GATEWAY),
        "taken": SUCCESS_OR_REFUNDED,
        "ended": sorted(state.value for state in ENDED_WITHOUT_MONEY),
    }
    yield from _taken_once(parameters)
    yield from _successes_are_the_gateways(parameters)
    yield from _one_attempt_a_transaction(parameters)
    yield from _orders_agree(parameters)
    yield from _orders_are_explained(parameters)
    yield from _reported_payments_are_explained(parameters)
    yield from _refund_has_its_event(account_id)


def _taken_once(parameters: Mapping[str, Any]) -> Iterator[Violation]:
    """Money is what an attempt recorded, a success of the gateway that explains itself by the attempt, or a payment
    that was found at the gateway."""
    yield from found(
        "S1",
        "took money {} times, and no more than one may stay.",
        """SELECT i.public_id, sum(taken.times)
            FROM (SELECT a.invoice_id,
                         GREATEST((MONEY_KEPT)::int,
                                  CASE WHEN a.state <> 'reversed' AND a.amount_refunded_minor < a.amount_minor
                                       THEN count(o.id) ELSE 0 END)
                             AS times
                  FROM billing_paymentattempt a
                  LEFT JOIN billing_gatewayorder o ON o.attempt_id = a.id AND o.status = ANY(%(kept)s)
                  WHERE OF_ACCOUNT(a.account_id)
                  GROUP BY a.id
                  UNION ALL
                  SELECT p.invoice_id, 1 FROM billing_outsidepayment p
                  WHERE p.gateway_transaction_id IS NOT NULL AND OF_ACCOUNT(p.account_id)) AS taken
            JOIN billing_invoice i ON i.id = taken.invoice_id
            GROUP BY i.id HAVING sum(taken.times) > 1 ORDER BY i.id""",
        parameters,
    )


def _successes_are_the_gateways(parameters: Mapping[str, Any]) -> Iterator[Violation]:
    yield from found(
        "S2",
        "succeeded, and its invoice {} is {}.",
        """SELECT a.public_id, i.public_id, i.state
            FROM billing_paymentattempt a JOIN billing_invoice i ON i.id = a.invoice_id
            WHERE a.state = 'succeeded' AND i.state <> 'paid' AND OF_ACCOUNT(a.account_id) ORDER BY a.id""",
        parameters,
    )
    yield from found(
        "S2",
        "is paid, {} of its attempts succeeded, and it has {} payments from elsewhere.",
        """SELECT i.public_id, count(a.id), (SELECT count(*) FROM billing_outsidepayment p WHERE p.invoice_id = i.id)
            FROM billing_invoice i
            LEFT JOIN billing_paymentattempt a ON a.invoice_id = i.id AND a.state = 'succeeded'
            WHERE i.state = 'paid' AND OF_ACCOUNT(i.account_id)
            GROUP BY i.id
            HAVING count(a.id) + (SELECT count(*) FROM billing_outsidepayment p WHERE p.invoice_id = i.id) <> 1
            ORDER BY i.id""",
        parameters,
    )
    yield from found(
        "S2",
        "was paid elsewhere over {} {} by {}, and its invoice {} is {} over {} {}.",
        """SELECT p.public_id, p.amount_minor, p.currency, p.recorded_by, i.public_id, i.state, i.amount_minor,
                   i.currency
            FROM billing_outsidepayment p JOIN billing_invoice i ON i.id = p.invoice_id
            WHERE (i.state <> 'paid' OR (p.amount_minor, p.currency) <> (i.amount_minor, i.currency))
              AND OF_ACCOUNT(p.account_id) ORDER BY p.id""",
        parameters,
    )
    yield from found(
        "S2",
        "requested {} {}, and its invoice {} is over {} {}.",
        """SELECT a.public_id, a.amount_minor, a.currency, i.public_id, i.amount_minor, i.currency
            FROM billing_paymentattempt a JOIN billing_invoice i ON i.id = a.invoice_id
            WHERE (a.amount_minor, a.currency) <> (i.amount_minor, i.currency) AND OF_ACCOUNT(a.account_id)
            ORDER BY a.id""",
        parameters,
    )
    yield from found(
        "S2",
        "is {}, and no evidence says that transaction {} took its amount.",
        """SELECT a.public_id, a.state, COALESCE(a.gateway_transaction_id, 'none')
            FROM billing_paymentattempt a
            WHERE MONEY_KEPT AND OF_ACCOUNT(a.account_id)
              AND NOT EXISTS (SELECT 1 FROM billing_evidence e
                              WHERE e.attempt_id = a.id AND e.verdict = 'paid'
                                AND e.content ->> 'transaction_id' = a.gateway_transaction_id
                                AND (e.content ->> 'amount_minor')::bigint = a.amount_minor
                                AND e.content ->> 'currency' = a.currency)
            ORDER BY a.id""",
        parameters,
    )
    yield from found(
        "S2",
        "is {} over {} {}, and the gateway showed transaction {} as {} over {} {}.",
        """SELECT a.public_id, a.state, a.amount_minor, a.currency, t.gateway_transaction_id, t.status,
                   t.amount_minor, t.currency
            FROM billing_paymentattempt a
            JOIN billing_gatewaytransaction t
              ON t.account_id = a.account_id AND t.gateway_transaction_id = a.gateway_transaction_id
            WHERE MONEY_KEPT AND OF_ACCOUNT(a.account_id)
              AND ((t.amount_minor, t.currency) <> (a.amount_minor, a.currency) OR t.status <> ALL(%(taken)s))
            ORDER BY a.id""",
        parameters,
    )


def _one_attempt_a_transaction(parameters: Mapping[str, Any]) -> Iterator[Violation]:
    yield from found(
        "S6",
        "carries transaction {}, which is recorded as the payment of {} from elsewhere too.",
        """SELECT a.public_id, a.gateway_transaction_id, i.public_id
            FROM billing_outsidepayment p
            JOIN billing_paymentattempt a
              ON a.account_id = p.account_id AND a.gateway_transaction_id = p.gateway_transaction_id
            JOIN billing_invoice i ON i.id = p.invoice_id
            WHERE OF_ACCOUNT(p.account_id) ORDER BY a.id""",
        parameters,
    )
    for column, noun in (("gateway_transaction_id", "transaction"), ("gateway_order_id", "order")):
        yield from found(
            "S6",
            f"carries {noun} {{}}, and so does {{}}.",
            """SELECT a.public_id, a.WHICH, b.public_id
                FROM billing_paymentattempt a
                JOIN billing_paymentattempt b
                  ON b.account_id = a.account_id AND b.WHICH = a.WHICH AND b.id < a.id
                WHERE OF_ACCOUNT(a.account_id) ORDER BY a.id""".replace("WHICH", column),
            parameters,
        )
    yield from found(
        "S6",
        "carries transaction {}, and order {} of it is put down to {}.",
        """SELECT a.public_id, a.gateway_transaction_id, o.gateway_order_id, b.public_id
            FROM billing_gatewayorder o
            JOIN billing_paymentattempt b ON b.id = o.attempt_id
            JOIN billing_paymentattempt a
              ON a.account_id = o.account_id AND a.gateway_transaction_id = o.gateway_transaction_id AND a.id <> b.id
            WHERE o.gateway_transaction_id <> '' AND OF_ACCOUNT(o.account_id) ORDER BY a.id""",
        parameters,
    )


def _orders_agree(parameters: Mapping[str, Any]) -> Iterator[Violation]:
    """What contradicts our books raised an alarm, or it is a mistake. That a payment was kept when it
    was last seen contradicts no reversal since."""
    yield from found(
        "S10",
        "is {}, and the gateway has its order {} as {}.",
        """SELECT a.public_id, a.state, o.gateway_order_id, o.status
            FROM billing_gatewayorder o JOIN billing_paymentattempt a ON a.id = o.attempt_id
            WHERE OF_ACCOUNT(o.account_id) AND NOT EXISTS (SELECT 1 FROM billing_event e WHERE e.kind = 'attempt.alarm'
                              AND e.subject_type = 'attempt' AND e.subject_id = a.id)
              AND (o.status = ANY(%(kept)s)
                       AND (a.state = ANY(%(ended)s) OR a.state = 'reversed' AND o.last_seen_at > a.settled_at)
                   OR MONEY_KEPT AND o.gateway_order_id = a.gateway_order_id AND o.status <> ALL(%(taken)s))
            ORDER BY a.id""",
        parameters,
    )
    yield from found(
        "S10",
        "is {} over {} {}, and the gateway has its order {} over {} {}.",
        """SELECT a.public_id, a.state, a.amount_minor, a.currency, o.gateway_order_id, o.amount_minor, o.currency
            FROM billing_gatewayorder o JOIN billing_paymentattempt a ON a.id = o.attempt_id
            WHERE MONEY_KEPT AND (o.amount_minor, o.currency) <> (a.amount_minor, a.currency)
              AND OF_ACCOUNT(o.account_id) ORDER BY a.id""",
        parameters,
    )


def _orders_are_explained(parameters: Mapping[str, Any]) -> Iterator[Violation]:
    """Money on a card of ours is an attempt's, was there before, may be that of an attempt not decided, or alerted."""
    yield from found(
        "S10",
        "has order {} over {} {}, which took money, explains no attempt, and raised no alarm.",
        """SELECT c.public_id, o.gateway_order_id, o.amount_minor, o.currency
            FROM billing_gatewayorder o JOIN billing_paymentmethod c ON c.id = o.payment_method_id
            WHERE o.status = ANY(%(kept)s) AND NOT o.in_baseline AND o.attempt_id IS NULL AND c.kind = 'tokenized'
              AND OF_ACCOUNT(o.account_id)
              AND NOT EXISTS (SELECT 1 FROM billing_event e
                              WHERE e.kind = 'payment_method.unexplained_order' AND e.subject_type = 'card'
                                AND e.subject_id = c.id AND e.occasion = o.gateway_order_id)
              AND NOT EXISTS (SELECT 1 FROM billing_paymentattempt a WHERE a.payment_method_id = c.id
                                AND (a.gateway_order_id = o.gateway_order_id
                                     OR a.gateway_transaction_id = o.gateway_transaction_id
                                     OR a.state IN ('sending', 'unknown', 'in_process', 'needs_review')
                                        AND (a.amount_minor, a.currency) = (o.amount_minor, o.currency)))
            ORDER BY o.id""",
        parameters,
    )


def _reported_payments_are_explained(parameters: Mapping[str, Any]) -> Iterator[Violation]:
    """A payment of a daily report that looks like ours, until an attempt explains it or a person has decided."""
    yield from found(
        "S10",
        "took {} {} at the gateway, and no attempt explains it.",
        """SELECT f.gateway_transaction_id, f.amount_minor, f.currency
            FROM billing_foundpayment f
            WHERE f.decided_at IS NULL AND f.attempt_id IS NULL AND f.kind <> 'went_back'
              AND OF_ACCOUNT(f.account_id)
              AND NOT EXISTS (SELECT 1 FROM billing_paymentattempt a
                              WHERE a.account_id = f.account_id
                                AND a.gateway_transaction_id = f.gateway_transaction_id)
            ORDER BY f.id""",
        parameters,
    )


def _refund_has_its_event(account_id: int | None) -> Iterator[Violation]:
    """Money that a person recorded as a payment and that the gateway refunded: an event was recorded."""
    yield from found(
        "S10",
        "was paid by transaction {}, which the gateway has as {}, and no event was recorded.",
        """SELECT i.public_id, p.gateway_transaction_id, seen.status
            FROM billing_outsidepayment p JOIN billing_invoice i ON i.id = p.invoice_id
            JOIN (SELECT account_id, gateway_transaction_id, status FROM billing_gatewaytransaction
                  UNION
                  SELECT account_id, gateway_transaction_id, status FROM billing_gatewayorder) AS seen
              ON seen.account_id = p.account_id AND seen.gateway_transaction_id = p.gateway_transaction_id
            WHERE seen.status = ANY(%(back)s) AND OF_ACCOUNT(p.account_id)
              AND NOT EXISTS (SELECT 1 FROM billing_foundpayment f
                              WHERE f.account_id = p.account_id AND f.kind = 'went_back'
                                AND f.gateway_transaction_id = p.gateway_transaction_id)
            ORDER BY p.id""",
        {"account": account_id, "back": GIVEN_BACK},
    )
