"""Redis is flushed, killed and frozen under Celery's real workers, with three beats and every message five times."""

import itertools
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import redis
from django.conf import settings

from billing import doorbell
from billing.domain.money import Price
from billing.domain.recurrence import Recurrence
from billing.domain.schedules import Interval
from billing.domain.subscriptions import ActivatesOn, InvoiceState
from billing.models import GatewayAccount, Invoice, PaymentAttempt, PaymentMethod, Subscription
from billing.models.clock import database_now
from billing.subscriptions.plans import create_plan
from billing.subscriptions.start import start_subscription
from config.embedded import redis_py_url
from rm_gateway.simulator.process import SimulatorProcess
from tests.faults.harness import oracle
from tests.faults.harness.forking import ChildError, in_child
from tests.faults.harness.workers import background, charging
from tests.faults.harness.world import World, make_due

BEATS = 3
TIMES = 5
TASKS = ("billing.open_due", "billing.collect", "billing.sweep", "billing.reconcile", "billing.heartbeat")
TRIED_SECONDS = 90
MOST_BATCHES = 10  # of charges that fall due, in all rounds


def run(world: World, *, profile: str, charges: int, seed: int) -> tuple[dict[str, Any], list[str]]:
    """A round for each fault, with so many charges before it and after it; then the verdict."""
    draw = random.Random(seed)
    seconds: dict[str, list[float]] = {}
    with world.batch(profile=profile, invoices=0, cards=MOST_BATCHES * charges, latency=[0.2, 0.6]) as simulator:
        with charging("celery", kept=True), background(beats=BEATS):
            batches = itertools.count()

            def fall_due() -> None:
                in_child(partial(_make_due, next(batches), charges))

            for name, fault in _faults(draw):
                fall_due()
                in_child(partial(doorbell.ring, doorbell.COLLECT))
                try:
                    seconds[f"{name}_tried_seconds"] = [fault(fall_due)]
                except ChildError as error:
                    raise ChildError(f"{name}, after {list(seconds)}: {error}") from error
        told = in_child(partial(_judge, simulator))
    found = oracle.Verdict(**told["verdict"])
    found.problems += told["problems"]
    figures = {"rounds": len(seconds), **seconds}
    oracle.add(figures, found)
    return figures, found.problems


def _faults(draw: random.Random) -> list[tuple[str, Callable[[Callable[[], None]], float]]]:
    """Each makes more fall due when it has struck, and returns the seconds until everything was tried."""
    faults = [("five_times", _five_times), ("flushed", _flushed), ("killed", _killed), ("frozen", _frozen)]
    draw.shuffle(faults)
    return faults  # type: ignore[return-value]


def _five_times(more: Callable[[], None]) -> float:
    more()
    in_child(_ring_everything)
    return _until_tried()


def _flushed(more: Callable[[], None]) -> float:
    in_child(lambda: _redis().flushall())
    more()
    return _until_tried()


def _killed(more: Callable[[], None]) -> float:
    in_child(lambda: os.kill(_redis_pid(), signal.SIGKILL))
    more()
    return _until_tried()


def _frozen(more: Callable[[], None]) -> float:
    """While nobody answers, PostgreSQL alone is enough; and when it is awake again, Celery goes on."""
    pid = in_child(_redis_pid)
    os.kill(pid, signal.SIGSTOP)
    try:
        more()
        with charging("tick"):
            _until_tried()
    finally:
        os.kill(pid, signal.SIGCONT)
    more()
    return _until_tried()


def _ring_everything() -> None:
    for _ in range(TIMES):
        for task in TASKS:
            doorbell.ring(task)


def _redis() -> Any:
    return redis.Redis.from_url(redis_py_url(settings.KITARAN_REDIS_URL))


def _redis_pid() -> int:
    return int(_redis().info()["process_id"])


def _make_due(number: int, charges: int) -> None:
    """Half as one-off invoices, half as subscriptions whose first period is due."""
    half, now = charges // 2, database_now()
    make_due(half, skip=number * charges)
    account = GatewayAccount.objects.get()
    plan = create_plan(
        account=account,
        code=f"plan-{number}",
        name="Coffee club",
        price=Price(1990),
        recurrence=Recurrence(Interval.DAILY, None),
        activates_on=ActivatesOn.CARD,
        now=now,
    )
    cards = PaymentMethod.objects.order_by("id")[number * charges + half : (number + 1) * charges]
    for card in cards:
        start_subscription(
            customer=card.customer,
            plan=plan,
            reference=f"subscription-{card.pk}",
            now=now,
            charge_at_start=True,
        )


def _until_tried() -> float:
    begun = time.monotonic()
    while time.monotonic() < begun + TRIED_SECONDS:
        if in_child(_everything_is_tried):
            return round(time.monotonic() - begun, 3)
        time.sleep(0.2)
    raise ChildError(f"something is due and was not tried within {TRIED_SECONDS} s")


def _everything_is_tried() -> bool:
    now = database_now()
    due = Subscription.objects.filter(next_due_at__lte=now)
    return not (due.exists() or Invoice.objects.filter(attempt_count=0).exists())


def _judge(simulator: SimulatorProcess) -> dict[str, Any]:
    outage = oracle.recover(simulator)
    problems = []
    attempts = PaymentAttempt.objects.count()
    if attempts != Invoice.objects.exclude(state=InvoiceState.VOID.value).count():
        problems.append(f"{attempts} attempts, and one an invoice was enough")
    return {"problems": problems, "verdict": asdict(oracle.verdict(simulator, outage=outage))}
