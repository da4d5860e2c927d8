"""RM's answers as frozen values. Each keeps the whole JSON object it was read from in ``raw``.

Amounts are whole sen, times are UTC, ids are strings (19 and 24 digits exceed a double). ``raw`` holds
personal data and is left out of every ``repr``.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from rm_gateway.parsing import (
    JSONObject,
    ParseError,
    amount,
    flag,
    moment,
    obj,
    optional_amount,
    optional_moment,
    text,
    text_or_empty,
)
from rm_gateway.prepared import check_money
from rm_gateway.signing import JSONValue

_PLAIN_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)


class TransactionStatus(StrEnum):
    """RM's words for a transaction or an order [D]; UNRECOGNISED is ours, for any other word."""

    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    IN_PROCESS = "IN_PROCESS"
    FULL_REFUNDED = "FULL_REFUNDED"
    PARTIAL_REFUNDED = "PARTIAL_REFUNDED"
    REVERSED = "REVERSED"
    UNRECOGNISED = "UNRECOGNISED"

    @classmethod
    def of(cls, word: str) -> TransactionStatus:
        """The member for RM's word; comparison is exact, so a new or misspelt word is UNRECOGNISED."""
        return _STATUS_OF_WORD.get(word, cls.UNRECOGNISED)


_STATUS_OF_WORD = {str(status): status for status in TransactionStatus if status is not TransactionStatus.UNRECOGNISED}


@dataclass(frozen=True, slots=True)
class Transaction:
    """One payment at RM [D]. Paid means ``status`` SUCCESS with the amount and currency that were asked for.

    ``order_id`` is RM's order id followed by ``R0`` [I]; ``order_additional_data`` is the plain id that the
    orders of a customer carry. ``order_title`` and ``order_detail`` are presumed to echo title and
    description [I].
    ``balance_minor`` is what can still be refunded. ``error_code`` may be an acquirer's code such as "9010".
    """

    transaction_id: str
    reference_id: str
    order_id: str
    order_title: str
    order_detail: str
    order_additional_data: str
    amount_minor: int
    currency: str
    store_id: str | None
    balance_minor: int | None
    final_amount_minor: int | None
    status: TransactionStatus
    status_text: str
    error_code: str | None
    transaction_at: datetime | None
    created_at: datetime | None
    updated_at: datetime | None
    raw: JSONObject = field(repr=False)

    @classmethod
    def parse(cls, raw: Any) -> Transaction:
        """Read a transaction. Raises ParseError when id, status, amount or currency is missing or odd."""
        if not isinstance(raw, dict):
            raise ParseError("the transaction is no object")
        order = obj(raw, "order")
        status_text = text(raw, "status")
        return cls(
            transaction_id=text(raw, "transactionId"),
            reference_id=text_or_empty(raw, "referenceId"),
            order_id=text_or_empty(order, "id"),
            order_title=text_or_empty(order, "title"),
            order_detail=text_or_empty(order, "detail"),
            order_additional_data=text_or_empty(order, "additionalData"),
            amount_minor=amount(order, "amount"),
            currency=_currency(raw, order),
            store_id=_store_id(raw),
            balance_minor=optional_amount(raw, "balanceAmount"),
            final_amount_minor=optional_amount(raw, "finalAmount"),
            status=TransactionStatus.of(status_text),
            status_text=status_text,
            error_code=_error_code(raw),
            transaction_at=optional_moment(raw, "transactionAt"),
            created_at=optional_moment(raw, "createdAt"),
            updated_at=optional_moment(raw, "updatedAt"),
            raw=raw,
        )


def _currency(raw: JSONObject, order: JSONObject) -> str:
    """The order's currency; older answers carry it on the transaction alone [D]. Two that differ are refused."""
    currency = text_or_empty(order, "currencyType") or text(raw, "currencyType")
    if text_or_empty(raw, "currencyType") not in {"", currency}:
        raise ParseError("currencyType says two things")
    return currency


def _store_id(raw: JSONObject) -> str | None:
    store = raw.get("store")
    identity = store.get("id") if isinstance(store, dict) else None
    return identity if isinstance(identity, str) and identity else None


