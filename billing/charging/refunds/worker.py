"""The worker of refunds: a bounded loop that looks, arms, sends and settles, as `collect` does for charges.

1. Claim refunds whose time has come: requested ones, and unknown ones to be asked about.
2. Read the transaction of each at the gateway: nobody gives back before looking. What was given back there already is
   written down first.
3. Arm a requested one in a durable commit of its own; only a commit that was acknowledged, in this very call, permits
   to send.
4. Send it once, in a thread that never touches the database.
5. Settle what was answered. An unknown refund is never sent again: its transaction is queried on the ladder of times,
   and after the last look a person decides.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import Error, connection

from billing.charging.refunds.arm import ArmedRefund, Unacknowledged, arm_refund
from billing.charging.refunds.settle import settle_refund, settle_refund_answer, write_down
from billing.domain.reasons import Reason
from billing.domain.refunds import (
    RefundFinding,
    RefundKind,
    RefundSource,
    RefundState,
    RefundVerdict,
    RefundWait,
    judge,
)
from billing.gateway.connection import Gateway, GatewayUnavailableError, ReadTransaction, gateway_for
from billing.gateway.connection import clock as gateway_clock
from billing.models import GatewayAccount, Refund
from billing.models.bulk import refunding
from billing.models.bulk.sql import CONNECTION_LOST, HeldError
from billing.operating import troubles
from billing.operating.clocks import addresses_off
from billing.operating.tuning import Tuning

logger = logging.getLogger(__name__)

WORK = "refund"
WORK_ON_ONE = "give one refund back"  # noted apart: that the account can be asked does not heal it
SENDERS = 8
OF_ONE_ACCOUNT = 2  # looked into and sent at the same time, so that one that hangs leaves room for the others
POLL = timedelta(milliseconds=500)
LEASE = timedelta(seconds=150)
LONGEST_BACKOFF = timedelta(minutes=15)
# Looks that fail do not count, but nobody waits longer than this for a person.
PATIENCE = timedelta(days=3)
DATABASE_PAUSE = timedelta(milliseconds=500)
SWEEP_BATCH = 200


@dataclass(slots=True)
class Refunded:
    """What one run came to; the counts of `states` are of refunds."""

    armed: int = 0
    read: int = 0
    states: dict[str, int] = field(default_factory=dict)


Answered = tuple[ArmedRefund, RefundFinding]


@dataclass(frozen=True, slots=True)
class _Reading:
    """A refund whose transaction is being read since `looked_at`."""

    refund: refunding.Waiting
    gateway: Gateway
    looked_at: datetime
    read: "Future[ReadTransaction | GatewayUnavailableError]"


def refund_due(*, tuning: Tuning, clock: Callable[[], datetime], should_stop: Callable[[], bool]) -> Refunded:
    """Sends what is asked for and looks into what is unknown, as the module says. `clock` is the database's."""
    return _Refunder(tuning, clock, should_stop).run()


def sweep_refunds(*, tuning: Tuning, now: datetime, not_at: Sequence[str] = ()) -> int:
    """Turns refunds that are *sending* past their deadline into *unknown*; how many."""
    lost = Refund.objects.filter(state=RefundState.SENDING.value, deadline_at__lte=now).order_by("deadline_at")
    lost = lost.exclude(account__api_url__in=not_at)
    finding = RefundFinding(RefundVerdict.UNCLEAR, RefundSource.SWEEPER, reason=Reason.SENDER_LOST)
    states = []
    for pk, account_id in list(lost.values_list("pk", "account_id")[:SWEEP_BATCH]):
        try:
            states.append(settle_refund(pk, finding, tuning=tuning, now=now))
        except CONNECTION_LOST:
            raise
        except Exception as error:
            logger.exception("sweep: refund %s cannot be swept", pk)
            troubles.note(account_id, "sweep", error, now=now)
    return sum(state is not None for state in states)


