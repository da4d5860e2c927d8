"""What the fields of a schedule may hold, how they are read from text, and what is known of time zones."""

import re
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from billing.domain.errors import RefusedError

MAX_EVERY = 1200
EARLIEST_YEAR = 1900

_INTEGER = re.compile(r"-?[1-9][0-9]{0,5}|0", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIME = re.compile(r"[0-9]{2}:[0-9]{2}(:[0-9]{2})?", re.ASCII)
_MACHINE_ZONES = ("posix/", "right/", "posixrules", "localtime")

_LOOK = timedelta(days=28)
_USUAL_GAP = timedelta(hours=3)
_DATE_LINE = timedelta(hours=20)


_RULES = {
    "zone": "unknown_time_zone",
    "target": "target_of_interval",
    "interval": "invalid_choice",
    "every": "out_of_range",
    "charge_time": "time_of_day",
}


class ScheduleError(RefusedError):
    """A field of a schedule, or an argument about one, breaks a rule."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, _RULES.get(field, "invalid"), message)
        self.args = (field, message)


class ScheduleEndedError(ScheduleError):
    """No occurrence is left before the calendar ends with the year 9999."""

    def __init__(self, field: str, message: str = "no occurrence is left before the year 9999 ends") -> None:
        super().__init__(field, message)


def check_integer(field: str, value: object, low: int, high: int | None, rule: str) -> int:
    """Return `value` if it is an int (no bool) from `low` to `high`; raises ScheduleError with `rule`."""
    if type(value) is not int or value < low or (high is not None and value > high):
        raise ScheduleError(field, rule)
    return value


def check_anchor_date(value: object) -> None:
    """Raises ScheduleError unless `value` is a date (no datetime) from 1900 on."""
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ScheduleError("anchor_date", "must be a date without a time")
    if value.year < EARLIEST_YEAR:
        raise ScheduleError("anchor_date", f"must be a day from the year {EARLIEST_YEAR} on")


def check_charge_time(value: object) -> None:
    """Raises ScheduleError unless `value` is a plain wall-clock time of whole seconds."""
    if not isinstance(value, time):
        raise ScheduleError("charge_time", "must be a time of day")
    if value.tzinfo is not None:
        raise ScheduleError("charge_time", "must have no time zone of its own; the schedule's zone applies")
    if value.microsecond:
        raise ScheduleError("charge_time", "must be in whole seconds")
    if value.fold:
        raise ScheduleError("charge_time", "must have fold 0; of a doubled time the first counts")


def read_integer(field: str, value: object, rule: str) -> int:
    """An int, or a string of plain ASCII digits without leading zeros, plus or spaces; raises ScheduleError."""
    if type(value) is int:
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    raise ScheduleError(field, f'{rule}, such as 1 or "1"')


def read_date(field: str, value: object) -> date:
    """A date as it is, or the string "YYYY-MM-DD"; raises ScheduleError."""
    if isinstance(value, date):
        return value
    try:
        if isinstance(value, str) and _DATE.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError as error:
        raise ScheduleError(field, f"must be a day of the calendar; got {value}") from error
    raise ScheduleError(field, "must be a date, YYYY-MM-DD")


def read_charge_time(value: object) -> time:
    """A time as it is, or the string "HH:MM" or "HH:MM:SS"; raises ScheduleError."""
    if isinstance(value, time):
        return value
    try:
        if isinstance(value, str) and _TIME.fullmatch(value):
            return time.fromisoformat(value)
    except ValueError as error:
        raise ScheduleError("charge_time", f"must be a time of day; got {value}") from error
    raise ScheduleError("charge_time", "must be a local time, HH:MM or HH:MM:SS")


class ZoneFacts(NamedTuple):
    """What schedules need of a zone: itself, the days (proleptic ordinals) it skipped whole from 1900 to 2100, and an
    upper bound of the other gaps in its wall clock."""

    tz: ZoneInfo
    skipped_days: frozenset[int]
    longest_gap: timedelta


def zone_facts(key: object) -> ZoneFacts:
    """The facts of the zone with this IANA name; raises ScheduleError.

    Names that mean something else on each machine, or count leap seconds, are refused.
    """
    if not isinstance(key, str) or not key or key.startswith(_MACHINE_ZONES):
        raise ScheduleError("zone", "must be the name of an IANA time zone, such as Asia/Kuala_Lumpur")
    return _zone_facts(key)


@lru_cache(maxsize=1024)
def _zone_facts(key: str) -> ZoneFacts:
    """A zone skips a day by crossing the date line, and stays on the other side for years; other gaps above the
    usual are new settlements, as lasting. So a look at its offset every four weeks finds them, and a look at
    each day in between finds the skipped one."""
    try:
        tz = ZoneInfo(key)
    except (KeyError, ValueError, OSError) as error:
        raise ScheduleError("zone", f"must be a known IANA time zone; got {key!r}") from error
    skipped: set[int] = set()
    longest = _USUAL_GAP
    moment = datetime(EARLIEST_YEAR, 1, 1, 12, tzinfo=tz)
    offset = _offset(moment)
    while moment.year < 2100:
        later = moment + _LOOK
        later_offset = _offset(later)
        if later_offset - offset > _DATE_LINE:
            skipped |= {n for n in range(moment.toordinal(), later.toordinal() + 1) if _is_skipped(n, tz)}
        else:
            longest = max(longest, later_offset - offset)
        moment, offset = later, later_offset
    return ZoneFacts(tz, frozenset(skipped), longest)


def _is_skipped(ordinal: int, tz: ZoneInfo) -> bool:
    """Whether one gap swallows the day from its first moment to its last."""
    day = date.fromordinal(ordinal)
    gaps = set()
    for clock in (time.min, time.max):
        moment = datetime.combine(day, clock, tz)
        gaps.add((_offset(moment), _offset(moment.replace(fold=1))))
    before, after = gaps.pop()
    return not gaps and before < after


def _offset(moment: datetime) -> timedelta:
    offset = moment.utcoffset()
    assert offset is not None  # noqa: S101  # every moment here carries a ZoneInfo
    return offset
