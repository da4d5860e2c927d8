"""The web checkout: pages for orders that the merchant names, what is paid on them, and what RM shows of them.

A page is made by ``POST /v3/payment/online`` and opened at ``/v4/checkout?checkoutId=``. Each try on it is a
transaction of the merchant's own order id. A payment may also be made without the browser (the control interface's
``checkouts/<order id>/pay``), also when the page is over: the bank's word comes late.
"""

from __future__ import annotations

import asyncio
import json
from html import escape
from typing import Any, Final

from aiohttp import web

from rm_gateway.simulator import faults
from rm_gateway.simulator.charging import MAX_AMOUNT, MAX_DESCRIPTION, MAX_TITLE, MIN_AMOUNT
from rm_gateway.simulator.core import Core
from rm_gateway.simulator.customers import admit
from rm_gateway.simulator.outcomes import OUTCOMES, Money
from rm_gateway.simulator.pages import form_of, message, page, with_parameters
from rm_gateway.simulator.records import FAILED, SUCCESS, Charge, WebCheckout
from rm_gateway.simulator.switches import AUTO, NEVER
from rm_gateway.simulator.templates import CHECKOUT_PAGE, METHOD
from rm_gateway.simulator.wire import RefusalError, checkout_item, dump, item, ringgit

MAX_ORDER_ID: Final = 24
MAX_ADDITIONAL: Final = 128
METHODS: Final = {"FPX": "Online banking (FPX)", "MAYBANK": "DuitNow QR", "TNG": "Touch n Go eWallet", "GOBIZ": "Card"}
# What a button does: the outcome of the try, or None where nothing is tried.
BUTTONS: Final = {"pay": "success", "later": "in_process_success", "fail": "decline_9010", "cancel": None}


async def create(core: Core, request: web.BaseRequest) -> web.StreamResponse:
    """``POST /v3/payment/online``: a page for one order; RM refuses an order id that the merchant used before."""
    caller = await admit(core, request, "POST /v3/payment/online")
    switches, merchant_id = core.switches, caller.merchant.merchant_id
    values = _wanted(caller.body)
    if core.ledger.web_checkout(merchant_id, values["order_id"]) is not None:
        raise RefusalError(*switches.error_order_duplicate, "The order id was used before.")
    outcome = OUTCOMES["success" if switches.checkout_outcome == AUTO else switches.checkout_outcome]
    latency = core.rng.uniform(*switches.latency) if switches.latency[1] else 0.0
    body = b""
    if outcome.money is not Money.UNTOUCHED:
        now = core.clock.now()
        times = {"created_at": now, "ends_at": now + switches.checkout_lifetime}
        checkout_id = core.ledger.new_id()
        core.ledger.record("web_checkout", id=checkout_id, merchant_id=merchant_id, **values, **times)
        url = f"{core.pages_url}/v4/checkout?checkoutId={checkout_id}"
        body = dump({"item": {"checkoutId": checkout_id, "url": url}, "code": SUCCESS})
    if latency:
        await asyncio.sleep(latency)
    return await faults.give(request, outcome, body, switches)


async def read(core: Core, request: web.BaseRequest) -> web.StreamResponse:
    """``GET /v3/payment/online?checkoutId=``."""
    caller = await admit(core, request, "")
    checkout = core.ledger.web_checkouts.get(request.query.get("checkoutId", ""))
    if checkout is None or checkout.merchant_id != caller.merchant.merchant_id:
        raise RefusalError(404, "CHECKOUT_NOT_FOUND", "There is no such checkout.")
    return item(checkout_item(checkout, core.clock.now()))


async def show(core: Core, request: web.BaseRequest) -> web.StreamResponse:
    """``/v4/checkout?checkoutId=``: the page, and what becomes of it."""
    checkout = core.ledger.web_checkouts.get(request.query.get("checkoutId", ""))
    if checkout is None:
        return message("Not found", "There is no such checkout.", 404)
    now = core.clock.now()
    status = checkout.status_at(now)
    if status == SUCCESS:
        return message("Already paid", "This order is paid.", 200)
    if status in ("CANCELLED", "EXPIRED") and not core.switches.checkout_pays_late:
        return message("Not available", f"This checkout is {status.lower()}.", 410)
    if request.method == "GET":
        return _form(checkout)
    core.ledger.record("post", route="POST /v4/checkout")
    form = await form_of(request)
    action, method = (form or {}).get("action", ""), (form or {}).get("method", "")
    if action not in BUTTONS or method not in METHODS:
        return _form(checkout, "Choose how to pay, and press one of the buttons.")
    outcome = BUTTONS[action]
    if outcome is None:
        core.ledger.record("web_cancelled", checkout_id=checkout.id)
        return _back(core, checkout, "CANCELLED")
    charge = await pay(core, checkout, outcome, method)
    paid = charge.status_at(core.clock.now()) == SUCCESS
    return _back(core, checkout, SUCCESS if paid else FAILED, "" if paid else charge.error or "PAYMENT_IN_PROCESS")


