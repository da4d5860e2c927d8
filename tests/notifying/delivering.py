"""Webhook workers as real processes: `python -m tests.notifying.delivering` delivers until it is killed.

`after_send`: it kills itself once its n-th answer has come, before the answer is recorded."""

import itertools
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

import django

SHORT_LEASE = timedelta(seconds=1)
# Between two tries; with the engine's own waits an endpoint that fails now and then would fall ever further behind.
SHORT_WAIT = timedelta(milliseconds=500)


def start(point: str = "never") -> "subprocess.Popen[bytes]":
    """In the database of the test that calls it."""
    from tests.faults.recovery import ROOT, environment

    return subprocess.Popen(
        [sys.executable, "-m", "tests.notifying.delivering", point],
        cwd=ROOT,
        env={**environment(), "KITARAN_WEBHOOKS_ALLOW_PRIVATE": "1"},
    )


def main() -> None:
    django.setup()
    from billing.domain import webhooks
    from billing.models.clock import database_now
    from billing.notifying import deliver as delivering
    from billing.notifying import record_try

    point, _, nth = sys.argv[1].partition(":")
    if point == "after_send":
        passes, record = itertools.count(1), record_try.record_try

        def die_or_record(*args: object, **kwargs: object) -> None:
            if next(passes) == int(nth or 1):
                os.kill(os.getpid(), signal.SIGKILL)
            record(*args, **kwargs)  # type: ignore[arg-type]

        vars(delivering)["record_try"] = die_or_record
    vars(webhooks)["WAITS"] = (SHORT_WAIT,) * len(webhooks.WAITS)
    delivering.Delivering.lease = SHORT_LEASE  # type: ignore[assignment]
    how = delivering.Delivering(timedelta(seconds=2), at_once=16, of_one_endpoint=8, allow_private=True)
    while True:
        delivering.deliver_due(how=how, clock=database_now, should_stop=lambda: False)
        time.sleep(0.05)


if __name__ == "__main__":
    main()
