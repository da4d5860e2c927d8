"""The clock that signs and sends: the database's, carried on by the uptime of this machine, which counts sleep."""

import os
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from billing.domain.clocks import FRESH, Reading, Span
from billing.models.clock import database_now
from rm_gateway.elapsed import ServerTime, elapsed

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
ASKED_AGAIN = timedelta(seconds=30)
_OTHERWISE = uuid.uuid4().hex


def uptime() -> timedelta:
    """How long this machine has been up, sleep included. Two processes of one `machine` agree about it."""
    return timedelta(seconds=elapsed())


def machine() -> str:
    """This boot of this machine; where the system has no name for it, this process and its children."""
    try:
        boot = _BOOT_ID.read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/time')}" if boot else _OTHERWISE
    except (OSError, ValueError):
        return _OTHERWISE


class AlignedClock:
    """The database's clock, carried on by the machine's uptime: a stepped wall clock does not move it, and a machine
    that was suspended is late by as much as it slept.

    A process that never got the database's time sends no money, and signs what it reads by the wall clock."""

    def __init__(self) -> None:
        self._base: tuple[float, float] | None = None
        self._read: tuple[datetime, float, float] | None = None
        self._doubted_at: float | None = None

    def doubt(self) -> None:
        """It was found to disagree with a gateway's: those are to be asked again soon."""
        self._doubted_at = elapsed()

    def reading_serves_for(self) -> timedelta:
        """How old a reading of a gateway's clock may grow before the gateway is asked again."""
        doubted = self._doubted_at is not None and elapsed() - self._doubted_at < FRESH.total_seconds()
        return ASKED_AGAIN if doubted else FRESH // 2

    def read(self, read_database: Callable[[], datetime]) -> datetime:
        """The database's time. The uptime that belongs to it is taken *before* asking: whoever sleeps in between is
        late, never early."""
        asked_at = elapsed()
        now = read_database()
        self._read = (now, asked_at, elapsed())
        self._base = (now.timestamp(), asked_at)
        return now

    def align(self, now: datetime) -> None:
        """`now` is the database's time; when it came from `read`, it counts from the moment of asking."""
        asked_at = self._read[1] if self._read is not None and self._read[0] == now else elapsed()
        self._base = (now.timestamp(), asked_at)

    def __call__(self) -> float:
        if self._base is None:
            return time.time()
        seconds, read_at = self._base
        return seconds + (elapsed() - read_at)

    def machine_started(self, now: datetime) -> Span:
        """When the machine was started, by the database whose time is `now`."""
        if self._read is not None and self._read[0] == now:
            _, asked_at, answered_at = self._read
        else:
            asked_at = answered_at = elapsed()
        return Span(now - timedelta(seconds=answered_at), now - timedelta(seconds=asked_at))


clock = AlignedClock()


def read_clock() -> datetime:
    """The database's time, for loops: whatever is armed by it is sent by it."""
    return clock.read(database_now)


def reading_of(shown: ServerTime) -> Reading:
    """When the machine was started, by the gateway whose answer showed this."""
    asked, answered = timedelta(seconds=shown.asked_at), timedelta(seconds=shown.answered_at)
    return Reading(Span(shown.earliest - answered, shown.latest - asked), answered)
