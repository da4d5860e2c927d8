"""RM's web checkout: a page of RM's on which somebody pays one order by any method, once.

It is the one call whose order id is ours. A page that was made moves no money; what was paid is a transaction under the
order id, and only ``Client.get_transaction_by_order`` shows it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from rm_gateway.parsing import JSONObject, ParseError, amount, obj, optional_moment, text, text_or_empty
from rm_gateway.prepared import DESCRIPTION_LENGTH, TITLE_LENGTH, check_money, checked_id
from rm_gateway.signing import JSONValue

ORDER_ID_LENGTH: Final = 24
ADDITIONAL_DATA_LENGTH: Final = 128
LAYOUT: Final = "v4"


class CheckoutStatus(StrEnum):
    """RM's words for a checkout [D]; UNRECOGNISED is ours, also for what a page says that nobody used yet [U]."""

    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    UNRECOGNISED = "UNRECOGNISED"

    @classmethod
    def of(cls, word: str) -> CheckoutStatus:
        """The member for RM's word; a new or misspelt word is UNRECOGNISED."""
        return cls(word) if word in set(cls) else cls.UNRECOGNISED


@dataclass(frozen=True, slots=True)
class NewCheckout:
    """What is to be paid on a page [D]. Raises ValueError naming the field.

    ``order_id`` is ours, at most 24 characters, and RM refuses one that it had before [D]; ``additional_data`` comes
    back with the transaction. ``methods`` empty offers all that the merchant has [S]. Amounts are whole sen.
    """

    order_id: str
    amount_minor: int
    currency: str
    title: str
    detail: str
    additional_data: str
    redirect_url: str = field(repr=False)
    notify_url: str = field(repr=False)
    methods: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        checked_id("order_id", self.order_id)
        check_money(self.amount_minor, self.currency)
        if not self.title:
            raise ValueError("title is missing")
        longest = {
            "order_id": ORDER_ID_LENGTH,
            "title": TITLE_LENGTH,
            "detail": DESCRIPTION_LENGTH,
            "additional_data": ADDITIONAL_DATA_LENGTH,
        }
        for name, length in longest.items():
            if len(getattr(self, name)) > length:
                raise ValueError(f"{name} is longer than {length} characters")

    def body(self, store_id: str) -> dict[str, JSONValue]:
        """The request's body."""
        return {
            "order": {
                "id": self.order_id,
                "title": self.title,
                "detail": self.detail,
                "additionalData": self.additional_data,
                "currencyType": self.currency,
                "amount": self.amount_minor,
            },
            "method": list(self.methods),
            "type": "WEB_PAYMENT",
            "storeId": store_id,
            "redirectUrl": self.redirect_url,
            "notifyUrl": self.notify_url,
            "layoutVersion": LAYOUT,
        }


@dataclass(frozen=True, slots=True)
class CreatedCheckout:
    """A page that can be paid on [D]: ``url`` is where the browser goes."""

    checkout_id: str
    url: str

    @classmethod
    def parse(cls, raw: Any) -> CreatedCheckout:
        """Read the answer's item. Raises ParseError when a member is missing or the address is no web address."""
        if not isinstance(raw, dict):
            raise ParseError("the checkout is no object")
        url = text(raw, "url")
        if not url.startswith(("https://", "http://")) or not url.isprintable() or " " in url:
            raise ParseError("url is no web address")
        return cls(checkout_id=text(raw, "checkoutId"), url=url)


@dataclass(frozen=True, slots=True)
class CheckoutInfo:
    """A checkout as RM has it [D]. It says what became of the page, not of the money: ask for the transaction.

    ``ends_at`` is RM's own end of the page, in the published example ten minutes after its beginning [D]; the table of
    members does not list it. ``transaction_id`` may be there although nothing was paid [D].
    """

    checkout_id: str
    order_id: str
    amount_minor: int
    currency: str
    status: CheckoutStatus
    transaction_id: str | None
    ends_at: datetime | None
    raw: JSONObject = field(repr=False)

    @classmethod
    def parse(cls, raw: Any) -> CheckoutInfo:
        """Read a checkout. Raises ParseError when id, order or amount is missing or odd."""
        if not isinstance(raw, dict):
            raise ParseError("the checkout is no object")
        order = obj(raw, "order")
        return cls(
            checkout_id=text(raw, "id"),
            order_id=text(order, "id"),
            amount_minor=amount(order, "amount"),
            currency=text(order, "currencyType"),
            status=CheckoutStatus.of(text_or_empty(raw, "status")),
            transaction_id=text_or_empty(raw, "transactionId") or None,
            ends_at=optional_moment(raw, "endAt"),
            raw=raw,
        )
