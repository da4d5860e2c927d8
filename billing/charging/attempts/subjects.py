"""What a settlement writes into the history, by the kind of the row that it is about."""

from collections.abc import Mapping
from typing import Any

from billing.domain.declines import kind_of
from billing.models.bulk.card_limits import Rulings
from billing.models.bulk.history import NewEvent, NewTransition
from billing.models.bulk.settling import AttemptRow, InvoiceRow, SubscriptionRow

Row = AttemptRow | InvoiceRow | SubscriptionRow
SUBJECTS = {AttemptRow: "attempt", InvoiceRow: "invoice", SubscriptionRow: "subscription"}


def transition_of(
    row: Row, before: str, after: str, reason: str, evidence_id: int | None, detail: dict[str, Any]
) -> NewTransition:
    """The line of history that says that the row went from one state to another, and why."""
    return NewTransition(
        account_id=row.account_id,
        subject_type=SUBJECTS[type(row)],
        subject_id=row.id,
        from_state=str(before),
        to_state=str(after),
        reason=reason,
        evidence_id=evidence_id,
        detail=detail,
    )


def event_of(kind: str, row: Row, payload: Mapping[str, Any], occasion: str) -> NewEvent:
    """The event about the row; `occasion` tells it from others of its kind."""
    return NewEvent(
        account_id=row.account_id,
        kind=kind,
        subject_type=SUBJECTS[type(row)],
        subject_id=row.id,
        occasion=occasion,
        payload=payload,
    )


def failure_of(invoice: InvoiceRow, attempt: AttemptRow, rulings: Rulings) -> dict[str, Any]:
    """What the event of a declined charge says of it."""
    return _failure(invoice, attempt.public_id, attempt.state_reason, rulings)


def avoided_of(invoice: InvoiceRow, code: str, rulings: Rulings) -> dict[str, Any]:
    """The same of a charge that was not made, because of a decline of its card with this code."""
    return _failure(invoice, None, code, rulings)


def _failure(invoice: InvoiceRow, attempt: str | None, code: str, rulings: Rulings) -> dict[str, Any]:
    return {
        "invoice": invoice.public_id,
        "attempt": attempt,
        "code": code,
        "decline_kind": kind_of(code, rulings).value,
        "avoided": attempt is None,
        "first": invoice.tries == 0,
    }
