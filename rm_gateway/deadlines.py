"""Total deadlines for exchanges: one thread shuts down the socket of whoever is late.

The timeouts of a socket are per read, so a server that trickles outlives them. A ``Watch`` belongs to one thread and
is used for one exchange after the other; the heap holds about one entry per watch, however many exchanges there are.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import socket
import threading
import time


class Watch:
    """The deadline of one thread's current exchange, and the socket to shut down when it passes."""

    __slots__ = ("_deadline", "_lock", "_queued_for", "_sock", "expired")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deadline: float | None = None
        self._queued_for: float | None = None
        self._sock: socket.socket | None = None
        self.expired = False

    def start(self, seconds: float) -> None:
        """Begin an exchange that may last ``seconds`` in all."""
        deadline = time.monotonic() + seconds
        with self._lock:
            self.expired = False
            self._deadline = deadline
            queued = self._queued_for is not None and self._queued_for <= deadline
            if not queued:
                self._queued_for = deadline
        if not queued:
            _QUEUE.push(deadline, self)

    def attach(self, sock: socket.socket) -> None:
        """Name the socket that the exchange now uses; one that comes too late is shut down at once."""
        with self._lock:
            self._sock = sock
            if self.expired:
                _shut_down(sock)

    def stop(self) -> None:
        """End the exchange. ``expired`` keeps saying whether its deadline had passed."""
        with self._lock:
            self._deadline = None
            self._sock = None

    def check(self, now: float) -> float | None:
        """Shut the socket down when the deadline has passed; the moment of the next check, None for none."""
        with self._lock:
            self._queued_for = None
            if self._deadline is None:
                return None
            if self._deadline > now:
                self._queued_for = self._deadline
                return self._deadline
            self._deadline = None
            self.expired = True
            if self._sock is not None:
                _shut_down(self._sock)
            return None


def _shut_down(sock: socket.socket) -> None:
    # Of the plain socket also under TLS: SSLSocket.shutdown would pull the session from under its reader.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Queue:
    """A heap of watches with the thread that looks at each when it is due. The thread starts with the first."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._heap: list[tuple[float, int, Watch]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    def push(self, due: float, watch: Watch) -> None:
        with self._condition:
            heapq.heappush(self._heap, (due, next(self._numbers), watch))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="rm-gateway-deadlines", daemon=True)
                self._thread.start()
            elif self._heap[0][0] == due:
                self._condition.notify()

    def _run(self) -> None:
        while True:
            watch = self._next_due()
            again = watch.check(time.monotonic())
            if again is not None:
                self.push(again, watch)

    def _next_due(self) -> Watch:
        with self._condition:
            while True:
                if not self._heap:
                    self._condition.wait()
                    continue
                seconds = self._heap[0][0] - time.monotonic()
                if seconds <= 0:
                    return heapq.heappop(self._heap)[2]
                self._condition.wait(seconds)


_QUEUE = _Queue()


def _renew_after_fork() -> None:
    global _QUEUE
    _QUEUE = _Queue()


os.register_at_fork(after_in_child=_renew_after_fork)
