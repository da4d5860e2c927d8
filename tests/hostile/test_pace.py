"""What stops an account, and what heals: gateways that are away or answer nonsense, machines without threads."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from billing.charging.collecting import collect as collecting
from billing.charging.collecting.collect import collect
from billing.charging.protocol.senders import Senders
from billing.domain.pacing import CANARY, PAUSES
from billing.gateway.connection import clock as gateway_clock
from billing.models import AccountPace, Event, GatewayAccount, Invoice, PaymentAttempt
from billing.models.bulk.sql import run
from billing.models.clock import database_now
from billing.operating.health import check
from tests.conftest import SHORT, Shop
from tests.hostile.pace_parts import (
    Front,
    bring_forward,
    front_of,
    many_due,
    paid,
    states,
    times_taken,
    wait_until,
    worker,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]
SHIPPED = replace(SHORT, canary=CANARY, pauses=PAUSES)


def account_problems() -> list[str]:
    return [one for one in check(database_now()).problems if one.startswith("account")]


# --- B1 -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.faults
def test_outage_of_three_seconds_costs_nobody_a_charge(shop: Shop) -> None:
    """B1: 64 senders, 90 due, the port is closed for three seconds in the middle of the run."""
    invoices = many_due(shop, 90)
    shop.simulator.set(latency=[0.3, 0.3])
    with front_of(shop) as front, worker():
        wait_until(lambda: paid() >= 5, seconds=40, what="the run does not begin")
        front.close()
        wait_until(lambda: AccountPace.objects.filter(state="open").exists(), seconds=20, what="no pause")
        assert any("is paused" in problem for problem in account_problems())
        time.sleep(3)
        front.reopen()

        def all_but_the_doubtful_are_paid() -> bool:
            bring_forward()
            doubtful = Invoice.objects.filter(attempts__state__in=["unknown", "needs_review"]).distinct().count()
            return paid() + doubtful >= 90

        wait_until(all_but_the_doubtful_are_paid, seconds=90, what="not all are charged")
    assert max(times_taken(shop, invoices)) == 1
    # What was on its way when the connections broke is in doubt, and nothing else is.
    assert paid() >= 90 - 40
    assert GatewayAccount.objects.get().stopped_at is None
    assert Event.objects.filter(kind="account.paused").exists()
    assert Event.objects.filter(kind="account.resumed").exists()


@pytest.mark.slow
@pytest.mark.faults
def test_closed_port_before_the_first_charge_leaves_no_unknowns(shop: Shop) -> None:
    """B1: the port is closed when the run begins; all 90 are charged by themselves."""
    invoices = many_due(shop, 90)
    with front_of(shop) as front:
        front.close()
        with worker():
            wait_until(lambda: AccountPace.objects.filter(state="open").exists(), seconds=40, what="no pause")
            wait_until(lambda: bool(account_problems()), seconds=5, what="health is silent")
            time.sleep(3)
            front.reopen()
            wait_until(lambda: paid() == 90, seconds=90, what="not all are charged")
    assert times_taken(shop, invoices) == [1] * 90


@pytest.fixture
def slow_commits() -> Iterator[None]:
    """The commit in which attempts are born takes six seconds: longer than the window of its requests."""
    run(
        """CREATE FUNCTION sleep_once_a_commit() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN
             IF current_setting('kitaran.slept', true) IS DISTINCT FROM '1' THEN
               PERFORM set_config('kitaran.slept', '1', true), pg_sleep(6);
             END IF;
             RETURN NULL;
           END $$""",
        [],
    )
    run(
        """CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON billing_paymentattempt
           DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sleep_once_a_commit()""",
        [],
    )
    yield
    run("DROP FUNCTION IF EXISTS sleep_once_a_commit CASCADE", [])


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.usefixtures("slow_commits")
def test_commit_stalled_past_the_window_costs_nobody_a_charge(shop: Shop) -> None:
    """B1: what was armed too late is not sent; the account goes on by itself when commits are quick again."""
    invoices = many_due(shop, 30)
    with worker():
        wait_until(lambda: states().get("not_sent", 0) >= CANARY, seconds=60, what="nothing was too late")
        run("DROP FUNCTION sleep_once_a_commit CASCADE", [])

        def all_are_paid() -> bool:
            bring_forward()
            return paid() == 30

        wait_until(all_are_paid, seconds=90, what="not all are charged")
    assert times_taken(shop, invoices) == [1] * 30


# --- B2 -----------------------------------------------------------------------------------------------------


class Played:
    """A clock that a test moves; the loop's own patience is measured elsewhere."""

    def __init__(self) -> None:
        self.now = database_now()

    def __call__(self) -> datetime:
        return self.now

    def collect_for(self, hours: float, *, every: timedelta = timedelta(minutes=5)) -> None:
        until = self.now + timedelta(hours=hours)
        while self.now < until:
            self.now += every
            collect(tuning=SHIPPED, clock=self, should_stop=lambda: False, worker="played")


