"""The parts that every handler works with, and rate tuning."""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from dataclasses import dataclass, field

from rm_gateway.simulator.checks import Caller, Gatekeeper
from rm_gateway.simulator.clock import Clock
from rm_gateway.simulator.ledger import Ledger
from rm_gateway.simulator.merchants import Tokens
from rm_gateway.simulator.notifies import Notifier
from rm_gateway.simulator.records import Customer
from rm_gateway.simulator.switches import Switches
from rm_gateway.simulator.wire import RefusalError


class Rates:
    """How often each key was used lately; real time, whatever the clock says."""

    def __init__(self) -> None:
        self._used: dict[str, deque[float]] = {}

    def take(self, key: str, *, limit: int, window: float) -> float:
        """0 when the key may be used now, else the seconds until it may."""
        now = time.monotonic()
        used = self._used.setdefault(key, deque())
        while used and used[0] <= now - window:
            used.popleft()
        if len(used) >= limit:
            return used[0] + window - now
        used.append(now)
        return 0.0


@dataclass(slots=True)
class Core:
    """Everything that handlers share."""

    ledger: Ledger
    clock: Clock
    rng: random.Random
    tokens: Tokens
    gatekeeper: Gatekeeper
    notifier: Notifier
    pages_url: str
    rates: Rates = field(default_factory=Rates)
    seen: Counter[str] = field(default_factory=Counter)

    @property
    def switches(self) -> Switches:
        """The switches that hold for everybody."""
        return self.ledger.switches

    def customer_for(self, caller: Caller, customer_id: str) -> Customer:
        """A customer of the caller's merchant. Raises RefusalError for unknown ones and those of others."""
        customer = self.ledger.customers.get(customer_id)
        if customer is None or customer.merchant_id != caller.merchant.merchant_id:
            raise RefusalError(*self.switches.error_unknown, "There is no such customer.")
        return customer

    def limit(self, key: str, *, limit: int, window: float) -> None:
        """Raise RefusalError when a key is used more than ``limit`` times in ``window`` seconds; 0: no limit."""
        wait = self.rates.take(key, limit=limit, window=window) if limit else 0.0
        if wait > 0:
            headers = {"Retry-After": str(int(wait) + 1)}
            raise RefusalError(429, "TOO_MANY_REQUEST_PER_SECOND", "Too many requests.", headers=headers)
