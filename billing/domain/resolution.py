"""What a person decides about an attempt that evidence could not close, and what the gateway's own records forbid.

Pure: what was read at the gateway comes in, and the first rule that forbids a decision goes out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from billing.domain.matching import EARLIEST, Wanted, carries, could_be, marker_in
from billing.domain.money import display


class Resolution(StrEnum):
    CHARGED = "charged"
    DECLINED = "declined"
    NOT_CHARGED = "not_charged"
    CHARGED_AND_GIVEN_BACK = "charged_and_given_back"


# Decisions that money was taken; each names the gateway's transaction.
TOOK_MONEY = frozenset({Resolution.CHARGED, Resolution.CHARGED_AND_GIVEN_BACK})


class ProposalKind(StrEnum):
    """What one person proposes and another confirms: about an attempt a resolution or the release of its card; about
    an invoice that it is closed; about a card that its hold is cleared."""

    CHARGED = "charged"
    DECLINED = "declined"
    NOT_CHARGED = "not_charged"
    CHARGED_AND_GIVEN_BACK = "charged_and_given_back"
    RELEASE = "release"
    PAID_ELSEWHERE = "paid_elsewhere"
    VOID = "void"
    WRITE_OFF = "write_off"
    CLEAR_HOLD = "clear_hold"


# Proposals that money was taken; they name the gateway's transaction.
NAMES_A_TRANSACTION = frozenset({ProposalKind(one.value) for one in TOOK_MONEY})


class ProposalOutcome(StrEnum):
    OPEN = "open"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    OVERTAKEN = "overtaken"  # the case was closed otherwise


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a decision is not possible: the field of the request, a stable word for the rule, and a sentence."""

    field: str
    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class NamedTransaction:
    """The transaction that a person names, as the gateway shows it.

    `words` are the title and description that it echoed; `card_lists_it` says whether the card's own complete order
    list shows it, `claimed_by` which other attempt it explains already (a public id)."""

    transaction_id: str
    status: str
    amount_minor: int
    currency: str
    store_id: str | None
    created_at: datetime | None
    words: str
    card_lists_it: bool
    on_another_card: bool
    claimed_by: str | None


@dataclass(frozen=True, slots=True)
class CardOrder:
    """An order of the card that is not explained by another attempt or the baseline.

    `kept` is False when its transaction says that the money went back in full."""

    order_id: str
    transaction_id: str
    status: str
    amount_minor: int
    currency: str
    created_at: datetime | None
    words: str
    kept: bool = True


def second_person_needed(*, amount_minor: int, above_minor: int | None, deciders: int) -> bool:
    """Whether another person has to confirm. `above_minor` None switches it off; one person alone decides alone."""
    return above_minor is not None and amount_minor > above_minor and deciders > 1


def refuse_charged(
    wanted: Wanted, store_id: str, named: NamedTransaction, *, given_back: bool = False
) -> Refused | None:
    """Why the transaction cannot be this attempt's money, or None. `given_back`: a person says that all of it went
    back."""
    for rule, message in (
        _not_given_back(named) if given_back else _not_a_success(named),
        _not_ours(wanted, store_id, named),
        _not_the_amount(wanted, named),
    ):
        if rule:
            return Refused("transaction_id", rule, message)
    return None


NO_OBJECTION = ("", "")


def _not_a_success(named: NamedTransaction) -> tuple[str, str]:
    if named.status in ("SUCCESS", "PARTIAL_REFUNDED"):
        return NO_OBJECTION
    if named.status == "FULL_REFUNDED":
        return "status_differs", (
            f"its status is {named.status}: the money was taken and refunded. Decide *charged and refunded*: both are "
            "then recorded, and the customer is not charged again"
        )
    return "status_differs", f"must be a successful transaction; its status is {named.status}"


def _not_given_back(named: NamedTransaction) -> tuple[str, str]:
    if named.status == "FULL_REFUNDED":
        return NO_OBJECTION
    return "status_differs", (
        f"its status is {named.status}: the gateway does not show a full refund. If the money was taken and kept, "
        "decide *charged*"
    )


def _not_ours(wanted: Wanted, store_id: str, named: NamedTransaction) -> tuple[str, str]:
    if named.claimed_by:
        return "claimed", f"already explains attempt {named.claimed_by}; a transaction explains one attempt"
    if named.on_another_card:
        return "card_differs", "was made with another card"
    if named.store_id is not None and store_id and named.store_id != store_id:
        return "store_differs", f"must belong to store {store_id}; got {named.store_id}"
    if carries(named.words, wanted.marker):
        return NO_OBJECTION
    other = marker_in(named.words)
    if other is not None:
        return "marker_differs", f"must carry the marker {wanted.marker}; got {other}"
    if named.created_at is not None and named.created_at < wanted.armed_at - EARLIEST:
        return "too_early", "must not be older than this attempt"
    if not named.card_lists_it:
        return "card_differs", (
            "carries no marker and is not among this card's orders; if it is very new, try again later"
        )
    return NO_OBJECTION


def _not_the_amount(wanted: Wanted, named: NamedTransaction) -> tuple[str, str]:
    if named.currency != wanted.currency:
        return "currency_differs", f"must be in {wanted.currency}; got {named.currency}"
    if named.amount_minor != wanted.amount_minor:
        taken, asked = display(named.amount_minor, named.currency), display(wanted.amount_minor, wanted.currency)
        return "amount_differs", (
            f"must be of {asked}; got {taken}. If {taken} was taken, refund it in full in the gateway's portal, then "
            "decide that the attempt was not charged: the invoice is then charged with its own amount"
        )
    return NO_OBJECTION


def money_of_the_attempt(wanted: Wanted, orders: Sequence[CardOrder]) -> CardOrder | None:
    """An order that is certainly this attempt's and still has the money: nobody may call that *not charged*."""
    return next(
        (order for order in orders if _is_ours(wanted, order) and order.kept and order.status != "FAILED"), None
    )


def given_back_of_the_attempt(wanted: Wanted, orders: Sequence[CardOrder]) -> CardOrder | None:
    """An order that is certainly this attempt's, over its very amount, whose money all went back by a refund: nobody
    calls that *not charged*, which would charge the customer again."""
    return next(
        (
            order
            for order in orders
            if _is_ours(wanted, order)
            and order.status == "FULL_REFUNDED"
            and (order.amount_minor, order.currency) == (wanted.amount_minor, wanted.currency)
        ),
        None,
    )


def doubtful(wanted: Wanted, orders: Sequence[CardOrder]) -> list[CardOrder]:
    """Orders that nothing explains and that may have taken money: somebody has to have looked at each."""
    return [order for order in orders if order.status != "FAILED" and not (_is_ours(wanted, order) and not order.kept)]


def _is_ours(wanted: Wanted, order: CardOrder) -> bool:
    known = wanted.transaction_id is not None and order.transaction_id == wanted.transaction_id
    return known or carries(order.words, wanted.marker)


def fits(wanted: Wanted, order: CardOrder) -> bool:
    """Whether the order has the attempt's amount and time."""
    return could_be(wanted, amount_minor=order.amount_minor, currency=order.currency, created_at=order.created_at)
