"""When a subscription is due: a schedule, and the occurrences that follow from it.

Occurrences are counted from the anchor: number n is n times `every` intervals after number 0, never "the
previous one plus an interval", so nothing drifts. A schedule speaks in local wall-clock time of one zone; every
instant returned is UTC.

Daylight saving: a local time that does not exist moves forward by the length of the gap, of a doubled time the
first counts, and a day that the zone skipped whole (Pacific/Apia, 2011-12-30) has no occurrence.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Self, assert_never
from zoneinfo import ZoneInfo

from billing.domain.schedule_rules import (
    MAX_EVERY,
    ScheduleEndedError,
    ScheduleError,
    check_anchor_date,
    check_charge_time,
    check_integer,
    read_charge_time,
    read_date,
    read_integer,
    zone_facts,
)

__all__ = [
    "Interval",
    "Occurrence",
    "Schedule",
    "ScheduleEndedError",
    "ScheduleError",
    "following",
    "next_due",
    "occurrence_after",
    "occurrence_at",
    "occurrences",
]

DEFAULT_CHARGE_TIME = time(9, 0)
DEFAULT_ZONE = "Asia/Kuala_Lumpur"
LAST_DAY = -1

_DAY = timedelta(days=1)
_MONTH_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


class Interval(StrEnum):
    """How often a schedule comes round. The values are Revenue Monster's words."""

    DAILY = "DAILY"
    WEEKLY = "WEEKLY"
    MONTHLY = "MONTHLY"


class _Prepared:
    """What a schedule works out once, so that finding an occurrence is arithmetic. No part of its value.

    `first` is the place of occurrence 0 and `step` the distance to the next: in months since year 0 for
    MONTHLY, in days (proleptic ordinals) otherwise. `day` is the day of the month (0 is the last), None where
    days are counted. Before `settled`, on the clock, a gap may have moved the charge time to later.
    """

    __slots__ = ("day", "first", "settled", "skipped", "step", "tz")
    day: int | None
    first: int
    settled: time
    skipped: frozenset[int]
    step: int
    tz: ZoneInfo


