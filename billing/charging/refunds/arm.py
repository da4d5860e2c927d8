"""arm, for a refund: one durable commit in which its request is frozen.

0. Recognise the database (`protocol.permission`).
1. Lock the account, what the attempt touches, and the refund.
2. Check everything again; what may not be sent now waits, and what never may is over.
3. Freeze and sign the request; the refund becomes *sending*.
4. Commit and attest: only that permits to send (`protocol.permission`).
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from django.conf import settings
from django.db import IntegrityError
from django.db.models import Max, Min

from billing.accounts.gateway_accounts import url_fits_environment
from billing.charging.protocol import permission
from billing.charging.protocol.request import is_for, request_columns, send_times
from billing.charging.refunds.settle import AskedBack, RefundSettlement, cannot
from billing.domain.arming import Environment
from billing.domain.attempts import HAS_MONEY, AttemptState
from billing.domain.reasons import Reason
from billing.domain.refunds import (
    MAY_HAVE_ACTED_ALL_THE_SAME,
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
from billing.models import GatewayAccount, PaymentAttempt, Refund, Transition
from billing.models.bulk import arming, refunding
from billing.operating.clocks import clock_refusal
from billing.operating.tuning import Tuning

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
    asked: AskedBack


@dataclass(frozen=True, slots=True)
class Unacknowledged:
    """The database did not say whether this refund was armed: it may not be sent."""

    refund_id: int
    nonce: str


def arm_refund(
    one: refunding.Waiting, *, gateway: Gateway, tuning: Tuning, looked_at: datetime, now: datetime
) -> ArmedRefund | Unacknowledged | RefundState | None:
    """Arms one requested refund: everything is checked again under locks, the request is frozen, and committed.

    `looked_at` is when the gateway was asked what was given back, and it was written down since. The refund was asked
    for before that, and every other one of the attempt had ended before it was asked for.

    ArmedRefund is the permission to send. Otherwise nothing is sent: RefundState when it ended, None when it waits
    or is somebody else's."""

    def freeze() -> permission.Frozen[ArmedRefund | RefundState | None]:
        came = _freeze_or_wait(one, gateway=gateway, tuning=tuning, looked_at=looked_at, now=now)
        return permission.Frozen(came, nonce=came.prepared.nonce if isinstance(came, ArmedRefund) else "")

    try:
        answer = permission.ask_permission(freeze, about=f"refund {one.refund_id}", now=now)
    except IntegrityError:
        logger.exception("refund: refund %s breaks a constraint", one.refund_id)
        _wait(one.refund_id, RefundWait.CONSTRAINT, now + LOOK_AGAIN)
        return None
    match answer:
        case permission.Permitted(came):
            return came
        case permission.Unacknowledged(came) | permission.Unattested(came):
            return Unacknowledged(one.refund_id, came.prepared.nonce) if isinstance(came, ArmedRefund) else came
        case permission.Closed():
            _wait(one.refund_id, RefundWait.ACCOUNT_STOPPED, now + LOOK_AGAIN)
            return None
        case _:
            assert_never(answer)


def _freeze_or_wait(
    one: refunding.Waiting, *, gateway: Gateway, tuning: Tuning, looked_at: datetime, now: datetime
) -> ArmedRefund | RefundState | None:
    """Inside arm's commit: checks everything again under locks, then freezes the request, ends the refund, or lets it
    wait."""
    account = arming.lock_account(one.account_id)
    attempt = refunding.lock_around([one.attempt_id])[one.attempt_id]
    refund = refunding.lock_refund(one.refund_id)
    if refund.state != RefundState.REQUESTED or not _are_what_was_read(one, attempt, refund):
        return None
    settlement = RefundSettlement(refund, attempt, tuning=tuning, now=now, actor="engine")
    facts = _facts(account, attempt, refund, looked_at)
    outcome: ArmedRefund | RefundWait | RefundEnd | None = may_arm(facts, now)
    if outcome is None and clock_refusal(account.api_url, gateway=gateway, now=now):
        outcome = RefundWait.CLOCK
    if outcome is None:
        outcome = _freeze(settlement, gateway, account.api_url, attempt, refund, tuning, now)
    if isinstance(outcome, RefundEnd):
        return settlement.apply(cannot(outcome, refund, attempt.amount_refunded_minor, RefundSource.ENGINE))
    if isinstance(outcome, RefundWait):
        _wait(refund.pk, outcome, max(facts.shown_by or now, now + LOOK_AGAIN))
        return None
    return outcome


