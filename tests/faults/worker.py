"""A worker process that is killed at one point: `python -m tests.faults.worker POINT`.

It runs the real `collect` against the database and the simulator that the environment names.
"""

import os
import signal
import sys
import threading
from typing import Any, NoReturn

import django


def die(*_: Any, **__: Any) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def arrange(point: str) -> None:
    """Puts death at the named point of the protocol."""
    from billing.charging import collect as collecting
    from billing.charging.consequences import Settlement
    from billing.gateway.connection import Gateway

    if point == "after_arm":
        collecting._Collector._submit = die  # type: ignore[method-assign]
    elif point == "after_send":  # the request has left, its answer has not come
        send = Gateway.send

        def send_and_die(self: Gateway, *args: Any, **kwargs: Any) -> Any:
            threading.Timer(0.4, die).start()
            return send(self, *args, **kwargs)

        Gateway.send = send_and_die  # type: ignore[method-assign]
    elif point == "after_answer":
        collecting.settle = die  # type: ignore[assignment]
    elif point == "before_settle_commits":
        write = Settlement.write

        def write_and_die(self: Settlement) -> NoReturn:
            write(self)
            die()

        Settlement.write = write_and_die  # type: ignore[method-assign,assignment]
    else:
        raise SystemExit(f"no such point: {point}")


def main() -> None:
    django.setup()
    arrange(sys.argv[1])
    from billing.charging.collect import collect
    from billing.models.clock import database_now
    from tests.conftest import SHORT

    collect(limits=SHORT, clock=database_now, should_stop=lambda: False, worker="doomed")


if __name__ == "__main__":
    main()
