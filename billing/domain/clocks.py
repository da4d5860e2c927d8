"""Whether the database's clock may be believed: what falls due, and what is charged, goes by it alone.

Both clocks answer one question: at what instant was this machine started? By the database's clock that is its time
now less the machine's uptime; by the gateway's it is the `Date` of an answer less the uptime at which it came. Uptime
counts sleep and is never set, so the two answers stay as they are for as long as both clocks go right: a step of the
database's clock moves its answer at once, and a pause, an outage or a suspended process moves neither.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

# A reading of the gateway's clock that is older than this does not permit to charge.
FRESH = timedelta(hours=1)
# After the clocks agree again, for so long nothing is started: a clock that is being corrected moves more than once.
SETTLES = timedelta(seconds=60)
# How far two good clocks may drift apart: one part in this many of the time since the reading.
DRIFT = 2000


class ClockRefusal(StrEnum):
    """Why nothing is opened, armed or refunded for the sake of the clock."""

    NOT_COMPARED = "clock_not_compared"  # the gateway's clock was not seen lately: nobody knows
    OFF = "clock_off"
    SETTLING = "clock_settling"  # the clocks agree again, since a moment ago


@dataclass(frozen=True, slots=True)
class Span:
    """When the machine was started: not before `earliest`, not after `latest`."""

    earliest: datetime
    latest: datetime

    def widened(self, by: timedelta) -> "Span":
        return Span(self.earliest - by, self.latest + by)


@dataclass(frozen=True, slots=True)
class Reading:
    """The gateway's answer, taken at the machine's `uptime`."""

    started: Span
    uptime: timedelta


@dataclass(frozen=True, slots=True)
class Breaker:
    """`ahead`: how far ahead of the gateway's the database's clock was found, negative for behind; None while the
    clocks agree. `agrees_since`: the uptime since which they agree again."""

    ahead: timedelta | None = None
    agrees_since: timedelta | None = None


def ahead_by(database: Span, gateway: Span) -> timedelta:
    """How far ahead of the gateway's the database's clock is at least; negative for behind."""
    if database.earliest > gateway.latest:
        return database.earliest - gateway.latest
    if database.latest < gateway.earliest:
        return database.latest - gateway.earliest
    return timedelta(0)


def newest(readings: list[Reading], uptime: timedelta) -> Reading | None:
    """The one taken last. One from a later uptime than now is of a machine that was set back, and is none."""
    usable = [one for one in readings if one.uptime <= uptime]
    return max(usable, key=lambda one: one.uptime, default=None)


def judge(
    *,
    database: Span,
    reading: Reading | None,
    breaker: Breaker,
    uptime: timedelta,
    tolerance: timedelta,
    no_older_than: timedelta | None,
) -> tuple[ClockRefusal | None, Breaker]:
    """Whether to refuse at `uptime`, and how the breaker stands afterwards.

    A reading serves for as long as the machine is up, wider by the drift, unless `no_older_than` says otherwise."""
    if reading is None or (no_older_than is not None and uptime - reading.uptime > no_older_than):
        return ClockRefusal.NOT_COMPARED, breaker
    ahead = ahead_by(database, reading.started.widened((uptime - reading.uptime) // DRIFT))
    if abs(ahead) > tolerance:
        return ClockRefusal.OFF, Breaker(ahead)
    if breaker.ahead is None:
        return None, breaker
    since = breaker.agrees_since
    if since is None or since > uptime:
        return ClockRefusal.SETTLING, replace(breaker, agrees_since=uptime)
    if uptime - since < SETTLES or reading.uptime < since:
        return ClockRefusal.SETTLING, breaker
    return None, Breaker()
