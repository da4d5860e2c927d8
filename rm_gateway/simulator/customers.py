"""OAuth, and the calls about customers: create (both kinds), read, list orders, flip the status."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import web

from rm_gateway.simulator.charging import MIN_AMOUNT
from rm_gateway.simulator.checks import Caller
from rm_gateway.simulator.core import Core
from rm_gateway.simulator.records import Charge, Customer, Order
from rm_gateway.simulator.switches import Switches
from rm_gateway.simulator.wire import RefusalError, answer, customer_item, item, items, order_item

TARGETS: Final = {
    "DAILY": None,  # no rule is published: anything is taken and ignored
    "WEEKLY": frozenset(str(day) for day in range(7)),
    "MONTHLY": frozenset(str(day) for day in range(-1, 29)),
}


async def admit(
    core: Core, request: web.BaseRequest, route: str, customer_id: str = "", *, named_by: str = ""
) -> Caller:
    """Count the request, check it and give its caller; ``named_by``: the field by which a refund is counted too.

    Raises RefusalError."""
    raw = await request.read()
    if request.method == "POST":
        core.ledger.record("post", route=route, **({"refund": _field(raw, named_by)} if named_by else {}))
    return core.gatekeeper.admit(request, raw, core.ledger.switches_for(customer_id))


def _field(raw: bytes, name: str) -> str:
    """A text of the request's body; "" where there is none."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return ""
    value = body.get(name) if isinstance(body, dict) else None
    return value if isinstance(value, str) else ""


async def token(core: Core, request: web.BaseRequest) -> web.StreamResponse:
    """``POST /v1/token``: JSON body, Basic authorization, both grants."""
    raw = await request.read()
    core.ledger.record("post", route="POST /v1/token")
    merchant = core.ledger.merchants.get(_basic(request)[0])
    if merchant is None or not secrets.compare_digest(
        merchant.client_secret.encode(), _basic(request)[1].encode(errors="replace")
    ):
        raise RefusalError(401, "INVALID_CLIENT", "The client id or the client secret is wrong.")
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        body = None
    grant = body.get("grantType") if isinstance(body, dict) else None
    switches, now = core.switches, core.clock.wall()
    if grant == "refresh_token":
        given = body.get("refreshToken")
        known = isinstance(given, str) and core.tokens.refresh(
            given, merchant.client_id, rotate=switches.refresh_rotation, now=now
        )
        if not known:
            raise RefusalError(400, "INVALID_GRANT", "The refresh token is not valid.")
    elif grant != "client_credentials":
        raise RefusalError(400, "INVALID_GRANT", "grantType must be client_credentials or refresh_token, in JSON.")
    return answer(core.tokens.issue(merchant, lifetime=switches.token_lifetime, now=now))


def _basic(request: web.BaseRequest) -> tuple[str, str]:
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    try:
        client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return (client_id, secret) if scheme.lower() == "basic" else ("", "")


async def create_tokenized(core: Core, request: web.BaseRequest) -> web.StreamResponse:
    """``POST /v3/tokenized-payment``: a customer whom the merchant charges."""
    caller = await admit(core, request, "POST /v3/tokenized-payment")
    return _create(core, caller, None)


async def create_recurring(core: Core, request: web.BaseRequest) -> web.StreamResponse:
    """``POST /v3/recurring-payment``: a customer whom RM charges on its own schedule."""
    caller = await admit(core, request, "POST /v3/recurring-payment")
    body = _object(caller.body)
    interval, target = body.get("recurringInterval"), body.get("recurringTarget", "")
    repetition, amount = body.get("recurringRepetition"), body.get("amount")
    if interval not in TARGETS:
        raise _invalid("recurringInterval must be DAILY, WEEKLY or MONTHLY")
    targets = TARGETS[interval]
    if not isinstance(target, str) or (targets is not None and target not in targets):
        raise _invalid(f"recurringTarget {target!r} is no target of {interval}")
    if isinstance(repetition, bool) or not isinstance(repetition, int) or repetition < 0:
        raise _invalid("recurringRepetition must be a whole number")
    if isinstance(amount, bool) or not isinstance(amount, int) or amount < MIN_AMOUNT:
        raise _invalid(f"amount must be a whole number of sen from {MIN_AMOUNT}")
    if body.get("currency") != "MYR":
        raise _invalid("currency must be MYR")
    _url(body, "notifyUrl")
    schedule = {
        "amount": amount,
        "currency": "MYR",
        "recurringInterval": interval,
        "recurringTarget": target,
        "recurringRepetition": repetition,
    }
    return _create(core, caller, schedule)


