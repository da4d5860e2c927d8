"""One sick account, one wrong key, one clock that steps: nobody else waits, and nothing is charged that is not due."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from billing.accounts.change_account import change_account, prove_account
from billing.accounts.gateway_accounts import AccountError, start_account
from billing.charging.attempts.settle import settle
from billing.charging.cases.remind import remind
from billing.charging.collecting.collect import collect
from billing.charging.collecting.sweep import sweep
from billing.charging.reading.reconcile import reconcile
from billing.charging.refunds.ask import request_refund
from billing.charging.refunds.worker import refund_due
from billing.domain.arming import Environment
from billing.domain.decisions import Decision
from billing.gateway import connection as gateway_connection
from billing.gateway import sending_clock as clock_module
from billing.gateway.sending_clock import AlignedClock, read_clock
from billing.gateway.sending_clock import clock as gateway_clock
from billing.models import AccountTrouble, GatewayAccount, GatewayClock, Invoice, PaymentAttempt, Refund, Subscription
from billing.models.bulk import refunding
from billing.models.clock import database_now
from billing.models.encryption import encrypt
from billing.operating import clocks, health, troubles
from billing.subscriptions.renew import open_due
from rm_gateway.elapsed import elapsed
from rm_gateway.simulator.process import SimulatorProcess
from tests.conftest import SHORT, Shop
from tests.factories import (
    make_account,
    make_attempt,
    make_card,
    make_customer,
    make_invoice,
    make_plan,
    make_subscription,
)
from tests.faults.recovery import ROOT, environment

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timeout(120)]

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def two_merchants() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(merchants=2) as simulator:
        yield simulator


def shop_of(simulator: SimulatorProcess, number: int) -> Shop:
    known = simulator.credentials.of_merchant(number)
    account = make_account(
        name=f"Merchant {number}",
        environment=Environment.SIMULATOR,
        client_id=known.client_id,
        client_secret=known.client_secret,
        private_key_pem=known.private_key,
        store_id=known.store_id,
        oauth_url=known.oauth_url,
        api_url=known.api_url,
    )
    return Shop(account, simulator, SHORT)


@pytest.fixture(params=["default", "hostile"])
def shops(two_merchants: SimulatorProcess, request: pytest.FixtureRequest) -> Iterator[tuple[Shop, Shop]]:
    """A sick account and a healthy one, the sick one first in every list."""
    before = two_merchants.control("GET", "switches")
    two_merchants.use_profile(request.param)
    two_merchants.set(latency=[0, 0], orders_visible_after=0)
    yield shop_of(two_merchants, 0), shop_of(two_merchants, 1)
    two_merchants.set(**before)


def with_a_wrong_pem(shop: Shop) -> None:
    GatewayAccount.objects.filter(pk=shop.account.pk).update(private_key_encrypted=encrypt("-----BEGIN nonsense"))


def with_a_dropped_key(shop: Shop) -> None:
    forgotten = Fernet(Fernet.generate_key())
    GatewayAccount.objects.filter(pk=shop.account.pk).update(
        private_key_encrypted=forgotten.encrypt(b"the key is not in KITARAN_ENCRYPTION_KEYS any more").decode()
    )


SICKNESSES = [with_a_wrong_pem, with_a_dropped_key]


def sold(shop: Shop, many: int = 1) -> list[Invoice]:
    return [make_invoice(shop.card(), next_attempt_at=database_now()) for _ in range(many)]


def charged(shop: Shop) -> int:
    """How many charges of this merchant's customers took money, by the simulator's own ledger."""
    own = set(
        PaymentAttempt.objects.filter(account=shop.account).values_list(
            "payment_method__gateway_customer_id", flat=True
        )
    )
    return sum(one["status"] == "SUCCESS" and one["customer_id"] in own for one in shop.simulator.charges())


def unknown_with_money(shop: Shop) -> PaymentAttempt:
    """A charge that took money and whose answer was lost."""
    (invoice,) = sold(shop)
    send = gateway_connection.Gateway.send

    def lost(self: Any, prepared: Any, *, marker: str) -> Any:
        send(self, prepared, marker=marker)
        raise RuntimeError("the answer is lost")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gateway_connection.Gateway, "send", lost)
        shop.collect()
    attempt = PaymentAttempt.objects.get(invoice=invoice)
    assert attempt.state == "unknown"
    PaymentAttempt.objects.filter(pk=attempt.pk).update(next_check_at=database_now())
    return attempt


def paid(shop: Shop) -> PaymentAttempt:
    (invoice,) = sold(shop)
    shop.collect()
    attempt = PaymentAttempt.objects.get(invoice=invoice)
    assert attempt.state == "succeeded"
    return attempt


def ask_back(attempt: PaymentAttempt) -> Refund:
    return request_refund(
        attempt=attempt, amount_minor=None, decision=Decision("mei", "cancelled in time"), now=database_now()
    )


def run_reconcile() -> None:
    rounds = iter((False, True))
    reconcile(tuning=SHORT, clock=database_now, should_stop=lambda: next(rounds))


def run_refunds() -> None:
    instant = database_now()
    refund_due(tuning=SHORT, clock=lambda: instant, should_stop=lambda: False)


# --- B3: one account that cannot be asked ------------------------------------------------------------------


@pytest.mark.parametrize("fall_ill", SICKNESSES)
def test_sick_account_blocks_no_reconciling_of_another(
    shops: tuple[Shop, Shop], fall_ill: Callable[[Shop], None]
) -> None:
    """B3: `gateway_for` raised in the loop over accounts, so that nobody's unknown attempts were looked at."""
    sick, healthy = shops
    of_the_sick, of_the_healthy = unknown_with_money(sick), unknown_with_money(healthy)
    saved = GatewayAccount.objects.values("private_key_encrypted").get(pk=sick.account.pk)
    fall_ill(sick)
    run_reconcile()
    of_the_healthy.refresh_from_db()
    of_the_sick.refresh_from_db()
    echoes = sick.simulator.control("GET", "switches")["echo"]
    assert of_the_healthy.state == ("succeeded" if echoes else "needs_review") or of_the_healthy.checks_done == 1
    assert (of_the_sick.state, of_the_sick.checks_done, of_the_sick.checks_failed) == ("unknown", 0, 1)
    trouble = AccountTrouble.objects.get()
    assert (trouble.account_id, trouble.work, trouble.error) == (
        sick.account.pk,
        "reconcile",
        "UnusableCredentialsError",
    )

    GatewayAccount.objects.filter(pk=sick.account.pk).update(**saved)
    PaymentAttempt.objects.filter(pk=of_the_sick.pk).update(next_check_at=database_now())
    run_reconcile()
    of_the_sick.refresh_from_db()
    assert of_the_sick.checks_failed == 1
    assert of_the_sick.checks_done == 1 or of_the_sick.state != "unknown"
    assert not AccountTrouble.objects.exists(), "the trouble goes with its cause"


