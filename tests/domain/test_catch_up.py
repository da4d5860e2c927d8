"""Periods that were missed: charged in order, skipped, or put before a person, and never all on one day."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.catch_up import APART, AT_ONCE, GRACE, CatchUp, Planned, Treatment, plan
from billing.domain.schedules import Occurrence

NOW = datetime(2026, 3, 10, 1, 0, tzinfo=UTC)
COLLECT, ASK, SKIP = Treatment.COLLECT, Treatment.ASK, Treatment.SKIP


def daily(count: int, *, latest: datetime = NOW) -> list[Occurrence]:
    """The last `count` daily occurrences up to `latest`."""
    return [Occurrence(n, latest - timedelta(days=count - 1 - n)) for n in range(count)]


def treatments(policy: CatchUp, due: list[Occurrence], *, waiting: int = 0) -> list[Treatment]:
    return [step.treatment for step in plan(policy, due, now=NOW, already_waiting=waiting)]


@pytest.mark.parametrize("policy", CatchUp)
def test_period_due_now_is_collected_on_time_under_any_policy(policy: CatchUp) -> None:
    (step,) = plan(policy, daily(1), now=NOW)
    assert step == Planned(Occurrence(0, NOW), COLLECT, NOW)


@pytest.mark.parametrize("policy", CatchUp)
def test_a_period_within_the_grace_is_not_missed(policy: CatchUp) -> None:
    (step,) = plan(policy, daily(1, latest=NOW - GRACE), now=NOW)
    assert step.treatment is COLLECT
    assert step.collect_at == NOW - GRACE


@pytest.mark.parametrize(
    ("policy", "treatment"),
    [(CatchUp.ALL, COLLECT), (CatchUp.LATEST_ONLY, COLLECT), (CatchUp.SKIP, SKIP), (CatchUp.ASK, ASK)],
)
def test_one_missed_period_is_treated_as_the_policy_says(policy: CatchUp, treatment: Treatment) -> None:
    assert treatments(policy, daily(1, latest=NOW - GRACE - timedelta(seconds=1))) == [treatment]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (CatchUp.ALL, [COLLECT, COLLECT, COLLECT, ASK, ASK, ASK, ASK]),
        (CatchUp.LATEST_ONLY, [SKIP] * 6 + [COLLECT]),
        (CatchUp.SKIP, [SKIP] * 7),
        (CatchUp.ASK, [ASK] * 7),
    ],
)
def test_week_of_missed_periods_is_treated_as_the_policy_says(policy: CatchUp, expected: list[Treatment]) -> None:
    assert treatments(policy, daily(7, latest=NOW - timedelta(days=2))) == expected


def test_missed_periods_are_collected_in_order_one_a_day() -> None:
    steps = plan(CatchUp.ALL, daily(3, latest=NOW - timedelta(days=2)), now=NOW)
    first = NOW - timedelta(days=4)
    assert [step.collect_at for step in steps] == [first, NOW + APART, NOW + 2 * APART]


@pytest.mark.parametrize("waiting", [0, 1, 2, 3, 10])
def test_what_waits_from_an_earlier_pass_counts_among_the_three(waiting: int) -> None:
    steps = treatments(CatchUp.ALL, daily(5, latest=NOW - timedelta(days=2)), waiting=waiting)
    room = max(AT_ONCE - waiting, 0)
    assert steps == [COLLECT] * room + [ASK] * (5 - room)


@pytest.mark.parametrize("waiting", [7, 60])
def test_todays_period_is_not_put_off_endlessly_by_a_backlog(waiting: int) -> None:
    due = daily(10)
    last = plan(CatchUp.ALL, due, now=NOW, already_waiting=waiting)[-1]
    assert last.treatment is COLLECT
    assert last.collect_at is not None
    assert last.collect_at - NOW <= (AT_ONCE + 1) * APART


days = st.integers(0, 40)


@given(policy=st.sampled_from(list(CatchUp)), count=st.integers(0, 30), ago=days, waiting=st.integers(0, 5))
def test_every_due_period_is_planned_once_and_in_order(policy: CatchUp, count: int, ago: int, waiting: int) -> None:
    due = daily(count, latest=NOW - timedelta(days=ago))
    steps = plan(policy, due, now=NOW, already_waiting=waiting)
    assert [step.occurrence for step in steps] == due
    for step in steps:
        assert (step.collect_at is not None) == (step.treatment is COLLECT)
        assert step.collect_at is None or step.collect_at >= step.occurrence.due_at


@given(count=st.integers(0, 30), ago=days, waiting=st.integers(0, 5))
def test_at_most_three_missed_periods_are_collected_a_day_apart(count: int, ago: int, waiting: int) -> None:
    steps = plan(CatchUp.ALL, daily(count, latest=NOW - timedelta(days=ago)), now=NOW, already_waiting=waiting)
    missed = [s for s in steps if s.treatment is COLLECT and NOW - s.occurrence.due_at > GRACE]
    assert len(missed) <= AT_ONCE
    # What was due in the past is collected as soon as it is opened.
    at = [max(s.collect_at, NOW) for s in steps if s.collect_at is not None]
    assert all(later - earlier >= APART for earlier, later in pairwise(at))


@given(count=st.integers(1, 30), ago=days)
def test_latest_only_collects_one_missed_period_at_most(count: int, ago: int) -> None:
    steps = plan(CatchUp.LATEST_ONLY, daily(count, latest=NOW - timedelta(days=ago)), now=NOW)
    missed = [s for s in steps if s.treatment is COLLECT and NOW - s.occurrence.due_at > GRACE]
    assert len(missed) <= 1
    assert steps[-1].treatment is COLLECT
