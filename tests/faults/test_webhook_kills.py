"""Webhook workers die at any moment, while events are written, published and delivered: each event that was committed
arrives, with one id, and its first arrivals are gapless and in order within each object."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction

from billing.models import Event, WebhookDelivery, WebhookEndpoint, WebhookTry
from billing.models.clock import database_now
from tests.factories import make_account
from tests.faults.recovery import ROOT, environment
from tests.notifying.delivering import start
from tests.notifying.receiver import ReceiverProcess
from tests.notifying.rows import make_endpoint, publish, record

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.faults]

# Each has a writer of its own, which commits late.
OBJECTS = 8
# So many may be pending before the next event is written: the kills decide how long it takes, not the machine.
BACKLOG = 100
SEED = int(os.environ.get("SEED", random.randrange(10**6)))


@pytest.fixture
def receiver(tmp_path: Any) -> Iterator[ReceiverProcess]:
    with ReceiverProcess(tmp_path / "journal.jsonl") as process:
        yield process


@pytest.mark.timeout(60)
def test_same_id_is_sent_again_when_killed_before_recording(receiver: ReceiverProcess) -> None:
    endpoint = make_endpoint(url=receiver.url())
    (event,) = publish(endpoint.account, 1, now=database_now())
    doomed = start("after_send")
    assert doomed.wait(30) == -signal.SIGKILL
    assert receiver.ids() == [event.public_id]
    assert WebhookTry.objects.count() == 0
    with _working():
        _until(lambda: not WebhookDelivery.objects.filter(state="pending").exists())
    assert receiver.ids() == [event.public_id] * 2, "at least once, and recognisable"
    assert WebhookTry.objects.get().number == 2, "the gap is the worker that died"


def test_without_redis_events_arrive_from_postgresql_alone(receiver: ReceiverProcess) -> None:
    endpoint = make_endpoint(url=receiver.url())
    for number in range(10):
        record(endpoint.account, number % 3 + 1, now=database_now())
    own = {**environment(), "KITARAN_WEBHOOKS_ALLOW_PRIVATE": "1"}
    tick = [sys.executable, "manage.py", "tick"]
    for _ in range(4):  # of one object one event is under way at a time
        done = subprocess.run(tick, cwd=ROOT, env=own, timeout=60, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert WebhookDelivery.objects.filter(state="delivered").count() == 10
    compare(receiver, endpoint, SEED)


@pytest.mark.timeout(180)
def test_nothing_is_lost_when_workers_are_killed(receiver: ReceiverProcess) -> None:
    kill_workers(receiver, kills=20, seed=SEED)


@pytest.mark.timeout(3600)
@pytest.mark.skipif("FULL" not in os.environ, reason="FULL=1 runs it")
def test_nothing_is_lost_when_workers_are_killed_often(receiver: ReceiverProcess) -> None:
    kill_workers(receiver, kills=int(os.environ.get("KILLS", "500")), seed=SEED)


def kill_workers(receiver: ReceiverProcess, *, kills: int, seed: int) -> None:
    """Two workers at a time; one is killed at a random moment, and another takes its place."""
    draw = random.Random(seed)
    account = make_account()
    endpoints = [make_endpoint(account, url=receiver.url(path)) for path in ("/ok", "/some/10")]
    stop = threading.Event()
    writers = [
        threading.Thread(target=_write, args=(account, subject, stop, seed)) for subject in range(1, OBJECTS + 1)
    ]
    for writer in writers:
        writer.start()
    workers = [start(), start()]
    try:
        for _ in range(kills):
            time.sleep(draw.uniform(0.8, 2.2))
            victim = workers.pop(draw.randrange(2))
            victim.kill()
            victim.wait()
            workers.append(start())
        stop.set()
        for writer in writers:
            writer.join()
        _until_all_is_delivered()
    finally:
        stop.set()
        for one in workers:
            one.kill()
            one.wait()
    for endpoint in endpoints:
        compare(receiver, endpoint, seed)


def compare(receiver: ReceiverProcess, endpoint: WebhookEndpoint, seed: int) -> None:
    """The journal against what was committed."""
    committed = list(Event.objects.order_by("sequence"))
    path = endpoint.url.removeprefix(receiver.url(""))
    arrived = [(one["headers"]["webhook-id"], one["body"]) for one in receiver.seen(path)]
    bodies: dict[str, set[str]] = defaultdict(set)
    for event_id, body in arrived:
        bodies[event_id].add(body)
    told = f"SEED={seed}: {len(committed)} events, {len(arrived)} arrivals"
    print(told)
    assert len(committed) > OBJECTS
    assert set(bodies) == {event.public_id for event in committed}, told
    assert all(len(versions) == 1 for versions in bodies.values()), told
    first = list(dict.fromkeys(event_id for event_id, _ in arrived))
    place = {event_id: number for number, event_id in enumerate(first)}
    for subject in range(1, OBJECTS + 1):
        own = [event for event in committed if event.subject_id == subject]
        assert [event.object_sequence for event in own] == list(range(1, len(own) + 1)), told
        assert [place[event.public_id] for event in own] == sorted(place[event.public_id] for event in own), told


def _write(account: Any, subject: int, stop: threading.Event, seed: int) -> None:
    """Events of one object. Some commit long after they have their ids, and some are rolled back."""
    draw = random.Random(seed + subject)
    try:
        while not stop.wait(draw.uniform(0.1, 0.6)):
            if WebhookDelivery.objects.filter(state="pending").count() > BACKLOG:
                continue
            with transaction.atomic():
                record(account, subject, now=database_now())
                time.sleep(draw.choice((0, 0.02, 0.3)))
                if draw.random() < 0.2:
                    transaction.set_rollback(True)
    finally:
        connection.close()


def _until_all_is_delivered() -> None:
    """However long it takes, while something is delivered every now and then."""
    all_of_them, done = 2 * Event.objects.count(), -1
    while done < all_of_them:
        _until(lambda before=done: _delivered() > before, seconds=60)
        done = _delivered()
    assert WebhookDelivery.objects.count() == all_of_them


def _delivered() -> int:
    return WebhookDelivery.objects.filter(state="delivered").count()


@contextmanager
def _working() -> Iterator[None]:
    worker = start()
    try:
        yield
    finally:
        worker.kill()
        worker.wait()


def _until(is_so: Any, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "it does not come to an end"
        time.sleep(0.1)
