"""After a decline: another day, or the end of trying."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.dunning import (
    DAYS_OF_MONTH,
    DEFAULT_RETRY_DAYS,
    HOURS,
    LOTS,
    MOST_DAYS,
    MOST_GRACE_DAYS,
    MOST_MOVE,
    MOST_TRIES,
    WEEKDAYS,
    DunningError,
    DunningPolicy,
    FinalAction,
    GiveUp,
    RetryAt,
    Step,
    WaitUntil,
    ends_at,
    gets_second,
    ladder,
    lot_of,
    next_step,
    outlook,
    preview,
)
from billing.domain.messages import MessageKind
from billing.ids import new_id

FIRST = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)  # a Monday, 09:00 in Kuala Lumpur
KUALA_LUMPUR = "Asia/Kuala_Lumpur"
PAY_DAYS = frozenset({*range(25, 32), *range(1, 8)})
days_of_month = st.frozensets(st.sampled_from(DAYS_OF_MONTH), max_size=30)
policies = st.builds(
    lambda prefer, **given: DunningPolicy(prefer_days=prefer - given["avoid_days"], **given),
    prefer=days_of_month,
    retry_days=st.sets(st.integers(1, MOST_DAYS), max_size=MOST_TRIES - 1).map(lambda days: tuple(sorted(days))),
    final_action=st.sampled_from(list(FinalAction)),
    retry_hour=st.none() | st.sampled_from(HOURS),
    avoid_days=days_of_month,
    avoid_weekdays=st.frozensets(st.sampled_from(WEEKDAYS), max_size=6),
    quiet_tries=st.frozensets(st.integers(1, MOST_TRIES)),
    grace_days=st.integers(0, MOST_GRACE_DAYS),
    zone=st.sampled_from([KUALA_LUMPUR, "UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia", "Asia/Kolkata"]),
)
instants = st.timedeltas(timedelta(0), timedelta(days=7000)).map(lambda since: datetime(2020, 1, 1, tzinfo=UTC) + since)


def after_decline(policy: DunningPolicy, now: datetime) -> Step:
    return next_step(policy, first_tried_at=FIRST, tried_at=now, now=now)


def local_days(policy: DunningPolicy, first: datetime = FIRST) -> list[str]:
    zone = ZoneInfo(policy.zone)
    return [f"{at.astimezone(zone):%d %b %H:%M}" for at in ladder(policy, first)]


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


@given(
    policy=policies,
    first=instants,
    delays=st.lists(st.timedeltas(timedelta(0), timedelta(days=40)), min_size=8, max_size=8),
)
def test_at_most_four_tries_fit_in_thirty_days_however_late(
    policy: DunningPolicy, first: datetime, delays: list[timedelta]
) -> None:
    """Each step is later than what was done, and trying ends, at the latest the grace after thirty days."""
    zone = ZoneInfo(policy.zone)
    now, tried, asked = first, 1, []
    for delay in delays:
        now += delay
        step = next_step(policy, first_tried_at=first, tried_at=now, now=now)
        if isinstance(step, GiveUp | WaitUntil):
            assert step.action is policy.final_action
            if isinstance(step, WaitUntil):
                assert policy.grace_days
                assert step.at > now
                assert step.at == ends_at(policy, first)
            break
        assert step.at > now
        assert 1 <= (step.at.astimezone(zone).date() - first.astimezone(zone).date()).days <= MOST_DAYS
        asked.append(step.at)
        now, tried = step.at, tried + 1
    else:
        pytest.fail("trying never ended")
    assert tried <= MOST_TRIES
    assert asked == sorted(set(asked))


@given(policy=policies, first=instants)
def test_a_try_moves_a_week_at_most_and_never_to_a_worse_day(policy: DunningPolicy, first: datetime) -> None:
    zone = ZoneInfo(policy.zone)
    start = first.astimezone(zone).date()
    tried = [at.astimezone(zone).date() for at in ladder(policy, first)]
    for day in policy.retry_days:
        planned = start + timedelta(days=day)
        near = [planned + timedelta(days=n) for n in range(MOST_MOVE + 1) if day + n <= MOST_DAYS]
        wanted = [one for one in near if policy.prefers(one)] or [one for one in near if not policy.avoids(one)]
        assert (wanted or [planned])[0] in tried
    assert len(tried) <= len(policy.retry_days)


@given(policy=policies, first=instants)
def test_the_preview_names_the_tries_that_follow_one_another(policy: DunningPolicy, first: datetime) -> None:
    seen = preview(policy, first)
    assert [one.at for one in seen.tries] == [first, *ladder(policy, first)]
    assert [one.number for one in seen.tries] == list(range(1, len(seen.tries) + 1))
    assert seen.ends_at == ends_at(policy, first)
    assert seen.action is policy.final_action
    assert seen.ends_at - seen.tries[-1].at == timedelta(days=policy.grace_days)


PLANNED: list[tuple[str, dict[str, Any], list[str]]] = [
    ("the time of the first try", {}, ["05 Mar 09:00", "09 Mar 09:00", "16 Mar 09:00"]),
    ("an hour", {"retry_hour": 20}, ["05 Mar 20:00", "09 Mar 20:00", "16 Mar 20:00"]),
    ("pay days", {"prefer_days": PAY_DAYS, "retry_days": (3, 7, 20)}, ["05 Mar 09:00", "09 Mar 09:00", "25 Mar 09:00"]),
    ("one day for two", {"prefer_days": frozenset({10}), "retry_days": (3, 7)}, ["10 Mar 09:00"]),
    ("no weekends", {"avoid_weekdays": frozenset({0, 6}), "retry_days": (5, 6, 7)}, ["09 Mar 09:00"]),
    ("not the tenth", {"avoid_days": frozenset({9, 10})}, ["05 Mar 09:00", "11 Mar 09:00", "16 Mar 09:00"]),
    (
        "none to prefer",
        {"prefer_days": frozenset({28}), "avoid_days": frozenset({5}), "retry_days": (3,)},
        ["06 Mar 09:00"],
    ),
    ("none near", {"avoid_days": frozenset(range(5, 28)), "retry_days": (3,)}, ["05 Mar 09:00"]),
    ("never past thirty days", {"prefer_days": frozenset({2}), "retry_days": (30,)}, ["01 Apr 09:00"]),
]


@pytest.mark.parametrize(("_", "given_", "days"), PLANNED, ids=[name for name, _, _ in PLANNED])
def test_tries_move_to_days_that_suit(_: str, given_: dict[str, Any], days: list[str]) -> None:
    assert local_days(DunningPolicy(zone=KUALA_LUMPUR, **given_)) == days


def test_the_hour_is_by_the_clocks_of_the_zone_on_either_side_of_a_change() -> None:
    policy = DunningPolicy((3, 30), retry_hour=9, zone="Europe/Berlin")
    assert [f"{at:%d %H}" for at in ladder(policy, FIRST)] == ["05 08", "01 07"]


def test_grace_follows_the_last_try_and_is_over_once() -> None:
    policy = DunningPolicy((3,), FinalAction.PAUSE, grace_days=5)
    last = FIRST + timedelta(days=3)
    assert after_decline(policy, last) == WaitUntil(FIRST + timedelta(days=8), FinalAction.PAUSE)
    assert after_decline(policy, last + timedelta(days=2)) == WaitUntil(FIRST + timedelta(days=8), FinalAction.PAUSE)
    assert after_decline(policy, FIRST + timedelta(days=8)) == GiveUp(FinalAction.PAUSE)


def test_a_retry_day_that_passed_during_an_outage_is_skipped() -> None:
    late = FIRST + timedelta(days=5)
    assert after_decline(DunningPolicy(), late) == RetryAt(FIRST + timedelta(days=7))


def test_when_all_retry_days_have_passed_the_invoice_is_given_up() -> None:
    late = FIRST + timedelta(days=14)
    assert after_decline(DunningPolicy(), late) == GiveUp(FinalAction.CANCEL)


@pytest.mark.parametrize("action", FinalAction)
def test_policy_without_retries_ends_with_its_final_action(action: FinalAction) -> None:
    assert after_decline(DunningPolicy((), action), FIRST) == GiveUp(action)


def mails(policy: DunningPolicy) -> list[MessageKind | None]:
    return [one.message for one in preview(policy, FIRST).tries]


FAILED, WARNING = MessageKind.PAYMENT_FAILED, MessageKind.LAST_WARNING


def test_each_decline_is_mailed_and_the_end_has_its_own_message() -> None:
    assert mails(DunningPolicy()) == [FAILED, FAILED, WARNING, None]
    assert mails(DunningPolicy(final_action=FinalAction.KEEP)) == [FAILED, FAILED, WARNING, FAILED]
    assert mails(DunningPolicy(grace_days=1)) == [FAILED, FAILED, WARNING, FAILED]


def test_quiet_tries_send_nothing_but_the_warning_and_the_end() -> None:
    quiet = DunningPolicy(quiet_tries=frozenset({1, 2, 3, 4}), final_action=FinalAction.KEEP)
    assert mails(quiet) == [None, None, WARNING, FAILED]
    assert mails(replace(quiet, quiet_tries=frozenset({1}))) == [None, FAILED, WARNING, FAILED]


def test_the_end_of_a_one_off_ends_no_subscription() -> None:
    policy = DunningPolicy(())
    assert preview(policy, FIRST, subscription=False).tries[0].message is FAILED
    step = after_decline(policy, FIRST)
    said = outlook(step, policy, first_tried_at=FIRST, subscription_runs=False, number=1)
    assert said == {"next_attempt_at": None, "tries_left": 0, "ends_subscription": False}


def test_a_lot_is_always_the_same_and_spread_evenly() -> None:
    assert (lot_of("sub_01k9"), lot_of("sub_01k8")) == (4, 79)
    counts = [0] * LOTS
    for _ in range(20_000):
        counts[lot_of(new_id("sub", FIRST))] += 1
    assert min(counts) > 120
    assert max(counts) < 290


@pytest.mark.parametrize(("percent", "second"), [(None, False), (4, False), (5, True), (99, True)])
def test_the_share_says_who_gets_the_second_policy(percent: int | None, second: bool) -> None:
    assert gets_second("sub_01k9", percent) is second


INVALID: list[tuple[dict[str, Any], str]] = [
    ({"retry_days": (1, 2, 3, 4)}, "at most 3 retries"),
    ({"retry_days": (0,)}, "from 1 to 30"),
    ({"retry_days": (31,)}, "from 1 to 30"),
    ({"retry_days": (-1,)}, "from 1 to 30"),
    ({"retry_days": (7, 3)}, "later than the one before"),
    ({"retry_days": (3, 3)}, "later than the one before"),
    ({"retry_hour": 24}, "retry_hour: must be from 0 to 23"),
    ({"prefer_days": frozenset({0})}, "prefer_days: each must be from 1 to 31"),
    ({"avoid_days": frozenset({32})}, "avoid_days: each must be from 1 to 31"),
    ({"avoid_weekdays": frozenset({7})}, "avoid_weekdays: each must be from 0 to 6"),
    ({"quiet_tries": frozenset({5})}, "quiet_tries: each must be from 1 to 4"),
    ({"grace_days": 31}, "grace_days: must be from 0 to 30"),
    ({"grace_days": -1}, "grace_days: must be from 0 to 30"),
    ({"prefer_days": frozenset({5}), "avoid_days": frozenset({5})}, "prefer_days: must have a day"),
    ({"avoid_weekdays": frozenset(range(7))}, "avoid_weekdays: must leave"),
    ({"avoid_days": frozenset(range(1, 32))}, "avoid_days: must leave"),
]


@pytest.mark.parametrize(("values", "rule"), INVALID)
def test_invalid_policy_is_refused_by_its_rule(values: dict[str, Any], rule: str) -> None:
    with pytest.raises(DunningError, match=rule):
        DunningPolicy(**values)
