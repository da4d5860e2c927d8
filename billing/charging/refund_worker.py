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
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import Error, connection

from billing.charging.limits import Limits
from billing.charging.refund_arming import ArmedRefund, Unacknowledged, arm_refund
from billing.charging.refund_settling import settle_refund, write_down
from billing.charging.settle import CONNECTION_LOST
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

logger = logging.getLogger(__name__)

SENDERS = 4
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


def refund_due(*, limits: Limits, clock: Callable[[], datetime], should_stop: Callable[[], bool]) -> Refunded:
    """Sends what is asked for and looks into what is unknown, as the module says. `clock` is the database's."""
    return _Refunder(limits, clock, should_stop).run()


def sweep_refunds(*, limits: Limits, now: datetime) -> int:
    """Turns refunds that are *sending* past their deadline into *unknown*; how many."""
    lost = Refund.objects.filter(state=RefundState.SENDING.value, deadline_at__lte=now).order_by("deadline_at")
    finding = RefundFinding(RefundVerdict.UNCLEAR, RefundSource.SWEEPER, reason="sender_lost")
    states = [
        settle_refund(pk, finding, limits=limits, now=now)
        for pk in list(lost.values_list("pk", flat=True)[:SWEEP_BATCH])
    ]
    return sum(state is not None for state in states)


