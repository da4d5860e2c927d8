"""The threads of a worker process that speak to the gateway. They never touch the database.

A thread runs before it gets work: what is armed has a sender that lives. Whoever claims a job first, its sender or the
loop that takes it back, is the only one: a job that was taken back is certainly not done.
"""

import logging
import queue
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class Job(Generic[Result]):
    """Work that is done at most once. `work` must not raise: what it returns is the only thing that comes back."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self.work = work
        self._claim = threading.Lock()

    def claim(self) -> bool:
        """True for the first who asks."""
        return self._claim.acquire(blocking=False)


class Senders(Generic[Result]):
    """At most `most` threads, started when they are needed. Not safe for several users."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._started = 0
        self._busy = 0
        self._jobs: queue.SimpleQueue[Job[Result] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[Result] = queue.SimpleQueue()

    @property
    def room(self) -> int:
        """How many jobs more could be under way, if threads can be started for them."""
        return self._most - self._busy

    @property
    def busy(self) -> int:
        return self._busy

    def ready(self, wanted: int) -> int:
        """How many idle threads there are for `wanted` jobs; starts some where that is needed and possible."""
        while self._started - self._busy < wanted and self._started < self._most:
            try:
                threading.Thread(target=self._run, name=f"sender-{self._started}", daemon=True).start()
            except (RuntimeError, MemoryError):
                logger.exception("senders: a thread could not be started; %d run", self._started)
                break
            self._started += 1
        return max(min(wanted, self._started - self._busy), 0)

    def submit(self, job: Job[Result]) -> None:
        """Gives the job to an idle thread; there must be one."""
        if self._started - self._busy <= 0:
            raise RuntimeError("no sender is idle")
        self._jobs.put(job)
        self._busy += 1

    def result(self, *, wait: timedelta) -> Result:
        """The next result. Raises queue.Empty after `wait`."""
        found = self._results.get(timeout=max(wait.total_seconds(), 0))
        self._busy -= 1
        return found

    def take_back(self, job: Job[Result]) -> bool:
        """True when no sender has started the job, and none will."""
        if not job.claim():
            return False
        self._busy -= 1
        return True

    def close(self) -> None:
        """The threads end when their jobs have; nobody waits for them."""
        for _ in range(self._started):
            self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job.claim():
                self._results.put(job.work())
