"""Sixty days of a daily plan on a card that never pays, by the simulator's clock: how often the bank is asked."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from billing.audit.invariants import violations
from billing.charging.collecting.collect import collect
from billing.gateway.connection import clock as gateway_clock
from billing.models import Event, Invoice, PaymentAttempt, PaymentMethod, Subscription
from billing.subscriptions.renew import open_due
from tests.conftest import Shop
from tests.factories import make_subscription, set_dunning

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
BEGIN = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


class Days:
    """The engine at work whenever something is due, under a clock that goes from one due time to the next."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.now = BEGIN
        self._tuning = replace(shop.tuning, window=timedelta(seconds=20), total=timedelta(seconds=100))

    def go_to(self, now: datetime) -> None:
        self.now = now
        self.shop.simulator.clock(skew=now.timestamp() - time.time())
        gateway_clock.align(now)

    def work_until(self, end: datetime) -> None:
        while (coming := self._next(end)) < end:
            self.go_to(max(coming, self.now) + MINUTE)
            open_due(now=self.now)
            collect(tuning=self._tuning, clock=lambda: self.now, should_stop=lambda: False, worker="test")
        self.go_to(end)

    def _next(self, end: datetime) -> datetime:
        due = Subscription.objects.exclude(next_due_at=None).values_list("next_due_at", flat=True)
        tries = Invoice.objects.exclude(next_attempt_at=None).values_list("next_attempt_at", flat=True)
        return min([at for at in (*due, *tries) if at is not None], default=end)


@pytest.fixture
def days(shop: Shop) -> Iterator[Days]:
    found = Days(shop)
    found.go_to(BEGIN)
    yield found
    shop.simulator.clock(real=True, skew=0)


def subscribe(days: Days, card: PaymentMethod) -> Subscription:
    return make_subscription(
        card,
        payment_method=card,
        interval="DAILY",
        target=None,
        state="active",
        anchor_date=BEGIN.date(),
        occurrence=0,
        next_due_at=BEGIN,
    )


def most_in(span: timedelta, attempts: list[PaymentAttempt]) -> int:
    times = [attempt.armed_at for attempt in attempts]
    return max(sum(first <= other < first + span for other in times) for first in times)


@pytest.mark.parametrize("final_action", ["cancel", "keep"])
@pytest.mark.parametrize(
    ("outcome", "in_a_month", "in_sixty_days"), [("decline_9010", 4, 8), ("decline_51", 8, 16), ("decline_43", 1, 1)]
)
def test_dead_card_on_a_daily_plan_stays_within_its_budget(
    days: Days, final_action: str, outcome: str, in_a_month: int, in_sixty_days: int
) -> None:
    """Before there was a budget it was tried 33 times in 30 days, and 96 times with `keep`."""
    set_dunning(days.shop.account, final_action=final_action)
    card = days.shop.card()
    days.shop.simulator.set_customer(card.gateway_customer_id or "", outcome=[outcome] * 100)
    subscription = subscribe(days, card)
    days.work_until(BEGIN + 60 * DAY)

    attempts = list(PaymentAttempt.objects.filter(payment_method=card))
    posts = [one for one in days.shop.simulator.charges() if one["customer_id"] == card.gateway_customer_id]
    assert len(posts) == len(attempts)
    assert most_in(DAY, attempts) == 1
    assert most_in(30 * DAY, attempts) <= in_a_month
    assert len(attempts) <= in_sixty_days
    if final_action == "keep":
        assert len(attempts) == in_sixty_days

    subscription.refresh_from_db()
    invoices = Invoice.objects.filter(subscription=subscription)
    if final_action == "cancel":
        assert subscription.state == "canceled"
        assert {state for (state,) in invoices.values_list("state")} <= {"open", "uncollectible"}
        assert not invoices.filter(state="open", hold=None).exists()
    else:
        assert subscription.state == "past_due"
        assert invoices.count() == 60, "every period is owed"
        assert invoices.filter(state="uncollectible").count() >= 40, "trying ends at its time, made or avoided"
        assert sum(invoices.values_list("tries_avoided", flat=True)) > 100
    for invoice in invoices.exclude(tries=0):
        told = Event.objects.filter(kind="invoice.payment_failed", subject_id=invoice.pk).count()
        assert told == invoice.tries
    assert not list(violations(now=days.now, tuning=days.shop.tuning))
