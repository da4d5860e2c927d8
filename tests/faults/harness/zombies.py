"""Workers that are stopped (SIGSTOP) with charges in hand, given up, and woken when all is over (SIGCONT)."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from django.conf import settings
from django.db.models import F

from billing.charging.collecting.collect import collect
from billing.models import Evidence, PaymentAttempt, Transition
from billing.models.clock import database_now
from billing.operating.tuning import Tuning
from rm_gateway import connections
from rm_gateway.simulator.process import SimulatorProcess
from tests.faults.deaths import arrange, stop_process
from tests.faults.harness import oracle
from tests.faults.harness.forking import ChildError, end, in_child, start, wait, wait_until_stopped
from tests.faults.harness.world import World

SENDERS = 3
WAKES_SECONDS = 30


def run(world: World, *, point: str, profile: str, kills: int, seed: int) -> tuple[dict[str, Any], list[str]]:
    """Stops so many workers at the point, lets others finish everything, wakes the stopped ones."""
    draw = random.Random(seed)
    latency = [0.05, 0.1] if point == "after_send" else draw.choice([[0, 0], [0, 0.02]])
    with world.batch(profile=profile, invoices=kills * SENDERS, latency=latency) as simulator:
        stopped: list[int] = []
        try:
            for number in range(kills):
                stopped.append(start(partial(_work_and_stop, point, number)))
                wait_until_stopped(stopped[-1], seconds=30)
            asleep_since = time.monotonic()
            simulator.set(latency=[0, 0])
            before = in_child(partial(_give_up, simulator))
            time.sleep(max(asleep_since + settings.KITARAN_SEND_WINDOW_SECONDS + 0.5 - time.monotonic(), 0))
            _wake(stopped)
        finally:
            for pid in stopped:
                end(pid)
        told = in_child(partial(_judge, simulator, point, before))
    found = oracle.Verdict(**told["verdict"])
    found.problems += told["problems"]
    figures = {"zombies": kills, **told["figures"]}
    oracle.add(figures, found)
    return figures, found.problems


def _work_and_stop(point: str, number: int) -> None:
    arrange(point, die=_between_departures(stop_process))
    tuning = replace(Tuning.from_settings(), senders=SENDERS)
    collect(tuning=tuning, clock=database_now, should_stop=lambda: False, worker=f"zombie-{number}")


def _between_departures(stop: Callable[[], None]) -> Callable[[], None]:
    """Stops while no other thread is between the question whether its time is over and its bytes: nothing holds those
    back any more, and they are the request that is on the wire already."""
    leaving: set[int] = set()
    change = threading.Condition()
    ask, request = connections.Flight.about_to_send, connections._Departing.request

    def about_to_send(self: connections.Flight) -> None:
        with change:
            ask(self)
            leaving.add(threading.get_ident())

    def request_and_tell(self: connections._Departing, *args: Any, **kwargs: Any) -> None:
        try:
            request(self, *args, **kwargs)
        finally:
            with change:
                leaving.discard(threading.get_ident())
                change.notify_all()

    def wait_and_stop() -> None:
        with change:
            change.wait_for(lambda: not leaving)
            stop()

    connections.Flight.about_to_send = about_to_send  # type: ignore[method-assign]
    connections._Departing.request = request_and_tell  # type: ignore[method-assign]
    return wait_and_stop


def _wake(stopped: list[int]) -> None:
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    while stopped:
        status = wait(stopped[0], seconds=WAKES_SECONDS)
        if status is None:
            raise ChildError("a worker that was woken does not end")
        stopped.pop(0)
        if status != 0:
            raise ChildError(f"a worker that was woken ended with {status}")


def _give_up(simulator: SimulatorProcess) -> dict[str, Any]:
    """What others found out while the zombies slept, and what had been sent by then."""
    oracle.recover(simulator)
    final = PaymentAttempt.objects.filter(state="succeeded").values_list("marker", "last_evidence_id")
    return {"succeeded": dict(final), "posts": sum(simulator.requests()["by_marker"].values())}


def _judge(simulator: SimulatorProcess, point: str, before: dict[str, Any]) -> dict[str, Any]:
    problems = []
    sent_late = sum(simulator.requests()["by_marker"].values()) - before["posts"]
    if sent_late:
        problems.append(f"{sent_late} requests left from workers whose time was over")
    for attempt in PaymentAttempt.objects.filter(marker__in=before["succeeded"]):
        kept = (attempt.state, attempt.last_evidence_id) == ("succeeded", before["succeeded"][attempt.marker])
        if not kept:
            problems.append(f"{attempt.public_id} was settled, and a late answer changed it to {attempt.state}")
    late = Evidence.objects.filter(source="answer", attempt_id__in=_swept())
    proved = Transition.objects.filter(subject_type="attempt", evidence_id__in=late.values("id")).exclude(
        from_state=F("to_state")
    )
    counts = {"told_late": late.count(), "closed_by_a_late_answer": proved.count(), "sent_late": sent_late}
    if point == "after_arm" and not counts["told_late"]:
        problems.append("the woken workers did not say that nothing of theirs had left")
    outage = oracle.recover(simulator)
    return {"problems": problems, "figures": counts, "verdict": asdict(oracle.verdict(simulator, outage=outage))}


def _swept() -> Any:
    return Evidence.objects.filter(source="sweeper").values("attempt_id")
