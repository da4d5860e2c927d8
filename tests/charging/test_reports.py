"""The later rungs of the ladder: the gateway's daily reports, and the account that lets absence permit another try.

One clock, the test's own, is that of the engine and of the simulator."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from billing.accounts.change_account import change_account
from billing.accounts.gateway_accounts import AccountError
from billing.charging.collecting.collect import collect
from billing.gateway.connection import clock as gateway_clock
from billing.models import Evidence, GatewayAccount, GatewayTransaction, Invoice, PaymentAttempt, PaymentMethod
from tests.conftest import Shop
from tests.factories import make_invoice

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)  # in Malaysia
LADDER = (timedelta(minutes=2), timedelta(minutes=5))
REPORTS = (timedelta(hours=50), timedelta(hours=60), timedelta(hours=72))


@dataclass(slots=True)
class Days:
    """The shop under a clock that the test moves."""

    shop: Shop
    now: datetime

    def go_to(self, now: datetime) -> None:
        self.now = now
        self.shop.simulator.clock(skew=now.timestamp() - time.time())
        gateway_clock.align(now)

    def card(self) -> PaymentMethod:
        return self.shop.card()

    def charge(self, card: PaymentMethod) -> PaymentAttempt:
        invoice = make_invoice(card, next_attempt_at=self.now)
        collect(tuning=self.shop.tuning, clock=lambda: self.now, should_stop=lambda: False, worker="test")
        return PaymentAttempt.objects.get(invoice=invoice)

    def reconcile_until(self, end: datetime) -> None:
        """Every look that falls due until `end`, at its time."""
        while True:
            due = PaymentAttempt.objects.filter(next_check_at__lte=end).order_by("next_check_at").first()
            if due is None or due.next_check_at is None:
                return
            self.go_to(max(self.now, due.next_check_at))
            self.shop.reconcile(self.now)


@pytest.fixture
def days(shop: Shop) -> Iterator[Days]:
    shop.tuning = replace(shop.tuning, ladder=LADDER, report_ladder=REPORTS)
    shop.simulator.reset()  # the reports are of one day, and list what earlier tests paid on it
    found = Days(shop, NOON)
    found.go_to(NOON)
    yield found
    shop.simulator.clock(real=True, skew=0)


def unanswered(days: Days, **switches: object) -> PaymentAttempt:
    """An attempt whose answer is lost at a gateway whose order lists then show nothing of it."""
    card = days.card()
    days.shop.simulator.set(**{"outcome": "lost_after", "orders_visible_after": "never"} | switches)
    attempt = days.charge(card)
    assert attempt.state == "unknown"
    return attempt


def test_a_payment_that_only_the_report_lists_closes_the_attempt(days: Days) -> None:
    days.charge(days.card())
    attempt = unanswered(days)
    days.reconcile_until(NOON + timedelta(hours=49))
    attempt.refresh_from_db()
    assert (attempt.state, attempt.checks_done) == ("unknown", 2)

    days.reconcile_until(NOON + timedelta(hours=51))

    attempt.refresh_from_db()
    assert attempt.state == "succeeded"
    assert Invoice.objects.get(pk=attempt.invoice_id).state == "paid"
    assert GatewayTransaction.objects.filter(gateway_transaction_id=attempt.gateway_transaction_id).exists()
    assert len(days.shop.taken(attempt.invoice)) == 1


def test_absence_in_complete_reports_needs_review_as_such(days: Days) -> None:
    days.charge(days.card())
    attempt = unanswered(days, outcome="dropped_before")

    days.reconcile_until(NOON + timedelta(hours=51))

    attempt.refresh_from_db()
    assert (attempt.state, attempt.state_reason) == ("needs_review", "absent_in_reports")
    last = Evidence.objects.filter(attempt_id=attempt.pk).latest("id")
    assert last.content["detail"]["reports"] == {"2026-03-02": "1 known successes", "2026-03-03": "0 known successes"}
    assert days.shop.taken(attempt.invoice) == []


def test_report_without_a_payment_of_ours_proves_nothing(days: Days) -> None:
    attempt = unanswered(days, outcome="dropped_before")

    days.reconcile_until(NOON + timedelta(hours=71))
    attempt.refresh_from_db()
    assert (attempt.state, attempt.checks_done) == ("unknown", 4)
    days.reconcile_until(NOON + timedelta(hours=73))

    attempt.refresh_from_db()
    assert (attempt.state, attempt.state_reason) == ("needs_review", "absent_no_report")


def test_unmarked_payment_in_the_report_needs_review(days: Days) -> None:
    days.charge(days.card())
    attempt = unanswered(days, echo=False)

    days.reconcile_until(NOON + timedelta(hours=51))

    attempt.refresh_from_db()
    assert (attempt.state, attempt.state_reason) == ("needs_review", "reported_payment_without_marker")
    last = Evidence.objects.filter(attempt_id=attempt.pk).latest("id")
    assert len(last.content["detail"]["transactions"]) == 1


def test_another_customers_payment_of_that_amount_is_not_ours(days: Days) -> None:
    other = unanswered(days)
    attempt = unanswered(days, outcome="dropped_before")

    days.reconcile_until(NOON + timedelta(hours=73))

    other.refresh_from_db()
    attempt.refresh_from_db()
    assert other.state == "succeeded"
    assert (attempt.state, attempt.state_reason) == ("needs_review", "absent_in_reports")


def permit_absence(days: Days, hours: int | None) -> None:
    changes = {"retry_after_absence_hours": hours}
    change_account(account=days.shop.account, changes=changes, reason="proved", actor="test", now=days.now)


def test_absence_may_permit_a_retry_after_the_accounts_wait(days: Days) -> None:
    permit_absence(days, 60)
    attempt = unanswered(days, outcome="dropped_before")
    days.reconcile_until(NOON + timedelta(hours=59))
    attempt.refresh_from_db()
    assert attempt.state == "unknown"

    days.reconcile_until(NOON + timedelta(hours=61))

    attempt.refresh_from_db()
    assert (attempt.state, attempt.state_reason) == ("not_charged", "absent_for_long")
    assert Invoice.objects.get(pk=attempt.invoice_id).next_attempt_at is not None


def test_an_order_that_does_appear_is_never_called_absent(days: Days) -> None:
    permit_absence(days, 60)
    attempt = unanswered(days, orders_visible_after=0)

    days.reconcile_until(NOON + timedelta(minutes=3))

    attempt.refresh_from_db()
    assert attempt.state == "succeeded"


def test_absence_for_less_than_a_day_cannot_be_set(days: Days) -> None:
    with pytest.raises(AccountError, match="retry_after_absence_hours: must be at least 24"):
        permit_absence(days, 23)
    assert GatewayAccount.objects.get(pk=days.shop.account.pk).retry_after_absence_hours is None


def test_unmarked_order_on_a_gateway_scheduled_card_is_not_ours(days: Days) -> None:
    """Even where the account proved that nothing is echoed: the order may be the gateway's own recurring charge."""
    GatewayAccount.objects.filter(pk=days.shop.account.pk).update(marker_echo="proved_absent")
    attempt = unanswered(days, echo=False, orders_visible_after=0)
    PaymentMethod.objects.filter(pk=attempt.payment_method_id).update(kind="recurring")

    days.reconcile_until(NOON + timedelta(minutes=3))

    attempt.refresh_from_db()
    assert (attempt.state, attempt.state_reason) == ("needs_review", "order_without_marker")
