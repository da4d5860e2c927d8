"""`manage.py tick [--loop]`: the workers' job from PostgreSQL alone, without Redis or Celery."""

import signal
import threading
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connection

from billing.charging.cases.remind import remind
from billing.charging.checkouts.work import look_at_due
from billing.charging.collecting.collect import Collected, collect
from billing.charging.collecting.expire import expire_unpaid
from billing.charging.collecting.grace import end_graces
from billing.charging.collecting.sweep import sweep
from billing.charging.reading.late_money import watch
from billing.charging.reading.reconcile import Reconciled, reconcile
from billing.charging.recovery.from_cards import read_quarantined
from billing.charging.refunds.worker import Refunded, refund_due
from billing.gateway.sending_clock import read_clock
from billing.mailing.digest import send_digest
from billing.mailing.notices import announce_sometimes
from billing.mailing.send import send_due
from billing.models.clock import database_now
from billing.notifying.deliver import Delivered, Delivering, deliver
from billing.notifying.prune import prune
from billing.notifying.publish import publish
from billing.operating import shutdown, troubles
from billing.operating.clocks import ask_gateways
from billing.operating.health import QUEUES
from billing.operating.heartbeats import beat, worker_name
from billing.operating.recognise import watch as watch_identity
from billing.operating.tuning import Tuning
from billing.payer.limits import forget_old_visits
from billing.subscriptions.renew import Opened, open_due

# Charges wait for them in this one process.
DELIVER_FOR = timedelta(seconds=3)
SEND_FOR = timedelta(seconds=3)


class Command(BaseCommand):
    help = (
        "Open due invoices, charge, sweep, reconcile, refund, check payment pages, find late payments, publish events, "
        "deliver webhooks and send mail: once, or every few seconds with --loop. Needs no Redis."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--loop", action="store_true", help="repeat until SIGTERM or Ctrl-C")
        parser.add_argument("--every", type=int, default=5, metavar="SECONDS", help="pause between rounds (default 5)")

    def handle(self, *, loop: bool, every: int, **_: Any) -> None:
        stop = threading.Event()
        shutdown.share(stop)
        if loop:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: stop.set())
        while True:
            failed = self._round()
            if not loop and failed:
                raise CommandError(f"failed: {', '.join(failed)}; see the log")
            if not loop or stop.wait(every):
                return

    def _round(self) -> list[str]:
        """Every part once. One that fails holds up no other and is done again in the next round; the names of those."""
        round_ = _Round(Tuning.from_settings())
        failed = [name for name, part in round_.parts() if not self._is_done(name, part)]
        if words := round_.words():
            self.stdout.write(words)
        return failed

    def _is_done(self, name: str, part: Callable[[], None]) -> bool:
        done = False
        try:
            with troubles.isolated(None, name, database_now):
                part()
                done = True
            if not done:
                self.stderr.write(f"tick: {name} failed; see the log")
        except Error as error:
            self.stderr.write(f"tick: {name}: the database failed: {type(error).__name__}; retrying")
            connection.close()
        return done


class _Round:
    """What one round does, part by part, and what came of it."""

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._opened, self._collected = Opened(), Collected()
        self._read, self._refunded, self._lost = Reconciled(), Refunded(), 0
        self._delivered = Delivered()

    def parts(self) -> list[tuple[str, Callable[[], None]]]:
        return [
            ("heartbeat", self._beat),
            ("identity", self._identity),
            ("open_due", self._open),
            ("collect", self._collect),
            ("sweep", self._sweep),
            ("expire", self._expire),
            ("reconcile", self._reconcile),
            ("refund", self._refund),
            ("checkouts", self._checkouts),
            ("watch", self._watch),
            ("remind", self._remind),
            ("quarantine", self._read_quarantined),
            ("publish", self._publish),
            ("deliver", self._deliver),
            ("prune", self._prune),
            ("announce", self._announce),
            ("mail", self._mail),
        ]

    def _beat(self) -> None:
        for queue in QUEUES:
            beat(queue=queue, worker=worker_name(), now=read_clock())

    def _identity(self) -> None:
        watch_identity(now=read_clock())

    def _open(self) -> None:
        ask_gateways(now=read_clock())
        self._opened = open_due(now=read_clock())

    def _collect(self) -> None:
        self._collected = collect(
            tuning=self._tuning, clock=read_clock, should_stop=shutdown.requested, worker=worker_name()
        )

    def _sweep(self) -> None:
        self._lost = sweep(tuning=self._tuning, now=read_clock())

    def _expire(self) -> None:
        expire_unpaid(now=read_clock())
        end_graces(now=read_clock())

    def _reconcile(self) -> None:
        self._read = reconcile(tuning=self._tuning, clock=read_clock, should_stop=shutdown.requested)

    def _refund(self) -> None:
        self._refunded = refund_due(tuning=self._tuning, clock=read_clock, should_stop=shutdown.requested)

    def _checkouts(self) -> None:
        look_at_due(tuning=self._tuning, clock=read_clock, should_stop=shutdown.requested)

    def _watch(self) -> None:
        watch(tuning=self._tuning, clock=read_clock, should_stop=shutdown.requested)

    def _remind(self) -> None:
        remind(now=read_clock())

    def _deliver(self) -> None:
        how = replace(Delivering.from_settings(), run_for=DELIVER_FOR)
        self._delivered = deliver(how=how, clock=database_now, should_stop=shutdown.requested)

    def _prune(self) -> None:
        keep = timedelta(days=settings.KITARAN_WEBHOOK_RETENTION_DAYS)
        prune(keep=keep, now=database_now(), should_stop=shutdown.requested)
        forget_old_visits(now=database_now())

    def _publish(self) -> None:
        while not shutdown.requested() and publish(now=database_now()):
            pass

    def _read_quarantined(self) -> None:
        read_quarantined(tuning=self._tuning, clock=read_clock, should_stop=shutdown.requested)

    def _announce(self) -> None:
        announce_sometimes(now=read_clock(), should_stop=shutdown.requested)

    def _mail(self) -> None:
        send_due(clock=read_clock, should_stop=shutdown.requested, send_for=SEND_FOR)
        send_digest(clock=read_clock)

    def words(self) -> str:
        """What was done, in a line; empty when there was nothing to do."""
        opened, collected, read, refunded = self._opened, self._collected, self._read, self._refunded
        sent = self._delivered.succeeded + self._delivered.failed
        money = opened.invoices or collected.armed or self._lost or read.read or read.failed or refunded.states
        if not (money or sent):
            return ""
        states = ", ".join(f"{count} {state}" for state, count in sorted(collected.states.items())) or "none settled"
        return (
            f"opened {opened.invoices}, armed {collected.armed} ({states}), "
            f"refused {collected.refused}, lost {self._lost}, read {read.read} cards ({read.failed} failed), "
            f"refunds: {', '.join(f'{count} {state}' for state, count in refunded.states.items()) or 'none'}, "
            f"webhooks: {sent} ({self._delivered.failed} failed)"
        )
