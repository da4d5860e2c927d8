"""Refunds: claims on what waits, and the locks around the money that goes back.

Refunds come last in the one order of locks: cards, subscriptions, invoices, attempts, refunds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.domain.attempts import HOLDS_PLACE, AttemptState
from billing.domain.closing import CLOSABLE
from billing.domain.refunds import MAY_HAVE_ACTED
from billing.models.attempts import PaymentAttempt
from billing.models.bulk.sql import objects, run
from billing.models.invoices import Invoice
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


def claim(
    *, now: datetime, lease: timedelta, limit: int, not_at: Sequence[str] = (), not_of: Sequence[int] = ()
) -> list[Waiting]:
    """Takes refunds that wait to be armed or asked about, but for those of the accounts `not_of`, and of accounts whose
    gateway's address is one of `not_at`; unless scheduled again, each is due once more when the lease has ended."""
    claimed = objects(
        Waiting,
        """UPDATE billing_refund r SET next_check_at = %s
           FROM billing_paymentattempt a
           WHERE a.id = r.attempt_id
             AND r.id = ANY(ARRAY(SELECT id FROM billing_refund WHERE next_check_at <= %s
                            AND account_id NOT IN (SELECT id FROM billing_gatewayaccount WHERE api_url = ANY(%s))
                            AND account_id <> ALL(%s)
                          ORDER BY next_check_at, id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED))
           RETURNING r.id AS refund_id, r.account_id, r.attempt_id, r.state, a.gateway_transaction_id AS transaction_id,
                     r.armed_at, r.checks_done, r.checks_failed""",
        [now + lease, now, list(not_at), list(not_of), limit],
    )
    return sorted(claimed, key=lambda waiting: waiting.refund_id)


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


def going_back(attempt_ids: Sequence[int]) -> set[int]:
    """Those of the attempts whose money a refund may have given back already; they must be locked before."""
    if not attempt_ids:
        return set()
    found = Refund.objects.filter(attempt_id__in=attempt_ids, state__in=sorted(MAY_HAVE_ACTED))
    return set(found.values_list("attempt_id", flat=True))


def wants_its_money(attempt: PaymentAttempt) -> bool:
    """Whether the attempt is surplus of which something is left, of an invoice that is still owed and that no other
    attempt may pay; what it touches must be locked before."""
    if attempt.state != AttemptState.SURPLUS or attempt.amount_refunded_minor >= attempt.amount_minor:
        return False
    holders = PaymentAttempt.objects.filter(invoice_id=attempt.invoice_id, state__in=sorted(HOLDS_PLACE))
    owed = Invoice.objects.filter(pk=attempt.invoice_id, state__in=sorted(CLOSABLE))
    return owed.exists() and not holders.exists()


def lock_open_refund(attempt_id: int, states: Sequence[str]) -> Refund | None:
    """The attempt's refund that is open; the attempt must be locked before."""
    return Refund.objects.select_for_update(no_key=True).filter(attempt_id=attempt_id, state__in=states).first()


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
