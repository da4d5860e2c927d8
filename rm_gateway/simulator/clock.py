"""The simulator's one reading of time.

Two readings are kept apart on purpose. ``wall()`` is the machine's clock plus a skew: it judges timestamps of
requests, tokens and rate limits, since the caller's clock is real. ``now()`` is the gateway's calendar: it dates
orders, settles what is in process, shows orders late and drives RM's own recurring runs. It follows ``wall()``
until it is advanced, or stands still once it is virtual. The wall can be stopped too, for callers that have a clock of
their own: then nothing at all depends on how fast the machine is.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache

ZERO_TIME = "0001-01-01T00:00:00Z"


class Clock:
    """Real, offset or virtual time, in seconds since the Unix epoch, UTC."""

    def __init__(self) -> None:
        self.skew = 0.0
        self.advanced = 0.0
        self.virtual: float | None = None
        self.stopped: float | None = None

    def wall(self) -> float:
        """The machine's clock, or where it was stopped, plus ``skew``: for request windows and tokens."""
        return (time.time() if self.stopped is None else self.stopped) + self.skew

    def now(self) -> float:
        """The gateway's calendar: virtual when it was set so, else ``wall()`` plus what it was advanced."""
        return self.virtual if self.virtual is not None else self.wall() + self.advanced

    def advance(self, seconds: float) -> None:
        """Move the calendar forward; a virtual calendar stays virtual. Raises ValueError for going back."""
        if seconds < 0:
            raise ValueError("a calendar is advanced by 0 seconds or more")
        if self.virtual is not None:
            self.virtual += seconds
        else:
            self.advanced += seconds

    def state(self) -> dict[str, float | None]:
        """What ``restore`` takes: the four settings, in seconds."""
        return {"skew": self.skew, "advanced": self.advanced, "virtual": self.virtual, "stopped": self.stopped}

    def restore(self, state: dict[str, float | None]) -> None:
        """Take over settings that ``state`` gave."""
        self.skew = state.get("skew") or 0.0
        self.advanced = state.get("advanced") or 0.0
        self.virtual = state.get("virtual")
        self.stopped = state.get("stopped")


def rfc3339(at: float, *, nanoseconds: bool = False) -> str:
    """An instant as RM writes it: whole seconds, or with nine digits of fraction."""
    text = _second(int(at))
    return f"{text}.{int(at % 1 * 1_000_000):06d}789Z" if nanoseconds else f"{text}Z"


@lru_cache(maxsize=1024)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def exact(at: float) -> str:
    """An instant with microseconds, for the control interface."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@lru_cache(maxsize=1024)
def compact_second(at: int) -> str:
    """An instant as YYMMDDHHMMSS, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%y%m%d%H%M%S")


def parse_instant(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 text; without a zone it is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