def _error_code(raw: JSONObject) -> str | None:
    """``error.code``, else ``error.message``: the published failure has its acquirer code there [D]."""
    error = raw.get("error")
    if not isinstance(error, dict):
        return error if isinstance(error, str) and error else None
    for name in ("code", "message"):
        word = error.get(name)
        if isinstance(word, str) and word:
            return word
    return None


@dataclass(frozen=True, slots=True)
class RecurringTerms:
    """The schedule of a customer whom RM itself charges [D]; for ``target`` see ``NewRecurringCustomer``."""

    amount_minor: int
    currency: str
    interval: str
    target: str
    repetitions: int | None
    product_name: str
    product_description: str
    raw: JSONObject = field(repr=False)

    @classmethod
    def parse(cls, raw: Any) -> RecurringTerms | None:
        """Read ``recurringPayment``; None when it is missing or holds zero values only. Raises ParseError."""
        if raw is None or (isinstance(raw, dict) and not any(raw.values())):
            return None
        if not isinstance(raw, dict):
            raise ParseError("recurringPayment is no object")
        return cls(
            amount_minor=amount(raw, "amount"),
            currency=text_or_empty(raw, "currency"),
            interval=text_or_empty(raw, "recurringInterval"),
            target=_word(raw, "recurringTarget"),
            repetitions=optional_amount(raw, "recurringRepetition"),
            product_name=text_or_empty(raw, "productName"),
            product_description=text_or_empty(raw, "productDescription"),
            raw=raw,
        )


def _word(raw: JSONObject, name: str) -> str:
    """A string, or a whole number as its digits: RM's tables and examples differ on the type [D]."""
    value = raw.get(name)
    return str(value) if type(value) is int else text_or_empty(raw, name)


@dataclass(frozen=True, slots=True)
class CustomerInfo:
    """A tokenized or recurring customer [D]. Only ``is_active`` makes the card usable.

    ``label`` is "" until a card is bound, then its first six and last four digits (format [U]).
    ``is_recurring``: RM charges the card on a schedule of its own, which is in ``recurring``.
    """

    customer_id: str
    store_id: str
    label: str
    is_active: bool
    payment_url: str
    created_at: datetime | None
    updated_at: datetime | None
    is_recurring: bool
    recurring: RecurringTerms | None
    raw: JSONObject = field(repr=False)

    @classmethod
    def parse(cls, raw: Any) -> CustomerInfo:
        """Read a customer object. Raises ParseError when the id or ``isActive`` is missing or odd."""
        if not isinstance(raw, dict):
            raise ParseError("the customer is no object")
        recurring = RecurringTerms.parse(raw.get("recurringPayment"))
        return cls(
            customer_id=text(raw, "id"),
            store_id=text_or_empty(raw, "storeId"),
            label=text_or_empty(raw, "label"),
            is_active=flag(raw, "isActive"),
            payment_url=text_or_empty(raw, "paymentUrl"),
            created_at=optional_moment(raw, "createdAt"),
            updated_at=optional_moment(raw, "updatedAt"),
            is_recurring=recurring is not None,
            recurring=recurring,
            raw=raw,
        )


@dataclass(frozen=True, slots=True)
class Order:
    """One record of a customer's orders [D]; its id is the ``order_additional_data`` of a transaction.

    A FAILED order may be retried by RM under a new transaction id, or become SUCCESS through a pay link [I].
    ``recurring_reference`` is the scheduled day, YYYYMMDD, on orders of RM's own engine.
    """

    order_id: str
    customer_id: str
    transaction_id: str | None
    status: TransactionStatus
    status_text: str
    amount_minor: int
    currency: str
    recurring_reference: str | None
    created_at: datetime
    updated_at: datetime
    raw: JSONObject = field(repr=False)

    @classmethod
    def parse(cls, raw: Any) -> Order:
        """Read an order record. Raises ParseError when a member is missing (optional ones apart) or odd."""
        if not isinstance(raw, dict):
            raise ParseError("an order is no object")
        status_text = text(raw, "status")
        return cls(
            order_id=text(raw, "id"),
            customer_id=text(raw, "recurringCustomerId"),
            transaction_id=text_or_empty(raw, "transactionId") or None,
            status=TransactionStatus.of(status_text),
            status_text=status_text,
            amount_minor=amount(raw, "amount"),
            currency=text(raw, "currency"),
            recurring_reference=_word(raw, "recurringReference") or None,
            created_at=moment(raw, "createdAt"),
            updated_at=moment(raw, "updatedAt"),
            raw=raw,
        )


