"""The calls about payments: queries, the list, refund, reverse, and the daily report."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from aiohttp import web

from rm_gateway.simulator import faults
from rm_gateway.simulator.checks import Caller
from rm_gateway.simulator.core import Core
from rm_gateway.simulator.customers import admit, read_cursor, write_cursor
from rm_gateway.simulator.outcomes import OUTCOMES, Money
from rm_gateway.simulator.records import SUCCESS, Charge
from rm_gateway.simulator.switches import AUTO
from rm_gateway.simulator.wire import RefusalError, dump, item, items, settlement_item, transaction_item

MALAYSIA: Final = timezone(timedelta(hours=8))
PAID: Final = (SUCCESS, "PARTIAL_REFUNDED", "FULL_REFUNDED")
_ORDER_ID: Final = re.compile(r"(\d+)(?:R(\d+))?")


async def by_transaction(core: Core, request: web.BaseRequest, transaction_id: str) -> web.StreamResponse:
    """``GET /v3/payment/transaction/{transactionId}``."""
    caller = await admit(core, request, "")
    return _item(core, _transaction(core, caller, transaction_id))


async def by_order(core: Core, request: web.BaseRequest, order_id: str) -> web.StreamResponse:
    """``GET /v3/payment/transaction/order/{orderId}``, limited per access token; the plain id or with ``R0``."""
    caller = await admit(core, request, "")
    switches = core.switches
    core.limit(
        f"order query {caller.access_token}",
        limit=switches.order_query_limit,
        window=switches.order_query_window,
    )
    return _item(core, _of_order(core, caller, order_id))


async def listing(core: Core, request: web.BaseRequest) -> web.StreamResponse:
    """``GET /v3/payment/transactions?limit=&cursor=``: the merchant's transactions, newest first."""
    caller = await admit(core, request, "")
    limit_text = request.query.get("limit", "")
    limit = int(limit_text) if limit_text.isascii() and limit_text.isdigit() else core.switches.page_size
    before = read_cursor(request.query.get("cursor", ""))
    page: list[dict[str, Any]] = []
    last = ""
    skipping = bool(before)
    for charge in _seen_by(core, caller):
        if skipping:
            skipping = int(charge.transaction_id) != before
            continue
        if len(page) == max(limit, 1):
            return items(page, write_cursor(last))
        page.append(_shown(core, charge))
        last = charge.transaction_id
    return items(page, None)


async def refund(core: Core, request: web.BaseRequest) -> web.StreamResponse:
    """``POST /v3/payment/refund``: all of a payment, or a part where that is allowed."""
    caller = await admit(core, request, "POST /v3/payment/refund", named_by="reason")
    body = caller.body if isinstance(caller.body, dict) else {}
    terms = body.get("refund")
    if not isinstance(terms, dict) or terms.get("type") not in ("FULL", "PARTIAL"):
        raise RefusalError(400, "VALIDATION_ERROR", "refund.type must be FULL or PARTIAL.")
    charge = _transaction(core, caller, str(body.get("transactionId", "")))
    whole = charge.order.amount
    amount = terms.get("amount", whole if terms["type"] == "FULL" else None)
    if isinstance(amount, bool) or not isinstance(amount, int) or amount < 1:
        raise RefusalError(400, "VALIDATION_ERROR", "refund.amount must be a whole number of sen.")
    status = charge.status_at(core.clock.now())
    if status == "FULL_REFUNDED":
        raise RefusalError(400, "PAYMENT_FULLY_REFUNDED", "The payment was refunded already.")
    if status not in (SUCCESS, "PARTIAL_REFUNDED"):
        raise RefusalError(400, "TRANSACTIN_STATUS_NOT_SUCCESS", f"The payment is {status}.")
    if terms.get("currencyType", charge.order.currency) != charge.order.currency:
        raise RefusalError(400, "PAYMENT_CURRENCY_INVALID", "The currency is another one.")
    if terms["type"] == "FULL" and (amount != whole or charge.refunded):
        raise RefusalError(400, "REFUND_AMT_NOT_SAME_AS_TRANSACTION", "A full refund gives back the whole amount.")
    if terms["type"] == "PARTIAL" and not core.ledger.switches_for(charge.order.customer.id).refund_partial:
        raise RefusalError(400, "UNSUPPORTED_REFUND", "Partial refunds are not offered.")
    if amount > whole - charge.refunded:
        raise RefusalError(400, "INSUFFICIENT_REFUND_AMOUNT", "That is more than is left.")
    values = {"transaction_id": charge.transaction_id, "amount": amount, "at": core.clock.now()}
    values["reason"] = str(body.get("reason", ""))
    return await _carry_out(core, request, charge, "refund", values)


async def reverse(core: Core, request: web.BaseRequest) -> web.StreamResponse:
    """``POST /v3/payment/reverse``: take a fresh payment back by its order id."""
    caller = await admit(core, request, "POST /v3/payment/reverse", named_by="orderId")
    body = caller.body if isinstance(caller.body, dict) else {}
    charge = _of_order(core, caller, str(body.get("orderId", "")))
    now = core.clock.now()
    if charge.status_at(now) not in (SUCCESS, "IN_PROCESS"):
        raise RefusalError(400, "FAILED_TO_REVERSE_ORDER", f"The payment is {charge.status_at(now)}.")
    if now - charge.executed_at > core.ledger.switches_for(charge.order.customer.id).reverse_window:
        raise RefusalError(400, "EXCEED_TIME_FOR_REVERSE_TRANSACTION", "It is too late to reverse this payment.")
    return await _carry_out(core, request, charge, "reverse", {"transaction_id": charge.transaction_id, "at": now})


