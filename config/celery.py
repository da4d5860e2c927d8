"""Celery: Redis is a doorbell. No result backend, no eta, no countdown, no retries; ticks carry no data.

A worker's children learn of a shutdown from an event made before the fork: Celery's main process does not pass
SIGTERM on to them, and a charge that is under way must be waited for.
"""

import multiprocessing
import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from celery import Celery
from celery.signals import worker_shutting_down
from django.conf import settings
from kombu import Queue

from billing.checks import TASK_HARD_LIMIT_SECONDS
from billing.operating import shutdown

CHARGE, RECONCILE, NOTIFY, MAIL, HOUSEKEEPING = "charge", "reconcile", "notify", "mail", "housekeeping"
QUEUES = (CHARGE, RECONCILE, NOTIFY, MAIL, HOUSEKEEPING)
TICK_SECONDS = 5
HEARTBEAT_SECONDS = 15
REMIND_SECONDS = 900
EXPIRE_SECONDS = 60
WATCH_SECONDS = 60
ANNOUNCE_SECONDS = 600
PRUNE_SECONDS = 60


def _tick(task: str, seconds: int, queue: str) -> dict[str, Any]:
    """A beat entry that carries nothing and is worthless once the next one comes."""
    return {"task": task, "schedule": seconds, "options": {"queue": queue, "expires": seconds}}


app = Celery("kitaran")
app.conf.update(
    broker_url=settings.KITARAN_REDIS_URL,
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "socket_timeout": 2,
        "socket_connect_timeout": 2,
        "visibility_timeout": TASK_HARD_LIMIT_SECONDS * 2,
    },
    result_backend=None,
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    task_serializer="json",
    accept_content=["json"],
    task_acks_late=False,
    task_publish_retry=False,
    task_time_limit=TASK_HARD_LIMIT_SECONDS,
    task_default_queue=HOUSEKEEPING,
    task_queues=[Queue(name) for name in QUEUES],
    task_routes={
        "billing.collect": {"queue": CHARGE},
        "billing.reconcile": {"queue": RECONCILE},
        "billing.quarantine": {"queue": RECONCILE},
        "billing.refund": {"queue": RECONCILE},
        "billing.checkouts": {"queue": RECONCILE},
        "billing.watch": {"queue": RECONCILE},
        "billing.deliver": {"queue": NOTIFY},
        "billing.open_due": {"queue": HOUSEKEEPING},
        "billing.sweep": {"queue": HOUSEKEEPING},
        "billing.expire": {"queue": HOUSEKEEPING},
        "billing.remind": {"queue": HOUSEKEEPING},
        "billing.publish": {"queue": NOTIFY},
        "billing.prune": {"queue": NOTIFY},
        "billing.announce": {"queue": MAIL},
        "billing.mail": {"queue": MAIL},
    },
    worker_prefetch_multiplier=1,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    timezone="UTC",
    enable_utc=True,
    beat_schedule={
        "open_due": _tick("billing.open_due", TICK_SECONDS, HOUSEKEEPING),
        "collect": _tick("billing.collect", TICK_SECONDS, CHARGE),
        "sweep": _tick("billing.sweep", TICK_SECONDS, HOUSEKEEPING),
        "expire": _tick("billing.expire", EXPIRE_SECONDS, HOUSEKEEPING),
        "remind": _tick("billing.remind", REMIND_SECONDS, HOUSEKEEPING),
        "reconcile": _tick("billing.reconcile", TICK_SECONDS, RECONCILE),
        "quarantine": _tick("billing.quarantine", TICK_SECONDS, RECONCILE),
        "refund": _tick("billing.refund", TICK_SECONDS, RECONCILE),
        "deliver": _tick("billing.deliver", TICK_SECONDS, NOTIFY),
        "publish": _tick("billing.publish", TICK_SECONDS, NOTIFY),
        "prune": _tick("billing.prune", PRUNE_SECONDS, NOTIFY),
        "announce": _tick("billing.announce", ANNOUNCE_SECONDS, MAIL),
        "mail": _tick("billing.mail", TICK_SECONDS, MAIL),
        "checkouts": _tick("billing.checkouts", TICK_SECONDS, RECONCILE),
        "watch": _tick("billing.watch", WATCH_SECONDS, RECONCILE),
        **{f"heartbeat_{queue}": _tick("billing.heartbeat", HEARTBEAT_SECONDS, queue) for queue in QUEUES},
    },
)
app.autodiscover_tasks(["billing"])
shutdown.share(multiprocessing.get_context("fork").Event())


@worker_shutting_down.connect
def _signal_children(**_: Any) -> None:
    shutdown.announce()
