"""After a decline: another day, or the end of trying."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.dunning import (
    DEFAULT_RETRY_DAYS,
    MOST_DAYS,
    MOST_TRIES,
    DunningError,
    DunningPolicy,
    FinalAction,
    GiveUp,
    RetryAt,
    next_step,
)

FIRST = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
policies = st.builds(
    DunningPolicy,
    retry_days=st.sets(st.integers(1, MOST_DAYS), max_size=MOST_TRIES - 1).map(lambda days: tuple(sorted(days))),
    final_action=st.sampled_from(list(FinalAction)),
)


def after_decline(policy: DunningPolicy, now: datetime) -> RetryAt | GiveUp:
    return next_step(policy, first_tried_at=FIRST, tried_at=now, now=now)


def test_default_policy_retries_after_3_7_and_14_days_then_ends() -> None:
    policy, now, days = DunningPolicy(), FIRST, []
    for _ in range(1, MOST_TRIES):
        step = after_decline(policy, now)
        assert isinstance(step, RetryAt)
        now = step.at
        days.append((now - FIRST).days)
    assert tuple(days) == DEFAULT_RETRY_DAYS
    assert after_decline(policy, now) == GiveUp(FinalAction.CANCEL)


@pytest.mark.parametrize("day", [0, 1, 2])
def test_a_try_before_its_day_uses_up_no_day(day: int) -> None:
    """As when a person has it tried earlier, or there is a new card."""
    step = after_decline(DunningPolicy(), FIRST + timedelta(days=day, hours=1))
    assert step == RetryAt(FIRST + timedelta(days=3))


def test_a_day_that_was_tried_is_over_when_the_clock_goes_back() -> None:
    day = FIRST + timedelta(days=3)
    step = next_step(DunningPolicy(), first_tried_at=FIRST, tried_at=day, now=day - timedelta(hours=1))
    assert step == RetryAt(FIRST + timedelta(days=7))


@given(policy=policies, delays=st.lists(st.timedeltas(timedelta(0), timedelta(days=40)), min_size=8, max_size=8))
def test_at_most_four_tries_fit_in_thirty_days_however_late(policy: DunningPolicy, delays: list[timedelta]) -> None:
    now, tried, asked = FIRST, 1, []
    for delay in delays:
        now += delay
        step = after_decline(policy, now)
        if isinstance(step, GiveUp):
            assert step.action is policy.final_action
            break
        assert step.at > now
        assert step.at - FIRST <= timedelta(days=MOST_DAYS)
        asked.append(step.at)
        now, tried = step.at, tried + 1
    else:
        pytest.fail("trying never ended")
    assert tried <= MOST_TRIES
    assert asked == sorted(set(asked))


def test_a_retry_day_that_passed_during_an_outage_is_skipped() -> None:
    late = FIRST + timedelta(days=5)
    assert after_decline(DunningPolicy(), late) == RetryAt(FIRST + timedelta(days=7))


def test_when_all_retry_days_have_passed_the_invoice_is_given_up() -> None:
    late = FIRST + timedelta(days=14)
    assert after_decline(DunningPolicy(), late) == GiveUp(FinalAction.CANCEL)


@pytest.mark.parametrize("action", FinalAction)
def test_policy_without_retries_ends_with_its_final_action(action: FinalAction) -> None:
    assert after_decline(DunningPolicy((), action), FIRST) == GiveUp(action)


@pytest.mark.parametrize(
    ("days", "rule"),
    [
        ((1, 2, 3, 4), "at most 3 retries"),
        ((0,), "from 1 to 30"),
        ((31,), "from 1 to 30"),
        ((-1,), "from 1 to 30"),
        ((7, 3), "later than the one before"),
        ((3, 3), "later than the one before"),
    ],
)
def test_invalid_policy_is_refused_by_its_rule(days: tuple[int, ...], rule: str) -> None:
    with pytest.raises(DunningError, match=rule):
        DunningPolicy(days)