async def _carry_out(
    core: Core, request: web.BaseRequest, charge: Charge, what: str, values: dict[str, Any]
) -> web.StreamResponse:
    """Move the money back and answer, as the switch ``refund_outcome`` says."""
    switches = core.ledger.switches_for(charge.order.customer.id)
    latency = core.rng.uniform(*switches.latency) if switches.latency[1] else 0.0
    outcome = OUTCOMES["success" if switches.refund_outcome == AUTO else switches.refund_outcome]
    if outcome.money is not Money.UNTOUCHED:
        core.ledger.record(what, **values)
    if latency:
        await asyncio.sleep(latency)
    body = b"" if outcome.money is Money.UNTOUCHED else dump({"item": _shown(core, charge), "code": SUCCESS})
    return await faults.give(request, outcome, body, switches)


async def reconciliation(core: Core, request: web.BaseRequest) -> web.StreamResponse:
    """``POST /v3/payment/reconciliation``: payments or refunds of a day in Malaysia, oldest first."""
    caller = await admit(core, request, "POST /v3/payment/reconciliation")
    body = caller.body if isinstance(caller.body, dict) else {}
    kind = body.get("transactionType", "PAYMENT")
    try:
        day = datetime.strptime(str(body.get("date", "")), "%Y-%m-%d").replace(tzinfo=MALAYSIA)
    except ValueError:
        raise RefusalError(400, "VALIDATION_ERROR", "date must be YYYY-MM-DD.") from None
    if kind not in ("PAYMENT", "REFUND"):
        raise RefusalError(400, "VALIDATION_ERROR", "transactionType must be PAYMENT or REFUND.")
    rows: list[dict[str, Any]] = []
    if _wanted(body, "method", "GOBIZ") and _wanted(body, "region", "MALAYSIA"):
        start = day.timestamp()
        rows = list(_settled(core, caller, kind, start, start + 86400))
    first = read_cursor(str(body.get("cursor") or ""))
    size = core.switches.page_size
    more = write_cursor(str(first + size)) if len(rows) > first + size else None
    return items(rows[first : first + size], more)


def _settled(core: Core, caller: Caller, kind: str, start: float, end: float) -> Iterator[dict[str, Any]]:
    now, merchant_id = core.clock.now(), caller.merchant.merchant_id
    for charge in reversed(list(_seen_by(core, caller))):
        if kind == "REFUND":
            for given in charge.refunds:
                if start <= given.at < end:
                    yield settlement_item(charge, kind, given.amount, given.at, merchant_id)
        elif start <= charge.executed_at < end and charge.status_at(now) in PAID:
            yield settlement_item(charge, kind, charge.order.amount, charge.executed_at, merchant_id)


def _wanted(body: dict[str, Any], name: str, ours: str) -> bool:
    chosen = body.get(name) or []
    return not chosen or ours in chosen


def _seen_by(core: Core, caller: Caller) -> Iterator[Charge]:
    now = core.clock.now()
    for charge in reversed(core.ledger.charges.values()):
        if _may_see(core, caller, charge, now):
            yield charge


def _may_see(core: Core, caller: Caller, charge: Charge, now: float) -> bool:
    delay = core.ledger.switches_for(charge.order.customer.id).query_delay
    mine = charge.order.customer.merchant_id == caller.merchant.merchant_id
    return mine and charge.created_at <= now and charge.executed_at + delay <= now


def _transaction(core: Core, caller: Caller, transaction_id: str) -> Charge:
    charge = core.ledger.charges.get(transaction_id)
    if charge is None or not _may_see(core, caller, charge, core.clock.now()):
        raise _not_found()
    return charge


def _of_order(core: Core, caller: Caller, order_id: str) -> Charge:
    checkout = core.ledger.web_checkout(caller.merchant.merchant_id, order_id)
    if checkout is not None:
        latest = checkout.order.latest(core.clock.now())
        paid = [charge for charge in checkout.order.charges if charge.status_at(core.clock.now()) in PAID]
        shown = paid[0] if paid else latest
        if shown is None or not _may_see(core, caller, shown, core.clock.now()):
            raise _not_found()
        return shown
    match = _ORDER_ID.fullmatch(order_id)
    order = core.ledger.orders.get(match[1]) if match else None
    if match is None or order is None:
        raise _not_found()
    now = core.clock.now()
    if match[2] is not None and int(match[2]) >= len(order.charges):
        raise _not_found()
    charge = order.latest(now) if match[2] is None else order.charges[int(match[2])]
    if charge is None or not _may_see(core, caller, charge, now):
        raise _not_found()
    return charge


def _not_found() -> RefusalError:
    return RefusalError(404, "TRANSACTION_NOT_FOUND", "There is no such transaction.")


def _shown(core: Core, charge: Charge) -> dict[str, Any]:
    return transaction_item(charge, core.clock.now(), core.ledger.switches_for(charge.order.customer.id))


def _item(core: Core, charge: Charge) -> web.StreamResponse:
    return item(_shown(core, charge))
