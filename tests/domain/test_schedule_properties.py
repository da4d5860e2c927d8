"""What is true of every schedule and every instant."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from billing.domain.schedules import (
    Interval,
    Occurrence,
    Schedule,
    following,
    next_due,
    occurrence_after,
    occurrence_at,
    occurrences,
)

MICROSECOND = timedelta(microseconds=1)
ZONES = (
    "Asia/Kuala_Lumpur", "UTC", "America/New_York", "America/Toronto", "Europe/London", "Australia/Lord_Howe",
    "Pacific/Apia", "Pacific/Kwajalein", "Pacific/Kiritimati", "America/Sao_Paulo", "Africa/Casablanca",
    "Asia/Kathmandu", "Antarctica/Troll", "Africa/Monrovia", "Asia/Gaza",
)  # fmt: skip


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    interval = draw(st.sampled_from(Interval))
    targets = {
        Interval.DAILY: st.none(),
        Interval.WEEKLY: st.integers(0, 6),
        Interval.MONTHLY: st.integers(-1, 28),
    }
    return Schedule(
        interval=interval,
        target=draw(targets[interval]),
        anchor_date=draw(st.dates(date(1900, 1, 1), date(2100, 1, 1))),
        every=draw(st.integers(1, 14) | st.integers(1, 1200)),
        charge_time=draw(
            st.times().map(lambda t: t.replace(microsecond=0, fold=0)) | st.sampled_from([time(0), time(2, 30)])
        ),
        zone=draw(st.sampled_from(ZONES)),
    )


instants = st.timedeltas(timedelta(), timedelta(days=110_000)).map(lambda t: datetime(1890, 1, 1, tzinfo=UTC) + t)
indexes = st.integers(0, 3) | st.integers(0, 60)  # 60 times 1200 months is still inside the calendar


@given(schedules(), instants)
def test_the_next_is_later_and_nothing_lies_between(schedule: Schedule, after: datetime) -> None:
    found = occurrence_after(schedule, after)
    assert found.due_at > after
    assert found.due_at.tzinfo is UTC
    assert next_due(schedule, after) == found.due_at
    assert occurrence_at(schedule, found.index) == found
    for index in range(max(0, found.index - 3), found.index):
        earlier = occurrence_at(schedule, index)
        assert earlier is None or earlier.due_at <= after


@given(schedules(), instants, st.floats(0, 1))
def test_every_question_in_between_has_the_same_answer(schedule: Schedule, after: datetime, share: float) -> None:
    found = occurrence_after(schedule, after)
    between = after + share * (found.due_at - after)
    for asked in (min(between, found.due_at - MICROSECOND), found.due_at - MICROSECOND):
        assert occurrence_after(schedule, asked) == found


@given(schedules(), indexes)
def test_asking_from_an_occurrence_gives_the_following_one(schedule: Schedule, index: int) -> None:
    found = following(schedule, index - 1)
    assert found.index >= index
    assert occurrence_after(schedule, found.due_at) == following(schedule, found.index)
    assert occurrence_after(schedule, found.due_at - MICROSECOND) == found


@given(schedules(), instants)
def test_instants_strictly_increase(schedule: Schedule, after: datetime) -> None:
    found = [after, *islice(occurrences(schedule, after), 20)]
    assert all(a < b for a, b in pairwise(found))


@given(schedules(), indexes)
def test_days_match_the_rule_and_are_never_before_the_anchor(schedule: Schedule, index: int) -> None:
    match occurrence_at(schedule, index):
        case None:
            assert schedule.zone.startswith("Pacific/")
        case Occurrence(due_at=due_at):
            local = due_at.astimezone(ZoneInfo(schedule.zone))
            nominal = datetime.combine(local.date(), schedule.charge_time, local.tzinfo)
            assert local.date() >= schedule.anchor_date
            if local.time() != schedule.charge_time:  # moved by a gap
                nominal = (local - timedelta(hours=3)).replace(fold=0)
                assert nominal.utcoffset() != local.utcoffset()
                return
            assert nominal == local
            if schedule.interval is Interval.WEEKLY:
                assert local.isoweekday() % 7 == schedule.target
            if schedule.interval is Interval.MONTHLY:
                tomorrow = local.date() + timedelta(days=1)
                assert tomorrow.day == 1 if schedule.target == -1 else local.day == (schedule.target or 1)


@given(schedules(), indexes, st.integers(1, 400))
def test_every_nth_is_each_nth_of_the_plain_schedule(schedule: Schedule, index: int, every: int) -> None:
    fields = {
        "interval": schedule.interval, "target": schedule.target, "anchor_date": schedule.anchor_date,
        "charge_time": schedule.charge_time, "zone": schedule.zone,
    }  # fmt: skip
    index %= 50
    sparse = occurrence_at(Schedule.parse(every=every, **fields), index)
    plain = occurrence_at(Schedule.parse(every=1, **fields), index * every)
    assert (sparse and sparse.due_at) == (plain and plain.due_at)


@given(schedules(), instants, st.sampled_from(ZONES))
def test_the_zone_of_the_question_does_not_matter(schedule: Schedule, after: datetime, zone: str) -> None:
    assert next_due(schedule, after.astimezone(ZoneInfo(zone))) == next_due(schedule, after)


@given(schedules())
def test_the_words_name_the_clock_and_the_zone(schedule: Schedule) -> None:
    assert schedule.describe().startswith("every ")
    assert (
        schedule.describe().endswith(f"{schedule.charge_time.isoformat()[:5]}, {schedule.zone}")
        or schedule.charge_time.second
    )
