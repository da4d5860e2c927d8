"""500 charges, and a gateway that goes away: all of them are made afterwards by themselves.

The judge is the simulator's ledger, by its customer. *With a person* counts what a person must decide in the end: after
every read that the engine makes by itself, its last rung three days later included."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from billing.charging.collecting.collect import collect
from billing.charging.collecting.sweep import sweep
from billing.charging.reading.reconcile import reconcile
from billing.domain.pacing import IN_FLIGHT
from billing.gateway.connection import clock as gateway_clock
from billing.models import AccountPace, GatewayAccount, Invoice
from billing.models.clock import database_now
from billing.operating.health import check
from billing.operating.tuning import Tuning
from tests.conftest import Shop
from tests.hostile.pace_parts import (
    bring_forward,
    front_of,
    many_due,
    paid,
    states,
    times_taken,
    wait_until,
    worker,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults, pytest.mark.timeout(600)]
DUE = 500
UNDER_WAY = 150  # so many are paid when the gateway goes away: the account is long past its canary
SENDERS = 64
WITH_A_PERSON_AT_MOST = 10
ENDS = {"succeeded", "not_sent", "needs_review"}
EVERY_RUNG = timedelta(hours=80)


class Days:
    """Workers that run for hours and days by a clock that the test moves; `breaks` comes in the middle of a run."""

    def __init__(self, shop: Shop) -> None:
        shop.simulator.set(timestamp_window=0)
        self.now = database_now()
        self.tuning = replace(Tuning.from_settings(), total=timedelta(seconds=5), senders=SENDERS)
        self._breaks: Callable[[], None] | None = None

    def __call__(self) -> datetime:
        if self._breaks and paid() >= UNDER_WAY:
            breaks, self._breaks = self._breaks, None
            breaks()
        return self.now

    def run_until_it_breaks(self, breaks: Callable[[], None]) -> None:
        self._breaks = breaks
        self._round()
        assert self._breaks is None, "the run ended before"

    def pass_by(self, span: timedelta, *, every: timedelta) -> None:
        until = self.now + span
        while self.now < until:
            self.now += every
            self._round()

    def end(self) -> None:
        """Every look that is due by itself is made, the last one too."""
        self.pass_by(EVERY_RUNG, every=timedelta(hours=4))
        gateway_clock.align(database_now())

    def _round(self) -> None:
        collect(tuning=self.tuning, clock=self, should_stop=lambda: False, worker="days")
        sweep(tuning=self.tuning, now=self.now)
        reconcile(tuning=self.tuning, clock=self, should_stop=lambda: False)


def pauses_are_shown(now: datetime) -> bool:
    return any("is paused" in problem for problem in check(now).problems)


def assert_all_are_charged(shop: Shop, invoices: list[Invoice], *, with_a_person: int = WITH_A_PERSON_AT_MOST) -> None:
    found = states()
    assert set(found) <= ENDS, found
    people, taken = found.get("needs_review", 0), times_taken(shop, invoices)
    assert max(taken) == 1
    assert paid() == sum(taken), "what the gateway took is what is paid"
    assert paid() + people == DUE, found
    assert people <= with_a_person, found
    assert GatewayAccount.objects.get().stopped_at is None
    assert AccountPace.objects.get().state == "closed"


@pytest.mark.slow
def test_after_three_seconds_without_the_gateway_all_are_charged(shop: Shop) -> None:
    """B1: real workers, 64 charges at once; the port is closed for three seconds in the middle of the run."""
    GatewayAccount.objects.update(max_in_flight=None)
    invoices = many_due(shop, DUE)
    shop.simulator.set(latency=[0.2, 0.2])
    with front_of(shop) as front, worker(KITARAN_CHECK_LADDER_SECONDS="2,4,6,8", KITARAN_REPORT_LADDER_SECONDS="9"):
        wait_until(lambda: paid() >= UNDER_WAY, seconds=120, what="the run does not begin")
        front.close()
        wait_until(lambda: AccountPace.objects.filter(state="open").exists(), seconds=30, what="no pause")
        assert pauses_are_shown(database_now())
        time.sleep(3)
        front.reopen()

        def all_have_ended() -> bool:
            bring_forward()
            return paid() + states().get("needs_review", 0) >= DUE

        wait_until(all_have_ended, seconds=200, what="not all are charged")
    assert_all_are_charged(shop, invoices)


def test_after_a_day_without_the_gateway_all_are_charged(shop: Shop) -> None:
    """B2: it goes away in the middle of the run, for 24 hours, with whatever was in flight, up to 64."""
    GatewayAccount.objects.update(max_in_flight=None)
    invoices = many_due(shop, DUE)
    days = Days(shop)
    shop.simulator.set(latency=[0.2, 0.2])
    with front_of(shop) as front:
        days.run_until_it_breaks(front.close)
        assert states()["unknown"] > 0, "some were in flight"
        days.pass_by(timedelta(hours=24), every=timedelta(minutes=15))
        assert pauses_are_shown(days.now)
        shop.simulator.set(latency=0)
        front.reopen()
        days.pass_by(timedelta(hours=3), every=timedelta(minutes=15))
        assert paid() >= DUE - WITH_A_PERSON_AT_MOST, "three hours later, by themselves"
        days.end()
    assert_all_are_charged(shop, invoices)


@pytest.mark.parametrize(
    ("begins", "max_in_flight", "with_a_person"),
    [
        ("before the run", IN_FLIGHT, WITH_A_PERSON_AT_MOST),
        ("in the middle of it", IN_FLIGHT, WITH_A_PERSON_AT_MOST),
        ("in the middle of it", None, SENDERS),
    ],
)
def test_only_those_in_flight_are_uncharged_after_an_hour_of_502(
    shop: Shop, begins: str, max_in_flight: int | None, with_a_person: int
) -> None:
    """B9: everything is answered with 502 for an hour, and none of it was carried out.

    Such an answer is in doubt for good: no list ever shows the charge. What the account may have in flight is what a
    person has to decide."""
    assert GatewayAccount.objects.get().max_in_flight == IN_FLIGHT, "as it comes"
    GatewayAccount.objects.update(max_in_flight=max_in_flight)
    invoices = many_due(shop, DUE)
    days = Days(shop)
    shop.simulator.set(latency=[0.2, 0.2] if max_in_flight is None else 0.02)
    with front_of(shop) as front:

        def break_down() -> None:
            front.mode = "502"

        if begins == "before the run":
            break_down()
        else:
            days.run_until_it_breaks(break_down)
        days.pass_by(timedelta(hours=1), every=timedelta(minutes=3))
        assert pauses_are_shown(days.now)
        shop.simulator.set(latency=0)
        front.mode = "pass"
        days.pass_by(timedelta(hours=3), every=timedelta(minutes=15))
        assert paid() >= DUE - with_a_person, "three hours later, by themselves"
        days.end()
    assert_all_are_charged(shop, invoices, with_a_person=with_a_person)
