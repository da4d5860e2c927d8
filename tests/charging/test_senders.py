"""The threads of a worker process that speak to the gateway."""

import threading
from datetime import timedelta
from queue import Empty

import pytest

from billing.charging.protocol.senders import Job, Senders


def test_only_threads_that_started_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = threading.Thread.start, []

    def refuse(self: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(self.name)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    senders: Senders[str] = Senders(5)
    assert senders.ready(4) == 2
    senders.submit(Job(lambda: "done"))
    assert senders.result(wait=timedelta(seconds=30)) == "done"
    senders.close()


def test_a_job_that_was_taken_back_is_not_done() -> None:
    senders: Senders[str] = Senders(1)
    assert senders.ready(1) == 1
    job = Job(lambda: "done")
    assert job.claim()
    senders.submit(job)
    with pytest.raises(Empty):
        senders.result(wait=timedelta(milliseconds=100))
    assert not senders.take_back(job), "it is somebody's already"
    senders.close()