@dataclass(frozen=True, slots=True)
class OddOrder:
    """A record of a customer's orders that is not understood. ``problem`` names the member, not its value.

    ``order_id`` is RM's when the record has one, else a digest of the record, the same in every read of it.
    ``transaction_id`` is RM's or None.
    """

    order_id: str
    transaction_id: str | None
    problem: str

    @classmethod
    def of(cls, raw: Any, problem: str) -> OddOrder:
        """What is left of a record for which ``Order.parse`` raised."""
        members = raw if isinstance(raw, dict) else {"record": raw}
        kept = {name: value for name, value in members.items() if name != "updatedAt"}
        digest = hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()
        order_id = _plain_id(members.get("id")) or f"odd-{digest[:32]}"
        return cls(order_id, _plain_id(members.get("transactionId")), problem)


@dataclass(frozen=True, slots=True)
class NewCustomer:
    """What RM wants to know of a customer whose card is to be bound [D].

    ``country_code`` is digits without a plus ("60"), ``phone_number`` without the country code. ``redirect_url`` is
    where the browser comes back to. Creating twice with the same e-mail gives two customers [I].
    """

    email: str = field(repr=False)
    name: str = field(repr=False)
    country_code: str
    phone_number: str = field(repr=False)
    product_name: str
    product_description: str
    redirect_url: str = field(repr=False)

    def body(self, store_id: str) -> dict[str, JSONValue]:
        """The request's body for a tokenized customer."""
        return {
            "storeId": store_id,
            "email": self.email,
            "name": self.name,
            "countryCode": self.country_code,
            "phoneNumber": self.phone_number,
            "productName": self.product_name,
            "productDescription": self.product_description,
            "redirectUrl": self.redirect_url,
        }


class RecurringInterval(StrEnum):
    """How often RM charges a recurring customer [D]."""

    DAILY = "DAILY"
    WEEKLY = "WEEKLY"
    MONTHLY = "MONTHLY"


_TARGETS = {
    RecurringInterval.DAILY: frozenset({"", "0"}),
    RecurringInterval.WEEKLY: frozenset(map(str, range(7))),
    RecurringInterval.MONTHLY: frozenset(map(str, range(-1, 29))),
}


@dataclass(frozen=True, slots=True)
class NewRecurringCustomer:
    """A customer whom RM charges on its own schedule [D]. Raises ValueError naming the field.

    ``target`` is a string: WEEKLY "0" Sunday to "6" Saturday; MONTHLY "-1" the last day, "0" the first, "1" to "28";
    DAILY "" or "0" (no rule is published [U]). ``repetitions`` is the number of charges; what 0 means is [U], so it
    is refused. RM's runs start at 00:00 UTC [I]; ``notify_url`` is called on success only [D].
    """

    customer: NewCustomer
    amount_minor: int
    interval: RecurringInterval
    target: str
    repetitions: int
    notify_url: str = field(repr=False)
    currency: str = "MYR"

    def __post_init__(self) -> None:
        check_money(self.amount_minor, self.currency)
        object.__setattr__(self, "interval", RecurringInterval(self.interval))
        if self.target not in _TARGETS[self.interval]:
            raise ValueError(f"target is none of {self.interval}")
        if type(self.repetitions) is not int or self.repetitions < 1:
            raise ValueError("repetitions must be a whole number, 1 or more")

    def body(self, store_id: str) -> dict[str, JSONValue]:
        """The request's body."""
        return self.customer.body(store_id) | {
            "currency": self.currency,
            "amount": self.amount_minor,
            "notifyUrl": self.notify_url,
            "recurringInterval": self.interval.value,
            "recurringTarget": self.target,
            "recurringRepetition": self.repetitions,
        }


def _plain_id(value: Any) -> str | None:
    return value if isinstance(value, str) and _PLAIN_ID.fullmatch(value) else None
