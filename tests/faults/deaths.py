"""Death at named points of the protocol: each patches this process, so it is a process of its own that dies."""

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

POINTS = ("after_arm", "after_send", "after_answer", "before_settle_commits")
REFUND_POINTS = ("refund_before_arm_commits", *(f"refund_{point}" for point in POINTS))


def kill_process() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def kill_group() -> NoReturn:
    """The whole worker: a prefork worker's main process with all its children."""
    os.killpg(os.getpgid(0), signal.SIGKILL)
    time.sleep(10)  # the kernel does not promise to begin with the one who asked
    raise AssertionError("still alive")


def stop_process() -> None:
    """SIGSTOP: it goes on here when somebody sends SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)


def arrange(point: str, *, nth: int = 1, delay_seconds: float = 0, die: Callable[[], None] = kill_process) -> None:
    """Puts death at the `nth` time that this process passes the point; `delay_seconds` is for what goes on beside it.

    after_arm: the commit in which attempts are born was acknowledged, nothing of it has left.
    after_send: a charge's last byte went to the kernel, its answer has not come.
    after_answer: answers are in memory, nothing of them is written.
    before_settle_commits: everything of a settlement is written, its COMMIT is not sent.
    The points of a refund are the same, and refund_before_arm_commits: it is armed, and its COMMIT is not sent."""
    passes = itertools.count(1)

    def pass_by() -> None:
        if next(passes) == nth:
            time.sleep(delay_seconds)
            die()

    {  # type: ignore[operator]
        "after_arm": _after_arm,
        "after_send": _after_send,
        "after_answer": _after_answer,
        "before_settle_commits": _before_settle_commits,
        "refund_before_arm_commits": partial(_refund_is_written, armed=True),
        "refund_after_arm": _refund_after_arm,
        "refund_after_send": partial(_after_send, of="send_refund"),
        "refund_after_answer": _refund_after_answer,
        "refund_before_settle_commits": partial(_refund_is_written, armed=False),
    }[point](pass_by)


def _after_arm(pass_by: Callable[[], None]) -> None:
    from billing.charging.collecting import collect as collecting

    arm = collecting.arm

    def arm_and_die(**arguments: Any) -> Any:
        result = arm(**arguments)
        if result.armed:
            pass_by()
        return result

    collecting.arm = arm_and_die  # type: ignore[assignment]


def _after_send(pass_by: Callable[[], None], of: str = "send") -> None:
    """`of` is what moves money: a method of Gateway."""
    from billing.gateway.connection import Gateway
    from rm_gateway import connections

    moving = threading.local()
    send, request = getattr(Gateway, of), connections._Departing.request

    def send_money(self: Gateway, *args: Any, **kwargs: Any) -> Any:
        moving.now = True
        try:
            return send(self, *args, **kwargs)
        finally:
            moving.now = False

    def request_and_die(self: Any, *args: Any, **kwargs: Any) -> None:
        request(self, *args, **kwargs)
        if getattr(moving, "now", False):
            pass_by()

    setattr(Gateway, of, send_money)
    connections._Departing.request = request_and_die  # type: ignore[method-assign]


def _after_answer(pass_by: Callable[[], None]) -> None:
    from billing.charging.collecting import collect as collecting

    settle = collecting.settle

    def die_or_settle(*args: Any, **kwargs: Any) -> Any:
        pass_by()
        return settle(*args, **kwargs)

    collecting.settle = die_or_settle


def _before_settle_commits(pass_by: Callable[[], None]) -> None:
    from billing.charging.attempts.consequences import Settlement

    write = Settlement.write

    def write_and_die(self: Settlement) -> dict[str, int]:
        counts = write(self)
        pass_by()
        return counts

    Settlement.write = write_and_die  # type: ignore[method-assign]


def _refund_after_arm(pass_by: Callable[[], None]) -> None:
    from billing.charging.refunds.worker import _Refunder

    submit = _Refunder._submit

    def die_or_submit(*args: Any) -> None:
        pass_by()
        submit(*args)

    _Refunder._submit = die_or_submit  # type: ignore[assignment, method-assign]


def _refund_after_answer(pass_by: Callable[[], None]) -> None:
    from billing.charging.refunds import worker as refund_worker

    settle = refund_worker.settle_refund_answer

    def die_or_settle(*args: Any, **kwargs: Any) -> Any:
        pass_by()
        return settle(*args, **kwargs)

    refund_worker.settle_refund_answer = die_or_settle


def _refund_is_written(pass_by: Callable[[], None], *, armed: bool) -> None:
    """Its arming, or what was settled of it."""
    from billing.charging.refunds.settle import RefundSettlement

    apply = RefundSettlement.apply

    def apply_and_die(self: RefundSettlement, *args: Any) -> Any:
        state = apply(self, *args)
        if state is not None and (state == "sending") is armed:
            pass_by()
        return state

    RefundSettlement.apply = apply_and_die  # type: ignore[assignment, method-assign]
