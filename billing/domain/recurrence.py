"""What a plan says of time: how often it comes round, not since when."""

from dataclasses import dataclass
from datetime import date, time
from typing import Self

from billing.domain.schedules import DEFAULT_CHARGE_TIME, DEFAULT_ZONE, Interval, Schedule

_ANY_DAY = date(2000, 1, 1)  # the rules do not depend on it, nor do the words


@dataclass(frozen=True, slots=True)
class Recurrence:
    """A `Schedule` without its anchor, which each subscription sets. Raises ScheduleError."""

    interval: Interval
    target: int | None
    every: int = 1
    charge_time: time = DEFAULT_CHARGE_TIME
    zone: str = DEFAULT_ZONE

    def __post_init__(self) -> None:
        self.anchored(_ANY_DAY)

    @classmethod
    def parse(
        cls,
        *,
        interval: object,
        target: object,
        every: object = 1,
        charge_time: object = DEFAULT_CHARGE_TIME,
        zone: object = DEFAULT_ZONE,
    ) -> Self:
        """Build one from what Revenue Monster, JSON or a command line says, as `Schedule.parse`."""
        known = Schedule.parse(
            interval=interval, target=target, every=every, charge_time=charge_time, zone=zone, anchor_date=_ANY_DAY
        )
        return cls(known.interval, known.target, known.every, known.charge_time, known.zone)

    def anchored(self, day: date) -> Schedule:
        """The schedule whose occurrence 0 is the first matching day on or after `day`."""
        return Schedule(self.interval, self.target, day, self.every, self.charge_time, self.zone)

    def describe(self) -> str:
        """In English words, as `Schedule.describe`."""
        return self.anchored(_ANY_DAY).describe()
