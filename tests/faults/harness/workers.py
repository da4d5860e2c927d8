"""Real processes of an installation, as production starts them; all of a worker's processes end with their block."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from billing.demo.supervisor import spawn
from tests.faults.harness.figures import ROOT

KINDS = ("tick", "celery")
_CELERY = ("-A", "config.celery")
_WORKER = ("worker", "--loglevel", "WARNING", "--without-gossip", "--without-mingle")
PROGRAMS = {
    "tick": ("manage.py", "tick", "--loop", "--every", "1"),
    "celery": ("celery", *_CELERY, *_WORKER, "-c", "2", "-Q", "charge", "-n", "charge@%h"),
}
_BACKGROUND = ("celery", *_CELERY, *_WORKER, "-c", "1", "-Q", "reconcile,notify,housekeeping", "-n", "background@%h")


@contextmanager
def charging(kind: str, *, dies_at: str = "never") -> Iterator[subprocess.Popen[bytes]]:
    """A worker that charges: `manage.py tick --loop`, or Celery's; `dies_at` is a point and which time of it."""
    with _running("tests.faults.worker", dies_at, *PROGRAMS[kind]) as process:
        yield process


@contextmanager
def background(*, beats: int = 1) -> Iterator[None]:
    """Celery's worker for everything but charges, and beat, or several of it."""
    with _running(*_BACKGROUND), _beats(beats):
        yield


@contextmanager
def _beats(left: int) -> Iterator[None]:
    if left == 0:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="kitaran-beat-") as folder:
        beat = ("beat", "--loglevel", "WARNING", "--schedule", f"{folder}/schedule", "--pidfile", "")
        with _running("celery", *_CELERY, *beat), _beats(left - 1):
            yield


@contextmanager
def _running(*module: str) -> Iterator[subprocess.Popen[bytes]]:
    with open(Path(os.environ["KITARAN_DATA_DIR"]) / "workers.log", "ab") as log:
        process = spawn([sys.executable, "-m", *module], environment=os.environ, folder=ROOT, output=log, errors=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
