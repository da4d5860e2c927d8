"""Refunds: claims on what waits, and the locks around the money that goes back.

Refunds come last in the one order of locks: cards, subscriptions, invoices, attempts, refunds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.models.attempts import PaymentAttempt
from billing.models.bulk.sql import rows, run
from billing.models.refunds import Refund


@dataclass(frozen=True, slots=True)
class Waiting:
    """A refund whose time has come, leased to this caller."""

    refund_id: int
    account_id: int
    attempt_id: int
    state: str
    transaction_id: str
    armed_at: datetime | None
    checks_done: int
    checks_failed: int


def claim(*, now: datetime, lease: timedelta, limit: int) -> list[Waiting]:
    """Takes refunds that wait to be armed or asked about; unless heard of again, each is due once more when the
    lease has ended."""
    return [
        Waiting(*row)
        for row in rows(
            """UPDATE billing_refund r SET next_check_at = %s
               FROM billing_paymentattempt a
               WHERE a.id = r.attempt_id
                 AND r.id IN (SELECT id FROM billing_refund WHERE next_check_at <= %s
                              ORDER BY next_check_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED)
               RETURNING r.id, r.account_id, r.attempt_id, r.state, a.gateway_transaction_id, r.armed_at,
                         r.checks_done, r.checks_failed""",
            [now + lease, now, limit],
        )
    ]


def lock_around(attempt_ids: Sequence[int]) -> dict[int, PaymentAttempt]:
    """Locks card, subscription, invoice and attempts, in the one order; the attempts as they are then."""
    ids = list(attempt_ids)
    run(
        """SELECT 1 FROM billing_paymentmethod WHERE id IN
             (SELECT payment_method_id FROM billing_paymentattempt WHERE id = ANY(%s)) ORDER BY id FOR NO KEY UPDATE""",
        [ids],
    )
    run(
        """SELECT 1 FROM billing_subscription WHERE id IN
             (SELECT i.subscription_id FROM billing_paymentattempt a JOIN billing_invoice i ON i.id = a.invoice_id
              WHERE a.id = ANY(%s)) ORDER BY id FOR NO KEY UPDATE""",
        [ids],
    )
    run(
        """SELECT 1 FROM billing_invoice WHERE id IN
             (SELECT invoice_id FROM billing_paymentattempt WHERE id = ANY(%s)) ORDER BY id FOR NO KEY UPDATE""",
        [ids],
    )
    found = PaymentAttempt.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk")
    return {attempt.pk: attempt for attempt in found}


def lock_refund(refund_id: int) -> Refund:
    """The refund as it is now; what it belongs to must be locked before."""
    return Refund.objects.select_for_update(no_key=True).get(pk=refund_id)


def lock_open_refund(attempt_id: int, states: Sequence[str]) -> Refund | None:
    """The attempt's refund that is open; the attempt must be locked before."""
    return Refund.objects.select_for_update(no_key=True).filter(attempt_id=attempt_id, state__in=states).first()


def insert_evidence(
    *,
    account_id: int,
    refund_id: int,
    source: str,
    verdict: str,
    reason: str,
    digest: str,
    content: str,
    now: datetime,
) -> int | None:
    """Records one piece of evidence; None when it was told before. `content` is JSON text."""
    inserted = rows(
        """INSERT INTO billing_refundevidence
             (recorded_at, account_id, refund_id, source, verdict, reason, digest, content)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s::jsonb)
           ON CONFLICT ON CONSTRAINT refund_evidence_is_told_once DO NOTHING RETURNING id""",
        [now, account_id, refund_id, source, verdict, reason, digest, content],
    )
    return inserted[0][0] if inserted else None


def add_refunded(attempt: PaymentAttempt, amount_minor: int, *, pays_its_invoice: bool) -> None:
    """Counts money that went back on its attempt, and on the invoice when that attempt pays it."""
    run(
        "UPDATE billing_paymentattempt SET amount_refunded_minor = amount_refunded_minor + %s WHERE id = %s",
        [amount_minor, attempt.pk],
    )
    attempt.amount_refunded_minor += amount_minor
    if pays_its_invoice:
        run(
            "UPDATE billing_invoice SET amount_refunded_minor = amount_refunded_minor + %s WHERE id = %s",
            [amount_minor, attempt.invoice_id],
        )
