"""How the workers are set up: ticks carry nothing, nothing waits in the broker, nothing is done twice."""

import inspect
import re
from typing import Any

import pytest
from celery import Task

from billing import checks, doorbell
from config.celery import QUEUES, app
from tests.house.source import calls, sources

app.loader.import_default_modules()
OURS = sorted(name for name in app.tasks if not name.startswith("celery."))
FORBIDDEN_OPTIONS = {"eta", "countdown", "link", "link_error", "chain", "retry", "retry_policy"}


def test_there_are_tasks() -> None:
    assert {"billing.open_due", "billing.collect", "billing.sweep", "billing.reconcile", "billing.refund"} <= set(OURS)


@pytest.mark.parametrize("name", OURS)
def test_a_task_takes_no_arguments(name: str) -> None:
    assert [*inspect.signature(app.tasks[name].run).parameters] == []


@pytest.mark.parametrize("name", OURS)
def test_task_is_acknowledged_early_and_never_retried(name: str) -> None:
    task: Task[Any, Any] = app.tasks[name]
    assert not task.acks_late
    assert not task.reject_on_worker_lost
    assert not getattr(task, "autoretry_for", ())
    assert task.ignore_result
    assert task.soft_time_limit is None


def test_a_task_body_is_a_few_lines() -> None:
    (source,) = sources("billing/tasks.py")
    for name, function in source.functions():
        assert len(function.body) <= 4, f"{name} does too much for a door"


@pytest.mark.parametrize("name", sorted(app.conf.beat_schedule))
def test_tick_carries_nothing_and_expires_before_the_next_one(name: str) -> None:
    entry = app.conf.beat_schedule[name]
    assert set(entry) == {"task", "schedule", "options"}
    assert entry["task"] in OURS
    options = entry["options"]
    assert not FORBIDDEN_OPTIONS & set(options)
    assert 0 < options["expires"] <= entry["schedule"]
    assert options["queue"] in QUEUES


def test_every_queue_that_beats_is_a_queue() -> None:
    assert {queue.name for queue in app.conf.task_queues} == set(QUEUES)
    assert set(app.conf.task_routes) <= set(OURS)


def test_redis_is_a_doorbell_and_keeps_nothing() -> None:
    backend: object = app.conf.result_backend
    assert backend is None
    assert app.conf.task_ignore_result
    assert app.conf.task_serializer == "json"
    assert app.conf.accept_content == ["json"]


def test_charges_are_acknowledged_before_they_are_made() -> None:
    assert app.conf.task_acks_late is False
    assert app.conf.task_reject_on_worker_lost in (None, False)
    assert app.conf.task_soft_time_limit is None
    assert app.conf.worker_prefetch_multiplier == 1


def test_message_is_not_redelivered_while_its_task_may_still_run() -> None:
    assert app.conf.broker_transport_options["visibility_timeout"] > checks.TASK_HARD_LIMIT_SECONDS
    assert app.conf.task_time_limit == checks.TASK_HARD_LIMIT_SECONDS


def test_a_broker_that_is_gone_holds_nobody_up_for_long() -> None:
    options = app.conf.broker_transport_options
    assert max(options["socket_timeout"], options["socket_connect_timeout"]) <= 2
    assert app.conf.task_publish_retry is False


def test_every_doorbell_rings_a_task_that_exists() -> None:
    bells = {value for name, value in vars(doorbell).items() if name.isupper() and isinstance(value, str)}
    assert bells
    assert bells <= set(OURS)


def test_nothing_is_put_off_in_the_broker() -> None:
    sending = re.compile(r"\.(apply_async|delay|retry|send_task|signature|chain|chord|group)$")
    found = [
        (source, name, node)
        for source in sources("billing")
        for name, node in calls(source)
        if sending.search(f".{name}")
    ]
    for source, name, node in found:
        assert name.endswith(".send_task"), source.where(node)
        assert not {keyword.arg for keyword in node.keywords} & (FORBIDDEN_OPTIONS - {"retry"}), source.where(node)
        assert len(node.args) == 1, source.where(node)  # the name; nothing is carried
    # The demonstration rings the heartbeats of all queues once, so that nobody waits for the first tick.
    assert {source.inside(node) for source, _, node in found} <= {
        "billing/doorbell.py:ring",
        "billing/demo/run.py:check_at_once",
    }
