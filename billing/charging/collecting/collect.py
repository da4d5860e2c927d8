"""collect: the bounded loop in which a worker process charges what is due.

One thread speaks to the database: it asks for permits at each account's pace, arms as many invoices as there are
permits and idle senders, and settles answers in small groups. The senders speak to the gateway alone, for tokens too.
So a process holds one connection however many charges are under way. The loop leaves when nothing is due or permitted,
when it has to stop, or after `tuning.collect_for` of arming; it always waits for what it has sent.

An account that fails stops nobody else; whatever fails, answers that came are settled before the loop leaves.
"""

import logging
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import Error, connection

from billing.charging.attempts.arm import arm
from billing.charging.attempts.avoid import avoid
from billing.charging.attempts.pace import Paced
from billing.charging.attempts.settle import AttemptFinding, settle
from billing.charging.collecting import jobs
from billing.charging.collecting.flight import Flight
from billing.charging.collecting.jobs import Probed, Result, Sent, TokenCame, WasRead
from billing.charging.collecting.permits import Permits
from billing.charging.protocol.senders import Job, Senders
from billing.charging.reading import preflight
from billing.domain.arming import Environment, Refusal
from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.outcomes import SETUP_KINDS
from billing.domain.pacing import PaceState, spacing
from billing.domain.reasons import Reason
from billing.gateway.connection import Gateway, gateway_for
from billing.gateway.connection import clock as gateway_clock
from billing.models import ChargeRun, GatewayAccount
from billing.models.bulk import arming
from billing.models.bulk import pacing as pace_rows
from billing.models.bulk.sql import CONNECTION_LOST, NOT_DONE_YET
from billing.operating import troubles
from billing.operating.heartbeats import beat
from billing.operating.tuning import Tuning

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.02  # how long answers are gathered before a group is settled
POLL_SECONDS = 0.5
DATABASE_PAUSE_SECONDS = 0.5
SETTLE_AT_MOST = 200
FRUITLESS_AT_MOST = 10
FAILURES_AT_MOST = 5  # in a row, of the loop itself; then nothing more is armed
TOKEN_PATIENCE_NS = 15 * 10**9  # a loop with nothing else to do leaves a token that takes longer to the next one
BEAT_SECONDS = 15
CHARGE_QUEUE = "charge"
WORK = "collect"


@dataclass(slots=True)
class Collected:
    """What one run came to; the counts of `states` are of attempts."""

    armed: int = 0
    refused: int = 0
    states: dict[str, int] = field(default_factory=dict)


def collect(
    *, tuning: Tuning, clock: Callable[[], datetime], should_stop: Callable[[], bool], worker: str
) -> Collected:
    """Charges what is due, as the module says. `clock` is the database's."""
    return _Collector(tuning, clock, should_stop, worker).run()


def trouble(account_id: int, error: Exception, *, now: datetime) -> None:
    """An account's own failure, which leaves it out of this run and nobody else."""
    logger.error("collect: account %s failed and is left out of this run", account_id, exc_info=error)
    troubles.note(account_id, WORK, error, now=now)


