"""The simulator's own interface, ``/_simulator/*``: its ledger, its counters, its switches. Loopback only, no login."""

from __future__ import annotations

import ipaddress
import json
from collections import Counter
from typing import Any

from aiohttp import web

from rm_gateway.simulator import checkouts
from rm_gateway.simulator.clock import exact, parse_instant
from rm_gateway.simulator.core import Core
from rm_gateway.simulator.outcomes import AMOUNTS, OUTCOMES
from rm_gateway.simulator.records import Charge
from rm_gateway.simulator.recurring import RecurringEngine
from rm_gateway.simulator.switches import PROFILES, SwitchError, Switches, profile
from rm_gateway.simulator.wire import RefusalError, answer, checkout_item, customer_item


async def serve(core: Core, engine: RecurringEngine, request: web.BaseRequest, path: list[str]) -> web.StreamResponse:
    """Serve one call of the control interface. ``path`` is what follows ``/_simulator/``."""
    if not _is_loopback(request):
        raise RefusalError(403, "NOT_PERMITTED", "The control interface answers this machine only.")
    match (request.method, path):
        case ("GET", ["charges"]):
            return answer({"charges": charges(core)})
        case ("GET", ["requests"]):
            return answer(requests(core))
        case ("GET", ["customers"]):
            return answer({"customers": customers(core)})
        case ("GET", ["checkouts"]):
            now = core.clock.now()
            return answer({"checkouts": [checkout_item(one, now) for one in core.ledger.web_checkouts.values()]})
        case ("POST", ["checkouts", order_id, "pay"]):
            return answer(await checkouts.pay_by_control(core, request, order_id))
        case ("GET", ["notifies"]):
            return answer({"notifies": list(core.notifier.sent)})
        case ("GET", ["outcomes"]):
            named = {name: outcome.says for name, outcome in OUTCOMES.items()}
            return answer({"outcomes": named, "amounts": AMOUNTS})
        case ("GET", ["switches"]):
            return answer(core.switches.as_dict())
        case ("POST", ["switches"]):
            return await _set(core, request, None)
        case ("POST", ["profile"]):
            return await _set_profile(core, request)
        case ("POST", ["customers", customer_id, "switches"]):
            return await _set(core, request, customer_id)
        case ("GET", ["clock"]):
            return answer(_clock(core))
        case ("POST", ["clock"]):
            return await _set_clock(core, engine, request)
        case ("POST", ["tokens"]):
            core.tokens.forget_all()
            return answer({})
        case ("POST", ["reset"]):
            core.ledger.record("reset")
            core.seen.clear()
            core.notifier.forget()
            return answer({})
        case _:
            raise RefusalError(404, "API_ENDPOINT_NOT_FOUND", "The control interface has no such call.")


def charges(core: Core) -> list[dict[str, Any]]:
    """Every charge that was executed, in order: money taken, or declined."""
    now = core.clock.now()
    return [_charge_row(charge, now) for charge in core.ledger.charges.values() if charge.created_at <= now]


def _charge_row(charge: Charge, now: float) -> dict[str, Any]:
    order = charge.order
    return {
        "transaction_id": charge.transaction_id,
        "order_id": order.id,
        "customer_id": order.customer.id,
        "merchant_id": order.customer.merchant_id,
        "amount": order.amount,
        "currency": order.currency,
        "title": order.title,
        "description": order.description,
        "status": charge.status_at(now),
        "outcome": charge.outcome,
        "path": order.path,
        "refunded": charge.refunded,
        "refunds": [
            {"at": exact(given.at), "amount": given.amount, "reason": given.reason} for given in charge.refunds
        ],
        "created_at": exact(charge.created_at),
        "executed_at": exact(charge.executed_at),
        "updated_at": exact(charge.updated_at(now)),
    }


