"""Keeps processes running: starts them, starts them again when they die, stops them.

All of it happens in one thread, because the kernel's signal at the parent's death means the parent's thread: the
thread that started a process must live as long as the process may. A supervisor that is killed leaves nothing.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import IO

from config.embedded import child
from config.embedded.keeper import Restarts

LOOK_SECONDS = 0.05
LARGEST_LOG_BYTES = 5_000_000


@dataclass(frozen=True, slots=True)
class Service:
    """A process to keep. `output` takes its standard output apart from the log, emptied at every start.

    `stop_seconds` is how long it may take to end after SIGTERM; `stops_last` lets the others end before it."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    output: Path | None = None
    stop_seconds: float = 10.0
    stops_last: bool = False


@dataclass(slots=True)
class _Kept:
    service: Service
    process: subprocess.Popen[bytes] | None = None
    restarts: Restarts = field(default_factory=Restarts)
    born: float = 0.0
    start_at: float = 0.0
    ended: str = ""  # how the last life ended, in words


class Supervisor:
    """Runs services from `start()` to `end()`. `show` gets a sentence for everything that people should know."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._show = show
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()
        self._stop_wanted = threading.Event()
        self._hurry = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def keep(self, *services: Service) -> None:
        """Starts them as soon as possible, and again whenever they end."""
        with self._lock:
            self._kept |= {service.name: _Kept(service) for service in services}

    def drop(self, name: str) -> None:
        """Ends a service at once and keeps it no longer."""
        with self._lock:
            kept = self._kept.pop(name, None)
            if kept is not None and kept.process is not None and kept.process.poll() is None:
                _kill(kept.process)

    def deaths(self, name: str) -> int:
        """How many times in a row the service ended soon after its start."""
        kept = self._kept.get(name)
        return kept.restarts.failures if kept else 0

    def pid(self, name: str) -> int | None:
        kept = self._kept.get(name)
        return kept.process.pid if kept and kept.process and kept.process.poll() is None else None

    def hurry(self) -> None:
        """Whoever has been asked to end and has not is killed."""
        self._hurry.set()

    def end(self) -> None:
        """Stops all services and waits for them."""
        self._stop_wanted.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop_wanted.wait(LOOK_SECONDS):
            with self._lock:
                for kept in self._kept.values():
                    self._check(kept)
        everything = list(self._kept.values())
        self._stop([kept for kept in everything if not kept.service.stops_last])
        self._stop([kept for kept in everything if kept.service.stops_last])

    def _check(self, kept: _Kept) -> None:
        now = time.monotonic()
        if kept.process is not None:
            status = kept.process.poll()
            if status is None:
                return
            kept.process, kept.ended = None, ending(status)
            kept.restarts = kept.restarts.after_life(now - kept.born)
            kept.start_at = now + kept.restarts.pause_seconds
        if now < kept.start_at:
            return
        kept.born = now
        try:
            kept.process = _start(kept.service)
        except OSError as error:
            kept.restarts = kept.restarts.after_life(0)
            kept.start_at = now + kept.restarts.pause_seconds
            self._show(f"{kept.service.name} could not be started: {error}")
            return
        if kept.ended:
            self._show(f"{kept.service.name} {kept.ended}; restarted")

    def _stop(self, group: list[_Kept]) -> None:
        asked = time.monotonic()
        running = [kept for kept in group if kept.process is not None]
        for kept in running:
            if kept.process is not None and kept.process.poll() is None:
                kept.process.terminate()
        while running:
            running = [kept for kept in running if kept.process is not None and kept.process.poll() is None]
            for kept in running:
                late = time.monotonic() - asked > kept.service.stop_seconds
                if late or self._hurry.is_set():
                    self._kill(kept)
            time.sleep(LOOK_SECONDS if running else 0)

    def _kill(self, kept: _Kept) -> None:
        if kept.process is not None:
            self._show(f"{kept.service.name} did not stop in time and was killed")
            _kill(kept.process)


def spawn(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path | None = None,
    output: IO[bytes] | None = None,
    errors: IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """A process in a session of its own that is killed when the calling thread ends; Ctrl-C does not reach it."""
    order = child.Order(
        way="direct",
        uid=os.geteuid(),
        gid=os.getegid(),
        parent=os.getpid(),
        death_signal=int(Signals.SIGKILL),
        argv=list(argv),
        reachable=[],
    )
    return subprocess.Popen(
        [sys.executable, "-I", "-S", child.__file__, json.dumps(order)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        cwd=folder,
        env=dict(environment),
        start_new_session=True,
    )


def ending(status: int) -> str:
    """How a process ended, in words, from `Popen.returncode`."""
    return f"was killed (signal {-status})" if status < 0 else f"ended (status {status})"


def _start(service: Service) -> subprocess.Popen[bytes]:
    if service.log.exists() and service.log.stat().st_size > LARGEST_LOG_BYTES:
        service.log.replace(service.log.with_suffix(".old"))
    with private_file(service.log, append=True) as log:
        if service.output is None:
            return spawn(service.argv, environment=service.environment, folder=service.folder, output=log, errors=log)
        with private_file(service.output, append=False) as output:
            return spawn(
                service.argv, environment=service.environment, folder=service.folder, output=output, errors=log
            )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """With what it has started: each service is the first of a process group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, Signals.SIGKILL)
    process.wait()


def private_file(path: Path, *, append: bool) -> IO[bytes]:
    """The file, opened for writing, readable only by its owner."""
    how = os.O_APPEND if append else os.O_TRUNC
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o600), "wb")
