"""Two clocks are compared by when they say that the machine was started."""

from datetime import UTC, datetime, timedelta

import pytest

from billing.domain.clocks import FRESH, SETTLES, Breaker, ClockRefusal, Reading, Span, ahead_by, judge, newest

BOOT = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
TOLERANCE = 10 * SECOND


def seen(at: timedelta = timedelta(0), *, off: timedelta = timedelta(0)) -> Reading:
    """The gateway, whose header is exact to a second."""
    return Reading(Span(BOOT + off, BOOT + off + SECOND), at)


def database(ahead: timedelta = timedelta(0)) -> Span:
    return Span(BOOT + ahead, BOOT + ahead + SECOND // 10)


def judged(
    ahead: timedelta = timedelta(0),
    *,
    reading: Reading | None = None,
    breaker: Breaker | None = None,
    uptime: timedelta = HOUR,
    no_older_than: timedelta | None = FRESH,
) -> tuple[ClockRefusal | None, Breaker]:
    return judge(
        database=database(ahead),
        reading=reading,
        breaker=breaker or Breaker(),
        uptime=uptime,
        tolerance=TOLERANCE,
        no_older_than=no_older_than,
    )


@pytest.mark.parametrize("ahead", [0, 9, 10, 11, -9])
def test_close_clocks_agree_despite_the_headers_rounding(ahead: int) -> None:
    assert judged(ahead * SECOND, reading=seen(HOUR)) == (None, Breaker())


@pytest.mark.parametrize("ahead", [12, 40 * 86400, -12, -40 * 86400])
def test_database_clock_step_is_seen_against_an_old_reading(ahead: int) -> None:
    refusal, breaker = judged(ahead * SECOND, reading=seen(timedelta(minutes=30)))
    assert refusal is ClockRefusal.OFF
    assert breaker.ahead is not None
    assert abs(breaker.ahead - ahead * SECOND) < 5 * SECOND


def test_how_far_ahead_is_what_is_certain() -> None:
    assert ahead_by(database(5 * SECOND), seen().started) == 4 * SECOND
    assert ahead_by(database(-5 * SECOND), seen().started) == -(5 * SECOND - SECOND // 10)
    assert ahead_by(database(SECOND // 2), seen().started) == timedelta(0)


def test_hours_without_a_tick_are_no_step() -> None:
    assert judged(reading=seen(), uptime=30 * HOUR, no_older_than=None) == (None, Breaker())


def test_money_needs_a_reading_of_the_last_hour() -> None:
    assert judged(reading=None)[0] is ClockRefusal.NOT_COMPARED
    assert judged(reading=seen(), uptime=HOUR)[0] is None
    assert judged(reading=seen(), uptime=HOUR + SECOND)[0] is ClockRefusal.NOT_COMPARED


def test_a_reading_grows_less_exact_by_the_drift_of_good_clocks() -> None:
    day = 24 * HOUR  # 43 s of drift are possible
    assert judged(50 * SECOND, reading=seen(), uptime=day, no_older_than=None)[0] is None
    assert judged(60 * SECOND, reading=seen(), uptime=day, no_older_than=None)[0] is ClockRefusal.OFF


def test_breaker_closes_once_newer_readings_agree_for_a_while() -> None:
    wrong = Breaker(timedelta(days=40))
    refusal, breaker = judged(reading=seen(HOUR), breaker=wrong, uptime=HOUR)
    assert (refusal, breaker.agrees_since) == (ClockRefusal.SETTLING, HOUR)
    early = HOUR + SETTLES - SECOND
    assert judged(reading=seen(early), breaker=breaker, uptime=early) == (ClockRefusal.SETTLING, breaker)
    later = HOUR + SETTLES
    assert judged(reading=seen(HOUR - SECOND), breaker=breaker, uptime=later) == (ClockRefusal.SETTLING, breaker)
    assert judged(reading=seen(later), breaker=breaker, uptime=later) == (None, Breaker())


def test_a_clock_that_is_wrong_again_begins_anew() -> None:
    _, breaker = judged(-HOUR, reading=seen(HOUR), breaker=Breaker(HOUR, agrees_since=HOUR), uptime=HOUR)
    assert breaker.agrees_since is None


def test_a_machine_that_was_set_back_waits_anew() -> None:
    known = Breaker(HOUR, agrees_since=3 * HOUR)
    refusal, breaker = judged(reading=seen(HOUR), breaker=known, uptime=HOUR)
    assert (refusal, breaker.agrees_since) == (ClockRefusal.SETTLING, HOUR)


def test_the_newest_reading_counts_and_none_from_the_future() -> None:
    old, new, future = seen(SECOND), seen(2 * SECOND), seen(9 * HOUR)
    assert newest([new, old, future], HOUR) == new
    assert newest([future], HOUR) is None
