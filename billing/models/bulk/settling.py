"""settle: lock everything an attempt touches, then write what the evidence did to it.

The rows here are working copies: the use case changes their fields, and the writers below put back exactly the
columns that are named here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from billing.domain.attempts import HOLDS_PLACE, AttemptState
from billing.models.attempts import PaymentAttempt
from billing.models.bulk.history import NewTransition, record_transitions
from billing.models.bulk.sql import objects, rows, run
from billing.models.bulk.writing import by_name, update
from billing.models.invoices import Invoice
from billing.models.subscriptions import Subscription

# What a settlement may change; `id` names the row.
ATTEMPT_COLUMNS = (
    *("id", "state", "state_reason", "gateway_transaction_id", "gateway_order_id", "last_evidence_id"),
    *("next_check_at", "checks_done", "rung_at", "settled_at"),
)
INVOICE_COLUMNS = (
    *("id", "state", "state_reason", "next_attempt_at", "hold", "tries", "tries_avoided", "asked_for"),
    *("first_tried_at", "not_sent_in_a_row", "closed_at", "look_from_at"),
    *("dunning_policy_id", "decline_code", "grace_ends_at"),
)
SUBSCRIPTION_COLUMNS = ("id", "state", "next_due_at", "ended_at")


@dataclass(slots=True)
class AttemptRow:
    id: int
    public_id: str
    account_id: int
    invoice_id: int
    payment_method_id: int | None  # None: it was paid on a page
    number: int
    state: str
    marker: str
    request_nonce: str
    amount_minor: int
    currency: str
    gateway_customer_id: str
    store_id: str
    armed_at: datetime
    checks_done: int
    rung_at: datetime | None
    gateway_transaction_id: str | None
    gateway_order_id: str | None
    state_reason: str
    last_evidence_id: int | None
    next_check_at: datetime | None
    settled_at: datetime | None
    amount_refunded_minor: int


@dataclass(slots=True)
class InvoiceRow:
    id: int
    public_id: str
    account_id: int
    subscription_id: int | None
    state: str
    state_reason: str
    next_attempt_at: datetime | None
    hold: str | None
    tries: int
    tries_avoided: int
    asked_for: bool
    first_tried_at: datetime | None
    not_sent_in_a_row: int
    closed_at: datetime | None
    look_from_at: datetime | None
    dunning_policy_id: int | None
    decline_code: str
    grace_ends_at: datetime | None


@dataclass(slots=True)
class SubscriptionRow:
    id: int
    account_id: int
    state: str
    next_due_at: datetime | None
    repetitions: int | None
    periods_charged: int
    ended_at: datetime | None
    open_invoices: int  # of those with repetitions or past due alone
    declined_invoices: int  # those of them that were declined and are being retried


@dataclass(slots=True)
class AccountRow:
    id: int
    list_lag_seconds: int


Claim = tuple[int, str]  # account; "transaction …", "order …", or "reversed …" for a transaction that was seen so


@dataclass(slots=True)
class Locked:
    """Everything that a settlement may change, locked. `attempts` holds the invoices' other attempts too."""

    accounts: dict[int, AccountRow]
    subscriptions: dict[int, SubscriptionRow]
    invoices: dict[int, InvoiceRow]
    attempts: dict[int, AttemptRow]
    cards: set[int] = field(default_factory=set)  # those that are frozen, or that were declined lately


def lock_for_settlement(attempt_ids: Sequence[int], *, markers: Sequence[str] = ()) -> Locked:
    """Locks what the attempts touch, in the one order.

    An attempt is named by its id in this database, or by its marker, which outlives the database."""
    touched = rows(
        """SELECT a.account_id, a.payment_method_id, i.subscription_id, a.invoice_id
           FROM billing_paymentattempt a JOIN billing_invoice i ON i.id = a.invoice_id
           WHERE a.id = ANY(%s) OR a.marker = ANY(%s)""",
        [list(attempt_ids), list(markers)],
    )
    return _lock(touched)


