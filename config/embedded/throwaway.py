"""Servers for a test: in a fresh temporary folder that is removed afterwards."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config.embedded import locks
from config.embedded.sockets import short_folders, usable
from config.embedded.stack import Stack, StackInfo

_PREFIX = "kitaran-tmp-"
# Left over by a test run that was killed; younger ones may belong to a start that has not taken its lock yet.
_LEFT_OVER_SECONDS = 3600


@contextmanager
def throwaway(*, valkey: bool = False, durable: bool = False) -> Iterator[StackInfo]:
    """PostgreSQL, and Valkey if asked, for the length of a `with` block. Raises what `Stack.start` raises."""
    base = next(folder for folder in short_folders() if usable(folder / f"{_PREFIX}12345678" / "run"))
    remove_left_overs(base)
    data_dir = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    stack = Stack(data_dir, valkey=valkey, durable=durable)
    try:
        yield stack.start()
    finally:
        stack.stop()
        shutil.rmtree(data_dir, ignore_errors=True)


def remove_left_overs(base: Path) -> None:
    """Remove what killed test runs of this user left in `base` more than an hour ago."""
    for folder in base.glob(f"{_PREFIX}*"):
        try:
            found = folder.lstat()
            old = time.time() - found.st_mtime > _LEFT_OVER_SECONDS
            if old and found.st_uid == os.geteuid() and folder.is_dir() and not locks.held(folder):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # another run has just removed it
            continue