def requests(core: Core) -> dict[str, Any]:
    """How many requests came, executed or not. A title's marker is its last word; a refund is counted by its reason,
    a reversal by its order id."""
    by_title = core.ledger.posts_by_title
    by_marker: Counter[str] = Counter()
    for title, count in by_title.items():
        words = title.split()
        if words:
            by_marker[words[-1]] += count
    return {
        "posts": core.ledger.posts,
        "by_title": by_title,
        "by_marker": by_marker,
        "by_refund": core.ledger.posts_by_refund,
        "since_start": core.seen,
    }


def customers(core: Core) -> list[dict[str, Any]]:
    """Every customer, as the API shows it, with the key of its test card and its own switches."""
    return [
        customer_item(customer, core.pages_url)
        | {
            "card": customer.card,
            "isBound": customer.is_bound,
            "orders": len(customer.orders),
            "switches": core.ledger.overrides.get(customer.id, {}),
        }
        for customer in core.ledger.customers.values()
    ]


async def _set(core: Core, request: web.BaseRequest, customer_id: str | None) -> web.StreamResponse:
    changes = await _body(request)
    known = {**core.ledger.customers, **core.ledger.web_checkouts}
    if customer_id is not None and customer_id not in known:
        raise RefusalError(404, "INVALID_ID", "There is no such customer.")
    try:
        Switches().changed(changes)
    except SwitchError as error:
        raise RefusalError(400, "INVALID_PARAMETER", str(error)) from None
    if customer_id is None:
        core.ledger.record("switches", changes=changes)
        return answer(core.switches.as_dict())
    core.ledger.record("customer_switches", customer_id=customer_id, changes=changes)
    return answer(core.ledger.switches_for(customer_id).as_dict())


async def _set_profile(core: Core, request: web.BaseRequest) -> web.StreamResponse:
    """Body: ``{"name": "hostile"}``. Sets every switch; those of single customers stay."""
    name = (await _body(request)).get("name")
    if name not in PROFILES:
        raise RefusalError(400, "INVALID_PARAMETER", f"there is no profile {name!r}; there are: {', '.join(PROFILES)}")
    core.ledger.record("switches", changes=profile(name).as_dict())
    return answer(core.switches.as_dict())


async def _set_clock(core: Core, engine: RecurringEngine, request: web.BaseRequest) -> web.StreamResponse:
    """Body: any of ``real`` (true), ``skew`` (s), ``wall``, ``virtual`` (RFC 3339), ``advance`` (s), in this order."""
    changes = await _body(request)
    unknown = sorted(set(changes) - {"real", "skew", "wall", "virtual", "advance"})
    if unknown:
        raise RefusalError(400, "INVALID_PARAMETER", f"the clock takes no {unknown[0]!r}")
    before = core.clock.state()
    try:
        if changes.get("real"):
            core.clock.restore({})
        if "skew" in changes:
            core.clock.skew = float(changes["skew"])
        if "wall" in changes:
            core.clock.stopped = parse_instant(changes["wall"])
        if "virtual" in changes:
            core.clock.virtual, core.clock.advanced = parse_instant(changes["virtual"]), 0.0
        if "advance" in changes:
            core.clock.advance(float(changes["advance"]))
    except (TypeError, ValueError) as error:
        core.clock.restore(before)
        raise RefusalError(400, "INVALID_PARAMETER", str(error)) from None
    core.ledger.record("clock", state=core.clock.state())
    await engine.tick()
    return answer(_clock(core))


def _clock(core: Core) -> dict[str, Any]:
    return {"now": exact(core.clock.now()), "wall": exact(core.clock.wall()), **core.clock.state()}


async def _body(request: web.BaseRequest) -> dict[str, Any]:
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise RefusalError(400, "INVALID_PARAMETER", "the body must be a JSON object")
    return body


def _is_loopback(request: web.BaseRequest) -> bool:
    peer = request.transport.get_extra_info("peername") if request.transport else None
    try:
        address = ipaddress.ip_address(peer[0].partition("%")[0]) if peer else None
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address is not None and address.is_loopback