def _are_what_was_read(one: refunding.Waiting, attempt: PaymentAttempt, refund: Refund) -> bool:
    """Whether the rows are those that were looked into; in a database that was put back, ids name others."""
    return refund.attempt_id == attempt.pk and attempt.gateway_transaction_id == one.transaction_id


def _facts(account: arming.LockedAccount, attempt: PaymentAttempt, refund: Refund, looked_at: datetime) -> RefundFacts:
    environment = Environment(account.environment)
    return RefundFacts(
        kind=RefundKind(refund.kind),
        amount_minor=refund.amount_minor,
        stopped=account.stopped,
        live_allowed=environment is not Environment.LIVE or settings.KITARAN_ALLOW_LIVE,
        environment_fits=url_fits_environment(environment, account.api_url),
        account_limit_minor=account.charge_limit_minor,
        attempt_has_money=AttemptState(attempt.state) in HAS_MONEY,
        became_the_payment=_became_the_payment(attempt, refund),
        before_minor=refund.refunded_before_minor,
        refunded_minor=attempt.amount_refunded_minor,
        order_id=attempt.gateway_order_id,
        charged_at=attempt.armed_at,
        looked_at=looked_at,
        shown_by=_shown_by(attempt),
    )


def _became_the_payment(attempt: PaymentAttempt, refund: Refund) -> bool:
    """Whether whoever held the invoice's place has ended since without money."""
    asked = Transition.objects.filter(subject_type="refund", subject_id=refund.pk).aggregate(first=Min("id"))["first"]
    became = Transition.objects.filter(subject_type="attempt", subject_id=attempt.pk, id__gt=asked or 0)
    return became.filter(from_state=AttemptState.SURPLUS.value, to_state=AttemptState.SUCCEEDED.value).exists()


def _shown_by(attempt: PaymentAttempt) -> datetime | None:
    """By when the gateway shows whatever the attempt's earlier refunds did that ended as if they had done nothing:
    an answer that says so may lie, and what was executed may be shown late."""
    earlier = attempt.refunds.filter(state__in=sorted(MAY_HAVE_ACTED_ALL_THE_SAME), armed_at__isnull=False)
    last: datetime | None = earlier.aggregate(last=Max("deadline_at"))["last"]
    return None if last is None else last + list_lag(attempt.account)


def list_lag(account: GatewayAccount) -> timedelta:
    """How late the gateway may show what it did, for this account."""
    return timedelta(seconds=account.list_lag_seconds)


def _freeze(
    settlement: RefundSettlement,
    gateway: Gateway,
    api_url: str,
    attempt: PaymentAttempt,
    refund: Refund,
    tuning: Tuning,
    now: datetime,
) -> ArmedRefund | RefundWait | RefundEnd:
    """Freezes and signs the request and makes the refund *sending*. Its words at the gateway are its own id only."""
    if not gateway.has_token():
        return RefundWait.GATEWAY_UNAVAILABLE
    kind, transaction_id = RefundKind(refund.kind), attempt.gateway_transaction_id or ""
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
    if not is_for(prepared, api_url):
        return RefundWait.ENVIRONMENT_DIFFERS
    for name, value in {**request_columns(prepared), **send_times(tuning, now)}.items():
        setattr(refund, name, value)
    settlement.apply(
        RefundFinding(
            RefundVerdict.ARMED, RefundSource.ENGINE, reason=Reason.ARMED, detail={"request_hash": prepared.sha256}
        )
    )
    asked = AskedBack(
        refund.account_id, refund.public_id, prepared.nonce, transaction_id, refund.amount_minor, refund.currency
    )
    before_minor = attempt.amount_refunded_minor
    return ArmedRefund(refund.pk, kind, refund.amount_minor, before_minor, transaction_id, prepared, asked)


def _wait(refund_id: int, why: RefundWait, until: datetime) -> None:
    Refund.objects.filter(pk=refund_id, state=RefundState.REQUESTED.value).update(
        state_reason=why.value, next_check_at=until
    )
