"""A worker is killed while a first charge is under way: one charge, and the subscription is active in the end."""

import signal
import time
from datetime import timedelta

import pytest

from billing.charging.cases.resolve import Resolution, resolve
from billing.charging.collecting.expire import expire_unpaid
from billing.domain.decisions import Decision
from billing.models import GatewayAccount, Invoice, PaymentAttempt, Subscription
from billing.models.clock import database_now
from tests.conftest import Shop
from tests.factories import NOTHING_TO_SEE, make_plan, make_unpaid
from tests.faults.recovery import audit, recover, run_doomed_worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.faults]
LONG_AFTER = timedelta(days=3)


def standing() -> tuple[str, str]:
    return Subscription.objects.get().state, Invoice.objects.get().state


def charge_again(shop: Shop, seconds: float = 30) -> None:
    """A worker reads the card, and charges it again."""
    until = time.monotonic() + seconds
    while standing() != ("active", "paid") and time.monotonic() < until:
        shop.collect()
        time.sleep(0.1)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("point", ["after_arm", "after_send", "after_answer", "before_settle_commits"])
def test_killed_worker_charges_a_first_payment_once(shop: Shop, point: str) -> None:
    shop.simulator.set(latency=[0.8, 0.8] if point == "after_send" else [0, 0])
    plan = make_plan(shop.account, activates_on="payment", interval="MONTHLY", target=-1)
    invoice = make_unpaid(shop.card(), plan, now=database_now())

    assert run_doomed_worker(point) == -signal.SIGKILL
    assert standing() == ("incomplete", "open")
    assert expire_unpaid(now=database_now() + LONG_AFTER) == 0, "its outcome is not known"
    shop.simulator.set(latency=[0, 0])
    recover(shop, outage=timedelta(seconds=20))
    attempt = PaymentAttempt.objects.get()
    if point == "after_arm":
        assert (attempt.state, *standing()) == ("needs_review", "incomplete", "open")
        assert expire_unpaid(now=database_now() + LONG_AFTER) == 0, "a person is to say what became of it"
        GatewayAccount.objects.update(list_lag_seconds=0)
        resolve(
            attempt=attempt,
            resolution=Resolution.NOT_CHARGED,
            decision=Decision("siti", "nothing in the portal"),
            tuning=shop.tuning,
            now=database_now(),
            **NOTHING_TO_SEE,
        )
        charge_again(shop)

    assert standing() == ("active", "paid")
    assert len(shop.taken(invoice)) == 1
    assert Subscription.objects.get().next_due_at is not None
    assert audit(shop, ahead=timedelta(hours=2)) == []
