"""When cards and reports are read for money that comes after the end."""

import itertools
from datetime import UTC, date, datetime, timedelta

import pytest

from billing.domain.attempts import AttemptState, Finding, Source, Verdict
from billing.domain.late_money import (
    LONGEST_PAUSE,
    WATCH_AFTER,
    days_to_read,
    ends_at,
    first_report,
    may_become_money,
    next_report,
    next_watch,
    pause_after,
    report_after_failure,
    report_day,
    starts_at,
)

ENDED = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)
DAY = date(2026, 3, 2)
MIDNIGHT = datetime(2026, 3, 1, 16, 0, tzinfo=UTC)  # in Malaysia
HOUR, A_DAY = timedelta(hours=1), timedelta(days=1)


def test_card_is_read_at_growing_intervals_and_then_no_more() -> None:
    reads, now = [], ENDED
    while (at := next_watch(ENDED, now)) is not None:
        assert at > now
        reads.append(at - ENDED)
        now = at
    assert tuple(reads) == WATCH_AFTER
    assert reads[-1] > timedelta(days=59)
    gaps = [later - sooner for sooner, later in itertools.pairwise(reads)]
    assert gaps == sorted(gaps)


def test_steps_that_passed_during_an_outage_are_one_read() -> None:
    assert next_watch(ENDED, ENDED + 5 * A_DAY) == ENDED + 8 * A_DAY
    assert next_watch(ENDED, ENDED + 61 * A_DAY) is None


@pytest.mark.parametrize("state", AttemptState)
def test_which_ends_may_become_money(state: AttemptState) -> None:
    silent = Finding(Verdict.NOT_SENT, Source.ANSWER, detail={"http_status": None})
    refused = Finding(Verdict.NOT_SENT, Source.ANSWER, detail={"http_status": 429})
    ends = {AttemptState.DECLINED, AttemptState.NOT_CHARGED, AttemptState.SURPLUS, AttemptState.REVERSED}
    assert may_become_money(state, silent) == (state in ends)
    assert may_become_money(state, refused) == (state in ends | {AttemptState.NOT_SENT})


def test_pauses_grow_and_have_an_end() -> None:
    pauses = [pause_after(failures) for failures in range(1, 30)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[1], pauses[-1]) == (timedelta(minutes=10), timedelta(minutes=20), LONGEST_PAUSE)


def test_a_day_of_the_reports_is_one_in_malaysia() -> None:
    assert (starts_at(DAY), ends_at(DAY)) == (MIDNIGHT, MIDNIGHT + A_DAY)
    assert report_day(MIDNIGHT) == DAY
    assert report_day(MIDNIGHT - timedelta(microseconds=1)) == DAY - A_DAY


def test_report_is_read_within_a_day_of_any_payment() -> None:
    for minutes in range(0, 24 * 60, 7):
        paid_at = MIDNIGHT + timedelta(minutes=minutes)
        read = first_report(DAY, MIDNIGHT)
        while read < paid_at:
            again = next_report(DAY, read)
            assert again is not None
            read = again
        assert read - paid_at <= A_DAY


def test_report_is_read_once_on_its_day_and_three_times_after() -> None:
    reads: list[datetime] = []
    at: datetime | None = first_report(DAY, MIDNIGHT)
    while at is not None:
        reads.append(at)
        at = next_report(DAY, at)
    assert [read >= ends_at(DAY) for read in reads] == [False, True, True, True]


def test_a_day_that_was_missed_is_read_at_once_and_no_more() -> None:
    late = MIDNIGHT + 30 * A_DAY
    assert first_report(DAY, late) == late
    assert next_report(DAY, late) is None


def test_days_begin_with_the_account_and_go_back_for_two_months() -> None:
    now = MIDNIGHT + 10 * A_DAY
    assert days_to_read(MIDNIGHT, now) == (DAY, DAY + 10 * A_DAY)
    assert days_to_read(MIDNIGHT - 900 * A_DAY, now)[0] == DAY - 50 * A_DAY


def test_unreadable_report_is_given_up_a_week_after_its_day() -> None:
    now = ends_at(DAY)
    assert report_after_failure(DAY, 1, now) == now + timedelta(minutes=10)
    assert report_after_failure(DAY, 20, now + 6 * A_DAY) == now + 7 * A_DAY
    assert report_after_failure(DAY, 20, now + 6 * A_DAY + HOUR) is None
