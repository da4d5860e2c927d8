"""Invoices that are charged sooner than planned, because what they waited for has come."""

from collections.abc import Sequence
from datetime import datetime

from billing.models.bulk.sql import rows, run

# The card that an invoice is charged on, as `arming.due_invoices` chooses it.
_CARD = """LEFT JOIN billing_subscription s ON s.id = i.subscription_id
           LEFT JOIN billing_paymentmethod d ON d.customer_id = i.customer_id AND d.is_default
           JOIN billing_paymentmethod c ON c.id = COALESCE(i.payment_method_id, s.payment_method_id, d.id)"""


def wake_refused(card_ids: Sequence[int], refusals: Sequence[str], *, now: datetime) -> int:
    """Makes invoices due that were refused for one of the reasons and would be charged on one of the cards, which the
    caller holds locked. How many. One that another transaction holds waits for the time that its refusal set."""
    return run(
        f"""UPDATE billing_invoice SET next_attempt_at = GREATEST(look_from_at, %(now)s)
           WHERE id = ANY(ARRAY(
               SELECT i.id FROM billing_invoice i {_CARD}
               WHERE i.customer_id IN (SELECT customer_id FROM billing_paymentmethod WHERE id = ANY(%(cards)s))
                 AND i.refusal = ANY(%(refusals)s) AND i.next_attempt_at > %(now)s AND c.id = ANY(%(cards)s)
               FOR NO KEY UPDATE OF i SKIP LOCKED))""",  # noqa: S608  (the joins stand above)
        {"cards": list(card_ids), "refusals": list(refusals), "now": now},
    )


def wake_for_another_card(customer_id: int, refusals: Sequence[str], *, now: datetime) -> list[tuple[int, int]]:
    """(account, invoice) of the customer's open invoices that would be charged on an active card now and were refused
    for the sake of the card, or were declined and never tried on this one: they are due. The caller holds the card."""
    return [
        (account, invoice)
        for account, invoice in rows(
            f"""UPDATE billing_invoice
               SET next_attempt_at = GREATEST(look_from_at, %(now)s), refusal = NULL, refused_at = NULL,
                   asked_for = true, lease_token = lease_token + 1, lease_until = NULL
               WHERE id = ANY(ARRAY(
                   SELECT i.id FROM billing_invoice i {_CARD}
                   WHERE i.customer_id = %(customer)s AND i.next_attempt_at > %(now)s AND c.state = 'active'
                     AND (i.refusal = ANY(%(refusals)s)
                          OR i.tries > 0 AND NOT EXISTS (SELECT 1 FROM billing_paymentattempt a
                                                         WHERE a.invoice_id = i.id AND a.payment_method_id = c.id))
                   ORDER BY i.id FOR NO KEY UPDATE OF i))
               RETURNING account_id, id""",  # noqa: S608  (the joins stand above)
            {"customer": customer_id, "refusals": list(refusals), "now": now},
        )
    ]
