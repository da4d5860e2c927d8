"""Claims on what has to be read at the gateway: unknown attempts, and invoices before another try."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.domain.attempts import CHECKED
from billing.models.bulk.sql import objects, rows, run

LEASE = timedelta(seconds=150)


@dataclass(frozen=True, slots=True)
class Check:
    attempt_id: int
    account_id: int
    payment_method_id: int
    armed_at: datetime
    checks_done: int
    checks_failed: int
    marker: str
    rung_at: datetime | None
    read_at: datetime  # when it was claimed: the read begins after it


# What is claimed is chosen in an ARRAY, which runs once. PostgreSQL may run `IN (SELECT … LIMIT … SKIP LOCKED)` once
# for each row, and then takes more than the limit.


def claim(*, now: datetime, longest_wait: timedelta, limit: int, not_at: Sequence[str] = ()) -> list[Check]:
    """Takes attempts whose check is due, but for those of accounts whose gateway's address is one of `not_at`, each
    leased to this caller: unless it is scheduled again, the check is due once more when the lease has ended.

    A check that is further away than `longest_wait` was written by a clock that was set back since: it is due."""
    claimed = objects(
        Check,
        """UPDATE billing_paymentattempt SET next_check_at = %s, looked_at = %s
           WHERE id = ANY(ARRAY(SELECT id FROM billing_paymentattempt WHERE (next_check_at <= %s OR next_check_at > %s)
                          AND account_id NOT IN (SELECT id FROM billing_gatewayaccount WHERE api_url = ANY(%s))
                        ORDER BY next_check_at, id LIMIT %s FOR UPDATE SKIP LOCKED))
           RETURNING id AS attempt_id, account_id, payment_method_id, armed_at, checks_done, checks_failed, marker,
                     rung_at, looked_at AS read_at""",
        [now + LEASE, now, now, now + longest_wait, list(not_at), limit],
    )
    return sorted(claimed, key=lambda check: check.attempt_id)


def read_again(checks: Sequence[tuple[Check, datetime]]) -> None:
    """Cards that were read, without a rung for these attempts: they wait for the given times. What was hinted at
    meanwhile, or settled, waits for its own."""
    if checks:
        run(
            """UPDATE billing_paymentattempt a SET next_check_at = n.at
               FROM unnest(%s::bigint[], %s::int[], %s::timestamptz[], %s::timestamptz[]) AS n(id, done, leased, at)
               WHERE a.id = n.id AND a.next_check_at = n.leased AND a.checks_done = n.done
                 AND a.state = ANY(%s)""",
            [
                [check.attempt_id for check, _ in checks],
                [check.checks_done for check, _ in checks],
                [check.read_at + LEASE for check, _ in checks],
                [at for _, at in checks],
                sorted(CHECKED),
            ],
        )


def postpone(checks: Sequence[tuple[int, datetime]]) -> None:
    """A read failed: it does not count, and is repeated at the given time."""
    if checks:
        ids, times = (list(column) for column in zip(*checks, strict=True))
        run(
            """UPDATE billing_paymentattempt a SET next_check_at = n.at, checks_failed = a.checks_failed + 1
               FROM unnest(%s::bigint[], %s::timestamptz[]) AS n(id, at)
               WHERE a.id = n.id AND a.state = ANY(%s)""",
            [ids, times, sorted(CHECKED)],
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
    earlier attempts and the one that would be charged now. A lease that ends later than any was taken for was
    written by a clock that was set back since."""
    leased = rows(
        """UPDATE billing_invoice SET lease_until = %(until)s, lease_token = lease_token + 1
           WHERE id = ANY(ARRAY(SELECT id FROM billing_invoice
                        WHERE account_id = %(account)s AND next_attempt_at <= %(now)s
                          AND (attempt_count > 0 OR %(always)s OR refusal = 'card_unreadable')
                          AND (preflight_at IS NULL OR preflight_at > %(now)s
                               OR preflight_at < GREATEST(%(stale)s, look_from_at))
                          AND (look_from_at IS NULL OR look_from_at <= %(now)s)
                          AND (lease_until IS NULL OR lease_until <= %(now)s OR lease_until > %(no_lease)s)
                        ORDER BY next_attempt_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
           RETURNING id, lease_token""",
        {
            "account": account_id,
            "now": now,
            "until": now + lease,
            "no_lease": now + 2 * lease,  # clocks of two workers differ a little
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
    return [Preflight(invoice, token, tuple(sorted(cards[invoice]))) for invoice, token in sorted(leased)]


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


def wait_for_lists(*, now: datetime, invoice_id: int | None = None) -> int:
    """Takes due invoices whose next look would come too early off the list until it does not, whoever wished that
    they were tried now. How many. `invoice_id`: only this one."""
    return run(
        """UPDATE billing_invoice SET next_attempt_at = look_from_at, refusal = 'lists_may_lag', refused_at = %(now)s
           WHERE id IN (SELECT id FROM billing_invoice
                        WHERE next_attempt_at <= %(now)s AND look_from_at > %(now)s
                          AND (%(invoice)s::bigint IS NULL OR id = %(invoice)s) FOR UPDATE SKIP LOCKED)""",
        {"now": now, "invoice": invoice_id},
    )


def pull_back(*, now: datetime, longest_wait: timedelta, not_at: Sequence[str] = ()) -> int:
    """Invoices that wait longer than any rule lets them wait are due: the clock was set back since. How many. None of
    accounts whose gateway's address is one of `not_at`: by a clock that is wrong itself nothing is due.

    Their looks have to show what was done before this moment, with the lists' whole lag."""
    return run(
        """UPDATE billing_invoice i SET next_attempt_at = %(now)s,
                  look_from_at = CASE WHEN i.look_from_at > %(now)s
                                      THEN %(now)s + make_interval(secs => a.list_lag_seconds) ELSE i.look_from_at END
           FROM billing_gatewayaccount a
           WHERE a.id = i.account_id AND i.id = ANY(ARRAY(
               SELECT id FROM billing_invoice WHERE next_attempt_at > %(latest)s
                 AND account_id NOT IN (SELECT id FROM billing_gatewayaccount WHERE api_url = ANY(%(not_at)s))
               LIMIT 500 FOR UPDATE SKIP LOCKED))""",
        {"now": now, "latest": now + longest_wait, "not_at": list(not_at)},
    )


def note_unread(card_ids: Sequence[int], *, now: datetime, unreadable_after: timedelta) -> list[int]:
    """The orders of these cards could not be read. The cards that have become *unreadable* by it."""
    if not card_ids:
        return []
    run(
        """UPDATE billing_paymentmethod SET unread_since = %s
           WHERE id IN (SELECT id FROM billing_paymentmethod WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE)
             AND (unread_since IS NULL OR unread_since > %s)""",
        [now, list(card_ids), now],
    )
    return [
        card
        for (card,) in rows(
            """UPDATE billing_paymentmethod SET unreadable_at = %s
               WHERE id = ANY(%s) AND unreadable_at IS NULL AND unread_since <= %s RETURNING id""",
            [now, list(card_ids), now - unreadable_after],
        )
    ]


def note_read(card_id: int) -> None:
    """The card's orders were read completely: nothing about it is unreadable any more."""
    run(
        """UPDATE billing_paymentmethod SET unread_since = NULL, unreadable_at = NULL, given_up_at = NULL
           WHERE id = %s AND unread_since IS NOT NULL""",
        [card_id],
    )
