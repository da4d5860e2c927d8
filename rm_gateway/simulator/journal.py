"""The file in which the simulator's state survives: one JSON object a line, only ever appended to.

A line is handed to the kernel before the answer that it belongs to leaves, so a killed process loses nothing that it
answered; a machine that loses power may (no fsync: this is a simulator). A torn last line is cut off at start.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

_encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode

Record = dict[str, Any]


class JournalError(Exception):
    """The file is in use, or is no journal; the message says which and where."""


class Journal:
    """An open journal; locked until it is closed or the process ends. Without a path nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._fd = -1
        self.path = path
        if path is None:
            return
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(f"the state file {path} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._fd)
            raise JournalError(f"the state file {path} is in use by another simulator") from None

    def write(self, record: Record) -> None:
        """Append one record; it is with the kernel when this returns."""
        if self._fd < 0:
            return
        line = memoryview(_encode(record).encode(errors="replace") + b"\n")
        while line:
            line = line[os.write(self._fd, line) :]

    def replay(self) -> Iterator[Record]:
        """Every record so far. Cuts a torn last line off; raises JournalError for any other broken line."""
        if self._fd < 0:
            return
        good = 0
        with open(os.dup(self._fd), "rb") as lines:
            lines.seek(0)
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    record = json.loads(line)
                except ValueError:
                    raise JournalError(f"the state file {self.path} is broken in line {number}") from None
                if not isinstance(record, dict):
                    raise JournalError(f"the state file {self.path} is broken in line {number}")
                good += len(line)
                yield record
        os.ftruncate(self._fd, good)

    def close(self) -> None:
        """Release the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
