"""Claims on what has to be read at the gateway: unknown attempts, and invoices before another try."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.models.bulk.sql import rows, run


@dataclass(frozen=True, slots=True)
class Check:
    attempt_id: int
    account_id: int
    payment_method_id: int
    armed_at: datetime
    checks_done: int
    checks_failed: int


def claim(*, now: datetime, lease: timedelta, limit: int) -> list[Check]:
    """Takes attempts whose check is due, each leased to this caller: unless it is heard of again, the check is
    due once more when the lease has ended."""
    return [
        Check(*row)
        for row in rows(
            """UPDATE billing_paymentattempt SET next_check_at = %s
               WHERE id IN (SELECT id FROM billing_paymentattempt WHERE next_check_at <= %s
                            ORDER BY next_check_at LIMIT %s FOR UPDATE SKIP LOCKED)
               RETURNING id, account_id, payment_method_id, armed_at, checks_done, checks_failed""",
            [now + lease, now, limit],
        )
    ]


def postpone(checks: Sequence[tuple[int, datetime]]) -> None:
    """A read failed: it does not count, and is repeated at the given time."""
    if checks:
        ids, times = (list(column) for column in zip(*checks, strict=True))
        run(
            """UPDATE billing_paymentattempt a SET next_check_at = n.at, checks_failed = a.checks_failed + 1
               FROM unnest(%s::bigint[], %s::timestamptz[]) AS n(id, at)
               WHERE a.id = n.id AND a.state IN ('unknown', 'in_process')""",
            [ids, times],
        )


@dataclass(frozen=True, slots=True)
class Preflight:
    """An invoice leased for reading; `token` must still be its own when the result is written."""

    invoice_id: int
    token: int
    card_ids: tuple[int, ...]


def claim_preflights(
    account_id: int, *, now: datetime, lease: timedelta, fresh: timedelta, always: bool, limit: int
) -> list[Preflight]:
    """Leases due invoices whose cards must be read before another attempt, with the cards to read: those of all
    earlier attempts and the one that would be charged now."""
    leased = rows(
        """UPDATE billing_invoice SET lease_until = %(until)s, lease_token = lease_token + 1
           WHERE id IN (SELECT id FROM billing_invoice
                        WHERE account_id = %(account)s AND next_attempt_at <= %(now)s
                          AND (attempt_count > 0 OR %(always)s)
                          AND (preflight_at IS NULL OR preflight_at < %(stale)s)
                          AND (lease_until IS NULL OR lease_until <= %(now)s)
                        ORDER BY next_attempt_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
           RETURNING id, lease_token""",
        {
            "account": account_id,
            "now": now,
            "until": now + lease,
            "stale": now - fresh,
            "always": always,
            "limit": limit,
        },
    )
    if not leased:
        return []
    cards: dict[int, set[int]] = {invoice: set() for invoice, _ in leased}
    for invoice, card in rows(
        """SELECT invoice_id, payment_method_id FROM billing_paymentattempt WHERE invoice_id = ANY(%(ids)s)
           UNION
           SELECT i.id, COALESCE(i.payment_method_id, s.payment_method_id, d.id)
           FROM billing_invoice i
           LEFT JOIN billing_subscription s ON s.id = i.subscription_id
           LEFT JOIN billing_paymentmethod d ON d.customer_id = i.customer_id AND d.is_default
           WHERE i.id = ANY(%(ids)s)""",
        {"ids": list(cards)},
    ):
        if card is not None:
            cards[invoice].add(card)
    return [Preflight(invoice, token, tuple(sorted(cards[invoice]))) for invoice, token in leased]


def finish_preflight(preflight: Preflight, *, read_at: datetime) -> bool:
    """Marks the invoice as read at `read_at` (when reading began). False: the lease was lost meanwhile."""
    return bool(
        run(
            """UPDATE billing_invoice SET preflight_at = %s, lease_until = NULL
               WHERE id = %s AND lease_token = %s""",
            [read_at, preflight.invoice_id, preflight.token],
        )
    )


def fail_preflight(preflight: Preflight, *, now: datetime, again_at: datetime, refusal: str) -> None:
    """The cards could not be read, or showed money that nothing explains: the invoice waits."""
    run(
        """UPDATE billing_invoice SET lease_until = NULL, refusal = %s, refused_at = %s, next_attempt_at = %s
           WHERE id = %s AND lease_token = %s AND next_attempt_at IS NOT NULL""",
        [refusal, now, again_at, preflight.invoice_id, preflight.token],
    )
