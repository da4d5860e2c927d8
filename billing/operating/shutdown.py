"""Whether this process should come to an end. Loops ask; nothing is killed in the middle of a charge."""

import threading
from typing import Protocol


class _Flag(Protocol):
    def is_set(self) -> bool: ...

    def set(self) -> None: ...


_flag: _Flag = threading.Event()


def share(flag: _Flag) -> None:
    """Uses an event that several processes see; called before they are forked."""
    global _flag
    _flag = flag


def announce() -> None:
    _flag.set()


def requested() -> bool:
    return _flag.is_set()
