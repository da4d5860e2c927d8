"""Both sides of a measured process: it says when it is ready, waits for the word, works, and says what that took."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Took:
    """`started` and `ended` are of the monotonic clock, which all processes of a machine share."""

    done: int
    started: float
    ended: float
    cpu_seconds: float


def run_on_command(work: Callable[[], int]) -> None:
    """The process's side. `work` returns how much it did; nothing before the word or after it is measured."""
    print(json.dumps({"pid": os.getpid()}), flush=True)
    if sys.stdin.readline().strip() != "go":
        return
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    done = work()
    ended, after = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"done": done, "started": started, "ended": ended, "cpu_seconds": cpu}), flush=True)


class Worker:
    """The starter's side: `python -m <module> <arguments as JSON>`. Ends the process on leaving its `with` block."""

    def __init__(self, module: str, arguments: dict[str, Any], environment: dict[str, str]) -> None:
        command = [*prefix(), sys.executable, "-m", module, json.dumps(arguments)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, **pipes)  # type: ignore[call-overload]
        self.pid = 0

    def wait_ready(self) -> None:
        self.pid = int(self._line()["pid"])

    def go(self) -> None:
        self._write("go\n")

    def took(self) -> Took:
        return Took(**self._line())

    def pss_bytes(self) -> int:
        """Memory of the process, shared pages divided among those who share them; 0 when it has ended."""
        try:
            return int(psutil.Process(self.pid).memory_full_info().pss)
        except psutil.Error:
            return 0

    def _write(self, text: str) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(text)
            self._process.stdin.flush()

    def _line(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise RuntimeError(f"a worker ended with status {self._process.wait(READY_SECONDS)}; see above")
        found: dict[str, Any] = json.loads(line)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def prefix() -> list[str]:
    """A profiler's command in front of each worker's, when KITARAN_BENCH_PREFIX names one."""
    return os.environ.get("KITARAN_BENCH_PREFIX", "").split()
