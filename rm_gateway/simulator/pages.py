"""The pages for a customer's browser: bind a card, and pay the link of a failed order."""

from __future__ import annotations

import re
from html import escape
from typing import Final
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit, urlunsplit

from aiohttp import web

from rm_gateway.simulator.cards import BY_NUMBER, CARDS, Card
from rm_gateway.simulator.charging import Wanted, execute
from rm_gateway.simulator.core import Core
from rm_gateway.simulator.outcomes import OUTCOMES
from rm_gateway.simulator.records import Customer, Order
from rm_gateway.simulator.recurring import RecurringEngine
from rm_gateway.simulator.switches import NEVER
from rm_gateway.simulator.templates import ALERT, BIND, CARD_ROW, MESSAGE, PAY, RIGHT, SAVED, SHELL, WRONG
from rm_gateway.simulator.wire import ringgit

MAX_FORM: Final = 16 * 1024
_EXPIRY: Final = re.compile(r"(0[1-9]|1[0-2]) ?/ ?(\d{2}|\d{4})")
_CVV: Final = re.compile(r"\d{3,4}")
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


async def bind(core: Core, engine: RecurringEngine, request: web.BaseRequest) -> web.StreamResponse:
    """``/v1/recurring?customerId=…``: the form, and what becomes of it."""
    customer = core.ledger.customers.get(request.query.get("customerId", ""))
    if customer is None:
        return message("Not found", "There is no such customer.", 404)
    if request.method == "GET":
        return _bind_form(customer)
    core.ledger.record("post", route="POST /v1/recurring")
    form = await form_of(request)
    if form is None:
        return message("Not understood", "The form could not be read.", 400)
    switches = core.ledger.switches_for(customer.id)
    action = form.get("action", "")
    if action not in ("bind", "decline", "cancel"):
        return _bind_form(customer, form, {"": "Press one of the buttons."})
    if action == "cancel" or switches.redirect == "cancelled":
        return _back(customer, "CANCELLED")
    if action == "decline" or switches.redirect == "failed":
        return _back(customer, "FAILED", switches.redirect_reason)
    card = BY_NUMBER.get(re.sub(r"[\s-]", "", form.get("number", "")))
    problems = _problems(card, form)
    if card is None or problems:
        return _bind_form(customer, form, problems)
    if card.bind_refusal:
        return _back(customer, "FAILED", card.bind_refusal)
    core.ledger.record("bind", customer_id=customer.id, card=card.key, label=card.label, at=core.clock.now())
    await engine.bound(customer)
    if switches.redirect == NEVER:
        return message("Card saved", "The card is saved. This page does not lead back (simulated).", 200)
    return _back(customer, "SUCCESS")


async def pay(core: Core, request: web.BaseRequest) -> web.StreamResponse:
    """``/v3/checkout?checkoutId=…``: pays a failed order; it becomes SUCCESS under a new transaction."""
    order = core.ledger.checkouts.get(request.query.get("checkoutId", ""))
    if order is None:
        return message("Not found", "There is no such payment link.", 404)
    latest = order.latest(core.clock.now())
    if latest is None or latest.status_at(core.clock.now()) != "FAILED":
        return message("Already paid", "This order is paid.", 200)
    if request.method == "GET":
        values = {
            "amount": f"{order.currency} {ringgit(order.amount)}",
            "product": order.title or order.customer.product_name,
        }
        return page("Pay", PAY, values)
    core.ledger.record("post", route="POST /v3/checkout")
    await _pay(core, order)
    return message("Paid", "Thank you. The order is paid.", 200)


async def _pay(core: Core, order: Order) -> None:
    customer = order.customer
    wanted = Wanted(customer, order.amount, order.currency, order.title, order.description, order.path)
    switches = core.ledger.switches_for(customer.id)
    done = execute(core, wanted, OUTCOMES["success"], switches, core.clock.now(), order=order)
    await core.notifier.charged(done, switches)


def with_parameters(url: str, parameters: dict[str, str]) -> str:
    """An address with these query parameters: what it had stays as it was written, same names are replaced."""
    parts = urlsplit(url)
    kept = [
        piece for piece in parts.query.split("&") if piece and unquote_plus(piece.partition("=")[0]) not in parameters
    ]
    return urlunsplit(parts._replace(query="&".join([*kept, urlencode(parameters)])))


def _back(customer: Customer, status: str, reason: str = "") -> web.Response:
    parameters = {"status": status, "customerId": customer.id} | ({"reason": reason} if reason else {})
    return web.Response(status=303, headers={"Location": with_parameters(customer.redirect_url, parameters)})


def _problems(card: Card | None, form: dict[str, str]) -> dict[str, str]:
    """What is wrong with the form, by the name of the field."""
    problems = {}
    if card is None:
        problems["number"] = "Only the test cards listed below are taken."
    if not form.get("name", "").strip():
        problems["name"] = "Enter the name on the card."
    if not _EXPIRY.fullmatch(form.get("expiry", "").strip()):
        problems["expiry"] = "Enter it as MM/YY."
    if not _CVV.fullmatch(form.get("cvv", "").strip()):
        problems["cvv"] = "Enter 3 or 4 digits."
    return problems


async def form_of(request: web.BaseRequest) -> dict[str, str] | None:
    """The fields of a form that was sent; None when it cannot be read."""
    raw = await request.read()
    try:
        return dict(parse_qsl(raw[:MAX_FORM].decode(), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        return None


def _bind_form(
    customer: Customer, form: dict[str, str] | None = None, problems: dict[str, str] | None = None
) -> web.Response:
    """The form as it was filled in, or filled with a good card; a number that is no test card is never shown again."""
    known = BY_NUMBER.get(re.sub(r"[\s-]", "", (form or {}).get("number", "")))
    filled = {"number": CARDS["good"].spaced, "name": customer.name.strip(), "expiry": "12/39", "cvv": "123"}
    if form is not None:
        filled = {name: form.get(name, "") for name in filled} | {"number": known.spaced if known else "", "cvv": ""}
    problems = problems or {}
    wrong = {
        f"{name}_wrong": WRONG.format(name=name, text=escape(problems[name])) if name in problems else RIGHT
        for name in filled
    }
    alert = problems.get("", "The card was not saved. Look at the fields marked below.") if problems else ""
    html = wrong | {
        "rows": "".join(CARD_ROW.format(number=card.spaced, says=escape(card.says)) for card in CARDS.values()),
        "saved": SAVED.format(label=escape(customer.label)) if customer.label else "",
        "alert": ALERT.format(text=escape(alert)) if alert else "",
        "open": " open" if "number" in problems else "",
    }
    shown = filled | {"product": customer.product_name, "description": customer.product_description}
    return page("Save your card", BIND, shown, html, 422 if problems else 200)


def message(title: str, text: str, status: int) -> web.Response:
    """A page that says one thing."""
    kind, sign = ("good", "\u2713") if status == 200 else ("bad", "!")
    return page(title, MESSAGE, {"title": title, "text": text, "kind": kind, "sign": sign}, status=status)


def page(
    title: str, body: str, values: dict[str, str], html: dict[str, str] | None = None, status: int = 200
) -> web.Response:
    """A page: ``values`` are escaped, ``html`` is taken as it is."""
    filled = body.format(**{name: escape(value) for name, value in values.items()}, **(html or {}))
    return web.Response(
        text=SHELL.replace("{{title}}", escape(title)).replace("{{body}}", filled),
        status=status,
        content_type="text/html",
        headers=_HEADERS,
    )
