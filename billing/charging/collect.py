"""collect: the bounded loop in which a worker process charges what is due.

One thread speaks to the database: it arms as many invoices as there are idle senders, and settles answers in
small groups. The senders speak to the gateway alone. So a process holds one connection however many charges are
under way. The loop leaves when nothing is due, when it is told to stop, or after `limits.collect_for` of arming;
it always waits for what it has sent.
"""

import logging
import queue
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import Error, connection

from billing.charging import preflight
from billing.charging.arm import Armed, arm
from billing.charging.card_reading import CardRead
from billing.charging.limits import Limits
from billing.charging.settle import CONNECTION_LOST, Told, settle
from billing.domain.arming import Environment
from billing.domain.attempts import Finding, Source, Verdict
from billing.gateway.connection import Gateway, GatewayUnavailableError, gateway_for
from billing.gateway.connection import clock as gateway_clock
from billing.models import ChargeRun, GatewayAccount
from billing.models.bulk import arming
from billing.operating.heartbeats import beat

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.02  # how long answers are gathered before a group is settled
POLL_SECONDS = 0.5
DATABASE_PAUSE_SECONDS = 0.5
SETTLE_AT_MOST = 200
FRUITLESS_AT_MOST = 10
BEAT_SECONDS = 15
CHARGE_QUEUE = "charge"


@dataclass(frozen=True, slots=True)
class Sent:
    armed: Armed
    finding: Finding


@dataclass(frozen=True, slots=True)
class WasRead:
    reading: preflight.Reading
    outcome: list[CardRead] | GatewayUnavailableError


@dataclass(slots=True)
class Collected:
    """What one run came to; the counts of `states` are of attempts."""

    armed: int = 0
    refused: int = 0
    states: dict[str, int] = field(default_factory=dict)


def _send(gateway: Gateway, armed: Armed) -> Sent:
    """The one POST. Whatever goes wrong here is an outcome that is not known, never a reason to forget it."""
    try:
        return Sent(armed, gateway.send(armed.prepared, marker=armed.marker))
    except Exception as error:
        logger.exception("collect: sending attempt %s failed", armed.attempt_id)
        detail = {"error": type(error).__name__}
        return Sent(armed, Finding(Verdict.UNCLEAR, Source.ANSWER, reason="sender_failed", detail=detail))


def _read(gateway: Gateway, reading: preflight.Reading) -> WasRead:
    try:
        return WasRead(reading, preflight.read(gateway, reading))
    except Exception as error:
        logger.exception("collect: reading the cards of invoice %s failed", reading.preflight.invoice_id)
        return WasRead(reading, GatewayUnavailableError(f"reading failed: {type(error).__name__}"))


def collect(
    *, limits: Limits, clock: Callable[[], datetime], should_stop: Callable[[], bool], worker: str
) -> Collected:
    """Charges what is due, as the module says. `clock` is the database's."""
    return _Collector(limits, clock, should_stop, worker).run()


