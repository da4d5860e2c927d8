"""RM's wire format: what customers, transactions, orders and errors look like."""

from __future__ import annotations

import json
from typing import Any, Final

from aiohttp import web

from rm_gateway.simulator.cards import CARDS
from rm_gateway.simulator.clock import ZERO_TIME, compact_second, rfc3339
from rm_gateway.simulator.records import CHECKOUT, FAILED, SUCCESS, Charge, Customer, Order, WebCheckout
from rm_gateway.simulator.switches import Switches

JSON_TYPE: Final = "application/json"
_encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class RefusalError(Exception):
    """An answer with an error object instead of what was asked for."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        debug: Any = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(code, message)
        self.status, self.code, self.message, self.debug = status, code, message, debug
        self.headers = headers or {}

    def response(self) -> web.Response:
        """The refusal as an HTTP answer."""
        body: dict[str, Any] = {"error": {"code": self.code, "message": self.message}}
        if self.debug is not None:
            body["debug"] = self.debug
        return web.Response(body=dump(body), status=self.status, content_type=JSON_TYPE, headers=self.headers)


def dump(value: Any) -> bytes:
    """Compact JSON in UTF-8; halves of surrogate pairs become question marks."""
    return _encode(value).encode(errors="replace")


def answer(value: Any, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(body=dump(value), status=status, content_type=JSON_TYPE)


def item(value: Any) -> web.Response:
    """RM's envelope of one object."""
    return answer({"item": value, "code": SUCCESS})


def items(values: list[Any], cursor: str | None) -> web.Response:
    """RM's envelope of a page."""
    return answer({"items": values, "code": SUCCESS, "meta": {"cursor": cursor} if cursor else {}})


def customer_item(customer: Customer, pages_url: str) -> dict[str, Any]:
    """A customer object (recurring or tokenized)."""
    value: dict[str, Any] = {
        "id": customer.id,
        "merchantId": customer.merchant_id,
        "storeId": customer.store_id,
        "label": customer.label,
        "email": customer.email,
        "name": customer.name,
        "countryCode": customer.country_code,
        "phoneNumber": customer.phone_number,
        "isActive": customer.is_active,
        "createdAt": rfc3339(customer.created_at),
        "updatedAt": rfc3339(customer.updated_at),
        "clientKey": customer.client_key,
        "redirectUrl": customer.redirect_url,
        "notifyUrl": customer.notify_url,
        "paymentUrl": f"{pages_url}/v1/recurring?customerId={customer.id}",
    }
    product = {"productName": customer.product_name, "productDescription": customer.product_description}
    if customer.schedule is None:
        return value | product
    return value | {"recurringPayment": customer.schedule | product}


def transaction_item(charge: Charge, now: float, switches: Switches) -> dict[str, Any]:
    """A transaction object, as the charge call and both queries give it."""
    order = charge.order
    customer = order.customer
    status = charge.status_at(now)
    taken = status in (SUCCESS, "PARTIAL_REFUNDED", "FULL_REFUNDED")
    echoed = {
        "title": order.title or customer.product_name,
        "detail": order.description or customer.product_description,
    }
    if not switches.echo:
        echoed = {"title": customer.product_name, "detail": customer.product_description}
    value: dict[str, Any] = {
        "referenceId": charge.reference_id if taken else "",
        "transactionId": charge.transaction_id,
        "order": {"id": order_id_of(charge), **echoed, "additionalData": order.id, "amount": order.amount},
        "terminalId": "",
        "currencyType": order.currency,
        "balanceAmount": order.amount - charge.refunded if taken else 0,
        "finalAmount": order.amount,
        "voucher": None,
        "platform": "OPEN_API",
        "method": "GOBIZ",
        "transactionAt": rfc3339(charge.executed_at) if taken else ZERO_TIME,
        "type": "RECURRING_PAYMENT",
        "status": status,
        "region": "MALAYSIA",
        "extraInfo": _extra_info(customer, switches),
        "extendInfo": {
            "inHousePromo": {"amount": 0, "info": None},
            "buyNowPayLater": {"isBuyNowPayLater": False, "installmentMonth": 0},
        },
        "source": "RECURRING",
        "createdAt": rfc3339(charge.created_at),
        "updatedAt": rfc3339(charge.updated_at(now), nanoseconds=switches.nanoseconds),
    }
    if switches.order_currency:
        value["order"]["currencyType"] = order.currency
        value["store"] = {"id": order.customer.store_id, "name": "Simulated Store", "status": "ACTIVE"}
    if status == FAILED:
        value["error"] = {"message": charge.error or "9010"}
    if order.path == CHECKOUT:
        value |= {
            "type": "WEB_PAYMENT",
            "source": "",
            "method": charge.method,
            "payee": {"userId": "", "subUserId": ""},
        }
        value["order"]["additionalData"] = order.reference  # the merchant's own, as it came
    return value