@pytest.mark.faults
def test_everything_is_charged_after_a_day_without_the_gateway(shop: Shop) -> None:
    """B2: the gateway is away for 24 hours and comes back."""
    shop.simulator.set(timestamp_window=0)
    invoices = many_due(shop, 60)
    played = Played()
    with front_of(shop) as front:
        front.close()
        played.collect_for(24)
        assert (paid(), states().get("unknown", 0)) == (0, 0)
        assert AccountPace.objects.get().state in ("open", "half_open")
        front.reopen()
        played.collect_for(3)
    gateway_clock.align(database_now())
    assert paid() == 60
    assert times_taken(shop, invoices) == [1] * 60


def test_always_refused_invoice_stops_itself_not_its_account(shop: Shop) -> None:
    """B2: one invalid invoice, tried again and again for two days, and other customers that fall due meanwhile."""
    shop.simulator.set(timestamp_window=0)
    invalid = many_due(shop, 1)[0]
    shop.simulator.set_customer(str(invalid.payment_method.gateway_customer_id), outcome=["validation_error"] * 100)
    played = Played()
    for _ in range(4):
        others = many_due(shop, 2)
        played.collect_for(12, every=timedelta(hours=1))
        assert times_taken(shop, others) == [1, 1]
    gateway_clock.align(database_now())
    invalid.refresh_from_db()
    assert (invalid.hold, invalid.attempts.count()) == ("always_refused", 3)
    assert Event.objects.filter(kind="invoice.held", subject_id=invalid.pk).count() == 1
    assert AccountPace.objects.get().state == "closed"


# --- B5 -----------------------------------------------------------------------------------------------------


