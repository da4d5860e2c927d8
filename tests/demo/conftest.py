"""Starting `manage.py demo` as a user would, and looking after what it leaves."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
STACK = ("DATABASE_URL", "REDIS_URL")


class Running:
    """A command of manage.py in a process of its own; its lines are read as they come."""

    def __init__(self, *arguments: str, data_dir: Path, **environment: str) -> None:
        kept = {name: value for name, value in os.environ.items() if name not in STACK}
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=kept | {"KITARAN_DATA_DIR": str(data_dir)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # As a terminal would start it, whatever the runner of the tests ignores.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream: Any, lines: list[str]) -> None:
        for line in stream:
            lines += [line.rstrip("\n")]

    def wait_for_line(self, pattern: str, *, seconds: float = 60) -> re.Match[str]:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for line in list(self.out):
                if found := re.search(pattern, line):
                    return found
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"no line matched {pattern!r}:\n{self.everything()}")

    def end(self, *, seconds: float) -> int:
        """Waits for the end; the exit status."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s:\n{self.everything()}") from None
        self.close()
        return status

    def result(self) -> dict[str, Any]:
        """The last line of standard output, which is JSON."""
        numbers: dict[str, Any] = json.loads(self.out[-1])
        return numbers

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def everything(self) -> str:
        return "\n".join([*self.out, "--- stderr", *self.err])

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A short path that does not exist yet (pytest's own folders can be too long for sockets)."""
    parent = Path(tempfile.mkdtemp(prefix="ktest-", dir="/tmp"))
    yield parent / "data"
    shutil.rmtree(parent, ignore_errors=True)


@pytest.fixture
def start(data_dir: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def begin(*arguments: str, **environment: str) -> Running:
        started.append(Running(*arguments, data_dir=data_dir, **environment))
        return started[-1]

    yield begin
    for running in started:
        running.close()
    wait_until_gone(processes_of(data_dir))


def words(process: psutil.Process | None) -> list[str]:
    """The command line; nothing when the process has ended meanwhile, as PostgreSQL's own come and go."""
    try:
        return process.cmdline() if process else []
    except psutil.Error:
        return []


def processes_of(data_dir: Path) -> list[psutil.Process]:
    """Every living process that names the folder in its command line or its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            named = str(data_dir) in " ".join(process.cmdline())
            named = named or process.environ().get("KITARAN_DATA_DIR") == str(data_dir)
            if named and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_until_gone(processes: list[psutil.Process], *, seconds: float = 15) -> None:
    """Fails with their command lines when some are still there."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    assert not alive, [" ".join(words(process)) for process in alive]
