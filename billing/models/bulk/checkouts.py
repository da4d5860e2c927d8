"""Checkouts that are due to be looked at, and what was read before one is opened."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.domain.arming import Refusal
from billing.models.bulk.sql import objects, rows, run


@dataclass(frozen=True, slots=True)
class Claim:
    """A checkout that is leased for one look."""

    id: int
    account_id: int
    leased_until: datetime


def accounts_to_look_at(*, now: datetime) -> list[int]:
    """Accounts that have a checkout to look at."""
    return [
        account
        for (account,) in rows(
            "SELECT DISTINCT account_id FROM billing_checkout WHERE next_check_at <= %s ORDER BY account_id", [now]
        )
    ]


def claim(account_id: int, *, now: datetime, lease: timedelta, limit: int) -> list[Claim]:
    """Leases the account's checkouts whose look has come, those first that keep a card from being charged."""
    found = objects(
        Claim,
        """UPDATE billing_checkout SET next_check_at = %(until)s, looked_at = %(now)s
           WHERE id = ANY(ARRAY(SELECT id FROM billing_checkout
                        WHERE account_id = %(account)s AND next_check_at <= %(now)s
                        ORDER BY closed_at IS NOT NULL, next_check_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
           RETURNING id, account_id, next_check_at AS leased_until""",
        {"account": account_id, "now": now, "until": now + lease, "limit": limit},
    )
    return sorted(found, key=lambda one: one.id)


def finish(claimed: Claim, *, next_at: datetime | None, failed: bool) -> None:
    """Gives the lease back. A hint that came meanwhile stands: it asks for another look."""
    run(
        """UPDATE billing_checkout SET next_check_at = %s, failures = CASE WHEN %s THEN failures + 1 ELSE 0 END
           WHERE id = %s AND next_check_at = %s""",
        [next_at, failed, claimed.id, claimed.leased_until],
    )


def has_unexplained_card(customer_id: int) -> bool:
    """Whether a card of the customer is held: what was seen there may be the money of any invoice."""
    return bool(
        rows(
            "SELECT 1 FROM billing_paymentmethod WHERE customer_id = %s AND held_at IS NOT NULL LIMIT 1", [customer_id]
        )
    )


def wake(invoice_ids: Sequence[int], *, now: datetime) -> int:
    """Makes invoices due, which the caller holds locked, that were not charged because of their page."""
    return run(
        """UPDATE billing_invoice SET next_attempt_at = GREATEST(look_from_at, %s), refusal = NULL, refused_at = NULL
           WHERE id = ANY(%s) AND refusal = %s AND next_attempt_at > %s""",
        [now, list(invoice_ids), Refusal.CHECKOUT_OPEN.value, now],
    )
