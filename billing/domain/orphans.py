"""Answers that no row accounts for: what becomes of them."""

from enum import StrEnum

from billing.domain.attempts import Verdict
from billing.domain.refunds import RefundVerdict


class OrphanKind(StrEnum):
    """What the request asked for."""

    CHARGE = "charge"
    REFUND = "refund"


class OrphanMatch(StrEnum):
    """How an orphan answer came to be accounted for."""

    NO_MONEY = "no_money"  # by its own words no money moved
    ROW = "row"  # the attempt or refund with its marker is in the database again
    TRANSACTION = "transaction"  # its transaction was found at the gateway, and is on record
    PERSON = "person"  # a person looked into it


_NO_MONEY = frozenset(
    {Verdict.DECLINED.value, Verdict.NOT_SENT.value, RefundVerdict.REFUSED.value, RefundVerdict.NOT_SENT.value}
)


def moved_no_money(verdict: str) -> bool:
    """Whether the answer itself says that nothing was taken or given back."""
    return verdict in _NO_MONEY
