"""Lists that span customers: pages of transactions, and RM's daily reconciliation report."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Final

from rm_gateway.models import Transaction
from rm_gateway.parsing import JSONObject, ParseError, optional_moment, text, text_or_empty

_DECIMAL: Final = re.compile(r"-?\d{1,13}(\.\d{1,8})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class TransactionPage:
    """Some of the account's transactions; ``next_cursor`` asks for the next ones, None at the end."""

    transactions: tuple[Transaction, ...]
    next_cursor: str | None


class ReportType(StrEnum):
    """Which movements a report lists [D]."""

    PAYMENT = "PAYMENT"
    REFUND = "REFUND"


@dataclass(frozen=True, slots=True)
class ReportLine:
    """One movement in the reconciliation report of a day [D].

    The report writes ringgit as text ("49.90"); here they are whole sen, None when missing. ``mdr_text`` is RM's
    merchant rate as it writes it.
    """

    transaction_id: str
    order_id: str
    gross_minor: int
    service_fee_minor: int | None
    settlement_minor: int | None
    mdr_text: str
    currency: str
    store_id: str
    type_text: str
    method: str
    transaction_at: datetime | None
    raw: JSONObject = field(repr=False)

    @classmethod
    def parse(cls, raw: Any) -> ReportLine:
        """Read a line. Raises ParseError when id, gross amount or currency is missing or odd."""
        if not isinstance(raw, dict):
            raise ParseError("a line is no object")
        gross = _sen(raw, "grossAmount")
        if gross is None:
            raise ParseError("grossAmount is missing")
        mdr = raw.get("mdr")
        return cls(
            transaction_id=text(raw, "transactionId"),
            order_id=text_or_empty(raw, "orderId"),
            gross_minor=gross,
            service_fee_minor=_sen(raw, "serviceFee"),
            settlement_minor=_sen(raw, "settlementAmount"),
            mdr_text=str(mdr) if isinstance(mdr, str | int | float) else "",
            currency=text(raw, "currencyType"),
            store_id=text_or_empty(raw, "storeId"),
            type_text=text_or_empty(raw, "transactionType"),
            method=text_or_empty(raw, "method"),
            transaction_at=optional_moment(raw, "transactionAt"),
            raw=raw,
        )


def _sen(raw: JSONObject, name: str) -> int | None:
    """Ringgit, as text or as a JSON number (the table says double, the example text [D]), in whole sen."""
    value = raw.get(name)
    if value is None or value == "":
        return None
    digits = value if isinstance(value, str) else repr(value)
    if isinstance(value, bool) or not _DECIMAL.fullmatch(digits):
        raise ParseError(f"{name} is no amount in ringgit")
    try:
        sen = Decimal(digits) * 100
    except InvalidOperation:
        raise ParseError(f"{name} is no amount in ringgit") from None
    if sen != int(sen):
        raise ParseError(f"{name} has a part of a sen")
    return int(sen)
