"""What a person may close an invoice with, and which of the gateway's orders may be the payment of an invoice.

Pure: rows come in as values, and the first rule that forbids something goes out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from billing.domain.attempts import UNRESOLVED, AttemptState
from billing.domain.matching import EARLIEST
from billing.domain.money import display
from billing.domain.resolution import Refused
from billing.domain.subscriptions import InvoiceState


class PaidBy(StrEnum):
    """How an invoice was paid without an attempt of ours."""

    CASH = "cash"
    BANK_TRANSFER = "bank_transfer"
    OTHER = "other"  # another system
    GATEWAY = "gateway"  # a transaction at the gateway that no attempt of ours explains


CLOSABLE = frozenset({InvoiceState.OPEN, InvoiceState.UNCOLLECTIBLE})
# The gateway's transaction may be older than the due date by this much: clocks, and charges made a little early.
BEFORE_ITS_DUE_DATE = timedelta(days=1)


def refuse_closing(
    state: InvoiceState, to: InvoiceState, attempts: Sequence[tuple[str, AttemptState]], *, proposed_by: str = ""
) -> Refused | None:
    """Why a person may not close the invoice now, or None. `attempts` are (public id, state)."""
    if state not in CLOSABLE or state is to:
        return Refused("invoice", "state", f"must be open or uncollectible; it is {state}")
    if proposed_by:
        return Refused("proposal", "state", f"a proposal by {proposed_by} to close it must be decided first")
    for public_id, attempt in attempts:
        if attempt in UNRESOLVED:
            what = "needs review" if attempt is AttemptState.NEEDS_REVIEW else f"is {attempt.replace('_', ' ')}"
            message = f"attempt {public_id} {what} and may have taken the money; its outcome must be known first"
            return Refused("invoice", "state", message)
    return None


def refuse_payment(method: PaidBy, reference: str, paid_date: date, today: date) -> Refused | None:
    """Why a payment outside cannot be as described, or None; `today` is in the account's time zone."""
    if method is not PaidBy.GATEWAY and not reference.strip():
        return Refused(
            "reference", "required", "must be a reference, such as a receipt number or a line of a bank statement"
        )
    if paid_date > today:
        return Refused("paid_date", "future", "must not be in the future")
    return None


@dataclass(frozen=True, slots=True)
class FoundTransaction:
    """A transaction of the gateway that a person calls the payment of an invoice. `claimed_by` is what it explains
    already, `listed` whether it was seen among the orders of a card of the customer."""

    status: str
    amount_minor: int
    currency: str
    store_id: str | None
    made_at: datetime | None
    words: str
    claimed_by: str
    listed: bool


@dataclass(frozen=True, slots=True)
class Owed:
    """What a found payment is compared with."""

    invoice_id: str
    amount_minor: int
    currency: str
    due_at: datetime


def refuse_found(
    owed: Owed, store_id: str, found: FoundTransaction, *, other_invoices: Sequence[str]
) -> Refused | None:
    """Why the transaction cannot be the payment of the invoice, or None. `other_invoices` are ids of other invoices
    that its words name."""
    asked, taken = display(owed.amount_minor, owed.currency), display(found.amount_minor, found.currency)
    checks = (
        (
            found.status != "SUCCESS",
            "status_differs",
            f"must be a successful transaction that was not refunded; its status is {found.status}",
        ),
        (bool(found.claimed_by), "claimed", f"already explains {found.claimed_by}"),
        (
            (found.amount_minor, found.currency) != (owed.amount_minor, owed.currency),
            "amount_differs",
            f"must be of {asked}; got {taken}",
        ),
        (
            found.store_id is not None and bool(store_id) and found.store_id != store_id,
            "store_differs",
            f"must belong to store {store_id}; got {found.store_id}",
        ),
        (
            bool(other_invoices) and owed.invoice_id not in found.words.split(),
            "invoice_differs",
            f"names another invoice: {', '.join(other_invoices)}",
        ),
        (
            not found.listed and owed.invoice_id not in found.words.split(),  # its card may be lost, as after a restore
            "card_differs",
            "must be on a card of this customer; read the card at the gateway first",
        ),
        (
            found.made_at is not None and found.made_at < owed.due_at - BEFORE_ITS_DUE_DATE,
            "too_early",
            "must not be older than the invoice's due date",
        ),
    )
    return next((Refused("transaction_id", rule, why) for fails, rule, why in checks if fails), None)


class Likeness(StrEnum):
    """Why an order that nothing explains may be the payment of an invoice."""

    NAMES_THE_INVOICE = "names_the_invoice"
    AMOUNT_AND_TIME = "amount_and_time"


def likeness(owed: Owed, *, amount_minor: int, currency: str, made_at: datetime | None, words: str) -> Likeness | None:
    """Whether an order may be the payment of the invoice, by its words or by amount and time.

    Words that name another invoice make it no candidate; a marker alone says only that some attempt made it."""
    if (amount_minor, currency) != (owed.amount_minor, owed.currency):
        return None
    named = [word for word in words.split() if word.startswith("inv_")]
    if named:
        return Likeness.NAMES_THE_INVOICE if owed.invoice_id in named else None
    return Likeness.AMOUNT_AND_TIME if made_at is None or made_at >= owed.due_at - EARLIEST else None
