"""Celery's door: bodies of a few lines, without arguments. PostgreSQL says what there is to do."""

from typing import Any

from celery import shared_task

from billing.charging.collect import collect as collect_due
from billing.charging.limits import Limits
from billing.charging.reconcile import reconcile as reconcile_unknown
from billing.charging.refund_worker import refund_due
from billing.charging.remind import remind as remind_of_cases
from billing.charging.sweep import sweep as sweep_lost
from billing.models.clock import database_now
from billing.operating import shutdown
from billing.operating.heartbeats import beat, worker_name
from billing.subscriptions.renew import BATCH
from billing.subscriptions.renew import open_due as open_due_periods


@shared_task(name="billing.open_due")
def open_due() -> None:
    while not shutdown.requested() and open_due_periods(now=database_now()).subscriptions == BATCH:
        pass


@shared_task(name="billing.collect")
def collect() -> None:
    collect_due(limits=Limits.from_settings(), clock=database_now, should_stop=shutdown.requested, worker=worker_name())


@shared_task(name="billing.sweep")
def sweep() -> None:
    sweep_lost(limits=Limits.from_settings(), now=database_now())


@shared_task(name="billing.reconcile")
def reconcile() -> None:
    reconcile_unknown(limits=Limits.from_settings(), clock=database_now, should_stop=shutdown.requested)


@shared_task(name="billing.refund")
def refund() -> None:
    refund_due(limits=Limits.from_settings(), clock=database_now, should_stop=shutdown.requested)


@shared_task(name="billing.remind")
def remind() -> None:
    remind_of_cases(now=database_now())


@shared_task(name="billing.heartbeat", bind=True)
def heartbeat(self: Any) -> None:
    queue = (self.request.delivery_info or {}).get("routing_key") or "housekeeping"
    beat(queue=queue, worker=worker_name(), now=database_now())
