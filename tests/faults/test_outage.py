"""Nothing ran for more than a day. What was missed is caught up as each subscription says, and nobody pays twice."""

import signal
from datetime import datetime, timedelta

import pytest

from billing.charging.collecting.collect import collect
from billing.domain.catch_up import CatchUp
from billing.domain.schedules import occurrences
from billing.gateway.connection import clock as gateway_clock
from billing.models import Invoice, Subscription
from billing.models.clock import database_now
from billing.subscriptions.start import start_subscription
from billing.subscriptions.upcoming import schedule_of
from tests.conftest import Shop
from tests.factories import make_plan
from tests.faults.recovery import audit, recover, run_doomed_worker

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.faults,
    pytest.mark.timeout(120),
]
DAY = timedelta(days=1)
OUTAGE = timedelta(seconds=90)


@pytest.mark.parametrize("policy", CatchUp)
def test_worker_killed_in_catch_up_charges_once_and_keeps_policy(shop: Shop, profile: str, policy: CatchUp) -> None:
    now = database_now()
    subscription = start_subscription(
        customer=shop.card().customer,
        plan=make_plan(shop.account),
        reference=f"outage-{policy}",
        now=now - timedelta(hours=74),
        catch_up=policy,
    )
    due = _due(subscription, now)
    missed = [at for at in due if now - at > DAY]
    assert len(missed) >= 2

    shop.open(now)
    assert shop.open(now) == 0, "a period is opened once"
    shop.simulator.set(latency=[0.8, 0.8])
    assert run_doomed_worker("after_send") == -signal.SIGKILL
    shop.simulator.set(latency=[0, 0])
    recover(shop, outage=OUTAGE)
    recover(shop, outage=OUTAGE)

    invoices = list(Invoice.objects.order_by("period_index"))
    assert [invoice.due_at for invoice in invoices] == due, "every period has its invoice"
    taken = [len(shop.taken(invoice)) for invoice in invoices]
    assert max(taken) <= 1
    assert audit(shop, ahead=OUTAGE) == []
    for invoice, times in zip(invoices, taken, strict=True):
        if _put_off(invoice, policy, missed, due):
            assert times == 0
        elif profile == "default":
            assert times == 1
    assert sum(taken) == (
        sum(not _put_off(one, policy, missed, due) for one in invoices) if profile == "default" else 1
    )


def _due(subscription: Subscription, now: datetime) -> list[datetime]:
    assert subscription.activated_at is not None
    found = []
    for at in occurrences(schedule_of(subscription), subscription.activated_at):
        if at > now:
            return found
        found.append(at)
    return found


def _put_off(invoice: Invoice, policy: CatchUp, missed: list[datetime], due: list[datetime]) -> bool:
    """Whether the policy keeps the invoice from being charged today."""
    match policy:
        case CatchUp.ALL:  # one a day; the first today
            return invoice.due_at != due[0]
        case CatchUp.LATEST_ONLY:
            return invoice.due_at != due[-1]
        case CatchUp.SKIP | CatchUp.ASK:
            return invoice.due_at in missed


def test_missed_periods_are_charged_daily_and_the_fourth_is_held(shop: Shop, profile: str) -> None:
    shop.simulator.set(timestamp_window=0)  # the days to come are played
    now = database_now()
    start_subscription(
        customer=shop.card().customer,
        plan=make_plan(shop.account),
        reference="outage-days",
        now=now - timedelta(hours=122),
        catch_up=CatchUp.ALL,
    )
    shop.open(now)
    invoices = list(Invoice.objects.order_by("period_index"))
    held = [invoice.period_index for invoice in invoices if invoice.hold == "catch_up"]

    charged = []
    for day in range(4):
        later = timedelta(days=day, minutes=1) if day else timedelta(0)
        collect(
            tuning=shop.tuning,
            clock=lambda later=later: database_now() + later,
            should_stop=lambda: False,
            worker="test",
        )
        gateway_clock.align(database_now())
        charged.append(sum(len(shop.taken(invoice)) for invoice in invoices))

    assert held == list(range(3, len([one for one in invoices if now - one.due_at > DAY])))
    assert charged[:3] == [1, 2, 3]
    assert all(len(shop.taken(invoice)) <= 1 for invoice in invoices)
    assert all(not shop.taken(invoice) for invoice in invoices if invoice.period_index in held)
    assert audit(shop) == []