class _Collector:
    def __init__(
        self, limits: Limits, clock: Callable[[], datetime], should_stop: Callable[[], bool], worker: str
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._should_stop = should_stop
        self._worker = worker
        self._stop_arming_at = time.monotonic() + limits.collect_for.total_seconds()
        self._give_up_at = self._stop_arming_at + (limits.deadline + timedelta(seconds=10)).total_seconds()
        self._results: queue.SimpleQueue[Sent | WasRead] = queue.SimpleQueue()
        self._in_flight = 0
        self._fruitless = 0
        self._next_beat = time.monotonic() + BEAT_SECONDS
        self._unsettled: list[Sent] = []
        self._unacknowledged: list[str] = []
        self._collected = Collected()
        self._run_row: ChargeRun | None = None

    def run(self) -> Collected:
        with ThreadPoolExecutor(self._limits.senders, thread_name_prefix="sender") as pool:
            more = True
            while (more or self._in_flight or self._unsettled or self._unacknowledged) and self._in_time():
                try:
                    self._show_pulse()
                    self._settle_unacknowledged()
                    self._settle()
                    more = self._may_arm() and self._arm(pool)
                    self._gather(wait=not more or self._in_flight >= self._limits.senders)
                except Error:
                    logger.exception("collect: the database failed; connecting again")
                    more = self._may_arm()
                    self._reconnect()
            self._finish_run()
        return self._collected

    def _show_pulse(self) -> None:
        """No other task of the queue runs in this process meanwhile, so the loop shows that it lives."""
        if time.monotonic() >= self._next_beat:
            beat(queue=CHARGE_QUEUE, worker=self._worker, now=self._clock())
            self._next_beat = time.monotonic() + BEAT_SECONDS

    def _in_time(self) -> bool:
        return time.monotonic() < self._give_up_at

    def _may_arm(self) -> bool:
        return not self._should_stop() and time.monotonic() < self._stop_arming_at

    # --- arm and send -------------------------------------------------------------------------------------

    def _arm(self, pool: ThreadPoolExecutor) -> bool:
        """Gives the idle senders work. True when there may be more of it right away."""
        started = contended = False
        for account_id in arming.accounts_with_work(now=self._clock()):
            idle = self._limits.senders - self._in_flight
            if idle <= 0:
                return True
            account = GatewayAccount.objects.get(pk=account_id)
            if account.environment == Environment.LIVE and not settings.KITARAN_ALLOW_LIVE:
                logger.warning("collect: account %s is live and KITARAN_ALLOW_LIVE is not set", account.public_id)
                continue
            gateway = gateway_for(account)
            if not self._has_token(gateway, account):
                continue
            now = self._clock()
            begun = self._start_readings(pool, gateway, account, idle, now)
            begun |= self._start_charges(pool, gateway, account, self._limits.senders - self._in_flight, now)
            started |= begun
            contended |= not begun
        return started or (contended and self._look_again())

    def _look_again(self) -> bool:
        """There is work, and another worker holds all of it just now: True a few times, a moment apart."""
        self._fruitless += 1
        if self._fruitless > FRUITLESS_AT_MOST:
            return False
        time.sleep(GATHER_SECONDS)
        return True

    def _has_token(self, gateway: Gateway, account: GatewayAccount) -> bool:
        """An attempt is armed only for a sender that holds a valid token."""
        try:
            gateway.ensure_token()
        except GatewayUnavailableError as error:
            logger.warning("collect: account %s has no token: %s", account.public_id, error)
            arming.note_unavailable(account.pk, now=self._clock())
            return False
        return True

    def _start_readings(
        self, pool: ThreadPoolExecutor, gateway: Gateway, account: GatewayAccount, idle: int, now: datetime
    ) -> bool:
        readings = preflight.claim(account, now=now, limit=max(idle // 2, 1))
        for reading in readings:
            self._submit(pool, partial(_read, gateway, reading))
        return bool(readings)

    def _start_charges(
        self, pool: ThreadPoolExecutor, gateway: Gateway, account: GatewayAccount, idle: int, now: datetime
    ) -> bool:
        if idle <= 0:
            return True
        gateway_clock.align(now)
        result = arm(
            account_id=account.pk,
            gateway=gateway,
            run_id=self._run_id(now),
            limits=self._limits,
            now=now,
            count=idle,
        )
        for armed in result.armed:
            self._submit(pool, partial(_send, gateway, armed))
        if result.unacknowledged:
            self._unacknowledged += result.unacknowledged
            self._reconnect()
        self._collected.armed += len(result.armed)
        self._collected.refused += result.refused
        if result.armed:
            self._fruitless = 0
        return bool(result.armed or result.refused)

    def _submit(self, pool: ThreadPoolExecutor, job: Callable[[], Sent | WasRead]) -> None:
        self._in_flight += 1
        pool.submit(job).add_done_callback(lambda future: self._results.put(future.result()))

    # --- settle -------------------------------------------------------------------------------------------

    def _gather(self, *, wait: bool) -> None:
        """Takes over results until all of what is under way has come, or for a moment after the first one.

        `wait` says that there is nothing else to do, so that the first one may take longer."""
        until = time.monotonic() + (POLL_SECONDS if wait else GATHER_SECONDS)
        try:
            while self._in_flight:
                self._take(self._results.get(timeout=max(until - time.monotonic(), 0)))
                until = min(until, time.monotonic() + GATHER_SECONDS)
        except queue.Empty:
            return

    def _take(self, result: Sent | WasRead) -> None:
        self._in_flight -= 1
        if isinstance(result, Sent):
            self._unsettled.append(result)
            return
        try:
            preflight.finish(result.reading, result.outcome, limits=self._limits, now=self._clock())
        except CONNECTION_LOST:
            raise
        except Exception:  # its lease ends by itself, and it is read again
            logger.exception("collect: the preflight of invoice %s failed", result.reading.preflight.invoice_id)

    def _settle(self) -> None:
        while self._unsettled:
            group = self._unsettled[:SETTLE_AT_MOST]
            told = [Told(sent.armed.attempt_id, sent.finding) for sent in group]
            self._count(settle(told, limits=self._limits, now=self._clock()))
            del self._unsettled[: len(group)]

    def _settle_unacknowledged(self) -> None:
        """Attempts of a batch whose commit was never acknowledged were not sent, by this very process."""
        if not self._unacknowledged:
            return
        finding = Finding(Verdict.NOT_SENT, Source.COMMIT_UNACKNOWLEDGED, reason="commit_unacknowledged")
        found = arming.attempts_by_marker(self._unacknowledged)
        self._count(settle([Told(attempt, finding) for attempt in found], limits=self._limits, now=self._clock()))
        self._unacknowledged.clear()

    def _count(self, states: dict[str, int]) -> None:
        for state, count in states.items():
            self._collected.states[state] = self._collected.states.get(state, 0) + count

    def _reconnect(self) -> None:
        connection.close()
        time.sleep(DATABASE_PAUSE_SECONDS)

    # --- the run's own row --------------------------------------------------------------------------------

    def _run_id(self, now: datetime) -> int:
        if self._run_row is None:
            self._run_row = ChargeRun.objects.create(worker=self._worker, started_at=now)
        return self._run_row.pk

    def _finish_run(self) -> None:
        if self._run_row is None:
            return
        known = ("succeeded", "declined", "not_sent", "in_process", "unknown", "needs_human")
        counts = {state: self._collected.states.get(state, 0) for state in known}
        ChargeRun.objects.filter(pk=self._run_row.pk).update(
            ended_at=self._clock(), armed=self._collected.armed, refused=self._collected.refused, **counts
        )
