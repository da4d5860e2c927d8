"""Starting child processes: unprivileged, tied to the launcher's life, with a clean environment."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import IO

from config.embedded.child import Order
from config.embedded.errors import EmbeddedError

_CHILD = Path(__file__).with_name("child.py")
# Nothing else of the caller's environment reaches a server: PG* variables, for instance, would change it.
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Identity:
    """How a child becomes unprivileged; the fields are those of `child.Order`."""

    way: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Runner:
    """Starts children. The thread that calls it must outlive them: the kernel ends them with that thread."""

    identity: Identity
    lock_descriptor: int | None = None

    def spawn(
        self, argv: list[str], *, death_signal: Signals, output: IO[bytes], stdin: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """A process that gets `death_signal` when the calling thread ends; Ctrl-C does not reach it."""
        return self._popen(argv, [], death_signal, output, stdin)

    def run(self, argv: list[str], *, stop: threading.Event, text: str = "", timeout_seconds: float) -> tuple[int, str]:
        """Run to the end with `text` as input; the exit status and everything printed.

        Raises EmbeddedError when `stop` is set meanwhile or the time is over; the process is killed then.
        """
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as source:
            source.write(text.encode())
            source.seek(0)
            process = self.spawn(argv, death_signal=Signals.SIGKILL, output=output, stdin=source.fileno())
            deadline = time.monotonic() + timeout_seconds
            while process.poll() is None:
                if stop.is_set() or time.monotonic() > deadline:
                    process.kill()
                    process.wait()
                    reason = "was interrupted" if stop.is_set() else f"took longer than {timeout_seconds:.0f} s"
                    raise EmbeddedError(f"{Path(argv[0]).name} {reason}.")
                time.sleep(0.005)
            output.seek(0)
            return process.returncode, output.read().decode(errors="replace")

    def attempt(self, *, reachable: list[str]) -> tuple[bool, str]:
        """Whether a child can become unprivileged and then open all these paths, and if not, its output."""
        with tempfile.TemporaryFile() as output:
            process = self._popen([], reachable, Signals.SIGKILL, output, subprocess.DEVNULL)
            status = process.wait()
            output.seek(0)
            return status == 0, output.read().decode(errors="replace").strip()

    def _popen(
        self, argv: list[str], reachable: list[str], death_signal: Signals, output: IO[bytes], stdin: int
    ) -> subprocess.Popen[bytes]:
        identity = self.identity
        order = Order(
            way=identity.way,
            uid=identity.uid,
            gid=identity.gid,
            parent=os.getpid(),
            death_signal=int(death_signal),
            argv=argv,
            reachable=reachable,
        )
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(_CHILD), json.dumps(order)],
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=_environment(),
            start_new_session=True,
            pass_fds=() if self.lock_descriptor is None else (self.lock_descriptor,),
        )


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    # With TZ set, initdb does not search the time zone database for the machine's zone.
    return kept | {"LC_ALL": "C", "TZ": "UTC"}