def threads_at_most(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    start, started = threading.Thread.start, []

    def refuse(self: threading.Thread) -> None:
        if self.name.startswith("sender-"):
            if len(started) >= most:
                raise RuntimeError("can't start new thread")
            started.append(self.name)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_everything_is_charged_with_fewer_threads_than_senders(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """B5: "can't start new thread" after three."""
    invoices = many_due(shop, 12)
    threads_at_most(monkeypatch, 3)
    shop.collect()
    assert states() == {"succeeded": 12}
    assert times_taken(shop, invoices) == [1] * 12


def test_nothing_is_armed_without_a_thread_and_that_is_noted(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """B5: no thread at all; the token is there already."""
    shop.collect()
    (first,) = many_due(shop, 1)
    shop.collect()
    assert paid() == 1
    (invoice,) = many_due(shop, 1)
    threads_at_most(monkeypatch, 0)
    shop.collect()
    invoice.refresh_from_db()
    assert (invoice.attempts.count(), invoice.refusal) == (0, "no_sender")
    monkeypatch.undo()
    shop.collect()
    assert times_taken(shop, [first, invoice]) == [1, 1]


def test_a_sender_that_is_busy_is_not_one_that_cannot_be_started(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """B5: the only sender renews the token; the charge waits for it, and nobody is told that no thread starts."""
    shop.collect()
    shop.tuning = replace(shop.tuning, senders=1)
    invoices = many_due(shop, 2)
    shop.collect()
    assert times_taken(shop, invoices) == [1, 1]
    assert "no sender can be started" not in caplog.text


def test_armed_attempt_that_cannot_be_handed_over_is_not_sent(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """B5: handing over fails for the third charge; no attempt is left in doubt, and all are charged in the end."""
    invoices = many_due(shop, 6)
    submit, passes = Senders.submit, []

    def fail_once(self: Any, job: Any) -> None:
        if "send" in repr(job.work):
            passes.append(job)
            if len(passes) == 3:
                raise RuntimeError("no sender is idle")
        submit(self, job)

    monkeypatch.setattr(Senders, "submit", fail_once)
    shop.collect()
    found = states()
    assert set(found) <= {"succeeded", "not_sent"}
    assert found["not_sent"] >= 1
    bring_forward()
    Invoice.objects.update(preflight_at=None)
    shop.collect()
    assert times_taken(shop, invoices) == [1] * 6
    assert AccountPace.objects.get().state == "closed"


@pytest.mark.parametrize("error", [RuntimeError("a bug"), MemoryError()])
def test_an_exception_in_the_loop_throws_no_answer_away(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """B5: whatever fails while answers are on their way, they are settled before the loop leaves."""
    invoices = many_due(shop, 12)
    shop.simulator.set(latency=[0.3, 0.3])
    arm, passes = collecting.arm, []

    def fail_after_the_first(**arguments: Any) -> Any:
        passes.append(1)
        if len(passes) > 1:
            raise error
        return arm(**arguments)

    monkeypatch.setattr(collecting, "arm", fail_after_the_first)
    shop.collect()
    (answered,) = states().items()
    assert answered in {("succeeded", 7), ("succeeded", 8)}, "all that was armed"
    monkeypatch.undo()
    shop.collect()
    assert times_taken(shop, invoices) == [1] * 12


# --- B9 -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.faults
def test_gateway_that_always_answers_502_leaves_few_unresolved(shop: Shop) -> None:
    """B9: 200 due, 502 to everything, then the gateway is back."""
    invoices = many_due(shop, 200)
    # The token is fetched while the gateway is well, so that charges leave.
    with front_of(shop) as front, worker(KITARAN_CHECK_LADDER_SECONDS="600"):
        front.mode = "502"
        wait_until(lambda: AccountPace.objects.filter(state="open").exists(), seconds=60, what="no pause")
        assert any("is paused" in problem for problem in account_problems())
        time.sleep(8)
        front.mode = "pass"
        wait_until(
            lambda: paid() + states().get("unknown", 0) + states().get("needs_review", 0) >= 200,
            seconds=120,
            what="not all are charged",
        )
    doubtful = states().get("unknown", 0) + states().get("needs_review", 0)
    assert doubtful <= 10
    assert paid() == 200 - doubtful
    assert max(times_taken(shop, invoices)) == 1


@pytest.mark.faults
def test_hour_of_charges_answered_502_leaves_ten_unresolved(shop: Shop) -> None:
    """B9: the charge path alone is broken, for an hour; then everything else is charged by itself."""
    shop.simulator.set(timestamp_window=0)
    invoices = many_due(shop, 60)
    for invoice in invoices:
        shop.simulator.set_customer(str(invoice.payment_method.gateway_customer_id), outcome=["html_502"])
    played = Played()
    played.collect_for(1, every=timedelta(seconds=30))
    doubtful = states()["unknown"]
    for invoice in invoices:
        shop.simulator.set_customer(str(invoice.payment_method.gateway_customer_id), outcome=["success"])
    played.collect_for(1)
    gateway_clock.align(database_now())
    assert CANARY <= doubtful <= 10
    assert paid() == 60 - doubtful
    assert max(times_taken(shop, invoices)) == 1


# --- B11 ----------------------------------------------------------------------------------------------------


def test_a_token_server_that_hangs_delays_nobody_else(shop: Shop) -> None:
    """B11: one account's token server never answers; the other account's charges take their normal time."""
    invoices = many_due(shop, 20)
    other = replace_account(shop)
    with_hanging_token = Front(shop.simulator.credentials.api_url)
    with_hanging_token.mode = "hang"
    GatewayAccount.objects.filter(pk=other.account.pk).update(
        oauth_url=with_hanging_token.url(shop.simulator.credentials.oauth_url)
    )
    Invoice.objects.filter(account=other.account).update(next_attempt_at=database_now())
    shop.simulator.set(latency=[0.1, 0.1])
    started = database_now()
    threading.Timer(6, with_hanging_token.close).start()
    shop.collect()
    assert times_taken(shop, invoices) == [1] * 20
    took = [attempt.settled_at - attempt.armed_at for attempt in PaymentAttempt.objects.all() if attempt.settled_at]
    last = max(attempt.settled_at for attempt in PaymentAttempt.objects.all() if attempt.settled_at)
    assert max(took) < timedelta(seconds=3)
    assert last - started < timedelta(seconds=5), "all of it while the token server hangs"


def replace_account(shop: Shop) -> Shop:
    """Another account at the same simulator, with one invoice that is not due yet."""
    from tests.factories import make_account, make_invoice

    known = shop.simulator.credentials
    account = make_account(
        client_id=known.client_id,
        client_secret=known.client_secret,
        private_key_pem=known.private_key,
        store_id=known.store_id,
        oauth_url=known.oauth_url,
        api_url=known.api_url,
    )
    other = Shop(account, shop.simulator, shop.tuning)
    make_invoice(other.card(), next_attempt_at=None)
    return other


# --- accounts, and the rate ---------------------------------------------------------------------------------


def test_an_account_whose_key_cannot_be_used_stops_nobody_else(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """B3: `gateway_for` raises for one account; the other is charged in the same run."""
    other = replace_account(shop)
    Invoice.objects.filter(account=other.account).update(next_attempt_at=database_now())
    invoices = many_due(shop, 5)
    from billing.models.encryption import encrypt

    GatewayAccount.objects.filter(pk=other.account.pk).update(private_key_encrypted=encrypt("no key"))
    shop.collect()
    assert times_taken(shop, invoices) == [1] * 5
    assert "a round failed" not in caplog.text


def test_a_big_account_does_not_keep_a_small_one_waiting(shop: Shop) -> None:
    """Both have work; the small account's charge does not wait for the end of the big one's."""
    other = replace_account(shop)
    invoices = many_due(shop, 40)
    shop.simulator.set(latency=[0.3, 0.3])
    Invoice.objects.filter(account=other.account).update(next_attempt_at=database_now())
    shop.collect()
    small = PaymentAttempt.objects.get(account=other.account)
    before = PaymentAttempt.objects.filter(account=shop.account, armed_at__lt=small.armed_at).count()
    assert before <= 16
    assert times_taken(shop, invoices) == [1] * 40


@pytest.mark.faults
def test_two_workers_share_the_accounts_rate(shop: Shop) -> None:
    """Two workers keep one account's rate at the gateway, and make use of it."""
    rate, count = 10, 50
    GatewayAccount.objects.update(charges_per_second=rate)
    invoices = many_due(shop, count)
    workers = [threading.Thread(target=_collect_in_a_thread, args=(shop,)) for _ in range(2)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    assert times_taken(shop, invoices) == [1] * count
    ours = {str(invoice.payment_method.gateway_customer_id) for invoice in invoices}
    times = sorted(
        datetime.fromisoformat(str(charge["executed_at"])).timestamp()
        for charge in shop.simulator.charges()
        if charge["customer_id"] in ours
    )
    for first, at in enumerate(times):
        # Slots are exact (tests/domain/test_pacing.py); on a busy machine one request may arrive late, into the next.
        assert sum(at <= other < at + 1 for other in times[first:]) <= rate + 1
    assert times[-1] - times[0] <= (count - 1) * 10 / (9 * rate) + 5


def _collect_in_a_thread(shop: Shop) -> None:
    try:
        shop.collect()
    finally:
        connection.close()
