"""`manage.py tick [--loop]`: the workers' job from PostgreSQL alone, without Redis or Celery."""

import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import Error, connection

from billing.charging.collect import collect
from billing.charging.limits import Limits
from billing.charging.reconcile import reconcile
from billing.charging.refund_worker import refund_due
from billing.charging.remind import remind
from billing.charging.sweep import sweep
from billing.models.clock import database_now
from billing.operating import shutdown
from billing.operating.health import QUEUES
from billing.operating.heartbeats import beat, worker_name
from billing.subscriptions.renew import open_due


class Command(BaseCommand):
    help = "Open what is due, charge, sweep, reconcile, refund: once, or every few seconds with --loop. Needs no Redis."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--loop", action="store_true", help="go on until SIGTERM or Ctrl-C")
        parser.add_argument("--every", type=int, default=5, metavar="SECONDS", help="pause between rounds (default 5)")

    def handle(self, *, loop: bool, every: int, **_: Any) -> None:
        stop = threading.Event()
        shutdown.share(stop)
        if loop:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: stop.set())
        while True:
            try:
                self._round()
            except Error as error:
                if not loop:
                    raise
                self.stderr.write(f"tick: the database failed: {type(error).__name__}; trying again")
                connection.close()
            if not loop or stop.wait(every):
                return

    def _round(self) -> None:
        limits = Limits.from_settings()
        for queue in QUEUES:
            beat(queue=queue, worker=worker_name(), now=database_now())
        opened = open_due(now=database_now())
        collected = collect(limits=limits, clock=database_now, should_stop=shutdown.requested, worker=worker_name())
        lost = sweep(limits=limits, now=database_now())
        read = reconcile(limits=limits, clock=database_now, should_stop=shutdown.requested)
        refunded = refund_due(limits=limits, clock=database_now, should_stop=shutdown.requested)
        remind(now=database_now())
        if opened.invoices or collected.armed or lost or read.read or read.failed or refunded.states:
            states = (
                ", ".join(f"{count} {state}" for state, count in sorted(collected.states.items())) or "none settled"
            )
            self.stdout.write(
                f"opened {opened.invoices}, armed {collected.armed} ({states}), "
                f"refused {collected.refused}, lost {lost}, read {read.read} cards ({read.failed} failed), "
                f"refunds: {', '.join(f'{count} {state}' for state, count in refunded.states.items()) or 'none'}"
            )