async def pay(core: Core, checkout: WebCheckout, outcome_name: str, method: str) -> Charge:
    """One try to pay, whatever the page shows; the notify follows when there is money, now or later."""
    now, outcome = core.clock.now(), OUTCOMES[outcome_name]
    switches = core.ledger.switches_for(checkout.id)
    status = str(outcome.money.value)
    transaction = {
        "transaction_id": core.ledger.new_transaction_id(now),
        "status": status,
        "outcome": outcome.name,
        "error": outcome.error if FAILED in (status, outcome.later) else "",
        "reference_id": f"{core.rng.getrandbits(48):012X}UM",
        "created_at": now,
        "executed_at": now,
        "method": method,
    }
    if outcome.later is not None:
        transaction |= {"settles_at": now + switches.settle_after, "settles_to": str(outcome.later)}
    core.ledger.record("web_payment", checkout_id=checkout.id, transaction=transaction)
    charge = core.ledger.charges[str(transaction["transaction_id"])]
    await core.notifier.charged(charge, switches)
    return charge


async def pay_by_control(core: Core, request: web.BaseRequest, order_id: str) -> dict[str, Any]:
    """``{"outcome": …, "method": …}``: a try without the browser. Raises RefusalError naming what is wrong."""
    checkout = next((one for one in core.ledger.web_checkouts.values() if one.order_id == order_id), None)
    if checkout is None:
        raise RefusalError(404, "INVALID_ID", "There is no such checkout.")
    try:
        body = json.loads(await request.read() or b"{}")
        outcome, method = body.get("outcome", "success"), body.get("method", "FPX")
    except (ValueError, AttributeError):
        raise RefusalError(400, "INVALID_PARAMETER", "the body must be a JSON object") from None
    if outcome not in OUTCOMES or OUTCOMES[outcome].money is Money.UNTOUCHED or method not in METHODS:
        raise RefusalError(400, "INVALID_PARAMETER", f"outcome {outcome!r} or method {method!r} cannot be")
    return {"transaction_id": (await pay(core, checkout, outcome, method)).transaction_id}


def _wanted(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict) or not isinstance(body.get("order"), dict):
        raise RefusalError(400, "VALIDATION_ERROR", "The body must have an order.")
    order = body["order"]
    texts = {
        "order_id": (order.get("id"), MAX_ORDER_ID),
        "title": (order.get("title"), MAX_TITLE),
        "detail": (order.get("detail", ""), MAX_DESCRIPTION),
        "additional_data": (order.get("additionalData", ""), MAX_ADDITIONAL),
        "redirect_url": (body.get("redirectUrl"), 2000),
        "notify_url": (body.get("notifyUrl"), 2000),
        "store_id": (body.get("storeId"), 64),
    }
    for name, (value, longest) in texts.items():
        needed = name not in ("detail", "additional_data")
        if not isinstance(value, str) or len(value) > longest or (needed and not value):
            raise RefusalError(400, "VALIDATION_ERROR", f"{name} must be text of at most {longest} letters.")
    amount = order.get("amount")
    if isinstance(amount, bool) or not isinstance(amount, int) or not MIN_AMOUNT <= amount <= MAX_AMOUNT:
        raise RefusalError(400, "VALIDATION_ERROR", f"amount must be whole sen, at least {MIN_AMOUNT}.")
    if order.get("currencyType") != "MYR" or body.get("type") not in ("WEB_PAYMENT", "MOBILE_PAYMENT"):
        raise RefusalError(400, "VALIDATION_ERROR", "currencyType must be MYR, type WEB_PAYMENT or MOBILE_PAYMENT.")
    if body.get("layoutVersion") not in ("v1", "v2", "v3", "v4") or not isinstance(body.get("method", []), list):
        raise RefusalError(400, "VALIDATION_ERROR", "layoutVersion must be v1 to v4, method a list.")
    return {name: value for name, (value, _) in texts.items()} | {"amount": amount, "currency": "MYR"}


def _form(checkout: WebCheckout, problem: str = "") -> web.Response:
    rows = "".join(
        METHOD.format(code=code, words=escape(words), checked=" checked" if code == "FPX" else "")
        for code, words in METHODS.items()
    )
    values = {
        "amount": f"{checkout.currency} {ringgit(checkout.amount)}",
        "product": checkout.title,
        "order": checkout.order_id,
        "problem": problem,
    }
    return page("Pay", CHECKOUT_PAGE, values, {"methods": rows}, 422 if problem else 200)


def _back(core: Core, checkout: WebCheckout, status: str, reason: str = "") -> web.Response:
    if core.switches.redirect == NEVER:
        return message("Done", "This page does not lead back (simulated).", 200)
    parameters = {"status": status, "orderId": checkout.order_id} | ({"reason": reason} if reason else {})
    return web.Response(status=303, headers={"Location": with_parameters(checkout.redirect_url, parameters)})
