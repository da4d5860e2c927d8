"""What is left when a worker is killed, a COMMIT is not acknowledged, or Redis is gone. The oracle is the
simulator's own ledger: at most one success an invoice, at most one POST an attempt."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from billing.charging.attempts.charge_now import charge_now
from billing.models import Evidence, Invoice, PaymentAttempt, Transition
from billing.models.clock import database_now
from tests.conftest import Shop
from tests.factories import make_invoice
from tests.faults.recovery import ROOT, audit, environment, recover, run_doomed_worker, without_reports

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.faults]

INVOICES = 6


def assert_nobody_is_charged_twice_and_nothing_is_lost(shop: Shop) -> dict[str, int]:
    """S1, S2, S3, L3 against the simulator's ledger; the states that attempts came to."""
    posts = shop.simulator.requests()["by_marker"]
    outcomes: dict[str, int] = {}
    for invoice in Invoice.objects.all():
        taken = shop.taken(invoice)
        assert len(taken) <= 1
        attempts = list(invoice.attempts.all())
        assert attempts, f"{invoice} is due and was never tried"
        assert all(posts.get(attempt.marker, 0) <= 1 for attempt in attempts)
        if invoice.state == "paid":
            assert len(taken) == 1
        elif taken:
            assert [attempt.state for attempt in attempts] == ["needs_review"], "the money is in a person's hands"
        for attempt in attempts:
            outcomes[attempt.state] = outcomes.get(attempt.state, 0) + 1
            assert Evidence.objects.filter(attempt_id=attempt.pk).exists()
    assert audit(shop) == []
    return outcomes


@pytest.mark.timeout(120)
@pytest.mark.parametrize("point", ["after_arm", "after_send", "after_answer", "before_settle_commits"])
def test_killed_worker_charges_nobody_twice_and_loses_nothing(shop: Shop, profile: str, point: str) -> None:
    shop.simulator.set(latency=[0.8, 0.8] if point == "after_send" else [0, 0])
    for _ in range(INVOICES):
        make_invoice(shop.card(), next_attempt_at=database_now())

    assert run_doomed_worker(point) == -signal.SIGKILL
    left = set(PaymentAttempt.objects.values_list("state", flat=True))
    assert left == {"sending"}
    assert shop.collect().armed == 0, "an attempt that may have acted is never armed again"
    shop.simulator.set(latency=[0, 0])

    recover(shop, outage=timedelta(seconds=20))

    outcomes = assert_nobody_is_charged_twice_and_nothing_is_lost(shop)
    if point == "after_arm" or profile == "hostile":
        assert outcomes == {"needs_review": INVOICES}, "nothing proves what became of it: only a person may say so"
    else:
        assert outcomes == {"succeeded": INVOICES}


class BrokenCommit:
    """COMMIT raises, once, either before it reached the server or after the server did it."""

    def __init__(self, *, lost: str, which: int) -> None:
        self.lost = lost
        self.left = which
        self.real = BaseDatabaseWrapper._commit

    def __call__(self, wrapper: BaseDatabaseWrapper) -> None:
        self.left -= 1
        if self.left != 0:
            self.real(wrapper)
            return
        if self.lost == "answer":
            self.real(wrapper)
        wrapper.connection.close()
        raise OperationalError("server closed the connection unexpectedly")