def order_id_of(charge: Charge) -> str:
    """RM's own order ids carry the number of the try; those that the merchant named are as they were."""
    order = charge.order
    return order.id if order.path == CHECKOUT else f"{order.id}R{order.charges.index(charge)}"


def checkout_item(checkout: WebCheckout, now: float) -> dict[str, Any]:
    """A checkout, as the query of it gives it. A page that nobody used yet has no published status: ""."""
    latest = checkout.order.latest(now)
    status = checkout.status_at(now)
    return {
        "id": checkout.id,
        "order": {
            "id": checkout.order_id,
            "title": checkout.title,
            "detail": checkout.detail,
            "additionalData": checkout.additional_data,
            "currencyType": checkout.currency,
            "amount": checkout.amount,
        },
        "type": "WEB_PAYMENT",
        "transactionId": latest.transaction_id if latest else "",
        "platform": "OPEN_API",
        "method": [],
        "redirectUrl": checkout.redirect_url,
        "notifyUrl": checkout.notify_url,
        "startAt": rfc3339(checkout.created_at),
        "endAt": rfc3339(checkout.ends_at),
        "status": "" if status == "PENDING" else status,
        "createdAt": rfc3339(checkout.created_at),
        "updatedAt": rfc3339(latest.updated_at(now) if latest else checkout.created_at),
    }


def _extra_info(customer: Customer, switches: Switches) -> dict[str, Any]:
    card = CARDS.get(customer.card)
    shown = switches.echo and card is not None
    return {
        "card": {
            "cardType": None,
            "provider": card.provider if shown and card else "",
            "isTokenization": shown,
            "token": "",
            "maskNo": customer.label if shown else "",
            "inputType": "",
            "referenceId": "",
            "domain": "https://sb-pg.revenuemonster.my",
            "secondaryReferenceId": "",
        },
        "onlineBanking": None,
        "manualRefund": None,
    }


def order_item(order: Order, charge: Charge, now: float, pages_url: str, switches: Switches) -> dict[str, Any]:
    """A record of the list of a customer's orders."""
    status = charge.status_at(now)
    link = f"{pages_url}/v3/checkout?checkoutId={order.checkout_id}" if order.checkout_id else ""
    return {
        "id": order.id,
        "paymentUrl": link,
        "recurringPaymentId": "0",
        "recurringCustomerId": order.customer.id,
        "merchantId": order.customer.merchant_id,
        "storeId": order.customer.store_id,
        "checkoutId": order.checkout_id,
        "transactionId": charge.transaction_id,
        "status": status,
        "recurringReference": order.reference,
        "createdAt": rfc3339(order.created_at),
        "updatedAt": rfc3339(charge.updated_at(now), nanoseconds=switches.nanoseconds),
        "amount": order.amount,
        "currency": order.currency,
    }


def settlement_item(charge: Charge, kind: str, amount: int, at: float, merchant_id: str) -> dict[str, Any]:
    """A record of the daily report: amounts are text in ringgit there, and the fee is 1.5 %."""
    fee = (amount * 15 + 500) // 1000
    return {
        "transactionAt": rfc3339(at),
        "merchantId": merchant_id,
        "merchantName": "Simulated Merchant",
        "storeId": charge.order.customer.store_id,
        "storeName": "Simulated Store",
        "region": "MALAYSIA",
        "method": charge.method,
        "transactionType": kind,
        "type": "WEB_PAYMENT" if charge.order.path == CHECKOUT else "RECURRING_PAYMENT",
        "transactionId": charge.transaction_id,
        "orderId": order_id_of(charge),
        "currencyType": charge.order.currency,
        "grossAmount": ringgit(amount),
        "mdr": "1.50",
        "serviceFee": f"-{ringgit(fee)}",
        "settlementAmount": ringgit(amount - fee),
    }


def ringgit(minor: int) -> str:
    """Sen as text in ringgit."""
    return f"{minor // 100}.{minor % 100:02d}"


def day_of(at: float) -> str:
    """The UTC day of an instant as YYYYMMDD, the form of ``recurringReference``."""
    return "20" + compact_second(int(at))[:6]
