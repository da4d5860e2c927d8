"""RM's own recurring engine: charges recurring customers at 00:00 UTC of their days, and retries what failed.

1. Each day is worked once, in order; a clock that jumps works every day between.
2. An order that failed is tried again on the following days, each time as a new transaction of the same order.
3. When the tries are used up the order gets a link through which the customer can pay it.

What is not published is a switch or a choice: repetition 0 goes on for ever; a day that fails counts as a repetition.
"""

from __future__ import annotations

import asyncio
import calendar
import logging
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from rm_gateway.simulator.charging import Wanted, draw, execute
from rm_gateway.simulator.core import Core
from rm_gateway.simulator.outcomes import OUTCOMES, Money
from rm_gateway.simulator.records import FAILED, Charge, Customer, Order

logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 0.5
_START_SECONDS: Final = 2  # after midnight


class RecurringEngine:
    """Works the days that the clock has reached."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._one_at_a_time = asyncio.Lock()

    async def run(self) -> None:
        """Look for a new day for ever."""
        while True:
            try:
                await self.tick()
            except Exception:
                logger.exception("the recurring engine failed; it goes on")
            await asyncio.sleep(_LOOK_SECONDS)

    async def tick(self) -> None:
        """Work every day since the last one that was worked."""
        async with self._one_at_a_time:
            await self._tick()

    async def _tick(self) -> None:
        ledger = self._core.ledger
        today = _day(self._core.clock.now())
        worked = date.fromisoformat(ledger.worked_through) if ledger.worked_through else today
        if not ledger.worked_through or today < worked:
            ledger.record("worked", date=today.isoformat())
            worked = today
        while worked < today:
            worked += timedelta(days=1)
            await self._work(worked)
            ledger.record("worked", date=worked.isoformat())
        self._core.notifier.settled()

    async def bound(self, customer: Customer) -> None:
        """A card was bound: charge at once when that is chosen, and not charged before."""
        switches = self._core.ledger.switches_for(customer.id)
        if switches.first_charge == "at_bind" and customer.schedule and not customer.runs_done:
            await self._charge(customer, _day(self._core.clock.now()), self._core.clock.now())

    async def _work(self, day: date) -> None:
        midnight = datetime.combine(day, time(), UTC).timestamp()
        at = min(midnight + _START_SECONDS, self._core.clock.now())
        for customer in list(self._core.ledger.customers.values()):
            if customer.schedule is None or not customer.is_bound:
                continue
            switches = self._core.ledger.switches_for(customer.id)
            if not switches.recurring_runs:
                continue
            for order in list(customer.orders):
                await self._retry(order, day, at, switches.failed_retries)
            if customer.is_active and customer.bound_at < midnight and self._is_due(customer, day):
                await self._charge(customer, day, at)

    @staticmethod
    def _is_due(customer: Customer, day: date) -> bool:
        schedule = customer.schedule or {}
        repetition = schedule["recurringRepetition"]
        done = repetition and customer.runs_done >= repetition
        return not done and customer.last_run_date < day.isoformat() and is_target(schedule, day)

    async def _charge(self, customer: Customer, day: date, at: float) -> None:
        schedule: dict[str, Any] = customer.schedule or {}
        self._core.ledger.record("run", customer_id=customer.id, date=day.isoformat())
        wanted = Wanted(
            customer,
            schedule["amount"],
            schedule["currency"],
            customer.product_name,
            customer.product_description,
            "schedule",
        )
        await self._execute(wanted, day, at, None)

    async def _retry(self, order: Order, day: date, at: float, retries: int) -> None:
        if order.path != "schedule" or order.latest(at) is not order.charges[-1]:
            return
        if order.charges[-1].status_at(at) != FAILED:
            return
        first_day = datetime.strptime(order.reference, "%Y%m%d").replace(tzinfo=UTC).date()
        tried = len(order.charges) - 1
        if tried < retries and first_day + timedelta(days=tried + 1) <= day and order.customer.is_active:
            customer = order.customer
            wanted = Wanted(customer, order.amount, order.currency, order.title, order.description, order.path)
            await self._execute(wanted, first_day, at, order)
        self._offer_link(order, retries, at)

    async def _execute(self, wanted: Wanted, day: date, at: float, order: Order | None) -> None:
        core = self._core
        switches = core.ledger.switches_for(wanted.customer.id)
        outcome, drawn = draw(core, wanted.customer, wanted.amount, switches)
        if outcome.money is Money.UNTOUCHED:
            outcome = OUTCOMES["decline_9010"]
        attempt = {"customer_id": wanted.customer.id, "drawn": drawn}
        reference = day.strftime("%Y%m%d")
        done = execute(core, wanted, outcome, switches, at, at=at, attempt=attempt, order=order, reference=reference)
        self._offer_link(done.order, switches.failed_retries, at)
        await self._notify(done)

    def _offer_link(self, order: Order, retries: int, at: float) -> None:
        used_up = len(order.charges) - 1 >= retries and order.charges[-1].status_at(at) == FAILED
        if used_up and not order.checkout_id:
            self._core.ledger.record("checkout", order_id=order.id, checkout_id=self._core.ledger.new_id())

    async def _notify(self, charge: Charge) -> None:
        switches = self._core.ledger.switches_for(charge.order.customer.id)
        await self._core.notifier.charged(charge, switches)


def is_target(schedule: dict[str, Any], day: date) -> bool:
    """Whether a schedule charges on a day. DAILY charges on each: no target rule is published for it."""
    target = schedule["recurringTarget"]
    match schedule["recurringInterval"]:
        case "WEEKLY":
            return day.isoweekday() % 7 == int(target)
        case "MONTHLY" if target == "-1":
            return day.day == calendar.monthrange(day.year, day.month)[1]
        case "MONTHLY":
            return day.day == max(int(target), 1)
        case _:
            return True


def _day(at: float) -> date:
    return datetime.fromtimestamp(at, UTC).date()
