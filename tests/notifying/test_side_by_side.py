"""Webhooks and mail, by Celery's real workers: a mail server that hangs delays no webhook, and the reverse."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from celery import Celery

from billing.models import Invoice, Message, WebhookDelivery
from billing.models.clock import database_now
from config.celery import app as ours
from config.embedded import Stack
from tests.factories import make_account, make_invoice, make_mail, make_message
from tests.faults.recovery import ROOT, environment
from tests.mailing.sink import Sink
from tests.notifying.receiver import ReceiverProcess
from tests.notifying.rows import make_endpoint, publish

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timeout(300)]
TICKS = 4  # more than a worker has processes
HANGS_SECONDS = 20
SOON_SECONDS = 2.0


class Bell:
    """Beat's part: it rings what a test names."""

    def __init__(self, url: str) -> None:
        self._app = Celery(broker=url)
        self._app.conf.update(task_routes=ours.conf.task_routes, task_ignore_result=True)

    def ring(self, task: str, times: int = 1) -> None:
        for _ in range(times):
            self._app.send_task(task)


@contextmanager
def working(folder: Path, *, smtp_port: int) -> Iterator[Bell]:
    """The workers `notify` and `mail` of docker/entrypoint.sh, with a broker of their own."""
    with Stack(folder, postgres=False) as stack:
        settings = {
            **environment(),
            "REDIS_URL": stack.info.redis_url,
            "KITARAN_WEBHOOKS_ALLOW_PRIVATE": "1",
            "KITARAN_WEBHOOK_SECONDS": str(HANGS_SECONDS),
            "EMAIL_HOST": "127.0.0.1",
            "EMAIL_PORT": str(smtp_port),
            "EMAIL_USE_TLS": "0",
            "EMAIL_TIMEOUT": str(HANGS_SECONDS),
        }
        words = ("worker", "--concurrency", "2", "--loglevel", "WARNING", "--without-gossip", "--without-mingle")
        workers = [
            subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "config.celery", *words, "-Q", queue, "-n", f"{queue}@%h"],
                cwd=ROOT,
                env=settings,
                start_new_session=True,
            )
            for queue in ("notify", "mail")
        ]
        try:
            yield Bell(stack.info.redis_url)
        finally:
            for worker in workers:
                os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()


@pytest.fixture
def sink() -> Iterator[Sink]:
    server = Sink()
    server.start()
    yield server
    server.stop()


def seconds_until(is_so: Callable[[], bool], most: float) -> float:
    started = time.monotonic()
    while not is_so():
        assert time.monotonic() - started < most, f"not within {most} s"
        time.sleep(0.02)
    return time.monotonic() - started


def paid() -> Invoice:
    invoice = make_invoice(state="paid", closed_at=database_now(), next_attempt_at=None)
    make_mail(invoice.account)
    return invoice


def test_a_mail_server_that_hangs_delays_no_webhook(receiver: ReceiverProcess, tmp_path: Path) -> None:
    account = make_account()
    make_endpoint(account, url=receiver.url())

    def arrives(number: int, most: float) -> float:
        (event,) = publish(account, number)
        bell.ring("billing.deliver")
        return seconds_until(lambda: event.public_id in receiver.ids(), most)

    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:  # it takes connections and says nothing
        silent.settimeout(60)
        with working(tmp_path / "stack", smtp_port=silent.getsockname()[1]) as bell:
            arrives(1, 120)  # the workers are up
            for _ in range(TICKS):
                make_message(paid())
            bell.ring("billing.mail", TICKS)
            held, _ = silent.accept()
            took = [arrives(number, HANGS_SECONDS) for number in (2, 3, 4)]
            assert Message.objects.filter(state="sending").exists(), "it still hangs"
            held.close()
    assert min(took) < SOON_SECONDS, took
    assert max(took) < HANGS_SECONDS / 2, took


def test_endpoints_that_hang_delay_no_mail(receiver: ReceiverProcess, sink: Sink, tmp_path: Path) -> None:
    invoice = paid()

    def arrives(most: float) -> float:
        before = len(sink.mails)
        make_message(invoice)
        bell.ring("billing.mail")
        return seconds_until(lambda: len(sink.mails) > before, most)

    with working(tmp_path / "stack", smtp_port=sink.port) as bell:
        arrives(120)
        for number in range(TICKS):
            make_endpoint(invoice.account, url=receiver.url(f"/hang?{number}"))
        publish(invoice.account, 1, 2, 3)
        bell.ring("billing.deliver", TICKS)
        seconds_until(lambda: len(receiver.seen("/hang?0")) > 0, 60)
        took = [arrives(HANGS_SECONDS) for _ in range(3)]
        assert WebhookDelivery.objects.filter(state="pending", lease_until__gt=database_now()).exists(), (
            "they still hang"
        )
    assert min(took) < SOON_SECONDS, took
    assert max(took) < HANGS_SECONDS / 2, took
