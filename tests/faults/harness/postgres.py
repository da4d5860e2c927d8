"""PostgreSQL dies under the workers: one of its backends, or all of it; whoever keeps it starts it again."""

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import psutil
from django.db import connection

from billing.models import PaymentAttempt
from rm_gateway.simulator.process import SimulatorProcess
from tests.faults.harness import oracle
from tests.faults.harness.forking import ChildError, end, in_child, start
from tests.faults.harness.random_runs import nothing_waits, work
from tests.faults.harness.world import World

VICTIMS = ("backend", "postmaster")
WORKERS = 2
SENDERS = 4
DEATHS = 2
LONGEST_SECONDS = 60


def run(world: World, *, victim: str, profile: str, charges: int, seed: int) -> tuple[dict[str, Any], list[str]]:
    """Charges while PostgreSQL is killed, twice; then the verdict."""
    draw = random.Random(seed)
    back: list[float] = []
    with world.batch(profile=profile, invoices=charges, latency=[0.1, 0.4]) as simulator:
        workers = [start(partial(work, SENDERS)) for _ in range(WORKERS)]
        try:
            for _ in range(DEATHS):
                time.sleep(draw.uniform(0.3, 0.8))
                killed_at = time.monotonic()
                _retried(partial(_kill, victim, draw.random()))
                _retried(_answers)
                back.append(round(time.monotonic() - killed_at, 3))
            until = time.monotonic() + LONGEST_SECONDS
            while time.monotonic() < until and not _retried(nothing_waits):
                time.sleep(0.25)
            time.sleep(1)  # for the answers
        finally:
            for worker in workers:
                end(worker)
        told = _retried(partial(_judge, simulator))
    found = oracle.Verdict(**told["verdict"])
    figures = {"kills": DEATHS, "server_back_seconds": back, **told["figures"]}
    oracle.add(figures, found)
    return figures, found.problems


def _retried(work: Callable[[], Any]) -> Any:
    """The answer of a child, which may have to ask again while the server is away."""
    until = time.monotonic() + 30
    while True:
        try:
            return in_child(work)
        except ChildError as error:
            gone = any(word in str(error) for word in ("OperationalError", "InterfaceError", "NoSuchProcess"))
            if not gone or time.monotonic() > until:
                raise
            time.sleep(0.1)


def _kill(victim: str, drawn: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        own = cursor.fetchone()[0]
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> %s", [own])
        others = sorted(row[0] for row in cursor.fetchall())
    server = psutil.Process(own).parent()
    assert server is not None
    chosen = server.pid if victim == "postmaster" or not others else others[int(drawn * len(others))]
    os.kill(chosen, signal.SIGKILL)


def _answers() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _judge(simulator: SimulatorProcess) -> dict[str, Any]:
    left = PaymentAttempt.objects.filter(state__in=oracle.OPEN_ENDED).count()
    outage = oracle.recover(simulator)
    states = PaymentAttempt.objects.filter(state="not_sent").count()
    return {
        "figures": {"unknown_per_run": [left], "not_sent": states},
        "verdict": asdict(oracle.verdict(simulator, outage=outage)),
    }
