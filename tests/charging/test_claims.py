"""A claim takes as many rows as it was asked for, however PostgreSQL plans it."""

from datetime import date, timedelta

import pytest

from billing.models import Invoice, ReportDay
from billing.models.bulk import checking, refunding, watching
from tests.factories import NOW, make_attempt, make_card, make_customer, make_invoice, make_refund, move_attempt
from tests.promises.attacks import run

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nested_loops() -> None:
    """On tables that it knows little of, PostgreSQL may run what is chosen once for each row that it compares."""
    for name in ("hashjoin", "mergejoin", "hashagg", "sort", "material", "memoize"):
        run(f"SET LOCAL enable_{name} = off")


def test_preflights_claimed_are_no_more_than_the_limit() -> None:
    account = make_customer().account
    for _ in range(6):
        move_attempt(make_attempt(make_invoice(make_card(make_customer(account)))), "declined")
    Invoice.objects.update(next_attempt_at=NOW)
    day = timedelta(days=1)
    claimed = checking.claim_preflights(account.pk, now=NOW, lease=day, fresh=day, always=False, limit=2)
    assert len(claimed) == 2


def test_checks_claimed_are_no_more_than_the_limit() -> None:
    for _ in range(6):
        move_attempt(make_attempt(), "unknown", next_check_at=NOW)
    assert len(checking.claim(now=NOW, longest_wait=timedelta(days=1), limit=2)) == 2


def test_cards_to_watch_are_no_more_than_the_limit() -> None:
    account = make_customer().account
    for _ in range(6):
        make_card(make_customer(account), watch_from_at=NOW, next_watch_at=NOW)
    assert len(watching.claim_cards(account.pk, now=NOW, lease=timedelta(minutes=1), limit=2)) == 2


def test_report_days_are_no_more_than_the_limit() -> None:
    account = make_customer().account
    for day in range(1, 7):
        ReportDay.objects.create(account=account, day=date(2026, 3, day), next_read_at=NOW)
    assert len(watching.claim_days(account.pk, now=NOW, lease=timedelta(minutes=1), limit=2)) == 2


def test_refunds_claimed_are_no_more_than_the_limit() -> None:
    for _ in range(6):
        make_refund(next_check_at=NOW)
    assert len(refunding.claim(now=NOW, lease=timedelta(minutes=1), limit=2)) == 2
