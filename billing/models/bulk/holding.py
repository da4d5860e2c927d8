"""What a case holds up: the other invoices that wait because a card is blocked, and the cases to be reminded of."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from billing.models.bulk.sql import rows, run


@dataclass(frozen=True, slots=True)
class HeldUp:
    """An open invoice that would be charged on a blocked card; it waits since `due_at`."""

    card_id: int
    invoice_id: int
    invoice: str
    description: str
    amount_minor: int
    currency: str
    due_at: datetime


def held_up(card_ids: Iterable[int], *, now: datetime) -> list[HeldUp]:
    """The invoices that would be charged on one of the cards by `now` if it were not blocked, the oldest first.

    Which card that is, is decided as when arming: the invoice's own, else the subscription's, else the default."""
    found = rows(
        """SELECT c.id, i.id, i.public_id, i.description, i.amount_minor, i.currency, i.due_at
           FROM billing_paymentmethod c
           JOIN billing_invoice i ON i.customer_id = c.customer_id AND i.next_attempt_at IS NOT NULL
           LEFT JOIN billing_subscription s ON s.id = i.subscription_id
           LEFT JOIN billing_paymentmethod d ON d.customer_id = i.customer_id AND d.is_default
           WHERE c.id = ANY(%s) AND COALESCE(i.payment_method_id, s.payment_method_id, d.id) = c.id
             AND (i.next_attempt_at <= %s
                  OR i.refusal IN ('card_held', 'card_has_unresolved_attempt', 'preflight_found_money'))
             AND (c.held_at IS NOT NULL
                  OR EXISTS (SELECT 1 FROM billing_paymentattempt a
                             WHERE a.payment_method_id = c.id AND a.released_at IS NULL
                               AND a.state IN ('sending', 'unknown', 'in_process', 'needs_human')))
           ORDER BY i.due_at, i.id""",
        [sorted(set(card_ids)), now],
    )
    return [HeldUp(*row) for row in found]


@dataclass(frozen=True, slots=True)
class OpenCase:
    """An attempt that is with a person; `since` is when it came there."""

    attempt_id: int
    attempt: str
    account_id: int
    card_id: int
    invoice: str
    amount_minor: int
    currency: str
    reason: str
    since: datetime


def cases_to_remind(account_id: int, *, before: datetime, kind: str, occasion: str, limit: int) -> list[OpenCase]:
    """The account's cases that are with a person since before `before` and have no event `kind` of `occasion`."""
    found = rows(
        """SELECT a.id, a.public_id, a.account_id, a.payment_method_id, i.public_id, a.amount_minor, a.currency,
                  a.state_reason, e.recorded_at
           FROM billing_paymentattempt a
           JOIN billing_invoice i ON i.id = a.invoice_id
           JOIN billing_evidence e ON e.id = a.last_evidence_id
           WHERE a.state = 'needs_human' AND a.account_id = %s AND e.recorded_at < %s
             AND NOT EXISTS (SELECT 1 FROM billing_event v
                             WHERE v.kind = %s AND v.subject_type = 'attempt' AND v.subject_id = a.id
                               AND v.occasion = %s)
           ORDER BY a.armed_at LIMIT %s""",
        [account_id, before, kind, occasion, limit],
    )
    return [OpenCase(*row) for row in found]


def told_of(card_id: int, found: Sequence[HeldUp], *, most: int = 50) -> dict[str, Any]:
    """What an event says about what a case on the card holds up: at most `most` invoices, and how many there are."""
    waiting = [one for one in found if one.card_id == card_id]
    return {
        "holds_up_count": len(waiting),
        "holds_up": [
            {
                "invoice": one.invoice,
                "amount_minor": one.amount_minor,
                "currency": one.currency,
                "due_at": one.due_at.isoformat(),
            }
            for one in waiting[:most]
        ],
    }


def overtake_proposals(attempt_ids: Sequence[int], *, actor: str, now: datetime) -> None:
    """Open proposals about attempts that were closed otherwise just now."""
    if attempt_ids:
        run(
            """UPDATE billing_proposal SET outcome = 'overtaken', decided_by = %s, decided_at = %s
               WHERE attempt_id = ANY(%s) AND outcome = 'open'""",
            [actor, now, list(attempt_ids)],
        )
