"""A real worker whose database clock is off: `python -m tests.hostile.shifted_worker FILE PROGRAM [ARGUMENT...]`.

FILE holds seconds, read at every reading of the clock. The breaker waits a second instead of a minute."""

import ctypes
import os
import signal
import sys
from datetime import datetime, timedelta
from pathlib import Path

import django

PR_SET_PDEATHSIG = 1


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # it does not outlive who started it
    file, *program = sys.argv[1:]
    _shift(Path(file))
    sys.argv = program
    from django.core.management import execute_from_command_line

    execute_from_command_line(program)


def _shift(file: Path) -> None:
    from billing.domain import clocks as rules
    from billing.gateway import sending_clock as gateway_clock
    from billing.management.commands import tick
    from billing.models.clock import database_now
    from billing.operating import clocks

    def shifted() -> datetime:
        return database_now() + timedelta(seconds=float(file.read_text()))

    gateway_clock.database_now = shifted
    tick.database_now = shifted
    rules.SETTLES = timedelta(seconds=1)
    gateway_clock.ASKED_AGAIN = clocks.ASKED_AGAIN = timedelta(seconds=0.5)


if __name__ == "__main__":
    main()
