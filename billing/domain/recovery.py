"""Which invoice a charge belongs to that the gateway knows and the database has lost.

A charge of ours carries its words: the description is the marker, the invoice's public id and what was sold. An invoice
that was opened after a backup has another id in the restored database; then card, words, amount and due date decide,
and only when exactly one fits.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from billing.domain.attempts import plain
from billing.domain.matching import EARLIEST, marker_in

_INVOICE_ID = re.compile(r"inv_[0-9a-hjkmnp-tv-z]{26}")
_CROCKFORD = {digit: value for value, digit in enumerate("0123456789abcdefghjkmnpqrstvwxyz")}
# An invoice is opened soon after it is due; how much later it may have been after an outage.
OPENED_WITHIN = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class OurWords:
    """What the words of a charge of ours say; `name` is what was sold, and what the gateway added."""

    marker: str
    invoice_id: str
    name: str


def our_words(words: str) -> OurWords | None:
    """The words as ours, or None: the marker first, then an invoice's public id."""
    first, _, rest = words.strip().partition(" ")
    invoice_id, _, name = rest.strip().partition(" ")
    if marker_in(first) is None or not _INVOICE_ID.fullmatch(invoice_id):
        return None
    return OurWords(first, invoice_id, name.strip())


def made_at(public_id: str) -> datetime | None:
    """When a public id was made; None when it cannot be one."""
    number = 0
    for digit in public_id.rpartition("_")[2]:
        if digit not in _CROCKFORD:
            return None
        number = number * 32 + _CROCKFORD[digit]
    milliseconds = number >> 80
    if milliseconds >= 1 << 47:
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


@dataclass(frozen=True, slots=True)
class Lost:
    """An order of ours that the database does not have."""

    order_id: str
    words: OurWords
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Owed:
    """An invoice of the card's customer. `free`: nothing was charged for it and nothing may still be; `known_as` are
    ids under which charges of it were found before."""

    id: int
    public_id: str
    description: str
    amount_minor: int
    currency: str
    due_at: datetime
    free: bool
    known_as: frozenset[str] = field(default_factory=frozenset)


def assign(lost: Sequence[Lost], owed: Sequence[Owed]) -> Mapping[str, int]:
    """By order, the invoice that it was made for; orders for which no single invoice fits are left out."""
    by_name = {
        lost_id: _invoice_of(lost_id, [one for one in lost if one.words.invoice_id == lost_id], owed)
        for lost_id in {one.words.invoice_id for one in lost}
    }
    guessed = [invoice.id for invoice, certain in by_name.values() if invoice is not None and not certain]
    found = {}
    for one in lost:
        invoice, certain = by_name[one.words.invoice_id]
        if invoice is not None and _agrees(one, invoice) and (certain or guessed.count(invoice.id) == 1):
            found[one.order_id] = invoice.id
    return found


def _invoice_of(lost_id: str, orders: Sequence[Lost], owed: Sequence[Owed]) -> tuple[Owed | None, bool]:
    """The invoice that had this id, and whether that is certain."""
    for invoice in owed:
        if lost_id == invoice.public_id or lost_id in invoice.known_as:
            return invoice, True
    made = made_at(lost_id)
    if made is None:
        return None, False
    fits = [
        invoice
        for invoice in owed
        if invoice.free
        and not invoice.known_as
        and all(_agrees(order, invoice) and _same_name(order, invoice) for order in orders)
        and made - OPENED_WITHIN <= invoice.due_at <= made + EARLIEST
    ]
    newest = max((invoice.due_at for invoice in fits), default=None)
    nearest = [invoice for invoice in fits if invoice.due_at == newest]
    return (nearest[0], False) if len(nearest) == 1 else (None, False)


def _agrees(order: Lost, invoice: Owed) -> bool:
    return (order.amount_minor, order.currency) == (invoice.amount_minor, invoice.currency)


def _same_name(order: Lost, invoice: Owed) -> bool:
    name = plain(invoice.description)
    return f"{order.words.name} ".startswith(f"{name} ") if name else True
