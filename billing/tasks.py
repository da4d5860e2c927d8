"""Celery's door: bodies of a few lines, without arguments. PostgreSQL says what there is to do.

Whatever a task raises is noted as a trouble of the installation, and the next tick does the work again."""

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

from celery import shared_task
from django.conf import settings

from billing.charging.cases.remind import remind as remind_of_cases
from billing.charging.checkouts.work import look_at_due as look_at_checkouts
from billing.charging.collecting.collect import collect as collect_due
from billing.charging.collecting.expire import expire_unpaid
from billing.charging.collecting.grace import end_graces
from billing.charging.collecting.sweep import sweep as sweep_lost
from billing.charging.reading.late_money import watch as watch_for_late_money
from billing.charging.reading.reconcile import reconcile as reconcile_unknown
from billing.charging.recovery.from_cards import read_quarantined
from billing.charging.refunds.worker import refund_due
from billing.gateway.sending_clock import read_clock
from billing.mailing.digest import send_digest
from billing.mailing.notices import announce as announce_charges
from billing.mailing.send import send_due
from billing.models.clock import database_now
from billing.notifying.deliver import Delivering
from billing.notifying.deliver import deliver as deliver_webhooks
from billing.notifying.prune import prune as prune_deliveries
from billing.notifying.publish import publish as publish_events
from billing.operating import shutdown, troubles
from billing.operating.clocks import ask_gateways
from billing.operating.heartbeats import beat, worker_name
from billing.operating.recognise import watch as watch_identity
from billing.operating.tuning import Tuning
from billing.payer.limits import forget_old_visits
from billing.subscriptions.renew import BATCH
from billing.subscriptions.renew import open_due as open_due_periods


def _noted(work: Callable[[], None]) -> Callable[[], None]:
    @wraps(work)
    def noting() -> None:
        with troubles.isolated(None, work.__name__, database_now):
            work()

    return noting


@shared_task(name="billing.open_due")
@_noted
def open_due() -> None:
    ask_gateways(now=read_clock())
    while not shutdown.requested() and open_due_periods(now=read_clock()).subscriptions == BATCH:
        pass


@shared_task(name="billing.collect")
@_noted
def collect() -> None:
    watch_identity(now=read_clock())
    collect_due(tuning=Tuning.from_settings(), clock=read_clock, should_stop=shutdown.requested, worker=worker_name())


@shared_task(name="billing.sweep")
@_noted
def sweep() -> None:
    sweep_lost(tuning=Tuning.from_settings(), now=read_clock())


@shared_task(name="billing.expire")
@_noted
def expire() -> None:
    expire_unpaid(now=read_clock())
    end_graces(now=read_clock())


@shared_task(name="billing.reconcile")
@_noted
def reconcile() -> None:
    reconcile_unknown(tuning=Tuning.from_settings(), clock=read_clock, should_stop=shutdown.requested)


@shared_task(name="billing.quarantine")
@_noted
def quarantine() -> None:
    watch_identity(now=read_clock())
    read_quarantined(tuning=Tuning.from_settings(), clock=read_clock, should_stop=shutdown.requested)


@shared_task(name="billing.refund")
@_noted
def refund() -> None:
    refund_due(tuning=Tuning.from_settings(), clock=read_clock, should_stop=shutdown.requested)


@shared_task(name="billing.remind")
@_noted
def remind() -> None:
    remind_of_cases(now=read_clock())


@shared_task(name="billing.checkouts")
@_noted
def checkouts() -> None:
    look_at_checkouts(tuning=Tuning.from_settings(), clock=read_clock, should_stop=shutdown.requested)


@shared_task(name="billing.watch")
@_noted
def watch() -> None:
    watch_for_late_money(tuning=Tuning.from_settings(), clock=read_clock, should_stop=shutdown.requested)


@shared_task(name="billing.deliver")
@_noted
def deliver() -> None:
    deliver_webhooks(how=Delivering.from_settings(), clock=database_now, should_stop=shutdown.requested)


@shared_task(name="billing.publish")
@_noted
def publish() -> None:
    while not shutdown.requested() and publish_events(now=database_now()):
        pass


@shared_task(name="billing.prune")
@_noted
def prune() -> None:
    keep = timedelta(days=settings.KITARAN_WEBHOOK_RETENTION_DAYS)
    prune_deliveries(keep=keep, now=database_now(), should_stop=shutdown.requested)
    forget_old_visits(now=database_now())


@shared_task(name="billing.announce")
@_noted
def announce() -> None:
    announce_charges(now=read_clock(), should_stop=shutdown.requested)


@shared_task(name="billing.mail")
@_noted
def mail() -> None:
    send_due(clock=read_clock, should_stop=shutdown.requested)
    send_digest(clock=read_clock)


@shared_task(name="billing.heartbeat", bind=True)
def heartbeat(self: Any) -> None:
    queue = (self.request.delivery_info or {}).get("routing_key") or "housekeeping"
    beat(queue=queue, worker=worker_name(), now=database_now())
