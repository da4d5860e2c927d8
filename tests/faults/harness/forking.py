"""Children of a warm parent: Django is set up in it, and at the fork it has no connection and no other thread."""

import ctypes
import json
import os
import select
import signal
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from django.db import connections

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class ChildError(Exception):
    """A child failed, or did not end in time; the message is what it said."""


def in_child(work: Callable[[], Any], *, seconds: float = 120) -> Any:
    """What `work` returns, as JSON, from a child that did it and ended."""
    reading, writing = os.pipe()
    pid = _fork(lambda: _report(work, reading, writing))
    os.close(writing)
    try:
        said = _read_all(reading, until=time.monotonic() + seconds)
    finally:
        os.close(reading)
        if wait(pid, seconds=5) is None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    if said is None:
        raise ChildError(f"a child did not end within {seconds} s")
    answer = json.loads(said or '{"failed": "a child ended without a word"}')
    if "failed" in answer:
        raise ChildError(answer["failed"])
    return answer["result"]


def ending_of(work: Callable[[], Any], *, seconds: float = 60) -> int:
    """How a child that did `work` ended: 0, a status, or minus the signal that killed it."""
    pid = start(work)
    status = wait(pid, seconds=seconds)
    if status is None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise ChildError(f"a child that should die did not within {seconds} s")
    return status


def start(work: Callable[[], Any]) -> int:
    """The process id of a child that does `work` and ends; its failures are printed."""
    return _fork(lambda: _do(work))


def wait(pid: int, *, seconds: float) -> int | None:
    """How the child ended; None when it has not, in that time."""
    descriptor = os.pidfd_open(pid)
    try:
        if not select.select([descriptor], [], [], seconds)[0]:
            return None
    finally:
        os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def wait_until_stopped(pid: int, *, seconds: float) -> None:
    """Until the child has got SIGSTOP. Raises when it ended, or did not in that time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        told = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if told is not None:
            if told.si_code == os.CLD_STOPPED:
                return
            break
        time.sleep(0.002)
    raise ChildError("a child that should stop did not")


def end(pid: int) -> None:
    """SIGKILL to a child that was not waited for yet, and the wait."""
    os.kill(pid, signal.SIGKILL)
    wait(pid, seconds=10)


def _fork(work: Callable[[], NoReturn]) -> int:
    assert threading.active_count() == 1, threading.enumerate()
    assert all(one.connection is None for one in connections.all(initialized_only=True))
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        work()
    return pid


def _do(work: Callable[[], Any]) -> NoReturn:
    status = 1
    try:
        work()
        connections.close_all()
        status = 0
    except BaseException:  # noqa: BLE001  (nothing of the parent's may run in the child)
        traceback.print_exc()
    finally:
        os._exit(status)


def _report(work: Callable[[], Any], reading: int, writing: int) -> NoReturn:
    os.close(reading)
    try:
        try:
            answer = {"result": work()}
            connections.close_all()
        except BaseException:  # noqa: BLE001  (the parent raises it)
            answer = {"failed": traceback.format_exc()}
        with os.fdopen(writing, "w") as pipe:
            json.dump(answer, pipe, default=str)
    finally:
        os._exit(0)


def _read_all(descriptor: int, *, until: float) -> str | None:
    pieces: list[bytes] = []
    while select.select([descriptor], [], [], max(until - time.monotonic(), 0))[0]:
        piece = os.read(descriptor, 1 << 16)
        if not piece:
            return b"".join(pieces).decode()
        pieces.append(piece)
    return None
