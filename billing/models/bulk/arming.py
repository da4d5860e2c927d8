"""arm: lock cards, subscriptions and invoices of a batch, then insert its attempts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from billing.domain.attempts import HOLDS_PLACE, UNRESOLVED, AttemptState
from billing.domain.card_limits import Standing
from billing.domain.checkouts import LIVE
from billing.domain.refunds import MAY_HAVE_ACTED
from billing.models.attempts import PaymentAttempt
from billing.models.bulk.sql import objects, rows, run
from billing.models.bulk.writing import by_name, insert, update
from billing.models.invoices import Invoice


@dataclass(frozen=True, slots=True)
class LockedAccount:
    id: int
    environment: str
    api_url: str
    charge_path: str
    charge_limit_minor: int
    preflight_always: bool
    preflight_until: datetime | None
    stopped: bool

    def preflights_always(self, now: datetime) -> bool:
        """Whether first attempts too are preceded by a look at the card."""
        return self.preflight_always or (self.preflight_until is not None and now < self.preflight_until)


def lock_account(account_id: int) -> LockedAccount:
    """The account with both stop switches and its quarantine, locked so that none can begin before the commit."""
    ((installation_stopped,),) = rows(
        "SELECT stopped_at IS NOT NULL FROM billing_installation WHERE id = 1 FOR SHARE", []
    )
    (account,) = objects(
        LockedAccount,
        """SELECT id, environment, api_url, charge_path, charge_limit_minor, preflight_always,
                  preflight_until, stopped_at IS NOT NULL OR quarantined_at IS NOT NULL AS stopped
           FROM billing_gatewayaccount WHERE id = %s FOR SHARE""",
        [account_id],
    )
    return replace(account, stopped=account.stopped or installation_stopped)


def accounts_with_work(*, now: datetime) -> list[int]:
    """Accounts that have an invoice to collect at `now` and are neither stopped nor in quarantine."""
    return [
        account
        for (account,) in rows(
            """SELECT a.id FROM billing_gatewayaccount a
               WHERE a.stopped_at IS NULL
                 AND a.quarantined_at IS NULL
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
                 AND ((i.attempt_count = 0 AND NOT %(always)s)
                      OR i.preflight_at >= GREATEST(%(fresh_since)s, i.look_from_at))
               ORDER BY i.next_attempt_at, i.id LIMIT %(limit)s FOR UPDATE OF i SKIP LOCKED""",
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
    given_up: bool
    is_default: bool
    gateway_customer_id: str | None
    has_unresolved_attempt: bool
    frozen_by: str | None = None
    rests_until: datetime | None = None
    capped_until: datetime | None = None
    declined_at: datetime | None = None

    @property
    def standing(self) -> Standing:
        return Standing(self.frozen_by, self.rests_until, self.capped_until, self.declined_at)


def lock_cards(card_ids: Sequence[int]) -> dict[int, LockedCard]:
    """Locks the cards that nobody else holds, in id order."""
    found = objects(
        LockedCard,
        """SELECT c.id, c.customer_id, c.state, c.kind, c.environment, c.held_at IS NOT NULL AS held,
                  c.given_up_at IS NOT NULL AS given_up, c.is_default, c.gateway_customer_id,
                  c.frozen_by, c.rests_until, c.capped_until,
                  c.declined_at, false AS has_unresolved_attempt
           FROM billing_paymentmethod c WHERE c.id = ANY(%s) ORDER BY c.id FOR UPDATE SKIP LOCKED""",
        [list(card_ids)],
    )
    # A separate statement, so that it sees what was committed before the locks were granted.
    busy = {
        card
        for (card,) in rows(
            """SELECT payment_method_id FROM billing_paymentattempt WHERE payment_method_id = ANY(%s)
               AND state = ANY(%s) AND released_at IS NULL""",
            [[card.id for card in found], sorted(UNRESOLVED)],
        )
    }
    return {card.id: replace(card, has_unresolved_attempt=True) if card.id in busy else card for card in found}


@dataclass(frozen=True, slots=True)
class LockedSubscription:
    id: int
    state: str
    collector: str
    payment_method_id: int | None


def lock_subscriptions(subscription_ids: Sequence[int]) -> dict[int, LockedSubscription]:
    """Locks, against pausing and cancelling, the subscriptions that nobody else holds."""
    found = objects(
        LockedSubscription,
        """SELECT id, state, collector, payment_method_id FROM billing_subscription
           WHERE id = ANY(%s) ORDER BY id FOR SHARE SKIP LOCKED""",
        [list(subscription_ids)],
    )
    return {subscription.id: subscription for subscription in found}


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
    look_from_at: datetime | None
    collect_regardless: bool
    tried_card_held: bool  # a card that it was tried on before is held: what was seen there may be its money
    paid_before_minor: int | None  # the most that the subscription ever paid; asked for at the first try alone
    checkout_open: bool  # somebody may be paying it on a page
    has_holder: bool  # an attempt may pay it; surplus too, of which it is not known whether it went back
    asked_for: bool = False


def lock_invoices(invoice_ids: Sequence[int], *, now: datetime) -> dict[int, LockedInvoice]:
    """Locks those of the invoices that are still on the work list."""
    found = objects(
        LockedInvoice,
        """SELECT id, public_id, customer_id, subscription_id, payment_method_id, description, amount_minor,
                  currency, amount_refunded_minor, attempt_count, preflight_at, look_from_at, collect_regardless,
                  asked_for,
                  EXISTS (SELECT 1 FROM billing_paymentattempt a JOIN billing_paymentmethod c
                          ON c.id = a.payment_method_id AND c.held_at IS NOT NULL WHERE a.invoice_id = i.id)
                      AS tried_card_held,
                  CASE WHEN attempt_count = 0 AND NOT collect_regardless THEN
                      (SELECT max(p.amount_minor) FROM billing_invoice p
                       WHERE p.subscription_id = i.subscription_id AND p.state = 'paid') END AS paid_before_minor,
                  false AS checkout_open, false AS has_holder
           FROM billing_invoice i WHERE id = ANY(%s) AND next_attempt_at <= %s ORDER BY id FOR UPDATE SKIP LOCKED""",
        [list(invoice_ids), now],
    )
    held = {
        invoice
        for (invoice,) in rows(
            """SELECT a.invoice_id FROM billing_paymentattempt a WHERE a.invoice_id = ANY(%s)
               AND (a.state = ANY(%s)
                    OR (a.state = 'surplus' AND EXISTS (SELECT 1 FROM billing_refund r WHERE r.attempt_id = a.id
                                                        AND r.state = ANY(%s))))""",
            [[invoice.id for invoice in found], sorted(HOLDS_PLACE), sorted(MAY_HAVE_ACTED)],
        )
    }
    paying = invoices_being_paid([invoice.id for invoice in found])
    return {
        invoice.id: replace(invoice, has_holder=invoice.id in held, checkout_open=invoice.id in paying)
        if invoice.id in held | paying
        else invoice
        for invoice in found
    }


def invoices_being_paid(invoice_ids: Sequence[int]) -> set[int]:
    """Those of the invoices, which the caller holds locked, that somebody may be paying on a page of the gateway's.

    Only a look ends a page, never the time alone: after an outage the gateway is asked before a card is charged."""
    return {
        invoice
        for (invoice,) in rows(
            "SELECT invoice_id FROM billing_checkout WHERE invoice_id = ANY(%s) AND state = ANY(%s)",
            [list(invoice_ids), sorted(LIVE)],
        )
    }


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
    """Inserts attempts in the state *sending*, takes their invoices off the work list; ids by marker.

    No look that was made before the attempt's own deadline permits another: whoever settles it says from when one
    does. A reader that holds a lease loses it."""
    common = {
        "state": AttemptState.SENDING.value,
        "run_id": run_id,
        "armed_at": armed_at,
        "window_ends_at": window_ends_at,
        "deadline_at": deadline_at,
    }
    inserted = insert(PaymentAttempt, by_name(attempts) | common, returning=("marker", "id"))
    run(
        """UPDATE billing_invoice SET next_attempt_at = NULL, grace_ends_at = NULL, attempt_count = attempt_count + 1,
                  refusal = NULL, refused_at = NULL, lease_until = NULL, lease_token = lease_token + 1,
                  look_from_at = %s
           WHERE id = ANY(%s)""",
        [deadline_at, [attempt.invoice_id for attempt in attempts]],
    )
    return dict(inserted)


@dataclass(frozen=True, slots=True)
class Refused:
    """An invoice that was due and is not charged now."""

    id: int
    refusal: str
    next_attempt_at: datetime


def refuse(refused: Sequence[Refused], *, now: datetime) -> None:
    update(Invoice, {**by_name(refused), "refused_at": now}, where="t.next_attempt_at IS NOT NULL")


def note_unavailable(account_id: int, *, refusal: str, now: datetime) -> int:
    """Says on the account's due invoices why nothing is armed; they stay due. How many it is news to."""
    return run(
        """UPDATE billing_invoice SET refusal = %s, refused_at = %s
           WHERE id IN (SELECT id FROM billing_invoice
                        WHERE account_id = %s AND next_attempt_at <= %s
                          AND refusal IS DISTINCT FROM %s FOR UPDATE SKIP LOCKED)""",
        [refusal, now, account_id, now, refusal],
    )


def hold(holds: Sequence[tuple[int, str]]) -> None:
    """Takes (invoice, hold) off the work list until a person decides."""
    ids, reasons = [invoice for invoice, _ in holds], [reason for _, reason in holds]
    update(Invoice, {"id": ids, "hold": reasons, "next_attempt_at": None}, where="t.next_attempt_at IS NOT NULL")


def markers_sending(markers: Sequence[str]) -> list[str]:
    """The markers among `markers` of attempts that exist and are still *sending*."""
    return [
        marker
        for (marker,) in rows(
            "SELECT marker FROM billing_paymentattempt WHERE marker = ANY(%s) AND state = 'sending'", [list(markers)]
        )
    ]
