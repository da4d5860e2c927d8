"""Opening what is due: one invoice a period, the next date from the anchor, and what was missed."""

import threading
from datetime import UTC, date, datetime, time, timedelta

import pytest
from django.db import connection, transaction

from billing.domain.schedules import Interval, Schedule, occurrences
from billing.models import Invoice, Subscription, Transition
from billing.models.bulk import opening
from billing.subscriptions.renew import open_due
from tests.charging.held_rows import somebody_holds
from tests.factories import NOW, make_card, make_plan, make_subscription

pytestmark = pytest.mark.django_db


def opened(**filters: object) -> list[Invoice]:
    return list(Invoice.objects.filter(**filters).order_by("period_index"))


def test_due_period_becomes_an_invoice_and_next_date_is_anchored() -> None:
    subscription = make_subscription()
    result = open_due(now=NOW + timedelta(hours=3))

    (invoice,) = opened()
    subscription.refresh_from_db()
    assert (result.subscriptions, result.invoices, result.skipped) == (1, 1, 0)
    assert (invoice.period_index, invoice.due_at, invoice.next_attempt_at) == (0, NOW, NOW)
    assert (invoice.amount_minor, invoice.currency, invoice.state) == (1990, "MYR", "open")
    assert (subscription.period_index, subscription.occurrence) == (1, 1)
    assert subscription.next_due_at == NOW + timedelta(days=1)
    assert open_due(now=NOW + timedelta(hours=3)).invoices == 0


def test_what_is_not_due_is_left_alone() -> None:
    make_subscription(next_due_at=NOW + timedelta(seconds=1))
    assert open_due(now=NOW).invoices == 0


def test_three_years_of_month_ends_do_not_drift() -> None:
    plan = make_plan(interval="MONTHLY", target=-1)
    anchor = date(2026, 1, 31)
    schedule = Schedule(Interval.MONTHLY, -1, anchor, 1, time(9, 0), "Asia/Kuala_Lumpur")
    due = occurrences(schedule, datetime(2026, 1, 30, tzinfo=UTC))
    expected = [next(due) for _ in range(36)]
    make_subscription(make_card(), plan, anchor_date=anchor, next_due_at=expected[0])

    for moment in expected:
        assert open_due(now=moment).invoices == 1

    assert [invoice.due_at for invoice in opened()] == expected


def test_three_missed_periods_are_charged_daily_the_rest_is_held() -> None:
    make_subscription()
    now = NOW + timedelta(days=5, hours=2)
    assert open_due(now=now).invoices == 6

    invoices = opened()
    assert [invoice.next_attempt_at for invoice in invoices[:3]] == [
        NOW,
        now + timedelta(days=1),
        now + timedelta(days=2),
    ]
    assert [invoice.hold for invoice in invoices[3:5]] == ["catch_up", "catch_up"]
    assert [invoice.next_attempt_at for invoice in invoices[3:5]] == [None, None]
    assert invoices[5].due_at == NOW + timedelta(days=5)


def test_skipped_period_is_a_void_invoice_and_no_repetition() -> None:
    plan = make_plan(repetitions=2)
    subscription = make_subscription(make_card(), plan, catch_up="skip")
    open_due(now=NOW + timedelta(days=3, hours=1))

    invoices = opened()
    assert [(invoice.state, invoice.state_reason) for invoice in invoices] == [("void", "skipped")] * 3 + [("open", "")]
    subscription.refresh_from_db()
    assert (subscription.period_index, subscription.periods_charged) == (4, 1)


def test_only_the_latest_is_charged_when_the_policy_says_so() -> None:
    make_subscription(catch_up="latest_only")
    open_due(now=NOW + timedelta(days=3, hours=1))
    assert [invoice.state for invoice in opened()] == ["void", "void", "void", "open"]


def test_every_missed_period_is_held_when_the_policy_asks() -> None:
    make_subscription(catch_up="ask")
    open_due(now=NOW + timedelta(days=2, hours=1))
    assert [invoice.hold for invoice in opened()] == ["catch_up", "catch_up", None]


def test_year_of_missed_days_is_opened_in_batches_without_a_gap() -> None:
    subscription = make_subscription()
    now = NOW + timedelta(days=364, hours=1)
    while open_due(now=now).invoices:
        pass

    invoices = opened()
    assert [invoice.period_index for invoice in invoices] == list(range(365))
    assert len({invoice.due_at for invoice in invoices}) == 365
    assert sum(invoice.next_attempt_at is not None for invoice in invoices) <= 4
    subscription.refresh_from_db()
    assert subscription.next_due_at is not None
    assert subscription.next_due_at > now


def test_repetitions_end_the_due_dates() -> None:
    subscription = make_subscription(make_card(), make_plan(repetitions=2))
    for day in range(4):
        open_due(now=NOW + timedelta(days=day))
    subscription.refresh_from_db()
    assert len(opened()) == 2
    assert (subscription.next_due_at, subscription.periods_charged) == (None, 2)


def test_repetitions_are_not_exceeded_when_periods_were_missed() -> None:
    subscription = make_subscription(make_card(), make_plan(repetitions=2))
    open_due(now=NOW + timedelta(days=4))
    subscription.refresh_from_db()
    assert len(opened()) == 2
    assert (subscription.next_due_at, subscription.periods_charged) == (None, 2)


@pytest.mark.django_db(transaction=True)
def test_inside_another_transaction_nothing_is_opened() -> None:
    make_subscription()
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        open_due(now=NOW)
    assert opened() == []


def test_a_trial_ends_with_its_first_invoice() -> None:
    subscription = make_subscription(state="trialing")
    open_due(now=NOW)
    subscription.refresh_from_db()
    assert subscription.state == "active"
    assert Transition.objects.filter(subject_type="subscription", to_state="active").count() == 1


def test_many_due_subscriptions_take_a_handful_of_statements(django_assert_max_num_queries) -> None:  # type: ignore[no-untyped-def]
    card, plan = make_card(), make_plan()
    for _ in range(100):
        make_subscription(card, plan)
    with django_assert_max_num_queries(9):
        assert open_due(now=NOW).invoices == 100


@pytest.mark.django_db(transaction=True)
def test_four_workers_at_once_open_every_period_once() -> None:
    card, plan = make_card(), make_plan()
    for _ in range(60):
        make_subscription(card, plan)

    def work() -> None:
        try:
            while open_due(now=NOW, limit=7).subscriptions:
                pass
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Invoice.objects.count() == 60
    assert set(Subscription.objects.values_list("period_index", flat=True)) == {1}


@pytest.mark.django_db(transaction=True)
def test_subscription_that_another_worker_holds_is_skipped() -> None:
    held, free = make_subscription(), make_subscription()
    with somebody_holds("subscription", held.pk), transaction.atomic():
        assert [one.id for one in opening.claim_due(NOW, 10)] == [free.pk]


def test_hundred_missed_days_leave_one_charge_under_latest_only() -> None:
    make_subscription(catch_up="latest_only")
    now = NOW + timedelta(days=100, hours=1)
    while open_due(now=now).invoices:
        pass
    assert [invoice.due_at for invoice in opened(state="open")] == [NOW + timedelta(days=100)]
    assert len(opened(state="void")) == 100


def test_todays_period_waits_three_days_at_most_after_an_outage() -> None:
    make_subscription()
    now = NOW + timedelta(days=100, hours=1)
    while open_due(now=now).invoices:
        pass
    latest = opened()[-1]
    assert latest.due_at == NOW + timedelta(days=100)
    assert latest.next_attempt_at is not None
    assert latest.next_attempt_at <= now + timedelta(days=3)
