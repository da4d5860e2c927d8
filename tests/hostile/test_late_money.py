"""Money that comes after the last decline, with nothing due that would have a card read.

One clock, the test's own, is that of the engine and of the simulator. The judge is the simulator's ledger."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing.charging.collecting.collect import collect
from billing.charging.reading.late_money import Watched, watch
from billing.domain.late_money import WATCH_AFTER
from billing.gateway.connection import Charge, Gateway, GatewayUnavailableError, gateway_for
from billing.gateway.connection import clock as gateway_clock
from billing.models import (
    AccountTrouble,
    Event,
    FoundPayment,
    GatewayAccount,
    Invoice,
    PaymentAttempt,
    PaymentMethod,
    ReportDay,
    Subscription,
)
from billing.operating import clocks, health
from billing.subscriptions.lifecycle import cancel
from tests.conftest import Shop
from tests.factories import (
    make_account,
    make_attempt,
    make_card,
    make_customer,
    make_invoice,
    make_subscription,
    move_attempt,
    set_dunning,
)

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)  # in Malaysia
DAY = timedelta(days=1)
# How long after the last decline the failed orders are paid, two customers each.
PAID_AFTER = (timedelta(hours=1), timedelta(hours=20), 3 * DAY, 20 * DAY, 59 * DAY)
REPORT_CALL = "POST /v3/payment/reconciliation"


@dataclass(slots=True)
class Later:
    """The shop under a clock that the test moves, with the watch running as its beat would run it."""

    shop: Shop
    now: datetime
    failed: int = 0

    def go_to(self, now: datetime) -> None:
        self.now = now
        self.shop.simulator.clock(skew=now.timestamp() - time.time())
        gateway_clock.align(now)

    def collect(self) -> None:
        collect(tuning=self.shop.tuning, clock=lambda: self.now, should_stop=lambda: False, worker="test")

    def watch(self) -> Watched:
        done = watch(tuning=self.shop.tuning, clock=lambda: self.now, should_stop=lambda: False)
        self.failed += done.failed
        return done

    def watch_until(self, end: datetime) -> None:
        """Runs the watch whenever something of it is due, and at least every six hours, as its beat would."""
        self.watch()
        while self.now < end:
            cards = PaymentMethod.objects.filter(next_watch_at__gt=self.now).order_by("next_watch_at")
            days = ReportDay.objects.filter(next_read_at__gt=self.now).order_by("next_read_at")
            due = [end, self.now + timedelta(hours=6)]
            due += cards.values_list("next_watch_at", flat=True)[:1]
            due += days.values_list("next_read_at", flat=True)[:1]
            self.go_to(min(due))
            self.watch()

    def subscribe(self) -> Subscription:
        return make_subscription(self.shop.card(), next_due_at=self.now)

    def fail_last(self, subscription: Subscription, paid_after: timedelta) -> None:
        """The customer's next charge is declined, and its order becomes money at the gateway so long after."""
        card = subscription.customer.payment_methods.get().gateway_customer_id
        assert card is not None
        changes = {"failed_becomes_success": True, "settle_after": paid_after.total_seconds()}
        self.shop.simulator.set_customer(card, outcome="decline_51", **changes)

    def decline_to_the_end(self) -> dict[int, timedelta]:
        """Ten customers whose only try is declined; by subscription, when their orders are paid."""
        paid = {}
        for after in (*PAID_AFTER, *PAID_AFTER):
            subscription = self.subscribe()
            self.fail_last(subscription, after)
            paid[subscription.pk] = after
        self.shop.open(self.now)
        self.collect()
        assert Counter(Subscription.objects.values_list("state", flat=True)) == {"canceled": 10}
        assert Counter(Invoice.objects.values_list("state", flat=True)) == {"uncollectible": 10}
        return paid

    def money(self) -> dict[str, int]:
        """By gateway customer, how often the gateway took money."""
        charges = self.shop.simulator.charges()
        return Counter(str(one["customer_id"]) for one in charges if one["status"] == "SUCCESS")


