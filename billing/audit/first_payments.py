"""L7: a first payment decides whether its subscription starts or expires."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from billing.audit.queries import found
from billing.audit.violation import Violation
from billing.domain.attempts import UNRESOLVED

Parameters = Mapping[str, Any]
# Workers look for what is overdue every minute.
EXPIRED_WITHIN = timedelta(minutes=15)


def violations(account_id: int | None, *, now: datetime) -> Iterator[Violation]:
    """L7 of the account, or of all, at `now`."""
    parameters = {
        "account": account_id,
        "over_before": now - EXPIRED_WITHIN,
        "unresolved": sorted(state.value for state in UNRESOLVED),
    }
    yield from _paid(parameters)
    yield from _expired(parameters)
    yield from _overdue(parameters)


def _paid(parameters: Parameters) -> Iterator[Violation]:
    yield from found(
        "L7",
        "is incomplete, and {} is paid.",
        """SELECT s.public_id, i.public_id
            FROM billing_subscription s JOIN billing_invoice i ON i.subscription_id = s.id
            WHERE s.state = 'incomplete' AND i.state = 'paid' AND OF_ACCOUNT(s.account_id) ORDER BY s.id, i.id""",
        parameters,
    )
    yield from found(
        "L7",
        "began, and has no invoice for its first payment.",
        """SELECT s.public_id FROM billing_subscription s
            WHERE s.first_payment_ends_at IS NOT NULL AND OF_ACCOUNT(s.account_id)
              AND NOT EXISTS (SELECT 1 FROM billing_invoice i WHERE i.subscription_id = s.id AND i.period_index = 0)
            ORDER BY s.id""",
        parameters,
    )


def _expired(parameters: Parameters) -> Iterator[Violation]:
    yield from found(
        "L7",
        "is expired, and {} is {}.",
        """SELECT s.public_id, i.public_id, i.state
            FROM billing_subscription s JOIN billing_invoice i ON i.subscription_id = s.id
            WHERE s.state = 'expired' AND i.state <> 'void' AND OF_ACCOUNT(s.account_id) ORDER BY s.id, i.id""",
        parameters,
    )
    yield from found(
        "L7",
        "is expired, and {} is {}.",
        """SELECT s.public_id, a.public_id, a.state
            FROM billing_subscription s JOIN billing_invoice i ON i.subscription_id = s.id
            JOIN billing_paymentattempt a ON a.invoice_id = i.id
            WHERE s.state = 'expired' AND a.state = ANY(%(unresolved)s) AND OF_ACCOUNT(s.account_id)
            ORDER BY s.id, a.id""",
        parameters,
    )


def _overdue(parameters: Parameters) -> Iterator[Violation]:
    """Only what waits for nothing but another card; and not right after its account was started again."""
    yield from found(
        "L7",
        "could be paid until {:%Y-%m-%d %H:%M:%S} UTC, and has not expired.",
        """SELECT s.public_id, s.first_payment_ends_at
            FROM billing_subscription s JOIN billing_gatewayaccount g ON g.id = s.account_id
            JOIN billing_invoice i ON i.subscription_id = s.id AND i.refusal = 'first_charge_declined'
            WHERE s.state = 'incomplete' AND i.state = 'open' AND i.hold IS NULL AND i.next_attempt_at IS NULL
              AND GREATEST(s.first_payment_ends_at, i.look_from_at) < %(over_before)s
              AND g.stopped_at IS NULL AND g.quarantined_at IS NULL AND OF_ACCOUNT(s.account_id)
              AND NOT EXISTS (SELECT 1 FROM billing_installation WHERE stopped_at IS NOT NULL)
              AND NOT EXISTS (SELECT 1 FROM billing_paymentmethod c
                              WHERE c.customer_id = i.customer_id AND c.held_at IS NOT NULL)
              AND NOT EXISTS (SELECT 1 FROM billing_proposal p WHERE p.invoice_id = i.id AND p.outcome = 'open')
              AND NOT EXISTS (SELECT 1 FROM billing_transition t
                              WHERE t.at >= %(over_before)s AND t.to_state IN ('running', 'lifted')
                                AND (t.subject_type = 'installation'
                                     OR t.subject_type IN ('account', 'quarantine') AND t.subject_id = g.id))
            ORDER BY s.id""",
        parameters,
    )