def _create(core: Core, caller: Caller, schedule: dict[str, Any] | None) -> web.StreamResponse:
    body = _object(caller.body)
    if _text(body, "storeId") != caller.merchant.store_id:
        raise RefusalError(404, "STORE_NOT_FOUND", "There is no such store.")
    now = core.clock.now()
    customer_id = core.ledger.new_id()
    core.ledger.record(
        "customer",
        id=customer_id,
        merchant_id=caller.merchant.merchant_id,
        store_id=body["storeId"],
        email=_text(body, "email"),
        name=_text(body, "name"),
        country_code=_text(body, "countryCode"),
        phone_number=_text(body, "phoneNumber"),
        product_name=_text(body, "productName"),
        product_description=_text(body, "productDescription"),
        redirect_url=_url(body, "redirectUrl"),
        notify_url=body["notifyUrl"] if schedule else "",
        client_key=secrets.token_hex(16),
        created_at=now,
        updated_at=now,
        schedule=schedule,
    )
    return item(customer_item(core.ledger.customers[customer_id], core.pages_url))


async def read(core: Core, request: web.BaseRequest, customer_id: str) -> web.StreamResponse:
    """``GET /v3/customer/{id}``: the customer object."""
    customer = _bound(core, await admit(core, request, "", customer_id), customer_id)
    return item(customer_item(customer, core.pages_url))


async def flip(core: Core, request: web.BaseRequest, customer_id: str) -> web.StreamResponse:
    """``PUT /v3/customer/{id}/status``: flips ``isActive``, and gives the customer object."""
    caller = await admit(core, request, "POST /v3/recurring-payment/{id}/toggle", customer_id)
    customer = _bound(core, caller, customer_id)
    if not customer.is_bound:
        raise RefusalError(*core.switches.error_inactive, "The customer has no card.")
    core.ledger.record("active", customer_id=customer_id, is_active=not customer.is_active, at=core.clock.now())
    return item(customer_item(customer, core.pages_url))


async def orders(core: Core, request: web.BaseRequest, customer_id: str) -> web.StreamResponse:
    """``GET /v3/customer/{id}/orders``: a page of orders, oldest first; follow ``meta.cursor`` to the end."""
    customer = _bound(core, await admit(core, request, "", customer_id), customer_id)
    switches = core.ledger.switches_for(customer_id)
    after = read_cursor(request.query.get("cursor", ""))
    now = core.clock.now()
    page: list[dict[str, Any]] = []
    last = ""
    for order, charge in _visible(customer, switches, now):
        if int(order.id) <= after:
            continue
        if len(page) == switches.page_size:
            return items(page, write_cursor(last))
        page.append(order_item(order, charge, now, core.pages_url, switches))
        last = order.id
    return items(page, None)


def _visible(customer: Customer, switches: Switches, now: float) -> list[tuple[Order, Charge]]:
    delay = switches.orders_visible_after
    if isinstance(delay, str):  # never
        return []
    found = []
    for order in customer.orders:
        charge = order.latest(now)
        if charge is not None and order.charges[0].executed_at + delay <= now:
            found.append((order, charge))
    return found


def _bound(core: Core, caller: Caller, customer_id: str) -> Customer:
    customer = core.customer_for(caller, customer_id)
    unbound = core.ledger.switches_for(customer_id).error_unbound
    if not customer.is_bound and unbound is not None:
        raise RefusalError(*unbound, "The customer has no card.")
    return customer


def write_cursor(last: str) -> str:
    """An opaque place in a list."""
    return base64.urlsafe_b64encode(f"after:{last}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> int:
    """The place that a cursor stands for; 0 without one. Raises RefusalError for others."""
    if not cursor:
        return 0
    try:
        word, _, last = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition(":")
        if word == "after":
            return int(last)
    except (ValueError, binascii.Error):
        pass
    raise RefusalError(400, "INVALID_REQUEST", "The cursor is none of ours.")


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise _invalid("the body must be an object")
    return body


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise _invalid(f"{name} must be text and is needed")
    return value


def _url(body: dict[str, Any], name: str) -> str:
    value = _text(body, name)
    try:
        parts = urlsplit(value)
    except ValueError:
        raise _invalid(f"{name} is no address") from None
    if not parts.scheme or parts.scheme in ("javascript", "data") or any(ord(mark) < 33 for mark in value):
        raise _invalid(f"{name} is no address that a browser can be sent to")
    return value


def _invalid(what: str) -> RefusalError:
    return RefusalError(400, "VALIDATION_ERROR", f"{what}.")
