"""Which of the gateway's orders belongs to an attempt.

An order is a candidate when it is not explained already, was not there before the card became active,
and agrees in amount, currency and time. The marker, read through a transaction query, then decides:
ours closes the attempt, another's is no candidate, an absent one goes to a person unless the account
says (proved in the sandbox) that the gateway does not echo.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from billing.domain.attempts import AttemptState
from billing.domain.reasons import Reason

# The gateway's clock may be off by its own signature window, and it finishes what it began late.
EARLIEST = timedelta(seconds=120)
LATEST = timedelta(hours=1)
# An account that lets absence permit another attempt waits at least this long for the order to appear.
LEAST_HOURS_OF_ABSENCE = 24

ASKED_ABOUT = frozenset({AttemptState.UNKNOWN, AttemptState.IN_PROCESS})
# Their own orders may be listed already: such an order is not unexplained.
UNDECIDED = frozenset({AttemptState.SENDING, AttemptState.NEEDS_REVIEW})


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
    failed: bool = False  # it moved no money


@dataclass(frozen=True, slots=True)
class Wanted:
    """The part of an attempt that an order is compared with."""

    marker: str
    amount_minor: int
    currency: str
    armed_at: datetime
    transaction_id: str | None


@dataclass(frozen=True, slots=True)
class KnownAttempt:
    """What is known of an attempt before its card is read. `order_id`: the gateway's order, once it was seen."""

    id: int
    state: AttemptState
    answered_with_error: bool
    wanted: Wanted
    order_id: str | None
    refundable: bool = True  # not all of its money was given back yet


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Orders of which nobody but a person can say whether they are the attempt's."""

    attempt: KnownAttempt
    reason: Reason
    order_ids: tuple[str, ...]


@dataclass(slots=True)
class Explained:
    """What the new orders of one complete read come to."""

    owners: dict[str, KnownAttempt] = field(default_factory=dict)  # by order id
    contradictions: list[Contradiction] = field(default_factory=list)
    absent: list[KnownAttempt] = field(default_factory=list)  # attempts asked about that have no order
    unexplained: list[str] = field(default_factory=list)  # orders that may be money of no attempt of ours


@dataclass(frozen=True, slots=True)
class Match:
    order: SeenOrder


@dataclass(frozen=True, slots=True)
class NoMatch:
    pass


@dataclass(frozen=True, slots=True)
class Ambiguous:
    orders: tuple[SeenOrder, ...]
    reason: Reason


def explain(
    attempts: Sequence[KnownAttempt],
    orders: Sequence[SeenOrder],
    *,
    echo: MarkerEcho,
    doubtful: Collection[str],
    with_order: Collection[int],
    answered: Collection[str],
) -> Explained:
    """Gives each of `orders`, which nothing explains yet, to the attempt that made it.

    A marker decides; what carries none is matched by elimination. `doubtful` orders, which were not read whole, are
    matched with nothing: a later read may say whose they are. `with_order`: attempts whose own order was listed;
    `answered`: markers of attempts of which this read has shown something already."""
    found = Explained()
    nameless: list[SeenOrder] = []
    for order in orders:
        owner = next((one for one in attempts if carries(order.words, one.wanted.marker)), None)
        if owner is None:
            nameless.append(order)
        else:
            found.owners[order.order_id] = owner
    named = {owner.wanted.marker for owner in found.owners.values()}.union(answered)
    for attempt in attempts:
        if attempt.state in ASKED_ABOUT and attempt.wanted.marker not in named:
            clear = [order for order in nameless if order.order_id not in doubtful]
            taken = {owner.id for owner in found.owners.values()}.union(with_order)
            _explain_attempt(found, attempt, attempts, clear, taken, echo)
            nameless = [order for order in nameless if order.order_id not in found.owners]
    found.unexplained = [
        order.order_id
        for order in nameless
        if not order.failed and not _may_be_undecided(order, attempts, doubtful=order.order_id in doubtful)
    ]
    return found


def _explain_attempt(
    found: Explained,
    attempt: KnownAttempt,
    attempts: Sequence[KnownAttempt],
    orders: Sequence[SeenOrder],
    taken: set[int],
    echo: MarkerEcho,
) -> None:
    match match(attempt.wanted, orders, echo):
        case Match(order) if _may_be_anothers(order, attempt, attempts, taken):
            reason = Reason.ORDER_WITH_TWO_POSSIBLE_MAKERS
            found.contradictions.append(Contradiction(attempt, reason, (order.order_id,)))
        case Match(order):
            found.owners[order.order_id] = attempt
        case Ambiguous(candidates, reason):
            order_ids = tuple(candidate.order_id for candidate in candidates)
            found.contradictions.append(Contradiction(attempt, reason, order_ids))
        case NoMatch():
            found.absent.append(attempt)


def _may_be_anothers(
    order: SeenOrder, attempt: KnownAttempt, attempts: Sequence[KnownAttempt], taken: set[int]
) -> bool:
    """Whether an order that names nobody may as well be that of another attempt whose own order was never seen: one
    that needs review, or whose failed charge became money late."""
    if carries(order.words, attempt.wanted.marker) or order.transaction_id == attempt.wanted.transaction_id:
        return False
    return any(
        other.id != attempt.id
        and other.state is not AttemptState.NOT_SENT
        and other.order_id is None
        and other.id not in taken
        and fits(other.wanted, order)
        for other in attempts
    )


def _may_be_undecided(order: SeenOrder, attempts: Sequence[KnownAttempt], *, doubtful: bool) -> bool:
    """Whether the order may be that of an attempt that is not decided yet; a doubtful one is given more time.

    One that carries a marker is no attempt's that has another."""
    if marker_in(order.words) is not None:
        return False
    states = UNDECIDED | ASKED_ABOUT if doubtful else UNDECIDED
    return any(attempt.state in states and fits(attempt.wanted, order) for attempt in attempts)


def fits(wanted: Wanted, order: SeenOrder) -> bool:
    """Whether the order has the attempt's amount and time."""
    return could_be(wanted, amount_minor=order.amount_minor, currency=order.currency, created_at=order.created_at)


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
        return Match(own[0]) if len(own) == 1 else Ambiguous(tuple(own), Reason.TWO_ORDERS_FOR_ONE_ATTEMPT)
    nameless = [order for order in orders if marker_in(order.words) is None and fits(wanted, order)]
    if not nameless:
        return NoMatch()
    if len(nameless) == 1 and echo is MarkerEcho.PROVED_ABSENT:
        return Match(nameless[0])
    reason = Reason.ORDER_WITHOUT_MARKER if len(nameless) == 1 else Reason.TWO_CANDIDATE_ORDERS
    return Ambiguous(tuple(nameless), reason)