class _Refunder:
    def __init__(self, limits: Limits, clock: Callable[[], datetime], should_stop: Callable[[], bool]) -> None:
        self._limits = limits
        self._clock = clock
        self._should_stop = should_stop
        self._stop_at = time.monotonic() + limits.collect_for.total_seconds()
        self._give_up_at = self._stop_at + (limits.deadline + timedelta(seconds=10)).total_seconds()
        self._sending: list[Future[Answered]] = []
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
                    more = self._may_begin() and self._begin(pool)
                except Error:
                    logger.exception("refund: the database failed; connecting again")
                    more = self._may_begin()
                    self._reconnect()
        return self._done

    def _has_unfinished(self) -> bool:
        return bool(self._sending or self._unsettled or self._unacknowledged)

    def _may_begin(self) -> bool:
        return not self._should_stop() and time.monotonic() < self._stop_at

    # --- look, arm and send ---------------------------------------------------------------------------------

    def _begin(self, pool: ThreadPoolExecutor) -> bool:
        """Looks into the next refunds and sends those that are asked for. True when there may be more."""
        waiting = refunding.claim(now=self._clock(), lease=LEASE, limit=SENDERS)
        accounts = GatewayAccount.objects.in_bulk({one.account_id for one in waiting})
        gateways = {pk: gateway_for(account) for pk, account in accounts.items()}
        looks = [(one, pool.submit(_look, gateways[one.account_id], one.transaction_id)) for one in waiting]
        for one, look in looks:
            seen = look.result()
            try:
                if isinstance(seen, GatewayUnavailableError):
                    self._not_seen(one, seen)
                elif one.state == RefundState.REQUESTED:
                    self._give_back(pool, gateways[one.account_id], one, seen)
                else:
                    self._ask_about(one, seen)
            except CONNECTION_LOST:
                raise
            except Exception:  # its lease ends by itself; one refund never holds up the others
                logger.exception("refund: refund %s could not be carried on", one.refund_id)
        return bool(waiting)

    def _not_seen(self, one: refunding.Waiting, error: GatewayUnavailableError) -> None:
        """The gateway did not show the transaction: that counts for nothing, and is tried again."""
        logger.warning("refund: refund %s: its transaction could not be read: %s", one.refund_id, error)
        now = self._clock()
        asks = one.state == RefundState.UNKNOWN
        if asks and one.armed_at is not None and now - one.armed_at > PATIENCE:
            finding = RefundFinding(
                RefundVerdict.NOTHING_AT_LAST, RefundSource.TRANSACTION_QUERY, reason="reads_keep_failing"
            )
            self._count(settle_refund(one.refund_id, finding, limits=self._limits, now=now))
            return
        first = min(self._limits.ladder[0], timedelta(seconds=30))
        again = now + min(first * 2 ** min(one.checks_failed, 10), LONGEST_BACKOFF)
        changes = {} if asks else {"state_reason": RefundWait.GATEWAY_UNAVAILABLE.value}
        Refund.objects.filter(pk=one.refund_id, state=one.state).update(
            next_check_at=again, checks_failed=one.checks_failed + 1, **changes
        )

    def _give_back(
        self, pool: ThreadPoolExecutor, gateway: Gateway, one: refunding.Waiting, seen: ReadTransaction
    ) -> None:
        write_down({one.attempt_id: seen}, limits=self._limits, now=self._clock())
        now = self._clock()  # anew: writing down may have waited for locks, and the window begins now
        gateway_clock.align(now)
        armed = arm_refund(one, gateway=gateway, limits=self._limits, now=now)
        if isinstance(armed, ArmedRefund):
            self._done.armed += 1
            self._submit(pool, gateway, armed)
        elif isinstance(armed, Unacknowledged):
            self._unacknowledged.append(armed)
            self._reconnect()
        else:
            self._count(armed)

    def _submit(self, pool: ThreadPoolExecutor, gateway: Gateway, armed: ArmedRefund) -> None:
        self._sending.append(pool.submit(_send, gateway, armed))

    def _ask_about(self, one: refunding.Waiting, seen: ReadTransaction) -> None:
        """One look at what came of an unknown refund; each is told as its own."""
        refund = Refund.objects.select_related("attempt").get(pk=one.refund_id)
        verdict, reason = judge(
            seen.money,
            kind=RefundKind(refund.kind),
            amount_minor=refund.amount_minor,
            before_minor=refund.attempt.amount_refunded_minor,
            transaction_id=one.transaction_id,
        )
        number = one.checks_done + 1
        if verdict in (RefundVerdict.UNCHANGED, RefundVerdict.UNCLEAR) and number >= len(self._limits.ladder):
            reason = reason or "unchanged_at_the_gateway"
            verdict = RefundVerdict.NOTHING_AT_LAST
        finding = RefundFinding(
            verdict, RefundSource.TRANSACTION_QUERY, reason=reason, detail={**seen.content, "check": number}
        )
        self._done.read += 1
        self._count(settle_refund(one.refund_id, finding, limits=self._limits, now=self._clock()))

    # --- settle ---------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        while self._sending:  # a sender ends by its own deadline, and never raises
            self._unsettled.append(self._sending[0].result())
            del self._sending[0]
        while self._unsettled:
            armed, finding = self._unsettled[0]
            self._count(settle_refund(armed.refund_id, finding, limits=self._limits, now=self._clock()))
            del self._unsettled[0]

    def _settle_unacknowledged(self) -> None:
        """A refund whose arming was never acknowledged was not sent, by this very process."""
        finding = RefundFinding(
            RefundVerdict.NOT_SENT, RefundSource.COMMIT_UNACKNOWLEDGED, reason="commit_unacknowledged"
        )
        while self._unacknowledged:
            one, now = self._unacknowledged[0], self._clock()
            if Refund.objects.filter(pk=one.refund_id, request_nonce=one.nonce).exists():
                self._count(settle_refund(one.refund_id, finding, limits=self._limits, now=now))
            else:
                Refund.objects.filter(pk=one.refund_id, state=RefundState.REQUESTED.value).update(next_check_at=now)
            del self._unacknowledged[0]

    def _count(self, state: RefundState | None) -> None:
        if state is not None:
            self._done.states[state.value] = self._done.states.get(state.value, 0) + 1

    def _reconnect(self) -> None:
        connection.close()
        time.sleep(DATABASE_PAUSE.total_seconds())


def _look(gateway: Gateway, transaction_id: str) -> ReadTransaction | GatewayUnavailableError:
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
        return armed, RefundFinding(RefundVerdict.UNCLEAR, RefundSource.ANSWER, reason="sender_failed", detail=detail)
    if isinstance(answer, RefundFinding):
        return armed, answer
    verdict, reason = judge(
        answer.money,
        kind=armed.kind,
        amount_minor=armed.amount_minor,
        before_minor=armed.before_minor,
        transaction_id=armed.transaction_id,
    )
    if verdict is not RefundVerdict.REFUNDED:  # processed, and not to be seen in the answer: the next look tells
        verdict, reason = RefundVerdict.UNCLEAR, reason or "not_seen_in_the_answer"
    return armed, RefundFinding(verdict, RefundSource.ANSWER, reason=reason, detail=answer.content)
