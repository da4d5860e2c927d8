"""How the engine is, from PostgreSQL alone."""

from datetime import timedelta

import pytest

from billing.models import GatewayAccount, Installation
from billing.models.clock import database_now
from billing.operating.health import QUEUES, check
from billing.operating.heartbeats import beat
from tests.factories import make_card, make_invoice, make_subscription

pytestmark = pytest.mark.django_db


def all_beat() -> None:
    for queue in QUEUES:
        beat(queue=queue, worker="test", now=database_now())


def test_all_is_well_when_every_queue_has_a_pulse_and_nothing_is_late() -> None:
    all_beat()
    assert check(database_now()).ok


def test_a_queue_without_a_pulse_is_named() -> None:
    all_beat()
    health = check(database_now() + timedelta(seconds=61))
    assert health.silent_queues == QUEUES
    assert "queue charge has had no pulse" in health.problems[0]


def test_what_is_due_for_ten_minutes_and_taken_by_nobody_is_a_problem() -> None:
    all_beat()
    now = database_now()
    late = now - timedelta(minutes=11)
    make_invoice(next_attempt_at=late)
    make_subscription(make_card(), next_due_at=late)
    health = check(now)
    assert (health.due_but_unopened, health.due_but_unclaimed) == (True, True)
    assert len(health.problems) == 2


def test_what_a_stop_switch_holds_back_is_no_problem_of_the_workers() -> None:
    all_beat()
    now = database_now()
    make_invoice(next_attempt_at=now - timedelta(minutes=11))
    GatewayAccount.objects.update(stopped_at=now)
    assert check(now).ok
    GatewayAccount.objects.update(stopped_at=None)
    Installation.objects.update(stopped_at=now)
    health = check(now)
    assert (health.ok, health.stopped) == (True, True)


def test_the_page_answers_programs(client) -> None:  # type: ignore[no-untyped-def]
    assert client.get("/health/").status_code == 503
    all_beat()
    answer = client.get("/health/")
    assert (answer.status_code, answer.json()["ok"]) == (200, True)