@pytest.mark.parametrize("fall_ill", SICKNESSES)
def test_sick_account_blocks_no_refund_of_another(shops: tuple[Shop, Shop], fall_ill: Callable[[Shop], None]) -> None:
    """B3: the same for refunds."""
    sick, healthy = shops
    refunds = [ask_back(paid(shop)) for shop in (sick, healthy)]
    fall_ill(sick)
    run_refunds()
    states = [Refund.objects.get(pk=one.pk).state for one in refunds]
    assert states == ["requested", "succeeded"]
    assert AccountTrouble.objects.get().account_id == sick.account.pk


def test_refund_answer_is_settled_although_the_loop_fails(
    shops: tuple[Shop, Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """B3: money went back, the loop died of something else, and the answer was thrown away."""
    _, healthy = shops
    refund = ask_back(paid(healthy))
    claim, calls = refunding.claim, iter((True, False))

    def once(**arguments: Any) -> Any:
        if not next(calls, False):
            raise RuntimeError("a bug in one row")
        return claim(**arguments)

    monkeypatch.setattr(refunding, "claim", once)
    run_refunds()
    assert Refund.objects.get(pk=refund.pk).state == "succeeded"


def test_reminders_and_the_sweep_do_not_wait_for_another_account(
    shops: tuple[Shop, Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """B3: an account with a time zone that does not exist, and one whose attempts cannot be settled."""
    sick, healthy = shops
    GatewayAccount.objects.filter(pk=sick.account.pk).update(time_zone="Mars/Olympus")
    reminded: list[int] = []
    monkeypatch.setattr(
        "billing.charging.cases.remind.holding.cases_to_remind", lambda pk, **_: reminded.append(pk) or []
    )
    remind(now=database_now())
    assert reminded == [healthy.account.pk]
    assert AccountTrouble.objects.get().account_id == sick.account.pk

    lost = [make_attempt(card=make_card(make_customer(shop.account))) for shop in (sick, healthy)]

    def settle_with_a_bug(told: Any, **more: Any) -> dict[str, int]:
        if any(one.marker == lost[0].marker for one in told):
            raise ValueError("a bug in one row")
        return settle(told, **more)

    monkeypatch.setattr("billing.charging.collecting.sweep.settle", settle_with_a_bug)
    assert sweep(tuning=SHORT, now=database_now()) == 1
    assert [PaymentAttempt.objects.get(pk=one.pk).state for one in lost] == ["sending", "unknown"]
    assert AccountTrouble.objects.get(work="sweep").account_id == sick.account.pk


def test_a_part_of_a_tick_that_fails_holds_up_no_other(
    shops: tuple[Shop, Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """B3: `tick --loop` died of whatever any of its parts raised."""
    _, healthy = shops
    refund = ask_back(paid(healthy))

    def broken(**_: Any) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("billing.management.commands.tick.open_due", broken)
    with pytest.raises(CommandError, match="failed: open_due; see the log"):
        call_command("tick")
    assert Refund.objects.get(pk=refund.pk).state == "succeeded"
    trouble = AccountTrouble.objects.get()
    assert (trouble.account_id, trouble.work, trouble.error) == (None, "open_due", "KeyError")
    monkeypatch.undo()
    call_command("tick")
    assert not AccountTrouble.objects.exists()


def test_tick_loop_goes_on_with_a_sick_account_and_reports_it(shops: tuple[Shop, Shop]) -> None:
    """B3: a real `tick --loop`: the healthy account is charged and asked about, and the loop does not die."""
    sick, healthy = shops
    unknown = unknown_with_money(sick)
    with_a_wrong_pem(sick)
    worker = subprocess.Popen(
        [sys.executable, "manage.py", "tick", "--loop", "--every", "1"],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(2):  # the second lot is after the first failure
            invoices = sold(healthy, 3)
            _wait_until(lambda own=invoices: all(Invoice.objects.get(pk=i.pk).attempt_count for i in own))  # type: ignore[misc]
            _wait_until(lambda: AccountTrouble.objects.filter(account=sick.account, work="reconcile").exists())
            PaymentAttempt.objects.filter(pk=unknown.pk).update(next_check_at=database_now())
        assert worker.poll() is None, "the loop died"
    finally:
        worker.terminate()
        worker.wait(30)
    _wait_until(lambda: charged(healthy) == 6)


def _wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_trouble_is_shown_once_it_lasts_and_holds_no_secret(shops: tuple[Shop, Shop]) -> None:
    """B3: nobody saw that an account's work failed; health said ok."""
    sick, _ = shops
    now = database_now()
    error = ValueError("the secret is s3cret")
    troubles.note(sick.account.pk, "reconcile", error, now=now - timedelta(minutes=4))
    assert troubles.sentences(now) == []
    troubles.note(sick.account.pk, "reconcile", error, now=now + timedelta(minutes=2))
    (sentence,) = troubles.sentences(now + timedelta(minutes=2))
    assert sentence in health.check(now + timedelta(minutes=2)).problems
    assert sentence.startswith("account Merchant 0: reconcile has failed since")
    assert "2 times" in sentence
    assert "s3cret" not in sentence
    assert troubles.sentences(now + 2 * HOUR) == [], "what has not failed for an hour does not fail"


# --- B10: credentials are proved before they are saved -------------------------------------------------------


def credentials_of(simulator: SimulatorProcess, number: int) -> dict[str, str]:
    known = simulator.credentials.of_merchant(number)
    return {
        "client_id": known.client_id,
        "client_secret": known.client_secret,
        "private_key_pem": known.private_key,
    }


def change(shop: Shop, changes: dict[str, str], **more: Any) -> list[str]:
    return change_account(
        account=shop.account, changes=changes, reason="new keys", actor="mei", now=database_now(), **more
    )


def test_another_merchants_credentials_are_not_saved(shops: tuple[Shop, Shop]) -> None:
    """B10: they were accepted, and 30 of 30 charges ended unknown."""
    ours, _ = shops
    sold(ours, 30)
    with pytest.raises(AccountError, match=r"^client_id: must be of the merchant whose cards this account charges"):
        change(ours, credentials_of(ours.simulator, 1))
    with pytest.raises(AccountError, match=r"^client_id: must be of the merchant"):
        change(ours, credentials_of(ours.simulator, 1), may_be_unproved=True)
    done = ours.collect()
    assert done.states == {"succeeded": 30}
    assert charged(ours) == 30


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"private_key_pem": "-----BEGIN nonsense"}, "^private_key_pem: the private key is no readable PEM"),
        ({"client_secret": "another"}, "^client_id: the gateway must issue a token for it and its secret"),
        (
            {"private_key_pem": "theirs"},
            "^private_key_pem: must be the key|^client_id: .* must answer a signed read",
        ),
    ],
    ids=["no key", "a wrong secret", "another key"],
)
def test_credentials_that_do_not_work_are_not_saved(shops: tuple[Shop, Shop], wrong: dict[str, str], rule: str) -> None:
    """B3, B10: a wrong PEM pasted in the admin was accepted."""
    ours, _ = shops
    sold(ours)
    theirs = credentials_of(ours.simulator, 1)
    changes = {name: theirs[name] if value == "theirs" else value for name, value in wrong.items()}
    with pytest.raises(AccountError, match=rule):
        change(ours, changes, may_be_unproved=True)
    assert ours.collect().states == {"succeeded": 1}


def test_rotated_credentials_are_saved_once_they_are_proved(shops: tuple[Shop, Shop]) -> None:
    """B10: rotating a secret or a key of the same merchant works, also before there is a card."""
    ours, theirs = shops
    sold(ours)
    for shop, number in ((ours, 0), (theirs, 1)):
        assert change(shop, credentials_of(shop.simulator, number)) == ["client_secret", "private_key_pem"]
    assert ours.collect().states == {"succeeded": 1}


def test_unproved_credentials_are_saved_only_if_somebody_insists(
    shops: tuple[Shop, Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """B10: the gateway is away just when somebody pastes another merchant's credentials."""
    ours, _ = shops
    sold(ours)
    account = ours.account
    known = ours.simulator.credentials
    GatewayAccount.objects.update(oauth_url="http://127.0.0.1:1/v1", api_url="http://127.0.0.1:1/v3")
    with pytest.raises(AccountError, match=r"^client_id: must be checked with the gateway"):
        change(ours, credentials_of(ours.simulator, 1))
    change(ours, credentials_of(ours.simulator, 1), may_be_unproved=True)
    GatewayAccount.objects.update(oauth_url=known.oauth_url, api_url=known.api_url)
    account.refresh_from_db()
    assert account.stopped_at is not None
    assert ours.collect().armed == 0
    with pytest.raises(AccountError, match=r"^credentials: were saved unchecked"):
        start_account(account=account, reason="try", actor="mei", now=database_now())
    with pytest.raises(AccountError, match=r"^client_id: must be of the merchant"):
        prove_account(account=account, reason="try", actor="mei", now=database_now())
    change(ours, credentials_of(ours.simulator, 0))
    assert start_account(account=account, reason="proved", actor="mei", now=database_now())
    assert ours.collect().states == {"succeeded": 1}


# --- B12: a machine that sleeps ------------------------------------------------------------------------------


def test_nothing_is_sent_after_sleep_between_arming_and_sending(
    shop: Shop, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B12: the monotonic clock stands still in sleep, so that a request left hours after it was armed."""
    invoice = make_invoice(shop.card(), next_attempt_at=database_now())
    send = gateway_connection.Gateway.send

    def asleep(self: Any, *arguments: Any, **more: Any) -> Any:
        monkeypatch.setattr(clock_module, "elapsed", lambda: elapsed() + 7200)  # and time.monotonic stood still
        return send(self, *arguments, **more)

    monkeypatch.setattr(gateway_connection.Gateway, "send", asleep)
    collect(tuning=SHORT, clock=read_clock, should_stop=lambda: False, worker="test")
    attempt = PaymentAttempt.objects.get()
    assert (attempt.state, attempt.state_reason) == ("not_sent", "expired")
    assert shop.taken(invoice) == []


def test_process_that_freezes_after_reading_the_time_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """B12: a process that froze between the database's answer and its own reading took itself for early."""
    frozen, now = AlignedClock(), database_now()

    def read_and_freeze() -> datetime:
        monkeypatch.setattr(clock_module, "elapsed", lambda: elapsed() + 600)
        return now

    frozen.align(frozen.read(read_and_freeze))
    assert 600 <= frozen() - now.timestamp() < 660


def test_uptime_counts_sleep_where_the_system_can() -> None:
    """B12: by CLOCK_BOOTTIME on Linux."""
    assert abs(elapsed() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 5


# --- B8: a clock that steps ------------------------------------------------------------------------------------


@pytest.fixture
def offset(monkeypatch: pytest.MonkeyPatch, settings: Any) -> dict[str, timedelta]:
    """How far the database's clock is off; what loops read follows it. The breaker waits for nothing."""
    shift = {"by": timedelta(0)}
    settings.KITARAN_CLOCK_TOLERANCE_SECONDS = 10
    monkeypatch.setattr(clock_module, "database_now", lambda: database_now() + shift["by"])
    monkeypatch.setattr("billing.domain.clocks.SETTLES", timedelta(0))
    monkeypatch.setattr(clock_module, "ASKED_AGAIN", timedelta(seconds=0.5))
    monkeypatch.setattr(clocks, "ASKED_AGAIN", timedelta(seconds=0.5))
    return shift


def pass_of_the_workers(tuning: Any = SHORT) -> tuple[int, int]:
    """What was opened and armed, refunds included, by one pass of all that begins something."""
    clocks.ask_gateways(now=read_clock())
    opened = open_due(now=read_clock()).invoices
    armed = collect(tuning=tuning, clock=read_clock, should_stop=lambda: False, worker="test").armed
    back = refund_due(tuning=tuning, clock=read_clock, should_stop=lambda: False).armed
    return opened, armed + back


def test_clock_forty_days_ahead_charges_nothing_and_work_goes_on(
    shop: Shop, profile: str, offset: dict[str, timedelta]
) -> None:
    """B8: 25 charges that were not due for weeks were made."""
    now = database_now()
    plan = make_plan(shop.account)
    cards = [shop.card() for _ in range(5)]
    later = [
        make_subscription(
            card, plan, next_due_at=now + timedelta(days=10), anchor_date=(now + timedelta(days=10)).date()
        )
        for card in cards
    ]
    card_of_today = shop.card()
    assert pass_of_the_workers() == (0, 0)

    offset["by"] = timedelta(days=40)
    for _ in range(2):
        assert pass_of_the_workers() == (0, 0)
    problems = health.check(read_clock()).problems
    assert any("s ahead of the gateway's" in one and "nothing is charged" in one for one in problems)

    offset["by"] = timedelta(0)
    due = make_invoice(card_of_today, next_attempt_at=now)
    _wait_until(lambda: pass_of_the_workers() == (0, 1))
    assert len(shop.taken(due)) == 1, "what is due is charged without anybody doing anything"
    assert Invoice.objects.exclude(pk=due.pk).count() == 0
    assert sorted(Subscription.objects.values_list("period_index", flat=True)) == [0] * len(later)
    assert not any("gateway's" in one for one in health.check(database_now()).problems)


def test_what_is_due_is_not_charged_by_a_clock_that_is_behind(
    shop: Shop, profile: str, offset: dict[str, timedelta]
) -> None:
    """B8: a clock set back would open and look at everything anew later."""
    paid_before = make_invoice(shop.card(), next_attempt_at=database_now())
    assert pass_of_the_workers() == (0, 1)
    ask_back(PaymentAttempt.objects.get(invoice=paid_before))
    invoice = make_invoice(shop.card(), next_attempt_at=database_now() - timedelta(days=50))
    Refund.objects.update(next_check_at=database_now() - timedelta(days=50))
    offset["by"] = -timedelta(days=40)
    assert pass_of_the_workers() == (0, 0)
    assert shop.taken(invoice) == []
    assert any("behind the gateway's" in one for one in health.check(read_clock()).problems)
    offset["by"] = timedelta(0)
    Refund.objects.update(next_check_at=database_now())
    armed = 0
    while armed < 2:
        armed += pass_of_the_workers()[1]
        time.sleep(0.1)
    assert len(shop.taken(invoice)) == 1
    assert Refund.objects.get().state == "succeeded"


def test_a_step_of_a_few_seconds_is_no_reason_to_stop(shop: Shop, offset: dict[str, timedelta]) -> None:
    """B8: bounds allow for the header's whole seconds and the length of the call."""
    offset["by"] = timedelta(seconds=8)
    invoice = make_invoice(shop.card(), next_attempt_at=database_now())
    assert pass_of_the_workers() == (0, 1)
    assert len(shop.taken(invoice)) == 1


def test_clock_step_between_two_passes_is_seen_before_arming(
    shop: Shop, profile: str, offset: dict[str, timedelta]
) -> None:
    """B8: the token and the last answer are minutes old; the step is seen against them, without a new call."""
    make_invoice(shop.card(), next_attempt_at=database_now())
    assert pass_of_the_workers() == (0, 1)
    ahead = [make_invoice(shop.card(), next_attempt_at=database_now() + timedelta(days=3)) for _ in range(5)]
    offset["by"] = timedelta(days=40)
    assert collect(tuning=SHORT, clock=read_clock, should_stop=lambda: False, worker="test").armed == 0
    assert [shop.taken(one) for one in ahead] == [[]] * 5


def test_nothing_starts_before_the_gateways_clock_was_seen(shop: Shop, offset: dict[str, timedelta]) -> None:
    """B8: a worker that starts with a wrong clock has nothing to compare it with but the gateway."""
    now = database_now()
    subscription = make_subscription(
        shop.card(), make_plan(shop.account), next_due_at=now, anchor_date=now.date() + timedelta(days=1)
    )
    GatewayClock.objects.all().delete()
    assert open_due(now=read_clock()).invoices == 0
    clocks.ask_gateways(now=read_clock())
    assert open_due(now=read_clock()).invoices == 1
    assert Invoice.objects.get().subscription_id == subscription.pk


def test_unreachable_gateway_does_not_keep_it_from_opening(shop: Shop, offset: dict[str, timedelta]) -> None:
    """B8: a gap is no step. The reading of before serves for as long as the machine is up."""
    clocks.ask_gateways(now=read_clock())
    now = database_now()
    make_subscription(shop.card(), make_plan(shop.account), next_due_at=now, anchor_date=now.date() + timedelta(days=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocks, "ask_the_time", lambda _: None)
        patch.setattr(clock_module, "elapsed", lambda: elapsed() + 6 * 3600)
        offset["by"] = timedelta(hours=6)
        clocks.ask_gateways(now=read_clock())
        assert open_due(now=read_clock()).invoices == 1
    gateway_clock.align(database_now())


@pytest.mark.faults
def test_real_workers_charge_nothing_by_a_stepped_clock(shop: Shop, profile: str, tmp_path: Path) -> None:
    """B8: the same with a real `tick --loop` whose clock goes 40 days ahead and back while it runs."""
    shop.simulator.set(latency=[0, 0])
    file = tmp_path / "offset"
    file.write_text("0")
    now = database_now()
    plan = make_plan(shop.account)
    for _ in range(25):
        day = now + timedelta(days=10)
        make_subscription(shop.card(), plan, next_due_at=day, anchor_date=day.date())
    worker = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.hostile.shifted_worker",
            str(file),
            "manage.py",
            "tick",
            "--loop",
            "--every",
            "1",
        ],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until(lambda: GatewayClock.objects.filter(ahead=None).exists())
        file.write_text(str(40 * 86400))
        _wait_until(lambda: GatewayClock.objects.filter(ahead__gt=timedelta(days=39)).exists())
        time.sleep(3)  # a few more rounds by the wrong clock
        assert Invoice.objects.count() == 0
        file.write_text("0")
        due = make_invoice(shop.card(), next_attempt_at=now)
        _wait_until(lambda: len(shop.taken(due)) == 1)
    finally:
        worker.terminate()
        worker.wait(30)
    assert Invoice.objects.count() == 1
    assert GatewayClock.objects.get().ahead is None
