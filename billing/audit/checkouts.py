"""L8: a payment page ends, and what was paid on one is an attempt."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from billing.audit.queries import found
from billing.audit.violation import Violation
from billing.charging.checkouts.work import LEASE
from billing.domain.checkouts import LIVE

Parameters = Mapping[str, Any]
# A look that is due is made every few seconds, and a reader's lease has ended by then.
TAKEN_UP_WITHIN = LEASE + timedelta(minutes=10)


def violations(account_id: int | None, *, now: datetime) -> Iterator[Violation]:
    """L8 of the account, or of all, at `now`."""
    parameters = {
        "account": account_id,
        "late": now - TAKEN_UP_WITHIN,
        "live": sorted(state.value for state in LIVE),
    }
    yield from _ends(parameters)
    yield from _is_an_attempt(parameters)


def _ends(parameters: Parameters) -> Iterator[Violation]:
    yield from found(
        "L8",
        "is {}, and {}.",
        """SELECT p.public_id, p.state,
                  CASE WHEN p.next_check_at IS NULL THEN 'no check is planned'
                       WHEN p.excludes_until < %(late)s THEN 'has kept a card from being charged for more than a day'
                       ELSE 'its check is late' END
            FROM billing_checkout p
            WHERE p.state = ANY(%(live)s) AND OF_ACCOUNT(p.account_id)
              AND (p.next_check_at IS NULL OR p.next_check_at < %(late)s OR p.excludes_until < %(late)s)
            ORDER BY p.id""",
        parameters,
    )
    yield from found(
        "L8",
        "may be being paid, and {} is {}.",
        """SELECT p.public_id, a.public_id, a.state
            FROM billing_checkout p JOIN billing_paymentattempt a ON a.invoice_id = p.invoice_id
            WHERE p.state = ANY(%(live)s) AND a.state IN ('sending', 'unknown', 'in_process', 'needs_review')
              AND a.armed_at >= p.created_at AND a.armed_at < p.excludes_until AND a.checkout_id IS NULL
              AND a.recovered_at IS NULL AND OF_ACCOUNT(p.account_id)
            ORDER BY p.id, a.id""",
        parameters,
    )


def _is_an_attempt(parameters: Parameters) -> Iterator[Violation]:
    yield from found(
        "L8",
        "is paid, and no attempt took its money.",
        """SELECT p.public_id FROM billing_checkout p
            WHERE p.state = 'paid' AND OF_ACCOUNT(p.account_id)
              AND NOT EXISTS (SELECT 1 FROM billing_paymentattempt a
                              WHERE a.checkout_id = p.id AND a.state IN ('succeeded', 'surplus', 'reversed'))
            ORDER BY p.id""",
        parameters,
    )
    yield from found(
        "L8",
        "was paid on {}, and is {}.",
        """SELECT a.public_id, p.public_id, a.state
            FROM billing_paymentattempt a JOIN billing_checkout p ON p.id = a.checkout_id
            WHERE a.state NOT IN ('succeeded', 'surplus', 'reversed') AND OF_ACCOUNT(a.account_id) ORDER BY a.id""",
        parameters,
    )
    yield from found(
        "L8",
        "was paid on {}, which is {}.",
        """SELECT a.public_id, p.public_id, p.state
            FROM billing_paymentattempt a JOIN billing_checkout p ON p.id = a.checkout_id
            WHERE p.state <> 'paid' AND OF_ACCOUNT(a.account_id) ORDER BY a.id""",
        parameters,
    )