class _Collector:
    def __init__(
        self, tuning: Tuning, clock: Callable[[], datetime], should_stop: Callable[[], bool], worker: str
    ) -> None:
        self._tuning = tuning
        self._clock = clock
        self._should_stop = should_stop
        self._worker = worker
        self._stop_arming_at = time.monotonic() + tuning.collect_for.total_seconds()
        self._give_up_at = self._stop_arming_at + (tuning.deadline + timedelta(seconds=10)).total_seconds()
        self._senders: Senders[Result] = Senders(tuning.senders)
        self._flight = Flight(self._senders)
        self._permits = Permits(worker, self._flight, tuning, clock)
        self._readings = 0
        self._asking: dict[int, int] = {}  # accounts whose token or probe is under way, since when
        self._asked: set[int] = set()  # accounts whose token was asked for in this run
        self._noted: set[tuple[int, Refusal]] = set()
        self._left_out: set[int] = set()
        self._healthy: set[int] = set()  # accounts whose earlier troubles are over
        self._news = False
        self._turn = 0
        self._fruitless = 0
        self._failures = 0
        self._next_beat = time.monotonic() + BEAT_SECONDS
        self._unsettled: list[Sent] = []
        self._unacknowledged: list[str] = []
        self._collected = Collected()
        self._run_row: ChargeRun | None = None

    def run(self) -> Collected:
        more = True
        try:
            while (more or self._busy()) and self._in_time():
                more = self._step()
        finally:
            self._leave()
        return self._collected

    def _step(self) -> bool:
        """One round. True when there may be more to arm right away."""
        try:
            self._show_pulse()
            self._settle_unacknowledged()
            self._settle()
            more = self._may_arm() and self._arm()
            self._news = False
            self._gather(wait=not more or not self._senders.room)
            self._failures = 0
        except Error:
            logger.exception("collect: the database failed; connecting again")
            self._reconnect()
            return self._may_arm()
        except Exception:
            logger.exception("collect: a round failed; what is under way is still settled")
            self._failures += 1
            time.sleep(GATHER_SECONDS)
            return self._may_arm()
        return more or (self._news and self._may_arm())

    def _busy(self) -> bool:
        patient = any(time.monotonic_ns() - since < TOKEN_PATIENCE_NS for since in self._asking.values())
        return bool(len(self._flight) or self._readings or self._unsettled or self._unacknowledged or patient)

    def _show_pulse(self) -> None:
        """No other task of the queue runs in this process meanwhile, so the loop shows that it lives."""
        if time.monotonic() >= self._next_beat:
            beat(queue=CHARGE_QUEUE, worker=self._worker, now=self._clock())
            self._next_beat = time.monotonic() + BEAT_SECONDS

    def _in_time(self) -> bool:
        return time.monotonic() < self._give_up_at

    def _may_arm(self) -> bool:
        in_order = self._failures < FAILURES_AT_MOST
        return in_order and not self._should_stop() and time.monotonic() < self._stop_arming_at

    # --- arm and send -------------------------------------------------------------------------------------

    def _arm(self) -> bool:
        """Gives the idle senders work, account by account. True when there may be more of it right away."""
        accounts = [one for one in arming.accounts_with_work(now=self._clock()) if one not in self._left_out]
        self._report(without=accounts)
        if not accounts:
            return False
        # Each begins in its turn, and holds no more than its part of the senders while others wait.
        self._turn += 1
        part = -(-self._tuning.senders // len(accounts))
        first = self._turn % len(accounts)
        started = contended = False
        for account_id in accounts[first:] + accounts[:first]:
            if not self._senders.room:
                return True
            try:
                progressed, wanted = self._work_on(account_id, part)
            except CONNECTION_LOST:
                raise
            except Exception as error:  # noqa: BLE001  (whatever it is, it is this account's)
                trouble(account_id, error, now=self._clock())
                self._left_out.add(account_id)
                continue
            if account_id not in self._healthy:
                self._healthy.add(account_id)
                troubles.clear(account_id, WORK)
            started |= progressed
            contended |= wanted and not progressed
        return started or (contended and self._check_again())

    def _check_again(self) -> bool:
        """There is work, and another worker holds all of it just now: True a few times, a moment apart."""
        self._fruitless += 1
        if self._fruitless > FRUITLESS_AT_MOST:
            return False
        time.sleep(GATHER_SECONDS)
        return True

    def _work_on(self, account_id: int, part: int) -> tuple[bool, bool]:
        """Whether something was started for the account, and whether there were permits for it."""
        account = GatewayAccount.objects.get(pk=account_id)
        if account.environment == Environment.LIVE and not settings.KITARAN_ALLOW_LIVE:
            logger.warning("collect: account %s is live and KITARAN_ALLOW_LIVE is not set", account.public_id)
            return False, False
        gateway = gateway_for(account)
        holds_token = gateway.has_token()
        most = min(self._senders.room, part - self._flight.of(account_id))
        may_probe = account_id not in self._asking and self._senders.ready(1) > 0
        paced = self._permits.ask(account, most if holds_token else 0, may_probe=may_probe)
        if paced.pace.state in (PaceState.OPEN, PaceState.HELD):
            return self._pause(account, gateway, paced), False
        asked = self._ask_for_token(account_id, gateway, holds_token)
        if not paced.grant.permits:
            # A slot of the account's rate comes within the second, by itself.
            return asked or (paced.grant.waits and self._wait_for_slot()), False
        return self._start(account, gateway, paced) or asked, True

    def _pause(self, account: GatewayAccount, gateway: Gateway, paced: Paced) -> bool:
        """Nothing is armed; its invoices say why. When it is time, the gateway is read: that charges nothing."""
        waits_for_gateway = paced.pace.state is PaceState.OPEN and paced.pace.kind not in SETUP_KINDS
        why = Refusal.GATEWAY_UNAVAILABLE if waits_for_gateway else Refusal.ACCOUNT_PAUSED
        now = self._clock()
        if (account.pk, why) not in self._noted:
            arming.note_unavailable(account.pk, refusal=why.value, now=now)
            self._noted.add((account.pk, why))
        if not paced.grant.probe:
            return False
        card = pace_rows.card_to_read(account.pk, now=now)
        return self._ask(account.pk, partial(jobs.probe, account.pk, gateway, card))

    def _ask_for_token(self, account_id: int, gateway: Gateway, holds_token: bool) -> bool:
        """An attempt is armed only for a sender that holds a valid token; a sender fetches it. Once a run one that
        is there is asked for too, so that it is refreshed before its end."""
        if account_id in self._asking or (holds_token and account_id in self._asked):
            return False
        self._asked.add(account_id)
        return self._ask(account_id, partial(jobs.fetch_token, account_id, gateway)) and not holds_token

    def _ask(self, account_id: int, work: Callable[[], Result]) -> bool:
        if not self._senders.ready(1):
            self._report_no_sender(account_id)
            return False
        self._senders.submit(Job(work))
        self._asking[account_id] = time.monotonic_ns()
        return True

    def _wait_for_slot(self) -> bool:
        time.sleep(GATHER_SECONDS)
        return True

    def _start(self, account: GatewayAccount, gateway: Gateway, paced: Paced) -> bool:
        if not self._senders.room:  # the last one fetches the account's token
            return True
        permits = paced.grant.permits
        now = self._clock()
        reading = self._start_readings(account, gateway, min(max(self._senders.room // 2, 1), permits), now)
        count = self._senders.ready(min(permits, self._senders.room))
        if count:
            return self._start_charges(account, gateway, paced, count, now) or reading
        if not reading:
            self._report_no_sender(account.pk)
        return reading

    def _report_no_sender(self, account_id: int) -> None:
        logger.error("collect: no sender can be started; nothing of account %s is armed", account_id)
        arming.note_unavailable(account_id, refusal=Refusal.NO_SENDER.value, now=self._clock())

    def _start_readings(self, account: GatewayAccount, gateway: Gateway, most: int, now: datetime) -> bool:
        count = self._senders.ready(most)
        readings = preflight.claim(account, now=now, limit=count) if count else []
        for reading in readings:
            self._senders.submit(Job(partial(jobs.read, gateway, reading)))
            self._readings += 1
        return bool(readings)

    def _start_charges(
        self, account: GatewayAccount, gateway: Gateway, paced: Paced, count: int, now: datetime
    ) -> bool:
        gateway_clock.align(now)
        result = arm(
            account_id=account.pk,
            gateway=gateway,
            run_id=self._run_id(now),
            tuning=self._tuning,
            now=now,
            count=count,
        )
        try:
            self._flight.hand_over(
                account.pk,
                gateway,
                result.armed,
                slots=paced.grant.slots,
                apart=spacing(account.charges_per_second),
                now=now,
            )
        finally:
            self._unsettled += self._flight.unsent
            self._flight.unsent.clear()
        if result.unacknowledged:
            self._unacknowledged += result.unacknowledged
            self._reconnect()
        self._collected.armed += len(result.armed)
        self._collected.refused += result.refused
        if result.armed:
            self._fruitless = 0
        if result.avoided:  # the last step: were it to fail, nothing that was armed is forgotten
            avoid(result.avoided, now=now)
        return bool(result.armed or result.refused)

    # --- settle -------------------------------------------------------------------------------------------

    def _gather(self, *, wait: bool) -> None:
        """Takes over results until all of what is under way has come, or for a moment after the first one.

        `wait` says that there is nothing else to do, so that the first one may take longer."""
        until = time.monotonic() + (POLL_SECONDS if wait else GATHER_SECONDS)
        try:
            while self._senders.busy:
                self._take(self._senders.result(wait=timedelta(seconds=until - time.monotonic())))
                until = min(until, time.monotonic() + GATHER_SECONDS)
        except queue.Empty:
            return

    def _take(self, result: Result) -> None:
        match result:
            case Sent():
                self._unsettled.append(result)
                return
            case TokenCame(account_id, error):
                self._asking.pop(account_id, None)
                if error is not None:
                    outcomes = self._permits.outcomes_of(account_id)
                    outcomes.no_token, outcomes.kind, outcomes.reason = True, "token", error
            case Probed(account_id, error):
                self._asking.pop(account_id, None)
                self._permits.outcomes_of(account_id).probe_succeeded = error is None
                logger.info("collect: account %s was read while it pauses: %s", account_id, error or "it answers")
            case WasRead():
                self._readings -= 1
                self._finish_reading(result)
        self._news = True

    def _finish_reading(self, result: WasRead) -> None:
        try:
            preflight.finish(result.reading, result.outcome, tuning=self._tuning, now=self._clock())
        except CONNECTION_LOST:
            raise
        except Exception:  # its lease ends by itself, and it is read again
            logger.exception("collect: the preflight of invoice %s failed", result.reading.preflight.invoice_id)

    def _settle(self) -> None:
        while self._unsettled:
            group = self._unsettled[:SETTLE_AT_MOST]
            findings = [AttemptFinding(sent.armed.marker, sent.finding, sent.armed.asked) for sent in group]
            self._count(settle(findings, tuning=self._tuning, now=self._clock()))
            del self._unsettled[: len(group)]
            for sent in group:
                account_id = self._flight.landed(sent.armed.marker)
                if account_id is not None:
                    self._permits.outcomes_of(account_id).add(sent.finding)

    def _settle_unacknowledged(self) -> None:
        """Attempts of a batch whose commit was never acknowledged were not sent, by this very process."""
        if not self._unacknowledged:
            return
        finding = Finding(Verdict.NOT_SENT, Source.COMMIT_UNACKNOWLEDGED, reason=Reason.COMMIT_UNACKNOWLEDGED)
        found = arming.markers_sending(self._unacknowledged)
        self._count(
            settle([AttemptFinding(marker, finding) for marker in found], tuning=self._tuning, now=self._clock())
        )
        self._unacknowledged.clear()

    def _report(self, *, without: list[int]) -> None:
        """What came of charges of accounts that have no work just now; the others report when they ask."""
        for account_id in [one for one in self._permits.unreported() if one not in without]:
            try:
                self._permits.ask(GatewayAccount.objects.get(pk=account_id), 0)
            except NOT_DONE_YET:
                raise
            except Exception as error:  # noqa: BLE001  (whatever it is, it is this account's)
                self._permits.forget(account_id)
                trouble(account_id, error, now=self._clock())

    def _count(self, states: dict[str, int]) -> None:
        for state, count in states.items():
            self._collected.states[state] = self._collected.states.get(state, 0) + count

    def _reconnect(self) -> None:
        connection.close()
        time.sleep(DATABASE_PAUSE_SECONDS)

    # --- the end ------------------------------------------------------------------------------------------

    def _leave(self) -> None:
        """Whatever ended the loop: what no sender began is not sent, and what came is settled."""
        self._flight.take_back()
        self._unsettled += self._flight.unsent
        self._senders.close()
        steps = (self._take_what_came, self._settle_unacknowledged, self._settle, self._report_all, self._finish_run)
        for last in steps:
            try:
                last()
            except Exception:
                logger.exception("collect: leaving, %s failed", last.__name__)
                connection.close()
        # The database stayed away until the end: the sweep makes what was sent unknown, and an operator finds it here.
        if left := [sent.armed.marker for sent in self._unsettled] + self._unacknowledged:
            logger.error("collect: leaving without having settled %s", ", ".join(left))

    def _take_what_came(self) -> None:
        try:
            while self._senders.busy:
                self._take(self._senders.result(wait=timedelta(0)))
        except queue.Empty:
            return

    def _report_all(self) -> None:
        self._permits.give_back_all()
        self._report(without=[])

    def _run_id(self, now: datetime) -> int:
        if self._run_row is None:
            self._run_row = ChargeRun.objects.create(worker=self._worker, started_at=now)
        return self._run_row.pk

    def _finish_run(self) -> None:
        if self._run_row is None:
            return
        known = ("succeeded", "declined", "not_sent", "in_process", "unknown", "needs_review")
        counts = {state: self._collected.states.get(state, 0) for state in known}
        ChargeRun.objects.filter(pk=self._run_row.pk).update(
            ended_at=self._clock(), armed=self._collected.armed, refused=self._collected.refused, **counts
        )