def _lock(touched: Sequence[tuple[Any, ...]]) -> Locked:
    """Locks what the rows of (account, card, subscription, invoice) name."""
    if not touched:
        return Locked({}, {}, {}, {})
    accounts, cards, subscriptions, invoices = (
        sorted({value for value in column if value is not None}) for column in zip(*touched, strict=True)
    )
    account_rows = _account_rows(accounts)
    limited = rows(
        """SELECT id, frozen_at IS NOT NULL OR rests_until IS NOT NULL OR capped_until IS NOT NULL
           FROM billing_paymentmethod WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE""",
        [cards],
    )
    subscription_rows = objects(
        SubscriptionRow,
        """SELECT id, account_id, state, next_due_at, repetitions, periods_charged, ended_at,
                  0 AS open_invoices, 0 AS declined_invoices
           FROM billing_subscription WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE""",
        [subscriptions],
    )
    invoice_rows = objects(
        InvoiceRow,
        """SELECT id, public_id, account_id, subscription_id, state, state_reason, next_attempt_at, hold, tries,
                  tries_avoided, asked_for, first_tried_at, not_sent_in_a_row, closed_at, look_from_at,
                  dunning_policy_id, decline_code, grace_ends_at
           FROM billing_invoice WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE""",
        [invoices],
    )
    attempt_rows = objects(
        AttemptRow,
        """SELECT a.id, a.public_id, a.account_id, a.invoice_id, a.payment_method_id, a.number, a.state, a.marker,
                  a.request_nonce, a.amount_minor, a.currency, a.gateway_customer_id, g.store_id, a.armed_at,
                  a.checks_done, a.rung_at, a.gateway_transaction_id, a.gateway_order_id, a.state_reason,
                  a.last_evidence_id, a.next_check_at, a.settled_at,
                  a.amount_refunded_minor
           FROM billing_paymentattempt a JOIN billing_gatewayaccount g ON g.id = a.account_id
           WHERE a.invoice_id = ANY(%s) ORDER BY a.id FOR NO KEY UPDATE OF a""",
        [invoices],
    )
    _count_open_invoices(subscription_rows)
    return Locked(
        accounts={row.id: row for row in account_rows},
        subscriptions={row.id: row for row in subscription_rows},
        invoices={row.id: row for row in invoice_rows},
        attempts={row.id: row for row in attempt_rows},
        cards={card for card, is_limited in limited if is_limited},
    )


def lock_invoices(invoice_ids: Sequence[int]) -> tuple[Locked, dict[int, int]]:
    """Locks what a try of these invoices would touch, in the same order; and the card that each would be charged on."""
    touched = rows(
        """SELECT i.account_id, COALESCE(i.payment_method_id, s.payment_method_id, d.id), i.subscription_id, i.id
           FROM billing_invoice i
           LEFT JOIN billing_subscription s ON s.id = i.subscription_id
           LEFT JOIN billing_paymentmethod d ON d.customer_id = i.customer_id AND d.is_default
           WHERE i.id = ANY(%s)""",
        [list(invoice_ids)],
    )
    return _lock(touched), {invoice: card for _, card, _, invoice in touched if card is not None}


def still_have(markers: Mapping[int, str]) -> bool:
    """Whether each attempt still has its marker: in a database that was put back, an id may name another."""
    if not markers:
        return True
    found = rows("SELECT id, marker FROM billing_paymentattempt WHERE id = ANY(%s)", [list(markers)])
    return dict(found) == dict(markers)


def read_again(subscription: SubscriptionRow) -> None:
    """Takes over what opening its due periods changed of a subscription that is locked already."""
    ((subscription.state, subscription.periods_charged),) = rows(
        "SELECT state, periods_charged FROM billing_subscription WHERE id = %s", [subscription.id]
    )


def _account_rows(account_ids: Sequence[int]) -> list[AccountRow]:
    query = "SELECT id, list_lag_seconds FROM billing_gatewayaccount WHERE id = ANY(%s) ORDER BY id"
    return objects(AccountRow, query, [list(account_ids)])


def _count_open_invoices(subscriptions: Sequence[SubscriptionRow]) -> None:
    """Fills in how many open invoices the subscriptions have, and how many of these were declined.

    Asked only for those that end after repetitions or are past due: the others have no use for it."""
    by_id = {subscription.id: subscription for subscription in subscriptions}
    if not by_id:
        return
    for subscription_id, count, declined in rows(
        """SELECT i.subscription_id, count(*), count(*) FILTER (WHERE i.tries > 0)
           FROM billing_subscription s JOIN billing_invoice i ON i.subscription_id = s.id AND i.state = 'open'
           WHERE s.id = ANY(%s) AND (s.repetitions IS NOT NULL OR s.state = 'past_due')
           GROUP BY i.subscription_id""",
        [list(by_id)],
    ):
        by_id[subscription_id].open_invoices = count
        by_id[subscription_id].declined_invoices = declined