class _Refunder:
    def __init__(self, tuning: Tuning, clock: Callable[[], datetime], should_stop: Callable[[], bool]) -> None:
        self._tuning = tuning
        self._clock = clock
        self._should_stop = should_stop
        self._stop_at = time.monotonic() + tuning.collect_for.total_seconds()
        self._give_up_at = self._stop_at + (tuning.deadline + timedelta(seconds=10)).total_seconds()
        self._reading: list[_Reading] = []
        self._sending: list[tuple[int, Future[Answered]]] = []  # with the account
        self._unsettled: list[Answered] = []
        self._unacknowledged: list[Unacknowledged] = []
        self._done = Refunded()

    def run(self) -> Refunded:
        with ThreadPoolExecutor(SENDERS, thread_name_prefix="refund") as pool:
            more = True
            while (more or self._has_unfinished()) and time.monotonic() < self._give_up_at:
                try:
                    self._settle_unacknowledged()
                    self._settle()
                    self._carry_on(pool)
                    more = self._may_begin() and self._begin(pool)
                    self._wait()
                except Error:
                    logger.exception("refund: the database failed; connecting again")
                    more = self._may_begin()
                    self._reconnect()
                except Exception:  # what was sent is settled all the same; the rest is for the next run
                    logger.exception("refund: this run starts nothing more")
                    more = False
                    time.sleep(DATABASE_PAUSE.total_seconds())
        self._name_what_is_left()
        return self._done

    def _name_what_is_left(self) -> None:
        """The database stayed away until the end: the sweep makes what was sent unknown, and an operator finds it
        here."""
        sent = [answer.result() for _, answer in self._sending] + self._unsettled
        left = [armed.refund_id for armed, _ in sent] + [one.refund_id for one in self._unacknowledged]
        if left:
            logger.error("refund: leaving without having settled refunds %s", ", ".join(map(str, left)))

    def _has_unfinished(self) -> bool:
        return bool(self._reading or self._sending or self._unsettled or self._unacknowledged)

    def _wait(self) -> None:
        """Until the first of what is under way has come, or for a moment."""
        under_way: list[Future[Any]] = [one.read for one in self._reading]
        under_way += [answer for _, answer in self._sending]
        if under_way:
            wait(under_way, timeout=POLL.total_seconds(), return_when=FIRST_COMPLETED)

    def _may_begin(self) -> bool:
        return not self._should_stop() and time.monotonic() < self._stop_at

    # --- look, arm and send ---------------------------------------------------------------------------------

    def _begin(self, pool: ThreadPoolExecutor) -> bool:
        """Begins to look into what is due, as far as there are threads. A reading that hangs takes one of its account's
        few, and nobody else waits for it. True when something was claimed."""
        claimed_any = False
        while self._may_begin() and len(self._reading) + len(self._sending) < SENDERS:
            now = self._clock()
            claimed = refunding.claim(
                now=now, lease=LEASE, limit=1, not_at=addresses_off(now), not_of=self._busy_accounts()
            )
            if not claimed:
                break
            claimed_any = True
            gateway = self._gateway_of(claimed[0].account_id)
            if gateway is None:
                self._not_seen(claimed[0], GatewayUnavailableError("the account's gateway cannot be asked"))
            else:
                looked_at = self._clock()
                read = pool.submit(_read, gateway, claimed[0].transaction_id)
                self._reading.append(_Reading(claimed[0], gateway, looked_at, read))
        return claimed_any

    def _busy_accounts(self) -> list[int]:
        """Those that have as much under way as one account may."""
        under_way = Counter(one.refund.account_id for one in self._reading)
        under_way.update(account_id for account_id, _ in self._sending)
        return [account_id for account_id, count in under_way.items() if count >= OF_ONE_ACCOUNT]

    def _gateway_of(self, account_id: int) -> Gateway | None:
        """One that cannot be had holds up its account's refunds and nobody else's."""
        account = GatewayAccount.objects.get(pk=account_id)
        try:
            gateway = gateway_for(account)
        except Exception as error:
            logger.exception("refund: no gateway client for account %s", account.public_id)
            troubles.note(account_id, WORK, error, now=self._clock())
            return None
        troubles.clear(account_id, WORK)
        return gateway

    def _carry_on(self, pool: ThreadPoolExecutor) -> None:
        """Goes on with what was looked into by now."""
        for reading in [one for one in self._reading if one.read.done()]:
            self._reading.remove(reading)
            one, seen = reading.refund, reading.read.result()
            try:
                if isinstance(seen, GatewayUnavailableError):
                    self._not_seen(one, seen)
                elif one.state == RefundState.REQUESTED:
                    self._give_back(pool, reading.gateway, one, seen, reading.looked_at)
                else:
                    self._ask_about(one, seen)
            except CONNECTION_LOST:
                raise
            except Exception as error:  # its lease ends by itself; one refund never holds up the others
                logger.exception("refund: refund %s could not be continued", one.refund_id)
                troubles.note(one.account_id, WORK_ON_ONE, error, now=self._clock())

    def _not_seen(self, one: refunding.Waiting, error: GatewayUnavailableError) -> None:
        """The gateway did not show the transaction: that counts for nothing, and is tried again."""
        logger.warning("refund: refund %s: its transaction could not be read: %s", one.refund_id, error)
        now = self._clock()
        asks = one.state == RefundState.UNKNOWN
        if asks and one.armed_at is not None and now - one.armed_at > PATIENCE:
            finding = RefundFinding(
                RefundVerdict.NOTHING_AT_LAST, RefundSource.TRANSACTION_QUERY, reason=Reason.READS_KEEP_FAILING
            )
            self._count(settle_refund(one.refund_id, finding, tuning=self._tuning, now=now))
            return
        first = min(self._tuning.ladder[0], timedelta(seconds=30))
        again = now + min(first * 2 ** min(one.checks_failed, 10), LONGEST_BACKOFF)
        changes = {} if asks else {"state_reason": RefundWait.GATEWAY_UNAVAILABLE.value}
        Refund.objects.filter(pk=one.refund_id, state=one.state).update(
            next_check_at=again, checks_failed=one.checks_failed + 1, **changes
        )

    def _give_back(
        self,
        pool: ThreadPoolExecutor,
        gateway: Gateway,
        one: refunding.Waiting,
        seen: ReadTransaction,
        looked_at: datetime,
    ) -> None:
        write_down({one.attempt_id: seen}, tuning=self._tuning, now=self._clock())
        now = self._clock()  # anew: writing down may have waited for locks, and the window begins now
        gateway_clock.align(now)
        armed = arm_refund(one, gateway=gateway, tuning=self._tuning, looked_at=looked_at, now=now)
        if isinstance(armed, ArmedRefund):
            self._done.armed += 1
            self._submit(pool, gateway, armed)
        elif isinstance(armed, Unacknowledged):
            self._unacknowledged.append(armed)
            self._reconnect()
        else:
            self._count(armed)

    def _submit(self, pool: ThreadPoolExecutor, gateway: Gateway, armed: ArmedRefund) -> None:
        self._sending.append((armed.asked.account_id, pool.submit(_send, gateway, armed)))

    def _ask_about(self, one: refunding.Waiting, seen: ReadTransaction) -> None:
        """One check of an unknown refund; each is evidence of its own."""
        refund = Refund.objects.select_related("attempt").get(pk=one.refund_id)
        verdict, reason = judge(
            seen.money,
            kind=RefundKind(refund.kind),
            amount_minor=refund.amount_minor,
            before_minor=refund.attempt.amount_refunded_minor,
            transaction_id=one.transaction_id,
        )
        number = one.checks_done + 1
        if verdict in (RefundVerdict.UNCHANGED, RefundVerdict.UNCLEAR) and number >= len(self._tuning.ladder):
            reason = reason or Reason.UNCHANGED_AT_THE_GATEWAY
            verdict = RefundVerdict.NOTHING_AT_LAST
        finding = RefundFinding(
            verdict, RefundSource.TRANSACTION_QUERY, reason=reason or "", detail={**seen.content, "check": number}
        )
        self._done.read += 1
        self._count(settle_refund(one.refund_id, finding, tuning=self._tuning, now=self._clock()))

    # --- settle ---------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        for sent in [one for one in self._sending if one[1].done()]:
            self._unsettled.append(sent[1].result())  # a sender ends by its own deadline, and never raises
            self._sending.remove(sent)
        held = 0  # settled in the next round
        while held < len(self._unsettled):
            armed, finding = self._unsettled[held]
            try:
                self._count(settle_refund_answer(armed.asked, finding, tuning=self._tuning, now=self._clock()))
            except HeldError:
                logger.warning("refund: rows that the response to refund %s needs are locked", armed.refund_id)
                held += 1
                continue
            except CONNECTION_LOST:
                raise
            except Exception as error:  # the sweep makes it unknown, and its transaction is asked about
                logger.exception("refund: the response to refund %s cannot be settled", armed.refund_id)
                troubles.note(armed.asked.account_id, WORK_ON_ONE, error, now=self._clock())
            del self._unsettled[held]

    def _settle_unacknowledged(self) -> None:
        """A refund whose arming was never acknowledged was not sent, by this very process."""
        finding = RefundFinding(
            RefundVerdict.NOT_SENT, RefundSource.COMMIT_UNACKNOWLEDGED, reason=Reason.COMMIT_UNACKNOWLEDGED
        )
        while self._unacknowledged:
            one, now = self._unacknowledged[0], self._clock()
            if Refund.objects.filter(pk=one.refund_id, request_nonce=one.nonce).exists():
                self._count(settle_refund(one.refund_id, finding, tuning=self._tuning, now=now))
            else:
                Refund.objects.filter(pk=one.refund_id, state=RefundState.REQUESTED.value).update(next_check_at=now)
            del self._unacknowledged[0]

    def _count(self, state: RefundState | None) -> None:
        if state is not None:
            self._done.states[state.value] = self._done.states.get(state.value, 0) + 1

    def _reconnect(self) -> None:
        connection.close()
        time.sleep(DATABASE_PAUSE.total_seconds())


