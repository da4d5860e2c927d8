"""The closed formula agrees with a walk over every day of forty years, and with dateutil."""

from bisect import bisect_right
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import islice, takewhile

import pytest
from dateutil import rrule

from billing.domain.schedules import Schedule, following, next_due, occurrence_after, occurrence_at, occurrences
from tests.domain.oracles import ALL_RULES, Rule, Zone, matching_dates

ANCHOR = date(2006, 1, 30)
END = date(2046, 2, 1)
START = datetime(2006, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
EVERIES = (1, 2, 3, 5, 12)
CLOCKS = tuple(map(time.fromisoformat, ("00:00", "00:30", "01:45", "02:30", "09:00", "23:45", "23:59")))
ZONES = (
    "Asia/Kuala_Lumpur",
    "UTC",
    "America/New_York",
    "Europe/London",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/Sao_Paulo",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Asia/Kathmandu",
)


@cache
def dates_of(rule: Rule, every: int) -> list[date]:
    return matching_dates(rule, ANCHOR, every, END)


@cache
def zone_of(name: str) -> Zone:
    return Zone(name, 2005, 2046)


def make_schedule(rule: Rule, *, every: int = 1, clock: time = time(9), zone: str = "Asia/Kuala_Lumpur") -> Schedule:
    interval, target = rule
    return Schedule.parse(
        interval=interval, target=target, anchor_date=ANCHOR, every=every, charge_time=clock, zone=zone
    )


def agree(schedule: Schedule, expected: list[datetime | None]) -> None:
    """Compare number by number, as a sequence, and as answers to questions just before and at each instant."""
    numbered = [(index, due_at) for index, due_at in enumerate(expected) if due_at is not None]
    assert list(islice(occurrences(schedule, START), len(numbered))) == [due_at for _, due_at in numbered]
    for index, due_at in enumerate(expected):
        if due_at is None:
            assert occurrence_at(schedule, index) is None
    previous = START
    for index, due_at in numbered:
        found = occurrence_after(schedule, previous)
        assert (found.index, found.due_at) == (index, due_at)
        assert next_due(schedule, due_at - MICROSECOND) == due_at
        previous = due_at


def test_there_are_thirty_eight_rules() -> None:
    assert len(ALL_RULES) == len(set(ALL_RULES)) == 38


@pytest.mark.parametrize("every", EVERIES)
def test_rules_agree_with_a_forty_year_walk_in_kuala_lumpur(every: int) -> None:
    zone = zone_of("Asia/Kuala_Lumpur")
    for rule in ALL_RULES:
        expected = [zone.instant(day, time(9)) for day in dates_of(rule, every)]
        assert len(expected) >= 40 * 12 // every
        agree(make_schedule(rule, every=every), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ZONES)
def test_rules_agree_with_a_forty_year_walk_with_daylight_saving(name: str) -> None:
    """Every day at every clock time, and all rules with `every` and the clock time in turn."""
    zone = zone_of(name)
    for number, clock in enumerate(CLOCKS):
        instant_on = {day: zone.instant(day, clock) for day in dates_of(("DAILY", None), 1)}
        agree(make_schedule(("DAILY", None), clock=clock, zone=name), list(instant_on.values()))
        for place, rule in enumerate(ALL_RULES[1:]):
            every = EVERIES[(place + number) % len(EVERIES)]
            expected = [instant_on[day] for day in dates_of(rule, every)]
            agree(make_schedule(rule, every=every, clock=clock, zone=name), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ZONES)
def test_next_due_is_right_around_each_clock_change(name: str) -> None:
    """Asked every 13 minutes around each change, the answer is the next instant of the walk."""
    zone = zone_of(name)
    changes = [c for c in zone.changes() if START + timedelta(days=60) < c < START + timedelta(days=365 * 20)]
    for clock in CLOCKS:
        schedule = make_schedule(("DAILY", None), clock=clock, zone=name)
        for change in changes[:: max(1, len(changes) // 8)]:
            around = [zone.instant(change.date() + timedelta(days=n), clock) for n in range(-4, 6)]
            instants = sorted(due_at for due_at in around if due_at is not None)
            for step in range(-75, 150):
                asked = change + step * timedelta(minutes=13)
                expected = instants[bisect_right(instants, asked)]
                assert next_due(schedule, asked) == expected, (clock, asked)


@pytest.mark.parametrize("every", EVERIES)
def test_dates_agree_with_dateutil(every: int) -> None:
    weekdays = (rrule.SU, rrule.MO, rrule.TU, rrule.WE, rrule.TH, rrule.FR, rrule.SA)
    for rule in ALL_RULES:
        interval, target = rule
        schedule = make_schedule(rule, every=every, zone="UTC", clock=time(0))
        first = following(schedule, -1).due_at.replace(tzinfo=None)
        options = {
            "DAILY": lambda _: {"freq": rrule.DAILY},
            "WEEKLY": lambda target: {"freq": rrule.WEEKLY, "byweekday": weekdays[target]},
            "MONTHLY": lambda target: {"freq": rrule.MONTHLY, "bymonthday": target or 1},
        }[interval](target)
        # The first from a rule without `every`, since dateutil would count its steps from the anchor's own month.
        assert first == rrule.rrule(dtstart=datetime.combine(ANCHOR, time()), count=1, **options)[0]
        expected = list(
            rrule.rrule(dtstart=first, interval=every, until=datetime.combine(END, time()) - MICROSECOND, **options)
        )
        actual = takewhile(lambda due_at: due_at.date() < END, occurrences(schedule, START))
        assert [due_at.replace(tzinfo=None) for due_at in actual] == expected
