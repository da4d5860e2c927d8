"""Two locks of a data folder, both released by the kernel when their holders die.

`lock` is held by the launcher alone. `servers.lock` is held by the launcher and, through an inherited descriptor,
by every server process: as long as one of them lives, no new server may touch the files.
"""

import fcntl
import os
import time
from pathlib import Path

from config.embedded.errors import AlreadyRunning, EmbeddedError

LAUNCHER_LOCK = "lock"
SERVERS_LOCK = "servers.lock"
# A look by `held` takes the lock for an instant; a start that meets it tries again for this long.
_LAUNCHER_PATIENCE_SECONDS = 0.3
# Servers of a killed launcher end on their own (PostgreSQL kills its last backends after five seconds).
_SERVERS_PATIENCE_SECONDS = 15.0

_descriptors: set[int] = set()


def take_launcher_lock(data_dir: Path) -> int:
    """The descriptor that holds the lock. Raises AlreadyRunning when another process (or Stack) has it."""
    descriptor = _take(data_dir / LAUNCHER_LOCK, _LAUNCHER_PATIENCE_SECONDS)
    if descriptor is None:
        raise AlreadyRunning(
            f"The servers of {data_dir} are already running (process {holder(data_dir) or 'unknown'})."
        )
    os.truncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def take_servers_lock(data_dir: Path) -> int:
    """The descriptor to hand to every server. Raises EmbeddedError when earlier servers do not end."""
    descriptor = _take(data_dir / SERVERS_LOCK, _SERVERS_PATIENCE_SECONDS)
    if descriptor is None:
        raise EmbeddedError(f"Servers that a killed launcher started in {data_dir} are still running: end them first.")
    return descriptor


def release(descriptor: int) -> None:
    _descriptors.discard(descriptor)
    os.close(descriptor)


def held(data_dir: Path) -> bool:
    """Whether a launcher of this folder lives now (also this very process)."""
    try:
        descriptor = os.open(data_dir / LAUNCHER_LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def holder(data_dir: Path) -> int | None:
    """The process id that the last taker of the launcher's lock wrote down; it may be dead."""
    try:
        return int((data_dir / LAUNCHER_LOCK).read_text())
    except (FileNotFoundError, ValueError):
        return None


def _take(path: Path, patience_seconds: float) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EmbeddedError(f"{path} cannot be opened by this user: {error.strerror}.") from error
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return None
            time.sleep(0.02)
        else:
            _descriptors.add(descriptor)
            return descriptor


def _forget_in_forked_child() -> None:
    """A fork shares the lock: one that outlives a killed launcher would keep the folder locked."""
    for descriptor in _descriptors:
        os.close(descriptor)
    _descriptors.clear()


os.register_at_fork(after_in_child=_forget_in_forked_child)