def _read(gateway: Gateway, transaction_id: str) -> ReadTransaction | GatewayUnavailableError:
    try:
        gateway.ensure_token()
        return gateway.read_transaction(transaction_id)
    except GatewayUnavailableError as error:
        return error
    except Exception as error:
        logger.exception("refund: a transaction could not be read")
        return GatewayUnavailableError(f"reading failed: {type(error).__name__}")


def _send(gateway: Gateway, armed: ArmedRefund) -> Answered:
    """The one POST. Whatever goes wrong here is an outcome that is not known, never a reason to forget it."""
    try:
        answer = gateway.send_refund(armed.prepared, kind=armed.kind)
    except Exception as error:
        logger.exception("refund: sending refund %s failed", armed.refund_id)
        detail = {"error": type(error).__name__}
        why = Reason.SENDER_FAILED
        return armed, RefundFinding(RefundVerdict.UNCLEAR, RefundSource.ANSWER, reason=why, detail=detail)
    if isinstance(answer, RefundFinding):
        return armed, answer
    verdict, reason = judge(
        answer.money,
        kind=armed.kind,
        amount_minor=armed.amount_minor,
        before_minor=armed.before_minor,
        transaction_id=armed.transaction_id,
    )
    if verdict is not RefundVerdict.REFUNDED:  # processed, and not to be seen in the answer: the next check shows it
        verdict, reason = RefundVerdict.UNCLEAR, reason or Reason.NOT_SEEN_IN_THE_ANSWER
    return armed, RefundFinding(verdict, RefundSource.ANSWER, reason=reason or "", detail=answer.content)
