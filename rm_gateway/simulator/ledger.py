"""The state of the simulator. Every change is a record: written to the journal, then applied.

Replaying the journal applies the same records, so what is there after a restart is what was there before.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from rm_gateway.simulator.clock import Clock, compact_second
from rm_gateway.simulator.journal import Journal, JournalError, Record
from rm_gateway.simulator.merchants import Merchant
from rm_gateway.simulator.records import Charge, Customer, GivenBack, Order, WebCheckout
from rm_gateway.simulator.switches import Switches


class Ledger:
    """Customers, orders, charges, counters, switches and clock settings."""

    def __init__(self, journal: Journal, clock: Clock, rng: random.Random, switches: Switches) -> None:
        self.clock = clock
        self.rng = rng
        self.switches = switches
        self.server_key = ""
        self.merchants: dict[str, Merchant] = {}  # by client id
        self._start = switches
        self._journal = journal
        self._last_id = 0
        self._clear()
        self._apply_kind: dict[str, Callable[..., None]] = {
            "server_key": self._server_key,
            "merchant": self._merchant,
            "customer": self._customer,
            "bind": self._bind,
            "active": self._active,
            "post": self._post,
            "charge": self._charge,
            "run": self._run,
            "worked": self._worked,
            "checkout": self._checkout,
            "web_checkout": self._web_checkout,
            "web_cancelled": self._web_cancelled,
            "web_payment": self._web_payment,
            "refund": self._refund,
            "reverse": self._reverse,
            "switches": self._switches,
            "customer_switches": self._customer_switches,
            "clock": self._clock,
            "reset": self._reset,
        }

    def _clear(self) -> None:
        self.customers: dict[str, Customer] = {}
        self.orders: dict[str, Order] = {}
        self.charges: dict[str, Charge] = {}  # by transaction id, in order of execution
        self.checkouts: dict[str, Order] = {}
        self.web_checkouts: dict[str, WebCheckout] = {}
        self._web_orders: dict[tuple[str, str], WebCheckout] = {}  # by merchant and the merchant's own order id
        self.posts: Counter[str] = Counter()
        self.posts_by_title: Counter[str] = Counter()
        self.posts_by_refund: Counter[str] = Counter()
        self.outcomes_used: Counter[str] = Counter()  # places taken in lists of outcomes, by customer id or ""
        self.overrides: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        self._merged: dict[str, Switches] = {}
        self.worked_through = ""  # the last day whose recurring runs are done, YYYY-MM-DD

    def replay(self) -> None:
        """Take over what the journal holds. Raises JournalError for records that it cannot read."""
        for record in self._journal.replay():
            try:
                self._apply(record)
            except (KeyError, TypeError, ValueError) as error:
                raise JournalError(
                    f"the state file {self._journal.path} holds a record it cannot: {error!r}"
                ) from error

    def record(self, kind: str, **values: Any) -> None:
        """Write a change down, then make it."""
        record = {"kind": kind, **values}
        self._journal.write(record)
        self._apply(record)

    def close(self) -> None:
        """Release the journal."""
        self._journal.close()

    def switches_for(self, customer_id: str) -> Switches:
        """The switches that hold for a customer."""
        if customer_id not in self.overrides:
            return self.switches
        merged = self._merged.get(customer_id)
        if merged is None:
            merged = self._merged[customer_id] = self.switches.changed(self.overrides[customer_id])
        return merged

    def merchant_of(self, merchant_id: str) -> Merchant:
        """The merchant with this id."""
        return next(merchant for merchant in self.merchants.values() if merchant.merchant_id == merchant_id)

    def web_checkout(self, merchant_id: str, order_id: str) -> WebCheckout | None:
        """The page of an order that the merchant named."""
        return self._web_orders.get((merchant_id, order_id))

    def new_id(self) -> str:
        """A fresh id of 19 digits: nanoseconds of the calendar, as RM's look, and never the same twice."""
        self._last_id = max(self._last_id + 1, int(self.clock.now() * 1e6) * 1000 + self.rng.randrange(1000))
        return str(self._last_id)

    def new_transaction_id(self, at: float) -> str:
        """A fresh id of 24 digits: the second, then digits that are never the same twice."""
        second = compact_second(int(at))
        while True:
            candidate = f"{second}6004{self.rng.randrange(10**8):08d}"
            if candidate not in self.charges:
                return candidate

    # -- applying records ------------------------------------------------------------------------------------------

    def _apply(self, record: Record) -> None:
        values = dict(record)
        self._apply_kind[values.pop("kind")](**values)

    def _server_key(self, *, pem: str) -> None:
        self.server_key = pem

    def _merchant(self, **values: str) -> None:
        merchant = Merchant(**values)
        self.merchants[merchant.client_id] = merchant

    def _customer(self, **values: Any) -> None:
        customer = Customer(**values)
        self._note_id(customer.id)
        self.customers[customer.id] = customer

    def _bind(self, *, customer_id: str, card: str, label: str, at: float) -> None:
        customer = self.customers[customer_id]
        customer.card, customer.label, customer.is_active = card, label, True
        customer.bound_at = customer.updated_at = at
        customer.attempts = 0

    def _active(self, *, customer_id: str, is_active: bool, at: float) -> None:
        customer = self.customers[customer_id]
        customer.is_active, customer.updated_at = is_active, at

    def _post(
        self,
        *,
        route: str,
        title: str = "",
        refund: str = "",
        customer_id: str = "",
        drawn: list[str] | None = None,
    ) -> None:
        self.posts[route] += 1
        if refund:
            self.posts_by_refund[refund] += 1
        if title:
            self.posts_by_title[title] += 1
        if customer_id:
            self._attempt(customer_id=customer_id, drawn=drawn or [])

    def _attempt(self, *, customer_id: str, drawn: list[str]) -> None:
        self.customers[customer_id].attempts += 1
        for place in drawn:
            self.outcomes_used[place] += 1

    def _charge(
        self,
        *,
        order: dict[str, Any],
        transactions: list[dict[str, Any]],
        post: dict[str, Any] | None = None,
        attempt: dict[str, Any] | None = None,
        deactivates: bool = False,
    ) -> None:
        if post is not None:
            self._post(**post)
        if attempt is not None:
            self._attempt(**attempt)
        held = self.orders.get(order["id"])
        if held is None:
            customer = self.customers[order["customer"]]
            held = self.orders[order["id"]] = Order(**{**order, "customer": customer})
            customer.orders.append(held)
            self._note_id(held.id)
        for values in transactions:
            charge = Charge(order=held, **values)
            held.charges.append(charge)
            self.charges[charge.transaction_id] = charge
            if deactivates:
                held.customer.is_active, held.customer.updated_at = False, charge.executed_at

    def _run(self, *, customer_id: str, date: str) -> None:
        customer = self.customers[customer_id]
        customer.runs_done += 1
        customer.last_run_date = date

    def _worked(self, *, date: str) -> None:
        self.worked_through = date

    def _checkout(self, *, order_id: str, checkout_id: str) -> None:
        order = self.orders[order_id]
        order.checkout_id = checkout_id
        self.checkouts[checkout_id] = order

    def _web_checkout(self, **values: Any) -> None:
        checkout = WebCheckout(**values)
        self._note_id(checkout.id)
        self.web_checkouts[checkout.id] = checkout
        self._web_orders[(checkout.merchant_id, checkout.order_id)] = checkout

    def _web_cancelled(self, *, checkout_id: str) -> None:
        self.web_checkouts[checkout_id].cancelled = True

    def _web_payment(self, *, checkout_id: str, transaction: dict[str, Any]) -> None:
        order = self.web_checkouts[checkout_id].order
        charge = Charge(order=order, **transaction)
        order.charges.append(charge)
        self.charges[charge.transaction_id] = charge

    def _refund(self, *, transaction_id: str, amount: int, at: float, reason: str = "") -> None:
        charge = self.charges[transaction_id]
        charge.refunded += amount
        charge.refunds.append(GivenBack(at, amount, reason))
        charge.changed_at = at

    def _reverse(self, *, transaction_id: str, at: float) -> None:
        charge = self.charges[transaction_id]
        charge.reversed, charge.changed_at = True, at

    def _switches(self, *, changes: dict[str, Any]) -> None:
        self.switches = self.switches.changed(changes)
        self._merged.clear()
        if "outcome" in changes:
            self.outcomes_used.pop("", None)

    def _customer_switches(self, *, customer_id: str, changes: dict[str, Any]) -> None:
        self.switches.changed(changes)
        self.overrides[customer_id].update(changes)
        self._merged.pop(customer_id, None)
        if "outcome" in changes:
            self.outcomes_used.pop(customer_id, None)

    def _clock(self, *, state: dict[str, float | None]) -> None:
        self.clock.restore(state)

    def _reset(self) -> None:
        self._clear()
        self.switches = self._start
        self.clock.restore({})

    def _note_id(self, used: str) -> None:
        self._last_id = max(self._last_id, int(used))
