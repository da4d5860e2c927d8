"""A worker that is killed at one point: `python -m tests.faults.worker POINT [PROGRAM ARGUMENT...]`.
POINT may be `never`, or with a program end in `:N`, the N-th time.

Without a program it runs the real `collect` once, or `refund_due` when the point is a refund's. With one
(`manage.py tick --loop`, `celery -A config.celery worker`) it is that program, and death takes all of its processes.
Database, broker and simulator are those of the environment.
"""

import ctypes
import os
import signal
import sys

import django

from tests.faults.deaths import REFUND_POINTS, arrange, kill_group

PR_SET_PDEATHSIG = 1


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    point, *program = sys.argv[1:]
    if not program and point in REFUND_POINTS:
        arrange(point)
        _give_back_once()
        return
    if not program:
        arrange(point, delay_seconds=0.3 if point == "after_send" else 0)  # so that all of the group have left
        _collect_once()
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # nobody outlives who started it
    if point != "never":
        name, _, nth = point.partition(":")
        arrange(name, nth=int(nth or 1), die=kill_group)
    sys.argv = program
    if program[0] == "manage.py":
        from django.core.management import execute_from_command_line

        execute_from_command_line(program)
    else:
        from celery.__main__ import main as celery

        celery()


def _collect_once() -> None:
    from billing.charging.collecting.collect import collect
    from billing.models.clock import database_now
    from tests.conftest import SHORT

    collect(tuning=SHORT, clock=database_now, should_stop=lambda: False, worker="doomed")


def _give_back_once() -> None:
    from billing.charging.refunds.worker import refund_due
    from billing.models.clock import database_now
    from tests.conftest import SHORT

    refund_due(tuning=SHORT, clock=database_now, should_stop=lambda: False)


if __name__ == "__main__":
    main()
