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
_BACKGROUND = (
    "celery",
    *_CELERY,
    *_WORKER,
    "-c",
    "1",
    "-Q",
    "reconcile,notify,mail,housekeeping",
    "-n",
    "background@%h",
)
_KEEPER = ("/bin/sh", "-c", 'while :; do "$@"; sleep 0.3; done', "keeper")


@contextmanager
def charging(kind: str, *, dies_at: str = "never", kept: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that charges: `manage.py tick --loop`, or Celery's; `dies_at` is a point and which time of it.

    One that is `kept` is started again when it ends, as every supervisor does."""
    with _running(dies_at, *PROGRAMS[kind], kept=kept) as process:
        yield process


@contextmanager
def background(*, beats: int = 1) -> Iterator[None]:
    """Celery's worker for everything but charges, and beat, or several of it; they are kept."""
    with _running("never", *_BACKGROUND, kept=True), _beats(beats):
        yield


@contextmanager
def _beats(left: int) -> Iterator[None]:
    if left == 0:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="kitaran-beat-") as folder:
        beat = ("beat", "--loglevel", "WARNING", "--schedule", f"{folder}/schedule", "--pidfile", "")
        with _running("never", "celery", *_CELERY, *beat, kept=True), _beats(left - 1):
            yield


@contextmanager
def _running(dies_at: str, *program: str, kept: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    argv = [*(_KEEPER if kept else ()), sys.executable, "-m", "tests.faults.worker", dies_at, *program]
    with open(Path(os.environ["KITARAN_DATA_DIR"]) / "workers.log", "ab") as log:
        process = spawn(argv, environment=os.environ, folder=ROOT, output=log, errors=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
