"""Pace: an account that pauses says why, limits are above nothing, a day is counted once."""

from datetime import date

import pytest

from billing.models import AccountDay, AccountPace
from tests.factories import make_account
from tests.promises.attacks import attacks, refused, run

pytestmark = pytest.mark.django_db


@attacks("pace_state_known", "a_pause_says_why")
@pytest.mark.parametrize(
    ("state", "reason", "name"),
    [
        ("asleep", "tired", "pace_state_known"),
        ("open", "", "a_pause_says_why"),
        ("half_open", "", "a_pause_says_why"),
        ("held", "", "a_pause_says_why"),
    ],
)
def test_account_pause_has_a_known_state_and_a_reason(state: str, reason: str, name: str) -> None:
    pace = AccountPace.objects.create(account=make_account())
    with refused(name):
        run("UPDATE billing_accountpace SET state = %s, reason = %s", [state, reason])
    run("UPDATE billing_accountpace SET state = 'held', reason = 'why'")
    pace.refresh_from_db()
    assert pace.state == "held"


@attacks("one_count_per_day")
def test_a_day_of_an_account_is_counted_once_for_each_currency() -> None:
    account, day = make_account(), date(2026, 3, 2)
    AccountDay.objects.create(account=account, day=day, currency="MYR", charges=1, sum_minor=1990)
    with refused("one_count_per_day"):
        AccountDay.objects.create(account=account, day=day, currency="MYR", charges=1, sum_minor=1990)
    assert AccountDay.objects.create(account=account, day=day, currency="SGD", charges=1, sum_minor=1990)
