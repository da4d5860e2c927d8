"""Which of the gateway's orders belongs to an attempt.

An order is a candidate when it is not explained already, was not there before the card became active,
and agrees in amount, currency and time. The marker, read through a transaction query, then decides:
ours closes the attempt, another's is no candidate, an absent one goes to a person unless the account
says (proved in the sandbox) that the gateway does not echo.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

# The gateway's clock may be off by its own signature window, and it finishes what it began late.
EARLIEST = timedelta(seconds=120)
LATEST = timedelta(hours=1)
# An account that lets absence permit another attempt waits at least this long for the order to appear.
LEAST_HOURS_OF_ABSENCE = 24


class MarkerEcho(StrEnum):
    """What is known of the gateway echoing our title and description for an account."""

    UNPROVEN = "unproven"
    PROVED_ABSENT = "proved_absent"


@dataclass(frozen=True, slots=True)
class SeenOrder:
    """One unexplained order of the card, with the transaction behind it.

    `words` are title and description as the gateway echoed them ("" when it echoed none)."""

    order_id: str
    transaction_id: str
    amount_minor: int
    currency: str
    created_at: datetime | None
    words: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """The part of an attempt that an order is compared with."""

    marker: str
    amount_minor: int
    currency: str
    armed_at: datetime
    transaction_id: str | None


@dataclass(frozen=True, slots=True)
class Match:
    order: SeenOrder


@dataclass(frozen=True, slots=True)
class NoMatch:
    pass


@dataclass(frozen=True, slots=True)
class Ambiguous:
    orders: tuple[SeenOrder, ...]
    reason: str


def could_be(wanted: Wanted, *, amount_minor: int, currency: str, created_at: datetime | None) -> bool:
    """Whether an order of this amount and time is worth asking the gateway about."""
    if amount_minor != wanted.amount_minor or currency != wanted.currency:
        return False
    if created_at is None:
        return True
    return wanted.armed_at - EARLIEST <= created_at <= wanted.armed_at + LATEST


def carries(words: str, marker: str) -> bool:
    return marker in words.split()


def marker_in(words: str, marker_length: int = 12) -> str | None:
    """The marker that the words carry: the first word of a description or the last of a title; or None.

    A marker has letters and digits, so no English word and no number is taken for one."""
    split = words.split()
    return next((word for word in (*split[:1], *split[-1:]) if _is_marker(word, marker_length)), None)


def _is_marker(word: str, length: int) -> bool:
    plain = len(word) == length and word.isascii() and word.isalnum() and word == word.upper()
    return plain and any(c.isdigit() for c in word) and any(c.isalpha() for c in word)


def match(wanted: Wanted, orders: Sequence[SeenOrder], echo: MarkerEcho) -> Match | NoMatch | Ambiguous:
    """The one order that is the attempt's, none, or a case for a person.

    An order under the attempt's own transaction id, or with its marker, is the attempt's whatever its amount
    (the settlement then compares amounts)."""
    own = [
        order
        for order in orders
        if (wanted.transaction_id and order.transaction_id == wanted.transaction_id)
        or carries(order.words, wanted.marker)
    ]
    if own:
        return Match(own[0]) if len(own) == 1 else Ambiguous(tuple(own), "two_orders_for_one_attempt")
    nameless = [
        order
        for order in orders
        if marker_in(order.words) is None
        and could_be(wanted, amount_minor=order.amount_minor, currency=order.currency, created_at=order.created_at)
    ]
    if not nameless:
        return NoMatch()
    if len(nameless) == 1 and echo is MarkerEcho.PROVED_ABSENT:
        return Match(nameless[0])
    reason = "order_without_marker" if len(nameless) == 1 else "two_candidate_orders"
    return Ambiguous(tuple(nameless), reason)