@pytest.fixture(params=[True, False], ids=["echoing", "not echoing"])
def echo(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def later(shop: Shop) -> Iterator[Later]:
    shop.tuning = replace(shop.tuning, total=timedelta(seconds=100))
    shop.simulator.reset()  # the reports list what earlier tests paid
    GatewayAccount.objects.filter(pk=shop.account.pk).update(created_at=NOON)
    set_dunning(shop.account, retry_days=[])
    shop.account.refresh_from_db()
    found = Later(shop, NOON)
    found.go_to(NOON)
    yield found
    shop.simulator.clock(real=True, skew=0)


def when_found(subscription: int) -> datetime:
    attempt = PaymentAttempt.objects.get(invoice__subscription_id=subscription)
    assert (attempt.state, attempt.state_reason) == ("succeeded", "late_money")
    assert attempt.settled_at is not None
    return attempt.settled_at


def all_was_booked_once(later: Later) -> None:
    """Invoices are paid, customers were asked once and paid once, and somebody is to decide what becomes of each."""
    assert Counter(Invoice.objects.values_list("state", flat=True)) == {"paid": 10}
    assert set(later.money().values()) == {1}
    assert len(later.money()) == 10
    assert set(later.shop.simulator.requests()["by_marker"].values()) == {1}
    assert PaymentAttempt.objects.count() == 10
    assert Counter(Subscription.objects.values_list("state", flat=True)) == {"canceled": 10}
    assert Counter(FoundPayment.objects.values_list("kind", flat=True)) == {"after_the_end": 10}
    told = list(Event.objects.filter(kind="invoice.paid").values_list("payload", flat=True))
    assert len(told) == 10
    assert all(one["late"] and one["subscription_state"] == "canceled" for one in told)
    assert later.failed == 0


@pytest.mark.slow  # two months, step by step
def test_daily_report_alone_finds_late_money_within_a_day(later: Later, echo: bool) -> None:
    """B7: by the report, 10 of 10 customers who paid after the last decline are found within a day of paying."""
    later.shop.simulator.set(echo=echo)
    paid = later.decline_to_the_end()
    PaymentMethod.objects.update(next_watch_at=None, watch_from_at=None)

    later.watch_until(NOON + 61 * DAY)

    for subscription, after in paid.items():
        assert timedelta(0) <= when_found(subscription) - (NOON + after) <= DAY
    all_was_booked_once(later)
    calls = later.shop.simulator.requests()
    assert calls["posts"][REPORT_CALL] <= 4 * 62  # of all cards together, a day is read four times


@pytest.mark.slow  # two months, step by step
def test_by_the_cards_alone_late_money_is_found_within_the_step(later: Later, echo: bool) -> None:
    """B7: where the gateway offers no reports, late money is found by the card's own schedule within its step."""
    later.shop.simulator.set(echo=echo)
    GatewayAccount.objects.update(reads_reports=False)
    paid = later.decline_to_the_end()

    later.watch_until(NOON + 61 * DAY)

    for subscription, after in paid.items():
        step = next(step for step in WATCH_AFTER if step > after)
        assert when_found(subscription) - NOON <= step + timedelta(minutes=1)
    all_was_booked_once(later)
    assert ReportDay.objects.count() == 0
    assert PaymentMethod.objects.filter(next_watch_at__isnull=False).count() == 0


def decline(later: Later, subscription: Subscription, paid_after: timedelta) -> PaymentAttempt:
    later.fail_last(subscription, paid_after)
    later.shop.open(later.now)
    later.collect()
    attempt = PaymentAttempt.objects.get(invoice__subscription=subscription)
    assert attempt.state == "declined"
    return attempt


def test_money_for_a_canceled_subscription_is_found(later: Later) -> None:
    """B7: a person canceled the subscription between two tries, and the card was revoked; the order is paid later."""
    set_dunning(later.shop.account, retry_days=[3])
    subscription = later.subscribe()
    attempt = decline(later, subscription, 2 * DAY)
    cancel(subscription=subscription, reason="moved away", actor="mei", now=later.now + timedelta(hours=1))
    PaymentMethod.objects.update(state="revoked", is_default=False)

    later.watch_until(NOON + 3 * DAY)

    attempt.refresh_from_db()
    assert attempt.invoice.state == "paid"
    assert [one.kind for one in FoundPayment.objects.all()] == ["after_the_end"]
    later.collect()
    assert PaymentAttempt.objects.count() == 1


def test_late_money_for_a_void_invoice_is_an_overpayment(later: Later) -> None:
    """B7: the merchant voided the invoice after the decline, so the late money is owed to the customer."""
    set_dunning(later.shop.account, retry_days=[3])
    attempt = decline(later, later.subscribe(), 2 * DAY)
    Invoice.objects.update(state="void", closed_at=later.now, next_attempt_at=None)

    later.watch_until(NOON + 3 * DAY)

    attempt.refresh_from_db()
    assert (attempt.state, attempt.invoice.state) == ("surplus", "void")
    assert Event.objects.filter(kind="attempt.surplus", subject_id=attempt.pk).count() == 1


def test_late_payment_is_found_in_the_report_of_its_day(later: Later) -> None:
    """B7: the failed order is paid 19 days after the last decline; the row of that day says so."""
    attempt = decline(later, later.subscribe(), 19 * DAY)
    PaymentMethod.objects.update(next_watch_at=None)

    later.watch_until(NOON + 23 * DAY)

    attempt.refresh_from_db()
    assert (attempt.state, attempt.invoice.state) == ("succeeded", "paid")
    day = ReportDay.objects.get(day="2026-03-21")
    assert (day.payments, day.explained, day.unexplained, day.next_read_at) == (1, 1, 0, None)
    assert not ReportDay.objects.exclude(day=day.day).exclude(payments=0).exists()


def test_by_a_wrong_clock_nothing_is_watched_but_money_is_found(later: Later, settings: Any) -> None:
    """B7, B8: the database's clock was forty days ahead for a while; by it the reports of days to come were read."""
    attempt = decline(later, later.subscribe(), 2 * DAY)
    settings.KITARAN_CLOCK_TOLERANCE_SECONDS = 60
    clocks.ask_gateways(now=later.now)
    ahead = later.now + 40 * DAY
    done = watch(tuning=later.shop.tuning, clock=lambda: ahead, should_stop=lambda: False)
    assert (done.cards, done.days) == (0, 0)
    assert not ReportDay.objects.exists()

    settings.KITARAN_CLOCK_TOLERANCE_SECONDS = 0  # the days that follow are played
    later.watch_until(NOON + 3 * DAY)

    attempt.refresh_from_db()
    assert (attempt.state, attempt.state_reason) == ("succeeded", "late_money")


# --- what cannot be read ----------------------------------------------------------------------------------


def test_health_names_an_account_without_reports_after_two_days(later: Later, monkeypatch: pytest.MonkeyPatch) -> None:
    """B7: no reports. The cards find the money all the same, health says that the reports are missing, the calls are
    few; and when the reports can be read again, the days that were given up are read."""
    calls: list[datetime] = []
    with monkeypatch.context() as patched:

        def refuse(*_: Any) -> None:
            calls.append(later.now)
            raise GatewayUnavailableError("reports: HTTP 403")

        patched.setattr(Gateway, "read_report", refuse)
        attempt = decline(later, later.subscribe(), timedelta(hours=3))
        later.watch_until(NOON + DAY)
        assert not reports_missing(later)
        later.watch_until(NOON + 20 * DAY)
        attempt.refresh_from_db()
        assert attempt.state == "succeeded"
        assert "Kedai Kopi" in reports_missing(later)
        assert len(calls) / 20 < 40
        row = ReportDay.objects.get(day="2026-03-05")
        assert (row.read_at, row.next_read_at) == (None, None)
        assert "HTTP 403" in row.failure

    later.watch_until(NOON + 22 * DAY)

    row.refresh_from_db()
    assert row.complete_at is not None
    assert not reports_missing(later)


def reports_missing(later: Later) -> str:
    return " ".join(one for one in health.check(later.now).problems if "report" in one)


def test_one_sick_account_keeps_no_other_waiting(later: Later) -> None:
    """B7: the key of another account cannot be decrypted and its gateway is away; this one's money is found."""
    broken = make_account(name="Broken", private_key_encrypted="nonsense")
    away = make_account(name="Away", created_at=NOON)
    for account in GatewayAccount.objects.exclude(pk=later.shop.account.pk):
        make_declined(account, later.now)
    attempt = decline(later, later.subscribe(), timedelta(hours=2))

    later.watch_until(NOON + DAY)

    attempt.refresh_from_db()
    assert attempt.state == "succeeded"
    assert later.failed > 0
    assert AccountTrouble.objects.get(account=broken).work == "watch", "and somebody hears why"
    assert PaymentMethod.objects.get(account=away).watches_failed > 0


def make_declined(account: GatewayAccount, now: datetime) -> None:
    card = make_card(make_customer(account), watch_from_at=now, next_watch_at=now)
    move_attempt(make_attempt(make_invoice(card), card), "declined", settled_at=now)


def test_run_that_dies_before_it_writes_is_done_again(later: Later, monkeypatch: pytest.MonkeyPatch) -> None:
    """B7: the worker is killed after it has read the report; the lease ends, and the next one finds the money."""
    attempt = decline(later, later.subscribe(), timedelta(hours=2))
    PaymentMethod.objects.update(next_watch_at=None)
    later.watch()
    later.go_to(NOON + timedelta(hours=9))
    with monkeypatch.context() as patched:

        def killed(*_: Any, **__: Any) -> None:
            raise SystemExit

        patched.setattr("billing.charging.reading.report_days.record", killed)
        with pytest.raises(SystemExit):
            later.watch()
    assert later.watch().days == 0  # leased

    later.watch_until(later.now + timedelta(minutes=11))

    attempt.refresh_from_db()
    assert attempt.state == "succeeded"


# --- what nothing explains --------------------------------------------------------------------------------


def test_payment_with_an_unknown_marker_is_listed_once(later: Later) -> None:
    """B7: another installation, or a database that forgot, charged at this account."""
    card = later.shop.card()
    charge_beside_the_engine(later, card, "Coffee club 7K3M9QX2B5TD")
    charge_beside_the_engine(later, card, "A cup of coffee")
    make_declined(later.shop.account, NOON - 90 * DAY)
    PaymentMethod.objects.update(next_watch_at=None)

    later.watch_until(NOON + 4 * DAY)

    found = FoundPayment.objects.get()
    assert (found.kind, found.marker, found.amount_minor) == ("unknown_marker", "7K3M9QX2B5TD", 1990)
    assert Event.objects.filter(kind="payment.unexplained").count() == 1
    day = ReportDay.objects.get(day="2026-03-02")
    assert (day.payments, day.explained, day.unexplained) == (2, 0, 1)
    reads = later.shop.simulator.requests()["since_start"]
    assert sum(count for route, count in reads.items() if "/payment/transaction/" in route) <= 2, json.dumps(reads)


def charge_beside_the_engine(later: Later, card: PaymentMethod, title: str) -> None:
    gateway = gateway_for(later.shop.account)
    gateway.ensure_token()
    charge = Charge(card.gateway_customer_id or "", 1990, "MYR", title, title)
    frozen = gateway.freeze(charge, timestamp=int(later.now.timestamp()), charge_path="customer_order")
    assert gateway.send(frozen, marker="000000000000").verdict == "paid"
