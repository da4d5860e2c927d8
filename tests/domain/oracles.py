"""Due instants worked out slowly, day by day, without a line of the implementation.

Dates come from walking the calendar; instants from the one direction of time zones that has no puzzles, UTC to
local: each zone becomes stretches of constant offset, and a local time is looked for in all of them.
"""

from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)

Rule = tuple[str, int | None]
ALL_RULES: list[Rule] = [
    ("DAILY", None),
    *(("WEEKLY", target) for target in range(7)),
    *(("MONTHLY", target) for target in range(-1, 29)),
]


@dataclass(frozen=True)
class Stretch:
    """Constant offset from `start` (UTC, included, as naive datetimes) to `end` (excluded)."""

    start: datetime
    end: datetime
    offset: timedelta


def matching_dates(rule: Rule, anchor: date, every: int, end: date) -> list[date]:
    """Walk every day from the anchor; keep those the calendar says match; of these each `every`-th."""
    interval, target = rule
    found = []
    day = anchor
    while day < end:
        if interval == "DAILY":
            matches = True
        elif interval == "WEEKLY":
            matches = int(day.strftime("%w")) == target
        elif target == -1:
            matches = (day + DAY).day == 1
        else:
            matches = day.day == (1 if target == 0 else target)
        if matches:
            found.append(day)
        day += DAY
    return found[::every]


def _offset(zone: ZoneInfo, utc: datetime) -> timedelta:
    return utc.replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None) - utc


def stretches(zone_name: str, start: datetime, end: datetime) -> list[Stretch]:
    """Look at local time each hour from `start` to `end` (naive UTC), then each second of the hours that differ."""
    zone = ZoneInfo(zone_name)
    edges = [start]
    moment, offset = start, _offset(zone, start)
    while moment < end:
        later = moment + HOUR
        later_offset = _offset(zone, later)
        if later_offset != offset:
            edge = moment
            while _offset(zone, edge) == offset:
                edge += SECOND
            edges.append(edge)
        moment, offset = later, later_offset
    return [Stretch(a, b, _offset(zone, a)) for a, b in pairwise([*edges, end])]


def _midnight(year: int) -> datetime:
    return datetime.combine(date(year, 1, 1), time())


class Zone:
    """The local clock of a zone from `start` to `end` years."""

    def __init__(self, name: str, first_year: int, last_year: int) -> None:
        self.name = name
        self._stretches = stretches(name, _midnight(first_year), _midnight(last_year + 1))
        self._local_ends = [s.end + s.offset for s in self._stretches]

    def changes(self) -> list[datetime]:
        """When the offset changed (UTC)."""
        return [s.start.replace(tzinfo=UTC) for s in self._stretches[1:]]

    def has_day(self, day: date) -> bool:
        """Whether a clock on the wall ever shows this date."""
        start = datetime.combine(day, time())
        return any(s.start + s.offset < start + DAY and start < s.end + s.offset for s in self._around(start))

    def instant(self, day: date, clock: time) -> datetime | None:
        """The first instant with that local time; in a gap, the one as far behind the gap as the time is inside."""
        local = datetime.combine(day, clock)
        around = self._around(local)
        shown = [s.start + (local - s.start - s.offset) for s in around if s.start <= local - s.offset < s.end]
        if shown:
            return min(shown).replace(tzinfo=UTC)
        if not self.has_day(day):
            return None
        for before, after in pairwise(around):
            into_gap = local - (before.end + before.offset)
            if timedelta(0) <= into_gap and local < after.start + after.offset:
                return (after.start + into_gap).replace(tzinfo=UTC)
        raise AssertionError((self.name, day, clock))

    def _around(self, local: datetime) -> list[Stretch]:
        index = bisect_left(self._local_ends, local - 2 * DAY)
        found = []
        for stretch in self._stretches[max(index - 1, 0) :]:
            if stretch.start + stretch.offset > local + 2 * DAY:
                break
            found.append(stretch)
        return found
