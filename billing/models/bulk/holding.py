"""What a case holds up: the other invoices that wait because a card is blocked, and the cases to be reminded of."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from billing.domain.arming import Refusal
from billing.domain.attempts import UNRESOLVED
from billing.models.bulk.sql import objects, run
from billing.models.bulk.waking import wake_refused


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


def held_up(card_ids: Iterable[int], *, now: datetime, by_clearing: bool = False) -> list[HeldUp]:
    """The invoices that would be charged on one of the cards by `now` if it were not blocked, the oldest first.

    `by_clearing`: with those that were refused for another reason, for clearing a hold has them tried at once too.
    Which card that is, is decided as when arming: the invoice's own, else the subscription's, else the default."""
    return objects(
        HeldUp,
        """SELECT c.id AS card_id, i.id AS invoice_id, i.public_id AS invoice, i.description, i.amount_minor,
                  i.currency, i.due_at
           FROM billing_paymentmethod c
           JOIN billing_invoice i ON i.customer_id = c.customer_id AND i.next_attempt_at IS NOT NULL
           LEFT JOIN billing_subscription s ON s.id = i.subscription_id
           LEFT JOIN billing_paymentmethod d ON d.customer_id = i.customer_id AND d.is_default
           WHERE c.id = ANY(%s) AND COALESCE(i.payment_method_id, s.payment_method_id, d.id) = c.id
             AND (i.next_attempt_at <= %s OR (%s AND i.refusal IS NOT NULL)
                  OR i.refusal IN ('card_held', 'card_has_unresolved_attempt', 'preflight_found_money'))
             AND (c.held_at IS NOT NULL
                  OR EXISTS (SELECT 1 FROM billing_paymentattempt a
                             WHERE a.payment_method_id = c.id AND a.released_at IS NULL
                               AND a.state = ANY(%s)))
           ORDER BY i.due_at, i.id""",
        [sorted(set(card_ids)), now, by_clearing, sorted(UNRESOLVED)],
    )


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
    """The account's cases that are with a person since before `before` and have no event `kind` of `occasion`, locked;
    without those that somebody else has locked, for they are about to change."""
    return objects(
        OpenCase,
        """SELECT a.id AS attempt_id, a.public_id AS attempt, a.account_id, a.payment_method_id AS card_id,
                  i.public_id AS invoice, a.amount_minor, a.currency, a.state_reason AS reason, e.recorded_at AS since
           FROM billing_paymentattempt a
           JOIN billing_invoice i ON i.id = a.invoice_id
           JOIN billing_evidence e ON e.id = a.last_evidence_id
           WHERE a.state = 'needs_review' AND a.account_id = %s AND e.recorded_at < %s
             AND NOT EXISTS (SELECT 1 FROM billing_event v
                             WHERE v.kind = %s AND v.subject_type = 'attempt' AND v.subject_id = a.id
                               AND v.occasion = %s)
           ORDER BY a.armed_at, a.id LIMIT %s
           FOR NO KEY UPDATE OF a SKIP LOCKED""",
        [account_id, before, kind, occasion, limit],
    )


def payload_of(card_id: int, found: Sequence[HeldUp], *, most: int = 50) -> dict[str, Any]:
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


def overtake_proposals(
    *,
    attempts: Sequence[int] = (),
    invoices: Sequence[int] = (),
    cards: Sequence[int] = (),
    actor: str,
    now: datetime,
) -> None:
    """Closes open proposals about what was settled otherwise just now."""
    if attempts or invoices or cards:
        run(
            """UPDATE billing_proposal SET outcome = 'overtaken', decided_by = %s, decided_at = %s
               WHERE outcome = 'open'
                 AND (attempt_id = ANY(%s) OR invoice_id = ANY(%s) OR payment_method_id = ANY(%s))""",
            [actor, now, list(attempts), list(invoices), list(cards)],
        )


def free_card(card_id: int, *, held_for: Collection[str] | None = None, actor: str, now: datetime) -> bool:
    """Ends the card's hold when it is held for one of these reasons, or for any; whether it did. A proposal to end it
    is overtaken."""
    freed = run(
        """UPDATE billing_paymentmethod SET held_at = NULL, held_reason = ''
           WHERE id = %s AND held_at IS NOT NULL AND (%s::text[] IS NULL OR held_reason = ANY(%s))""",
        [card_id, *([None if held_for is None else sorted(held_for)] * 2)],
    )
    if freed:
        overtake_proposals(cards=[card_id], actor=actor, now=now)
        wake_refused([card_id], [Refusal.CARD_HELD.value, Refusal.PREFLIGHT_FOUND_MONEY.value], now=now)
    return bool(freed)
