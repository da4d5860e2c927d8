"""arm, for a refund: one durable commit in which its request is frozen.

1. Lock the account, what the attempt touches, and the refund.
2. Check everything again; what may not be sent now waits, and what never may is over.
3. Freeze and sign the request; the refund becomes *sending*.
4. Commit. Only a commit that was acknowledged, in this very call, permits to send.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import Error, IntegrityError, transaction

from billing.accounts.gateway_accounts import url_fits_environment
from billing.charging.limits import Limits
from billing.charging.refund_settling import RefundSettlement
from billing.domain.arming import Environment
from billing.domain.attempts import HAS_MONEY, AttemptState
from billing.domain.refunds import (
    RefundEnd,
    RefundFacts,
    RefundFinding,
    RefundKind,
    RefundSource,
    RefundState,
    RefundVerdict,
    RefundWait,
    may_arm,
)
from billing.gateway.connection import Gateway, GiveBack, PreparedRequest
from billing.models import PaymentAttempt, Refund
from billing.models.bulk import arming, refunding

logger = logging.getLogger(__name__)

LOOK_AGAIN = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class ArmedRefund:
    """Permission to send `prepared` once, from this process."""

    refund_id: int
    kind: RefundKind
    amount_minor: int
    before_minor: int
    transaction_id: str
    prepared: PreparedRequest


@dataclass(frozen=True, slots=True)
class Unacknowledged:
    """The database did not say whether this refund was armed: it may not be sent."""

    refund_id: int
    nonce: str


def arm_refund(
    one: refunding.Waiting, *, gateway: Gateway, limits: Limits, now: datetime
) -> ArmedRefund | Unacknowledged | RefundState | None:
    """Arms one requested refund: everything is checked again under locks, the request is frozen, and committed.

    ArmedRefund is the permission to send. Otherwise nothing is sent: RefundState when it ended, None when it waits
    or is somebody else's."""
    frozen: list[ArmedRefund] = []
    try:
        with transaction.atomic(durable=True):
            account = arming.lock_account(one.account_id)
            attempt = refunding.lock_around([one.attempt_id])[one.attempt_id]
            refund = refunding.lock_refund(one.refund_id)
            if refund.state != RefundState.REQUESTED:
                return None
            settlement = RefundSettlement(refund, attempt, limits=limits, now=now, actor="engine")
            outcome = may_arm(_facts(account, attempt, refund), now)
            if outcome is None:
                armed = _freeze(settlement, gateway, account.api_url, attempt, refund, limits, now)
                if isinstance(armed, ArmedRefund):
                    frozen.append(armed)
                else:
                    outcome = armed
            if isinstance(outcome, RefundEnd):
                return settlement.apply(RefundFinding(RefundVerdict.CANNOT, RefundSource.ENGINE, reason=outcome.value))
            if isinstance(outcome, RefundWait):
                _wait(refund.pk, outcome, now)
    except IntegrityError:
        logger.exception("refund: refund %s breaks a constraint", one.refund_id)
        _wait(one.refund_id, RefundWait.CONSTRAINT, now)
        return None
    except Error:
        if not frozen:
            raise
        logger.exception("refund: the commit of refund %s was not acknowledged; it is not sent", one.refund_id)
        return Unacknowledged(one.refund_id, frozen[0].prepared.nonce)
    return frozen[0] if frozen else None


def _facts(account: arming.LockedAccount, attempt: PaymentAttempt, refund: Refund) -> RefundFacts:
    environment = Environment(account.environment)
    return RefundFacts(
        kind=RefundKind(refund.kind),
        amount_minor=refund.amount_minor,
        stopped=account.stopped,
        live_allowed=environment is not Environment.LIVE or settings.KITARAN_ALLOW_LIVE,
        environment_fits=url_fits_environment(environment, account.api_url),
        account_limit_minor=account.charge_limit_minor,
        attempt_has_money=AttemptState(attempt.state) in HAS_MONEY,
        captured_minor=attempt.amount_minor,
        refunded_minor=attempt.amount_refunded_minor,
        order_id=attempt.gateway_order_id,
        charged_at=attempt.armed_at,
    )


def _freeze(
    settlement: RefundSettlement,
    gateway: Gateway,
    api_url: str,
    attempt: PaymentAttempt,
    refund: Refund,
    limits: Limits,
    now: datetime,
) -> ArmedRefund | RefundWait | RefundEnd:
    """Freezes and signs the request and makes the refund *sending*. Its words at the gateway are its own id only."""
    if not gateway.has_token():
        return RefundWait.GATEWAY_UNAVAILABLE
    kind, transaction_id = RefundKind(refund.kind), attempt.gateway_transaction_id or ""
    if kind is RefundKind.FULL and attempt.amount_refunded_minor:
        return RefundEnd.NOT_THAT_MUCH
    wanted = GiveBack(
        kind=kind,
        transaction_id=transaction_id,
        order_id=attempt.gateway_order_id or "",
        amount_minor=refund.amount_minor,
        currency=refund.currency,
        reason=refund.public_id,
    )
    try:
        prepared = gateway.freeze_refund(wanted, timestamp=int(now.timestamp()))
    except ValueError:
        logger.exception("refund: no request can be made for refund %s", refund.public_id)
        return RefundEnd.REQUEST_IMPOSSIBLE
    if not prepared.url.startswith(f"{api_url}/"):
        return RefundWait.ENVIRONMENT_DIFFERS
    refund.request_method = prepared.method
    refund.request_url = prepared.url
    refund.request_body = prepared.body
    refund.request_nonce = prepared.nonce
    refund.request_timestamp = prepared.timestamp
    refund.request_signature = prepared.signature
    refund.request_hash = prepared.sha256
    refund.armed_at = now
    refund.window_ends_at = now + limits.window
    refund.deadline_at = now + limits.deadline
    settlement.apply(
        RefundFinding(
            RefundVerdict.ARMED, RefundSource.ENGINE, reason="armed", detail={"request_hash": prepared.sha256}
        )
    )
    return ArmedRefund(refund.pk, kind, refund.amount_minor, attempt.amount_refunded_minor, transaction_id, prepared)


def _wait(refund_id: int, why: RefundWait, now: datetime) -> None:
    Refund.objects.filter(pk=refund_id, state=RefundState.REQUESTED.value).update(
        state_reason=why.value, next_check_at=now + LOOK_AGAIN
    )
