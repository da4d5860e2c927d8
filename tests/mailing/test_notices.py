"""Notices before a charge: seven days ahead, where the card networks want one, once for each due date."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.messages import NoticeReason, is_long, notice_at, notice_reason
from billing.mailing.notices import announce
from billing.mailing.send import send_due
from billing.models import MailSettings, Message, Subscription
from tests.factories import NOW, make_invoice, make_mail, make_plan, make_subscription
from tests.mailing.sink import Sink

pytestmark = pytest.mark.django_db
DUE = NOW + timedelta(days=30)
WEEK = timedelta(days=7)


def subscribe(**columns: Any) -> Subscription:
    subscription = make_subscription(**{"next_due_at": DUE, **columns})
    make_mail(subscription.account)
    return subscription


def trial(**columns: Any) -> Subscription:
    return subscribe(state="trialing", trial_ends_at=DUE - timedelta(hours=1), **columns)


def details() -> dict[str, Any]:
    return dict(Message.objects.get().details)


def test_the_end_of_a_trial_is_announced_once(sink: Sink) -> None:
    subscription = trial()
    assert announce(now=DUE - WEEK - timedelta(hours=2)) == 0
    for _ in range(2):
        announce(now=DUE - WEEK)
    assert (Message.objects.count(), details()["reason"]) == (1, "trial_ends")
    send_due(clock=lambda: DUE - WEEK, should_stop=lambda: False)
    assert sink.to(subscription.customer.email) == ["Coffee club: RM 19.90 will be charged on 1 April 2026"]


def test_a_monthly_charge_is_announced_only_where_wanted() -> None:
    plan = make_plan(interval="MONTHLY", target=1)
    subscription = make_subscription(plan=plan, next_due_at=DUE, account=plan.account)
    make_mail(subscription.account)
    assert announce(now=DUE - WEEK) == 0
    MailSettings.objects.update(notice_every_charge=True)
    assert announce(now=DUE - WEEK) == 1
    assert details()["reason"] == "every_charge"


def test_a_yearly_charge_is_announced() -> None:
    subscribe(interval="MONTHLY", target=1, every=12)
    assert announce(now=DUE - WEEK) == 1
    assert details()["reason"] == "long_period"


def test_another_price_is_announced_with_both_prices(sink: Sink) -> None:
    subscription = subscribe(periods_charged=1, period_index=1)
    make_invoice(subscription=subscription, state="paid", closed_at=NOW, next_attempt_at=None, amount_minor=1490)
    assert announce(now=DUE - WEEK) == 1
    send_due(clock=lambda: DUE - WEEK, should_stop=lambda: False)
    text = Message.objects.get().text
    assert "RM 14.90" in text
    assert "RM 19.90" in text


def test_a_trial_shorter_than_a_week_was_announced_when_it_began() -> None:
    trial(activated_at=DUE - timedelta(days=5))
    assert announce(now=DUE - timedelta(days=4)) == 0


def test_a_late_notice_is_better_than_none() -> None:
    trial()
    assert announce(now=DUE - timedelta(days=2)) == 1


def test_a_charge_in_the_past_is_not_announced() -> None:
    trial()
    assert announce(now=DUE) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"state": "paused", "next_due_at": None},
        {"next_due_at": DUE + timedelta(days=30)},
        {"amount_minor": 2990},
    ],
)
def test_a_charge_that_changed_is_not_announced_as_it_was(sink: Sink, change: dict[str, Any]) -> None:
    trial()
    announce(now=DUE - WEEK)
    Subscription.objects.update(**change)
    assert send_due(clock=lambda: DUE - WEEK, should_stop=lambda: False) == 0
    message = Message.objects.get()
    assert (message.state, message.state_reason) == ("canceled", "this charge no longer comes")


def test_another_due_date_has_another_notice() -> None:
    trial()
    announce(now=DUE - WEEK)
    Subscription.objects.update(next_due_at=DUE + timedelta(days=1))
    assert announce(now=DUE + timedelta(days=1) - WEEK) == 1
    assert Message.objects.count() == 2


def test_accounts_without_notices_have_none() -> None:
    subscription = trial()
    MailSettings.objects.update(kinds_off=["notice"])
    assert announce(now=DUE - WEEK) == 0
    MailSettings.objects.update(kinds_off=[], enabled=False)
    assert announce(now=DUE - WEEK) == 0
    assert subscription.pk


INSTANTS = st.integers(0, 10**9).map(lambda seconds: NOW + timedelta(seconds=seconds))
ZONES = st.sampled_from(["Asia/Kuala_Lumpur", "UTC", "America/New_York", "Pacific/Kiritimati"])


@given(due_at=INSTANTS, zone=ZONES)
def test_a_notice_is_seven_days_ahead(due_at: datetime, zone: str) -> None:
    assert WEEK <= due_at - notice_at(due_at, zone) < timedelta(days=8)


@pytest.mark.parametrize(
    ("interval", "every", "long"),
    [("DAILY", 179, False), ("DAILY", 180, True), ("WEEKLY", 25, False), ("WEEKLY", 26, True), ("MONTHLY", 5, False),
     ("MONTHLY", 6, True), ("MONTHLY", 12, True)],
)  # fmt: skip
def test_a_period_of_half_a_year_is_long(interval: str, every: int, long: bool) -> None:
    assert is_long(interval, every) is long
    reason = notice_reason(
        first_after_trial=False, price_changes=False, interval=interval, every=every, every_charge=False
    )
    assert reason == (NoticeReason.LONG_PERIOD if long else None)