def claims(account_ids: Sequence[int], *, transactions: Sequence[str], orders: Sequence[str]) -> dict[Claim, int]:
    """Which attempt already carries each of the gateway's transactions and orders; and which were seen reversed."""
    if not transactions and not orders:
        return {}
    found = rows(
        """SELECT account_id, ARRAY['transaction ' || gateway_transaction_id, 'order ' || gateway_order_id], id
           FROM billing_paymentattempt
           WHERE account_id = ANY(%(accounts)s) AND gateway_transaction_id = ANY(%(transactions)s)
           UNION ALL
           SELECT account_id, ARRAY['transaction ' || gateway_transaction_id, 'order ' || gateway_order_id], id
           FROM billing_paymentattempt
           WHERE account_id = ANY(%(accounts)s) AND gateway_order_id = ANY(%(orders)s)
           UNION ALL
           SELECT account_id, ARRAY['reversed ' || gateway_transaction_id], 0 FROM billing_gatewaytransaction
           WHERE account_id = ANY(%(accounts)s) AND gateway_transaction_id = ANY(%(transactions)s)
             AND status = 'REVERSED'""",
        {"accounts": list(account_ids), "transactions": list(transactions), "orders": list(orders)},
    )
    return {(account, name): attempt for account, names, attempt in found for name in names if name is not None}


def write_attempts(attempts: Sequence[AttemptRow]) -> None:
    """Attempts that leave the place of their invoice are written before those that take it."""
    _write_attempts([attempt for attempt in attempts if AttemptState(attempt.state) not in HOLDS_PLACE])
    _write_attempts([attempt for attempt in attempts if AttemptState(attempt.state) in HOLDS_PLACE])


def _write_attempts(attempts: Sequence[AttemptRow]) -> None:
    update(PaymentAttempt, by_name(attempts, *ATTEMPT_COLUMNS))


def write_invoices(invoices: Sequence[InvoiceRow]) -> None:
    update(Invoice, by_name(invoices, *INVOICE_COLUMNS))


def write_refunded(invoices: Sequence[tuple[int, int]]) -> None:
    """How much of the money that pays these invoices now was given back before it did."""
    for invoice, amount_minor in invoices:  # almost always none
        run("UPDATE billing_invoice SET amount_refunded_minor = %s WHERE id = %s", [amount_minor, invoice])


def write_subscriptions(subscriptions: Sequence[SubscriptionRow]) -> None:
    update(Subscription, by_name(subscriptions, *SUBSCRIPTION_COLUMNS))


@dataclass(frozen=True, slots=True)
class Held:
    """An open invoice that was put on hold; `hold` is the one that it was on before."""

    account_id: int
    id: int
    public_id: str
    hold: str | None


def hold_invoices_of(subscription_ids: Sequence[int], *, hold: str) -> list[Held]:
    """Takes the open invoices of subscriptions that have just ended off the work list; the oldest first."""
    if not subscription_ids:
        return []
    held = objects(
        Held,
        """UPDATE billing_invoice i SET next_attempt_at = NULL, hold = %s FROM billing_invoice before
           WHERE before.id = i.id AND i.subscription_id = ANY(%s) AND i.state = 'open'
           RETURNING i.account_id, i.id, i.public_id, before.hold""",
        [hold, list(subscription_ids)],
    )
    return sorted(held, key=lambda one: one.id)


def hold_cards(holds: Sequence[tuple[int, str]], *, now: datetime) -> None:
    """Pauses (card, reason), with a line of history; a card that is held already keeps its first reason."""
    if not holds:
        return
    ids, reasons = (list(column) for column in zip(*holds, strict=True))
    held = rows(
        """UPDATE billing_paymentmethod c SET held_at = %s, held_reason = n.reason
           FROM unnest(%s::bigint[], %s::text[]) AS n(id, reason) WHERE c.id = n.id AND c.held_at IS NULL
           RETURNING c.account_id, c.id, c.held_reason""",
        [now, ids, reasons],
    )
    moves = [
        NewTransition(
            account_id=account, subject_type="card", subject_id=card, from_state="free", to_state="held", reason=reason
        )
        for account, card, reason in held
    ]
    record_transitions(moves, actor="engine", now=now)