@dataclass(frozen=True, slots=True)
class Schedule(_Prepared):
    """A rule for due days, and the local wall-clock time and IANA time zone in which they are meant.

    `target` is None for DAILY, 0 (Sunday) to 6 (Saturday) for WEEKLY, and for MONTHLY -1 (last day), 0 (first
    day, as 1) or 1 to 28. `every` (1 to 1200) takes each n-th occurrence. Occurrence 0 is the first matching day on
    or after `anchor_date` (from 1900 on), a day in `zone`. `charge_time` is in whole seconds and has no tzinfo.
    Raises ScheduleError, which names the field and the rule.
    """

    interval: Interval
    target: int | None
    anchor_date: date
    every: int = 1
    charge_time: time = DEFAULT_CHARGE_TIME
    zone: str = DEFAULT_ZONE

    def __post_init__(self) -> None:
        if not isinstance(self.interval, Interval):
            raise ScheduleError("interval", "must be DAILY, WEEKLY or MONTHLY")
        check_anchor_date(self.anchor_date)
        check_integer("every", self.every, 1, MAX_EVERY, f"must be a whole number from 1 to {MAX_EVERY}")
        check_charge_time(self.charge_time)
        day, first, step = _places(self.interval, self.target, self.anchor_date, self.every)
        facts = zone_facts(self.zone)
        settled = (datetime.combine(self.anchor_date, self.charge_time) + facts.longest_gap).time()
        for name, value in (
            ("tz", facts.tz),
            ("skipped", facts.skipped_days),
            ("settled", settled),
            ("day", day),
            ("first", first),
            ("step", step),
        ):
            object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[type[Self], tuple[Interval, int | None, date, int, time, str]]:
        """Copy and pickle the value only; the rest is worked out anew."""
        return type(self), (
            self.interval, self.target, self.anchor_date, self.every, self.charge_time, self.zone,
        )  # fmt: skip

    @classmethod
    def parse(
        cls,
        *,
        interval: object,
        target: object,
        anchor_date: object,
        every: object = 1,
        charge_time: object = DEFAULT_CHARGE_TIME,
        zone: object = DEFAULT_ZONE,
    ) -> Self:
        """Build a schedule from what Revenue Monster, JSON or a command line says.

        Numbers may be decimal strings as RM writes them ("1", "-1"; not "01", "+1" or " 1 "), the anchor
        "YYYY-MM-DD", the charge time "HH:MM" or "HH:MM:SS". DAILY takes None, "", "0" and 0 as no target.
        Raises ScheduleError.
        """
        if not isinstance(interval, str) or interval not in Interval.__members__:
            raise ScheduleError("interval", "must be DAILY, WEEKLY or MONTHLY")
        known = Interval(interval)
        return cls(
            interval=known,
            target=_read_target(known, target),
            anchor_date=read_date("anchor_date", anchor_date),
            every=read_integer("every", every, f"must be a whole number from 1 to {MAX_EVERY}"),
            charge_time=read_charge_time(charge_time),
            zone=zone,  # type: ignore[arg-type]  # zone_facts refuses what is no string
        )

    def describe(self) -> str:
        """The schedule in English words: "every 2 weeks on Monday at 09:00, Asia/Kuala_Lumpur"."""
        match self.interval:
            case Interval.DAILY:
                unit, day = "day", ""
            case Interval.WEEKLY:
                unit, day = "week", f" on {_WEEKDAYS[self.target or 0]}"
            case Interval.MONTHLY:
                named = {LAST_DAY: "the last day", 0: "the first day", 1: "the first day"}
                unit, day = "month", f" on {named.get(self.target or 0, f'day {self.target}')}"
            case _:
                assert_never(self.interval)
        often = unit if self.every == 1 else f"{self.every} {unit}s"
        clock = self.charge_time.isoformat("seconds" if self.charge_time.second else "minutes")
        return f"every {often}{day} at {clock}, {self.zone}"


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One due instant: its number counted from the anchor (first is 0), and when it is due (aware, UTC)."""

    index: int
    due_at: datetime


def next_due(schedule: Schedule, after: datetime) -> datetime:
    """The first due instant (UTC) strictly after the aware instant `after`; errors as occurrence_after."""
    return _search(schedule, after)[1]


def occurrence_after(schedule: Schedule, after: datetime) -> Occurrence:
    """The first occurrence due strictly after the aware instant `after`, in constant time however far it is.

    Raises ScheduleError for a naive `after`, and ScheduleEndedError when the calendar has none left.
    """
    return Occurrence(*_search(schedule, after))


def occurrence_at(schedule: Schedule, index: int) -> Occurrence | None:
    """Occurrence number `index` (0 or more); None when the zone skipped that day whole.

    Raises ScheduleError for any other index, and ScheduleEndedError when the day lies beyond the calendar.
    """
    check_integer("index", index, 0, None, "must be a whole number from 0")
    due_at = _due(schedule, index)
    return None if due_at is None else Occurrence(index, due_at)


def following(schedule: Schedule, index: int) -> Occurrence:
    """The first occurrence that exists with a number above `index`; -1 asks for the first of all.

    Raises ScheduleError for an index below -1, and ScheduleEndedError when the calendar has none left.
    """
    check_integer("index", index, -1, None, "must be a whole number from -1")
    return Occurrence(*_first_existing(schedule, index + 1))


def occurrences(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """All due instants (UTC) strictly after the aware instant `after`, in order.

    It ends when the calendar does, in the year 9999. Raises ScheduleError at once for a naive `after`.
    """
    _check_aware(after)
    return _walk(schedule, after)


def _walk(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    try:
        index, due_at = _search(schedule, after)
        while True:
            yield due_at
            index, due_at = _first_existing(schedule, index + 1)
    except ScheduleEndedError:
        return


def _search(schedule: Schedule, after: datetime) -> tuple[int, datetime]:
    """The number and instant of the first occurrence after `after`.

    1. By the wall clock, find the first occurrence above `after`.
    2. Take the one before it, when a gap moved that one to beyond `after`.
    3. Otherwise go on while the day does not exist, or is not later (the second pass of a doubled hour).
    """
    try:
        if after.tzinfo is not UTC:
            _check_aware(after)
            after = after.astimezone(UTC)  # a reading inside a gap becomes one that a clock can show
        local = after.astimezone(schedule.tz)
    except OverflowError as error:
        if after.year > 1:
            raise ScheduleEndedError("after") from error
        return _first_existing(schedule, 0)
    index, near = _index_above(schedule, local)
    if near and index:
        clock, nominal, settled = local.time(), schedule.charge_time, schedule.settled
        unsettled = nominal < clock < settled if nominal < settled else clock > nominal or clock < settled
        if unsettled and (local - _DAY).utcoffset() != local.utcoffset():
            moved = _due(schedule, index - 1)
            if moved is not None and moved > after:
                return index - 1, moved
    due_at = _due(schedule, index)
    while due_at is None or due_at <= after:
        index += 1
        due_at = _due(schedule, index)
    return index, due_at


def _index_above(schedule: Schedule, local: datetime) -> tuple[int, bool]:
    """The first number whose nominal wall-clock time is above that of `local`, and whether the number before
    it is of the same day or the day before."""
    month_day = schedule.day
    if month_day is None:
        passed = local.toordinal() - schedule.first
        if passed < 0:
            return 0, False
        index, rest = divmod(passed, schedule.step)
        if rest:
            return index + 1, rest == 1
        return index + (local.time() >= schedule.charge_time), True
    year, month, day = local.year, local.month, local.day
    passed = year * 12 + month - 1 - schedule.first
    if passed < 0:
        return 0, False
    index, rest = divmod(passed, schedule.step)
    if rest:
        return index + 1, day == 1
    since = day - (month_day or _month_length(year, month))
    if since == 0:
        return index + (local.time() >= schedule.charge_time), True
    return index + (since > 0), since == 1 or day == 1


def _first_existing(schedule: Schedule, index: int) -> tuple[int, datetime]:
    due_at = _due(schedule, index)
    while due_at is None:
        index += 1
        due_at = _due(schedule, index)
    return index, due_at


def _due(schedule: Schedule, index: int) -> datetime | None:
    """Occurrence `index` as a UTC instant; None when its day does not exist. Raises ScheduleEndedError.

    A wall-clock time with fold=0 is read with the offset before a transition (PEP 495), which is the rule
    wanted: it moves the times of a gap forward by its length and takes the first of doubled times.
    """
    place = schedule.first + index * schedule.step
    try:
        if schedule.day is None:
            day = date.fromordinal(place)
        else:
            year, month = divmod(place, 12)
            month += 1
            day = date(year, month, schedule.day or _month_length(year, month))
        due_at = datetime.combine(day, schedule.charge_time, schedule.tz).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ScheduleEndedError("index") from error
    if schedule.skipped and day.toordinal() in schedule.skipped:
        return None
    return due_at


def _places(interval: Interval, target: int | None, anchor: date, every: int) -> tuple[int | None, int, int]:
    """`_day`, `_first` and `_step` of a schedule; see _Prepared."""
    match interval:
        case Interval.DAILY:
            if target is not None:
                raise ScheduleError("target", f"must be left out for DAILY; got {target}")
            return None, anchor.toordinal(), every
        case Interval.WEEKLY:
            weekday = check_integer(
                "target", target, 0, 6, f"must be 0 (Sunday) to 6 (Saturday) for WEEKLY; got {target}"
            )
            wait = (weekday - anchor.isoweekday()) % 7
            return None, anchor.toordinal() + wait, 7 * every
        case Interval.MONTHLY:
            rule = f"must be -1 (last day), 0 (first day) or 1 to 28 for MONTHLY; got {target}"
            if type(target) is int and 29 <= target <= 31:
                rule += "; use -1 for the last day"
            number = check_integer("target", target, LAST_DAY, 28, rule)
            day = 0 if number == LAST_DAY else max(number, 1)
            month = anchor.year * 12 + anchor.month - 1
            return day, month + (0 < day < anchor.day), every
        case _:
            assert_never(interval)


def _month_length(year: int, month: int) -> int:
    if month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0):
        return 29
    return _MONTH_LENGTHS[month - 1]


def _read_target(interval: Interval, target: object) -> int | None:
    if interval is Interval.DAILY:
        if target is None or target in ("", "0") or (type(target) is int and target == 0):
            return None
        raise ScheduleError("target", f"must be left out for DAILY; got {target}")
    return read_integer("target", target, f"must be a whole number for {interval}")


def _check_aware(after: datetime) -> None:
    if after.utcoffset() is None:
        raise ScheduleError("after", "must be a date and time with a time zone")
