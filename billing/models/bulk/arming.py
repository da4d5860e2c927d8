"""arm: lock cards, subscriptions and invoices of a batch, then insert its attempts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.models.bulk.sql import columns, rows, run


@dataclass(frozen=True, slots=True)
class LockedAccount:
    id: int
    environment: str
    api_url: str
    charge_path: str
    charge_limit_minor: int
    preflight_always: bool
    stopped: bool


def lock_account(account_id: int) -> LockedAccount:
    """The account with both stop switches, locked so that neither can be thrown before the commit."""
    ((installation_stopped,),) = rows(
        "SELECT stopped_at IS NOT NULL FROM billing_installation WHERE id = 1 FOR SHARE", []
    )
    ((found_id, environment, api_url, path, limit, preflight, stopped),) = rows(
        """SELECT id, environment, api_url, charge_path, charge_limit_minor, preflight_always,
                  stopped_at IS NOT NULL
           FROM billing_gatewayaccount WHERE id = %s FOR SHARE""",
        [account_id],
    )
    return LockedAccount(found_id, environment, api_url, path, limit, preflight, stopped or installation_stopped)


def accounts_with_work(*, now: datetime) -> list[int]:
    """Accounts that have an invoice to collect at `now` and are not stopped."""
    return [
        account
        for (account,) in rows(
            """SELECT a.id FROM billing_gatewayaccount a
               WHERE a.stopped_at IS NULL
                 AND NOT EXISTS (SELECT 1 FROM billing_installation WHERE stopped_at IS NOT NULL)
                 AND EXISTS (SELECT 1 FROM billing_invoice i
                             WHERE i.account_id = a.id AND i.next_attempt_at <= %s)
               ORDER BY a.id""",
            [now],
        )
    ]


def due_invoices(
    account_id: int, *, now: datetime, limit: int, preflight_always: bool, preflight_fresh: timedelta
) -> list[tuple[int, int | None, int | None]]:
    """(invoice, subscription, card) of the first due invoices that need no preflight or have a fresh one.

    The card is the invoice's own, else the subscription's, else the customer's default. The invoices are locked, and
    those that another worker holds are skipped: two workers at the head of one list share it."""
    return [
        (invoice, subscription, card)
        for invoice, subscription, card in rows(
            """SELECT i.id, i.subscription_id, COALESCE(i.payment_method_id, s.payment_method_id, d.id)
               FROM billing_invoice i
               LEFT JOIN billing_subscription s ON s.id = i.subscription_id
               LEFT JOIN billing_paymentmethod d ON d.customer_id = i.customer_id AND d.is_default
               WHERE i.account_id = %(account)s AND i.next_attempt_at <= %(now)s
                 AND ((i.attempt_count = 0 AND NOT %(always)s) OR i.preflight_at >= %(fresh_since)s)
               ORDER BY i.next_attempt_at LIMIT %(limit)s FOR UPDATE OF i SKIP LOCKED""",
            {
                "account": account_id,
                "now": now,
                "limit": limit,
                "always": preflight_always,
                "fresh_since": now - preflight_fresh,
            },
        )
    ]


@dataclass(frozen=True, slots=True)
class LockedCard:
    id: int
    customer_id: int
    state: str
    kind: str
    environment: str
    held: bool
    is_default: bool
    gateway_customer_id: str | None
    has_unresolved_attempt: bool


def lock_cards(card_ids: Sequence[int]) -> dict[int, LockedCard]:
    """Locks the cards that nobody else holds, in id order."""
    found = rows(
        """SELECT c.id, c.customer_id, c.state, c.kind, c.environment, c.held_at IS NOT NULL, c.is_default,
                  c.gateway_customer_id
           FROM billing_paymentmethod c WHERE c.id = ANY(%s) ORDER BY c.id FOR UPDATE SKIP LOCKED""",
        [list(card_ids)],
    )
    # A separate statement, so that it sees what was committed before the locks were granted.
    busy = {
        card
        for (card,) in rows(
            """SELECT payment_method_id FROM billing_paymentattempt WHERE payment_method_id = ANY(%s)
               AND state IN ('sending', 'unknown', 'in_process', 'needs_human') AND released_at IS NULL""",
            [[row[0] for row in found]],
        )
    }
    return {row[0]: LockedCard(*(*row, row[0] in busy)) for row in found}


@dataclass(frozen=True, slots=True)
class LockedSubscription:
    id: int
    state: str
    collector: str
    payment_method_id: int | None


def lock_subscriptions(subscription_ids: Sequence[int]) -> dict[int, LockedSubscription]:
    """Locks, against pausing and cancelling, the subscriptions that nobody else holds."""
    found = rows(
        """SELECT id, state, collector, payment_method_id FROM billing_subscription
           WHERE id = ANY(%s) ORDER BY id FOR SHARE SKIP LOCKED""",
        [list(subscription_ids)],
    )
    return {row[0]: LockedSubscription(*row) for row in found}


@dataclass(frozen=True, slots=True)
class LockedInvoice:
    id: int
    public_id: str
    customer_id: int
    subscription_id: int | None
    payment_method_id: int | None
    description: str
    amount_minor: int
    currency: str
    amount_refunded_minor: int
    attempt_count: int
    preflight_at: datetime | None
    collect_regardless: bool
    has_holder: bool


def lock_invoices(invoice_ids: Sequence[int], *, now: datetime) -> dict[int, LockedInvoice]:
    """Locks those of the invoices that are still on the work list."""
    found = rows(
        """SELECT id, public_id, customer_id, subscription_id, payment_method_id, description, amount_minor,
                  currency, amount_refunded_minor, attempt_count, preflight_at, collect_regardless
           FROM billing_invoice WHERE id = ANY(%s) AND next_attempt_at <= %s ORDER BY id FOR UPDATE SKIP LOCKED""",
        [list(invoice_ids), now],
    )
    held = {
        invoice
        for (invoice,) in rows(
            """SELECT invoice_id FROM billing_paymentattempt WHERE invoice_id = ANY(%s)
               AND state IN ('sending', 'unknown', 'in_process', 'needs_human', 'succeeded')""",
            [[row[0] for row in found]],
        )
    }
    return {row[0]: LockedInvoice(*(*row, row[0] in held)) for row in found}


@dataclass(frozen=True, slots=True)
class NewAttempt:
    public_id: str
    account_id: int
    invoice_id: int
    payment_method_id: int
    number: int
    marker: str
    amount_minor: int
    currency: str
    gateway_customer_id: str
    charge_path: str
    title: str
    description: str
    request_method: str
    request_url: str
    request_body: bytes
    request_nonce: str
    request_timestamp: int
    request_signature: str
    request_hash: str


def insert_attempts(
    attempts: Sequence[NewAttempt],
    *,
    run_id: int | None,
    armed_at: datetime,
    window_ends_at: datetime,
    deadline_at: datetime,
) -> dict[str, int]:
    """Inserts attempts in the state *sending*, takes their invoices off the work list; ids by marker."""
    inserted = rows(
        """INSERT INTO billing_paymentattempt
             (state, run_id, armed_at, window_ends_at, deadline_at, public_id, account_id, invoice_id,
              payment_method_id, number, marker, amount_minor, currency, gateway_customer_id, charge_path, title,
              description, request_method, request_url, request_body, request_nonce, request_timestamp,
              request_signature, request_hash)
           SELECT 'sending', %s::bigint, %s, %s, %s, n.* FROM unnest(%s::text[], %s::bigint[], %s::bigint[],
               %s::bigint[], %s::int[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[],
               %s::text[], %s::text[], %s::text[], %s::bytea[], %s::text[], %s::bigint[], %s::text[],
               %s::text[]) AS n
           RETURNING marker, id""",
        [run_id, armed_at, window_ends_at, deadline_at, *columns(attempts, NewAttempt)],
    )
    run(
        """UPDATE billing_invoice SET next_attempt_at = NULL, attempt_count = attempt_count + 1,
                  refusal = NULL, refused_at = NULL, lease_until = NULL
           WHERE id = ANY(%s)""",
        [[attempt.invoice_id for attempt in attempts]],
    )
    return dict(inserted)


def refuse(refusals: Sequence[tuple[int, str, datetime]], *, now: datetime) -> None:
    """Writes (invoice, reason, look again at) on invoices that were due and are not charged now."""
    if refusals:
        ids, reasons, again = (list(column) for column in zip(*refusals, strict=True))
        run(
            """UPDATE billing_invoice i SET refusal = n.refusal, refused_at = %s, next_attempt_at = n.again
               FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[]) AS n(id, refusal, again)
               WHERE i.id = n.id AND i.next_attempt_at IS NOT NULL""",
            [now, ids, reasons, again],
        )


def note_unavailable(account_id: int, *, now: datetime) -> int:
    """Says on the account's due invoices that the gateway cannot be reached; they stay due. How many are new."""
    return run(
        """UPDATE billing_invoice SET refusal = 'gateway_unavailable', refused_at = %s
           WHERE id IN (SELECT id FROM billing_invoice
                        WHERE account_id = %s AND next_attempt_at <= %s
                          AND refusal IS DISTINCT FROM 'gateway_unavailable' FOR UPDATE SKIP LOCKED)""",
        [now, account_id, now],
    )


def attempts_by_marker(markers: Sequence[str]) -> list[int]:
    """The attempts among `markers` that exist and are still *sending*."""
    return [
        attempt
        for (attempt,) in rows(
            "SELECT id FROM billing_paymentattempt WHERE marker = ANY(%s) AND state = 'sending'", [list(markers)]
        )
    ]
