"""The outer process: starts PostgreSQL and Valkey, and then the command itself once more, with their addresses.

Django reads its database settings once, when a process starts; so the process that starts the servers is not the
one that uses them. With DATABASE_URL and REDIS_URL set there is no outer process.
"""

import fcntl
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from django.conf import settings

from billing.demo.supervisor import ending, spawn
from config import embedded

LOCK = "supervisor.lock"
INTERRUPTED = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class LaunchError(Exception):
    """The command cannot start; the message says why and what to do."""


def launch(arguments: Sequence[str], *, data_dir: Path, here: Callable[[], int]) -> int:
    """Runs `here` with both servers and the folder's lock, in this process or in a child of it; the exit status.

    `arguments` are those of manage.py, for the child. Raises LaunchError or EmbeddedError."""
    given = settings.KITARAN_GIVEN_SERVERS
    if len(given) == 1:
        (other,) = {"DATABASE_URL", "REDIS_URL"} - set(given)
        raise LaunchError(f"{given[0]} is set and {other} is not: set both, or neither to use the embedded servers.")
    if given and data_dir == settings.KITARAN_DATA_DIR:
        with folder_lock(data_dir):
            return here()
    chosen = {**os.environ, "KITARAN_DATA_DIR": str(data_dir)}
    relay = _Relay()
    with relay.listening():
        try:
            if given:
                return relay.run(arguments, chosen)
            return _in_servers(relay, arguments, chosen, data_dir)
        except KeyboardInterrupt:
            return INTERRUPTED


def _in_servers(relay: "_Relay", arguments: Sequence[str], environment: dict[str, str], data_dir: Path) -> int:
    stack = embedded.Stack(data_dir)
    info = stack.start()
    try:
        with _logging_to(data_dir / "log" / "launcher.log"):
            servers = {"DATABASE_URL": info.database_url, "REDIS_URL": info.redis_url}
            return relay.run(arguments, environment | servers)
    finally:
        relay.deaf = True  # the stop takes a second, and half a stop helps nobody
        stack.stop()


class _Relay:
    """Passes signals on to the child; before there is one, a signal interrupts this process."""

    def __init__(self) -> None:
        self.deaf = False
        self._asked = False
        self._child: subprocess.Popen[bytes] | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        with _handling(self._stop):
            yield

    def run(self, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
        manage = str(Path(settings.BASE_DIR) / "manage.py")
        self._child = spawn([sys.executable, manage, *arguments], environment=environment)
        status = self._child.wait()
        if status < 0 and self._asked:
            return INTERRUPTED  # it was asked to end before it could listen
        if status < 0:
            sys.stderr.write(f"manage.py: the process with everything in it {ending(status)}.\n")
            return 1
        return status

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        if self.deaf:
            return
        if self._child is None:
            raise KeyboardInterrupt
        self._asked = True
        with suppress(ProcessLookupError):
            self._child.send_signal(signal.SIGTERM)


@contextmanager
def interruptible(hurry: Callable[[], None]) -> Iterator[None]:
    """The first signal to end raises KeyboardInterrupt; every later one calls `hurry`."""
    signals: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        signals.append(number)
        if len(signals) == 1:
            raise KeyboardInterrupt
        hurry()

    with _handling(handle):
        yield


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal (unless `nohup` ignores that) reach `handler`."""
    handled = [number for number in _SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in handled}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


@contextmanager
def folder_lock(data_dir: Path) -> Iterator[None]:
    """One supervisor a folder; the kernel frees the lock when its holder dies. Raises AlreadyRunning."""
    data_dir.mkdir(parents=True, mode=0o700, exist_ok=True)
    descriptor = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = file.read().strip() or "unknown"
            raise embedded.AlreadyRunning(
                f"{data_dir} is in use: its demo or services are already running (process {holder})."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """What the launcher of the servers has to say goes to a file: the terminal belongs to the child."""
    logger = logging.getLogger("config.embedded")
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("{asctime} {levelname} {message}", style="{"))
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = True
        logger.removeHandler(handler)
        handler.close()
