"""Seconds that passed on this machine, those that it slept included, and what a server says of its own clock.

``time.monotonic`` stands still while a Linux machine is suspended: a request that was prepared before the lid was
closed would look fresh hours later. CLOCK_BOOTTIME goes on. Where it does not exist (macOS, BSD) CLOCK_MONOTONIC is
used, which counts sleep on macOS; ``time.monotonic`` is the last resort.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
_RESOLUTION: Final = timedelta(seconds=1)  # of the header: whole seconds


def elapsed() -> float:
    """Seconds since some moment in the past, as a rule the start of the machine. Never goes back."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


@dataclass(frozen=True, slots=True)
class ServerTime:
    """The ``Date`` of one answer: between ``asked_at`` and ``answered_at`` (of ``elapsed``) it was ``earliest`` to
    ``latest`` at the server."""

    earliest: datetime
    latest: datetime
    asked_at: float
    answered_at: float

    @property
    def seconds(self) -> float:
        """How long the exchange took: the shorter, the more exactly it is known when the server wrote the header."""
        return self.answered_at - self.asked_at


def server_time(headers: Mapping[str, str], *, asked_at: float, answered_at: float) -> ServerTime | None:
    """What an answer's headers say of the server's clock; None when there is no ``Date`` or it is not understood."""
    text = headers.get("Date")
    if not isinstance(text, str) or len(text) > 64:
        return None
    try:
        date = parsedate_to_datetime(text)
        date = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
        return ServerTime(date, date + _RESOLUTION, asked_at, answered_at)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
