"""The connection is cut during the COMMIT of arm and of settle, by a proxy before PostgreSQL."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

from django.core.management import call_command
from django.db import connection

from billing.models import Evidence, PaymentAttempt, Transition
from rm_gateway.simulator.process import SimulatorProcess
from tests.faults.harness import oracle
from tests.faults.harness.figures import ROOT
from tests.faults.harness.forking import ChildError, end, in_child, start, wait
from tests.faults.harness.world import World

TABLES = {"arm": "billing_paymentattempt", "settle": "billing_evidence"}
WHENS = ("before", "after")
TICK_SECONDS = 30


def run(
    world: World, *, phase: str, when: str, profile: str, charges: int, seed: int
) -> tuple[dict[str, Any], list[str]]:
    """One worker's tick through the proxy; then the verdict."""
    draw = random.Random(seed)
    with world.batch(profile=profile, invoices=charges, latency=[0, draw.choice([0, 0.05])]) as simulator:
        with _proxy(phase, when) as (port, proxy):
            worker = start(partial(_tick, port))
            status = wait(worker, seconds=TICK_SECONDS)
            if status is None:
                end(worker)
            proxy.terminate()
            cuts = proxy.communicate()[0].count("cut")
        if status != 0 or cuts != 1:
            raise ChildError(f"the worker ended with {status}, and the connection was cut {cuts} times")
        told = in_child(partial(_judge, simulator, phase, when))
    found = oracle.Verdict(**told["verdict"])
    found.problems += told["problems"]
    figures = {"cuts": cuts, **told["figures"]}
    oracle.add(figures, found)
    return figures, found.problems


@contextmanager
def _proxy(phase: str, when: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    at = connection.settings_dict
    target = f"{at['HOST']}/.s.PGSQL.{at['PORT']}"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.proxy", target, TABLES[phase], when],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _tick(port: int) -> None:
    at = connection.settings_dict
    at["HOST"], at["PORT"] = "127.0.0.1", str(port)
    at["OPTIONS"] = {**at["OPTIONS"], "sslmode": "disable", "gssencmode": "disable"}
    with open(os.devnull, "w") as nowhere:
        call_command("tick", stdout=nowhere)


def _judge(simulator: SimulatorProcess, phase: str, when: str) -> dict[str, Any]:
    unsent = PaymentAttempt.objects.filter(state="not_sent")
    unacknowledged = Evidence.objects.filter(source="commit_unacknowledged").count()
    moved = Transition.objects.filter(subject_type="attempt", to_state="succeeded").count()
    answers = Evidence.objects.filter(source="answer").count()
    posts = simulator.requests()["by_marker"]
    problems = []
    if any(posts.get(attempt.marker) for attempt in unsent):
        problems.append("what the database did not acknowledge was sent")
    if phase == "arm" and (when == "after") != bool(unacknowledged):
        problems.append(f"the COMMIT of arm was cut {when} the server did it, and {unacknowledged} attempts say so")
    if phase == "settle" and (moved, answers, unacknowledged) != (len(posts), len(posts), 0):
        problems.append(f"{len(posts)} were sent; {answers} answers are told and {moved} settled")
    figures = {"not_sent": unsent.count()}
    outage = oracle.recover(simulator)
    return {"problems": problems, "figures": figures, "verdict": asdict(oracle.verdict(simulator, outage=outage))}
