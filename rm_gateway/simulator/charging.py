"""The charge: checked, decided by its outcome, written to the ledger, then answered (or not).

1. The POST is counted, whatever comes of it.
2. A request that fails a check is refused; nothing is done.
3. An outcome is drawn: the ``outcome`` switch first, then the table of amounts, then the card.
4. The money moves at the start or at the end of the latency (switch ``execute``). It moves whether or not the caller
   still listens. The journal has it before anything is answered.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from rm_gateway.simulator import faults
from rm_gateway.simulator.cards import CARDS
from rm_gateway.simulator.checks import Caller
from rm_gateway.simulator.core import Core
from rm_gateway.simulator.outcomes import AMOUNTS, OUTCOMES, Money, Outcome, Twist
from rm_gateway.simulator.records import FAILED, SUCCESS, Charge, Customer, Order
from rm_gateway.simulator.switches import AUTO, Switches
from rm_gateway.simulator.wire import RefusalError, day_of, dump, transaction_item

ROUTES: Final = {
    "customer": "POST /v3/customer/{id}/order",
    "recurring": "POST /v3/recurring-payment/{id}/charge",
}
MAX_TITLE: Final = 32
MAX_DESCRIPTION: Final = 600
MIN_AMOUNT: Final = 10
MAX_AMOUNT: Final = 10**12


@dataclass(frozen=True, slots=True)
class Wanted:
    """A valid request to charge."""

    customer: Customer
    amount: int
    currency: str
    title: str
    description: str
    path: str


async def charge(core: Core, request: web.BaseRequest, customer_id: str, path: str) -> web.StreamResponse:
    """Serve one charge on either path."""
    raw = await request.read()
    ledger = core.ledger
    route = ROUTES[path]
    try:
        wanted, caller, switches = _admit(core, request, raw, customer_id, path)
    except RefusalError:
        ledger.record("post", route=route, title=_title_of(raw))
        raise
    outcome, drawn = draw(core, wanted.customer, wanted.amount, switches)
    post = {"route": route, "title": wanted.title, "customer_id": wanted.customer.id, "drawn": drawn}
    latency = core.rng.uniform(*switches.latency) if switches.latency[1] else 0.0
    received_at = core.clock.now()
    done: Charge | None = None
    if outcome.money is Money.UNTOUCHED or (switches.execute == "end" and latency):
        ledger.record("post", **post)
    else:
        done = execute(core, wanted, outcome, switches, received_at, post=post)
    if latency:
        await asyncio.sleep(latency)
    if done is None and outcome.money is not Money.UNTOUCHED:
        if wanted.customer.id not in ledger.customers:  # reset meanwhile
            return faults.close(request)
        done = execute(core, wanted, outcome, switches, received_at)
    if outcome.name == "token_dead":
        core.tokens.forget(caller.access_token)
    if done is not None:
        await core.notifier.charged(done, switches)
    return await _answer(core, request, outcome, done, switches)


def _admit(
    core: Core, request: web.BaseRequest, raw: bytes, customer_id: str, path: str
) -> tuple[Wanted, Caller, Switches]:
    switches = core.ledger.switches_for(customer_id)
    if switches.charge_path not in ("both", path):
        raise RefusalError(404, "API_ENDPOINT_NOT_FOUND", "There is no such endpoint.")
    caller = core.gatekeeper.admit(request, raw, switches)
    core.limit(f"charge {caller.access_token}", limit=switches.charge_limit, window=1)
    customer = core.customer_for(caller, customer_id)
    if not customer.is_bound:
        raise RefusalError(*(switches.error_unbound or switches.error_inactive), "The customer has no card.")
    if not customer.is_active:
        raise RefusalError(*switches.error_inactive, "The customer is not active.")
    return _wanted(caller.body, customer, path, switches), caller, switches


def _wanted(body: Any, customer: Customer, path: str, switches: Switches) -> Wanted:
    if not isinstance(body, dict):
        raise RefusalError(400, "VALIDATION_ERROR", "The body must be an object.")
    amount, currency = body.get("amount"), body.get("currency")
    title, description = body.get("title", ""), body.get("description", "")
    if isinstance(amount, bool) or not isinstance(amount, int):
        raise RefusalError(400, "VALIDATION_ERROR", "amount must be a whole number of sen.")
    if amount < MIN_AMOUNT:
        raise RefusalError(400, "MINIMUM_AMOUNT_REQUIRED", f"amount must be at least {MIN_AMOUNT}.")
    if amount > MAX_AMOUNT:
        raise RefusalError(400, "PAYMENT_EXCEED_AMOUNT_LIMIT_PER_TRANSACTION", "amount is too large.")
    if currency != "MYR":
        raise RefusalError(400, "VALIDATION_ERROR", "currency must be MYR.")
    if not isinstance(title, str) or not isinstance(description, str):
        raise RefusalError(400, "VALIDATION_ERROR", "title and description must be text.")
    if len(title) > MAX_TITLE or len(description) > MAX_DESCRIPTION:
        if switches.long_title == "refuse":
            raise RefusalError(
                400, "VALIDATION_ERROR", f"title takes {MAX_TITLE} letters, description {MAX_DESCRIPTION}."
            )
        title, description = title[:MAX_TITLE], description[:MAX_DESCRIPTION]
    return Wanted(customer, amount, currency, title, description, path)


def draw(core: Core, customer: Customer, amount: int, switches: Switches) -> tuple[Outcome, list[str]]:
    """What becomes of a charge, and the places taken in lists of outcomes."""
    chosen, drawn = switches.outcome, []
    if isinstance(chosen, tuple):
        place = customer.id if "outcome" in core.ledger.overrides.get(customer.id, ()) else ""
        used = core.ledger.outcomes_used[place]
        chosen, drawn = (chosen[used] if used < len(chosen) else AUTO), [place]
    elif isinstance(chosen, dict):
        chosen = core.rng.choices(list(chosen), list(chosen.values()))[0]
    if chosen == AUTO:
        chosen = AMOUNTS.get(amount) or CARDS[customer.card].outcome(customer.attempts)
    return OUTCOMES[chosen], drawn


def execute(
    core: Core,
    wanted: Wanted,
    outcome: Outcome,
    switches: Switches,
    created_at: float,
    *,
    post: dict[str, Any] | None = None,
    attempt: dict[str, Any] | None = None,
    at: float | None = None,
    order: Order | None = None,
    reference: str = "",
) -> Charge:
    """Move the money and write it down; returns the transaction.

    ``post`` is the request to count with it, ``attempt`` what to count of a charge that nobody asked for by POST;
    ``at`` is when it happens (default now); with ``order`` it is another try of that order.
    """
    ledger = core.ledger
    now = core.clock.now() if at is None else at
    status = str(outcome.money.value)
    later = SUCCESS if status == FAILED and switches.failed_becomes_success else outcome.later
    retried = status == FAILED and later == SUCCESS
    first = {
        "transaction_id": ledger.new_transaction_id(now),
        "status": status,
        "outcome": outcome.name,
        "error": outcome.error if FAILED in (status, outcome.later) else "",
        "reference_id": f"{core.rng.getrandbits(48):012X}UM",
        "created_at": created_at,
        "executed_at": now,
    }
    transactions = [first]
    if retried:
        at = now + switches.settle_after
        again = {"transaction_id": ledger.new_transaction_id(at), "status": SUCCESS, "error": ""}
        transactions.append(first | again | {"created_at": at, "executed_at": at})
    elif later is not None:
        first |= {"settles_at": now + switches.settle_after, "settles_to": str(later)}
    held = {
        "id": order.id if order else ledger.new_id(),
        "customer": wanted.customer.id,
        "amount": wanted.amount,
        "currency": wanted.currency,
        "title": wanted.title,
        "description": wanted.description,
        "path": wanted.path,
        "reference": reference or day_of(created_at),
        "created_at": created_at,
    }
    extra = {"post": post, "attempt": attempt, "deactivates": outcome.deactivates}
    present = {name: value for name, value in extra.items() if value}
    ledger.record("charge", order=held, transactions=transactions, **present)
    return ledger.charges[str(first["transaction_id"])]


async def _answer(
    core: Core, request: web.BaseRequest, outcome: Outcome, done: Charge | None, switches: Switches
) -> web.StreamResponse:
    if done is None:
        return await faults.give(request, outcome, b"", switches)
    now = core.clock.now()
    if done.status == FAILED and switches.failed_envelope == "error":
        raise RefusalError(*switches.error_failed, f"The payment failed: {done.error}.")
    body = _twisted(transaction_item(done, now, switches), outcome.twist)
    return await faults.give(request, outcome, body, switches)


def _twisted(item: dict[str, Any], twist: Twist) -> bytes:
    match twist:
        case Twist.AMOUNT:
            item["order"]["amount"] += 1
            item["finalAmount"] += 1
        case Twist.CURRENCY:
            item["order"]["currencyType"] = item["currencyType"] = "SGD"
        case Twist.NO_ORDER:
            del item["order"]
        case Twist.NULL_ITEM:
            return dump({"item": None, "code": SUCCESS})
        case Twist.NUMERIC_IDS:
            item["transactionId"] = int(item["transactionId"])
            item["order"]["additionalData"] = int(item["order"]["additionalData"])
        case Twist.NONE:
            pass
    return dump({"item": item, "code": SUCCESS})


def _title_of(raw: bytes) -> str:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return ""
    title = body.get("title", "") if isinstance(body, dict) else ""
    return title if isinstance(title, str) else ""
