"""Which reads count towards absence, and from when a look excludes anything."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.reads import Ladder, look_from
from tests.factories import NOW as ARMED

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
RUNGS = tuple(timedelta(seconds=s) for s in (120, 300, 900, 3600, 21_600, 180_000, 216_000, 259_200))
LADDER = Ladder(RUNGS, 6 * HOUR)
LAG, DEADLINE = timedelta(hours=1), timedelta(seconds=125)


@given(st.lists(st.integers(1, 40_000), max_size=300))
def test_last_rung_takes_its_time_however_often_a_card_is_read(gaps: list[int]) -> None:
    """A stranger chooses when the card is read; what has passed since arming decides how many reads count."""
    done, rung_at, at = 0, None, ARMED
    for gap in gaps:
        at += timedelta(seconds=gap)
        if LADDER.counts(ARMED, rung_at, done, at):
            assert at >= ARMED + RUNGS[min(done, len(RUNGS) - 1)]
            assert rung_at is None or at - rung_at >= RUNGS[0]
            done, rung_at = done + 1, at
    assert done <= sum(at - ARMED >= rung for rung in RUNGS) + (at - ARMED) / LADDER.afterwards


@given(st.lists(st.integers(1, 40_000), max_size=100), st.integers(1, 40_000))
def test_a_read_at_the_time_that_is_due_counts(gaps: list[int], first: int) -> None:
    done, rung_at, at = 0, None, ARMED + timedelta(seconds=first)
    for gap in gaps:
        due = LADDER.due(ARMED, rung_at, done, at)
        assert LADDER.counts(ARMED, rung_at, done, max(due, at))
        done, rung_at = done + 1, max(due, at)
        at = rung_at + timedelta(seconds=gap)


def test_missed_rungs_are_made_up_one_first_rung_apart() -> None:
    late = ARMED + 24 * HOUR
    assert LADDER.due(ARMED, None, 0, late) == ARMED + RUNGS[0]
    assert LADDER.due(ARMED, late, 1, late) == late + RUNGS[0]
    assert LADDER.due(ARMED, late, 5, late) == ARMED + RUNGS[5]


def test_clock_set_back_neither_stops_nor_shortens_the_ladder() -> None:
    """Armed and read by a clock that was forty days ahead: the gaps count from what is read now."""
    back = ARMED - timedelta(days=40)
    assert LADDER.due(ARMED, ARMED + HOUR, 3, back) == back
    assert LADDER.due(ARMED, back, 4, back) == back + (RUNGS[4] - RUNGS[3])
    assert LADDER.due(ARMED, back, 5, back + HOUR) == back + (RUNGS[5] - RUNGS[4])
    assert LADDER.due(ARMED, None, 0, back) == back
    # Read by that clock, but armed before: its rung is not waited for.
    assert LADDER.due(back, ARMED, 1, back + MINUTE) == back + RUNGS[1]


def test_after_the_last_rung_a_read_counts_now_and_then() -> None:
    at = ARMED + 90 * HOUR
    assert [LADDER.is_last(done) for done in (6, 7, 8)] == [False, True, True]
    assert LADDER.due(ARMED, at, 8, at) == at + LADDER.afterwards
    assert LADDER.due(ARMED, None, 8, at) == at
    assert LADDER.longest_gap == timedelta(seconds=180_000 - 21_600)
    assert Ladder(RUNGS[:2], 6 * HOUR).longest_gap == 6 * HOUR


REFUSED = Finding(Verdict.NOT_SENT, Source.ANSWER, reason="TOO_MANY_REQUEST_PER_SECOND")
AFTER_THE_LAG = ARMED + DEADLINE + LAG


@pytest.mark.parametrize(
    ("finding", "lists_must_show_it"),
    [
        (REFUSED, True),
        (Finding(Verdict.NOT_SENT, Source.ANSWER, nothing_left=True), False),
        (Finding(Verdict.NOT_SENT, Source.COMMIT_UNACKNOWLEDGED), False),
        (Finding(Verdict.DECLINED, Source.ANSWER, transaction_id="2001"), False),
        (Finding(Verdict.REVERSED, Source.ORDER_LIST, transaction_id="2001"), False),
        (Finding(Verdict.DECLINED, Source.ORDER_LIST, reason="card_inactive"), True),
        (Finding(Verdict.ABSENT_FOR_LONG, Source.ORDER_LIST), True),
        (Finding(Verdict.PERSON_NOT_CHARGED, Source.OPERATOR), True),
        (Finding(Verdict.NOT_SENT, Source.ANSWER, transaction_id="2001"), True),
    ],
)
def test_read_excludes_money_once_the_lists_must_show_it(finding: Finding, lists_must_show_it: bool) -> None:
    def at(minutes: int) -> object:
        now = ARMED + minutes * MINUTE
        return look_from(finding, armed_at=ARMED, sender_deadline=DEADLINE, list_lag=LAG, now=now)

    assert at(1) == (AFTER_THE_LAG if lists_must_show_it else ARMED + MINUTE)
    assert at(300) == ARMED + 300 * MINUTE, "never before now"
