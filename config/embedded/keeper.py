"""One thread for each server: it starts the server, starts it again when it dies, and stops it.

The thread lives as long as the server may, because the kernel's signal at the parent's death means the
parent's thread.
"""

import logging
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Protocol

from config.embedded.errors import EmbeddedError
from config.embedded.files import tail
from config.embedded.processes import Runner

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.05
_READY_LOOK_SECONDS = 0.01
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
# A server that has lived this long was well: the next pause is short again.
_WELL_AFTER_SECONDS = 30.0
_LARGEST_LOG_BYTES = 5_000_000


class Server(Protocol):
    """What a keeper has to know about a server."""

    @property
    def name(self) -> str: ...

    @property
    def death_signal(self) -> Signals:
        """What the server gets when the launcher dies."""

    @property
    def stop_signals(self) -> tuple[tuple[Signals, float], ...]:
        """Signals for a stop, each with the seconds to wait before the next; SIGKILL comes last."""

    @property
    def ready_seconds(self) -> float:
        """How long a start may take."""

    def prepare(self, runner: Runner, stop: threading.Event) -> list[str]:
        """Make the server's files where they are missing, and return the command that starts it."""

    def is_ready(self, pid: int) -> bool:
        """Whether the server with this process id takes connections."""


@dataclass(frozen=True, slots=True)
class Restarts:
    """How long to wait before the next start, after `failures` short lives in a row."""

    failures: int = 0

    def after_life(self, seconds: float) -> "Restarts":
        return Restarts(1 if seconds >= _WELL_AFTER_SECONDS else self.failures + 1)

    @property
    def pause_seconds(self) -> float:
        return min(_FIRST_PAUSE_SECONDS * 2.0 ** min(max(self.failures - 1, 0), 10), _LONGEST_PAUSE_SECONDS)


class Keeper(threading.Thread):
    """Runs one server from `start()` to `end()`."""

    def __init__(self, server: Server, runner: Runner, log: Path, *, restart: bool) -> None:
        super().__init__(name=f"embedded-{server.name}", daemon=True)
        self.server = server
        self._runner = runner
        self._log = log
        self._restart = restart
        self._stop_wanted = threading.Event()
        self._settled = threading.Event()
        self._failure: BaseException | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._command: list[str] = []

    @property
    def pid(self) -> int | None:
        """The server's process id, or None while it does not run."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def wait_ready(self) -> None:
        """Wait until the first start has succeeded. Raises what made it fail."""
        self._settled.wait()
        if self._failure is not None:
            raise self._failure

    def want_stop(self) -> None:
        """Ask for the end; several keepers can stop side by side."""
        self._stop_wanted.set()

    def end(self) -> None:
        """Stop the server and wait for it."""
        self.want_stop()
        if self.ident is not None:  # else the start was interrupted before this thread began
            self.join()

    def run(self) -> None:
        try:
            self._command = self.server.prepare(self._runner, self._stop_wanted)
            self._spawn()
            self._wait_until_ready()
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
            self._failure = error
            self._stop_server()
            self._settled.set()
            return
        self._settled.set()
        self._watch()
        self._stop_server()

    def _watch(self) -> None:
        restarts = Restarts()
        born = time.monotonic()
        while not self._stop_wanted.wait(_LOOK_SECONDS):
            if self._process is not None and self._process.poll() is None:
                continue
            if self._process is not None:
                logger.error("%s ended with status %s", self.server.name, self._process.returncode)
            if not self._restart:
                self._stop_wanted.wait()
                return
            restarts = restarts.after_life(time.monotonic() - born)
            if self._stop_wanted.wait(restarts.pause_seconds):
                return
            born = time.monotonic()
            self._start_again()

    def _start_again(self) -> None:
        try:
            self._spawn()
            self._wait_until_ready()
        except (EmbeddedError, OSError) as error:
            logger.error("%s could not be started again: %s", self.server.name, error)  # noqa: TRY400 - the text is enough
            self._stop_server()
        else:
            logger.warning("%s was started again (process %s)", self.server.name, self.pid)

    def _spawn(self) -> None:
        if self._log.exists() and self._log.stat().st_size > _LARGEST_LOG_BYTES:
            self._log.replace(self._log.with_suffix(".old"))
        with self._log.open("ab") as output:
            self._process = self._runner.spawn(self._command, death_signal=self.server.death_signal, output=output)

    def _wait_until_ready(self) -> None:
        process = self._process
        assert process is not None  # noqa: S101 - set by _spawn, for the type checker
        name = self.server.name
        deadline = time.monotonic() + self.server.ready_seconds
        while not self.server.is_ready(process.pid):
            if process.poll() is not None:
                status, output = process.returncode, tail(self._log)
                raise EmbeddedError(f"{name} ended at once with status {status}. {self._log} says:\n{output}")
            if time.monotonic() > deadline:
                seconds = self.server.ready_seconds
                raise EmbeddedError(f"{name} was not ready after {seconds:.0f} s: see {self._log}.")
            if self._stop_wanted.wait(_READY_LOOK_SECONDS):
                raise EmbeddedError(f"The start of {name} was interrupted.")

    def _stop_server(self) -> None:
        process = self._process
        if process is None:
            return
        for number, seconds in self.server.stop_signals:
            if process.poll() is not None:
                return
            process.send_signal(number)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                logger.warning("%s did not end within %s s of %s", self.server.name, seconds, number.name)
        if process.poll() is None:
            process.kill()
            process.wait()