@pytest.fixture
def arming_commit(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Breaks the commit in which the first attempts are born."""
    from billing.charging.attempts import arm

    def breaks(lost: str) -> None:
        insert = arm.arming.insert_attempts

        def insert_and_break(*args: object, **kwargs: object) -> dict[str, int]:
            broken = BrokenCommit(lost=lost, which=1)
            monkeypatch.setattr(BaseDatabaseWrapper, "_commit", lambda wrapper: broken(wrapper))
            monkeypatch.setattr(arm.arming, "insert_attempts", insert)
            return insert(*args, **kwargs)

        monkeypatch.setattr(arm.arming, "insert_attempts", insert_and_break)

    return breaks  # type: ignore[return-value]


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_nothing_is_sent_when_arms_commit_raises(shop: Shop, profile: str, arming_commit: object, lost: str) -> None:
    for _ in range(INVOICES):
        make_invoice(shop.card(), next_attempt_at=database_now())
    arming_commit(lost)  # type: ignore[operator]

    shop.collect()
    recover(shop, outage=timedelta(0))

    outcomes = assert_nobody_is_charged_twice_and_nothing_is_lost(shop)
    if lost == "answer":
        assert outcomes == {"not_sent": INVOICES, "succeeded": INVOICES}
        told = Evidence.objects.filter(source="commit_unacknowledged")
        assert told.count() == INVOICES
        posts = shop.simulator.requests()["by_marker"]
        unsent = PaymentAttempt.objects.filter(state="not_sent")
        assert [posts.get(attempt.marker, 0) for attempt in unsent] == [0] * INVOICES
    else:
        assert outcomes == {"succeeded": INVOICES}


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_answer_is_settled_again_once_when_settles_commit_raises(
    shop: Shop, profile: str, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    from billing.charging.attempts.consequences import Settlement

    for _ in range(INVOICES):
        make_invoice(shop.card(), next_attempt_at=database_now())
    write = Settlement.write

    def write_and_break(self: Settlement) -> dict[str, int]:
        counts = write(self)
        broken = BrokenCommit(lost=lost, which=1)
        monkeypatch.setattr(BaseDatabaseWrapper, "_commit", lambda wrapper: broken(wrapper))
        monkeypatch.setattr(Settlement, "write", write)
        return counts

    monkeypatch.setattr(Settlement, "write", write_and_break)
    shop.collect()

    assert assert_nobody_is_charged_twice_and_nothing_is_lost(shop) == {"succeeded": INVOICES}
    assert Transition.objects.filter(subject_type="attempt", to_state="succeeded").count() == INVOICES
    assert Evidence.objects.count() == INVOICES


def test_everything_is_charged_without_redis(shop: Shop, profile: str) -> None:
    card = shop.card()
    without_reports()
    begun = time.monotonic()
    charge_now(
        customer=card.customer,
        amount_minor=2500,
        currency="MYR",
        description="Day pass",
        actor="test",
        now=database_now(),
    )
    assert time.monotonic() - begun < 3, "a doorbell that nobody hears holds nobody up"

    done = subprocess.run(
        [sys.executable, "manage.py", "tick"], cwd=ROOT, env=environment(), timeout=60, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert assert_nobody_is_charged_twice_and_nothing_is_lost(shop) == {"succeeded": 1}


@pytest.mark.timeout(120)
def test_many_collectors_at_once_charge_every_invoice_once(shop: Shop, profile: str) -> None:
    for _ in range(20):
        make_invoice(shop.card(), next_attempt_at=database_now())
    shop.simulator.set(latency=[0.05, 0.2])
    without_reports()
    workers = [
        subprocess.Popen([sys.executable, "manage.py", "tick"], cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL)
        for _ in range(3)
    ]
    threads = [threading.Thread(target=_collect_in_thread, args=(shop,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]

    assert assert_nobody_is_charged_twice_and_nothing_is_lost(shop) == {"succeeded": 20}


def _collect_in_thread(shop: Shop) -> None:
    try:
        shop.collect()
    finally:
        connection.close()


def test_a_process_that_wakes_late_does_not_send(shop: Shop, profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after SIGSTOP and SIGCONT: the permission was given long ago by the process's own monotonic clock."""
    from billing.gateway import connection as gateway_connection

    invoice = make_invoice(shop.card(), next_attempt_at=database_now())
    send = gateway_connection.Gateway.send

    def late(self: gateway_connection.Gateway, *args: object, **kwargs: object) -> object:
        seconds, read_at = gateway_connection.clock._base
        monkeypatch.setattr(gateway_connection.clock, "_base", (seconds + 25, read_at))
        return send(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(gateway_connection.Gateway, "send", late)
    shop.collect()

    attempt = PaymentAttempt.objects.get()
    assert (attempt.state, attempt.state_reason) == ("not_sent", "expired")
    assert shop.taken(invoice) == []
    assert attempt.marker not in shop.simulator.requests()["by_marker"]
