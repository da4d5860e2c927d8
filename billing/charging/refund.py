"""Asking for money to go back, and a person's decision on a refund that evidence could not close.

Nothing here speaks to the gateway: a request is a row, and a worker sends it (`refund_worker`).
"""

from datetime import datetime
from enum import StrEnum

from django.db import transaction

from billing import doorbell
from billing.charging.limits import Limits
from billing.charging.refund_settling import settle_refund_in_transaction
from billing.domain.attempts import HAS_MONEY, AttemptState
from billing.domain.refunds import (
    OPEN,
    RefundEnd,
    RefundFinding,
    RefundKind,
    RefundOrigin,
    RefundRuleError,
    RefundSource,
    RefundState,
    RefundVerdict,
    cannot_reverse,
    kind_and_amount,
)
from billing.ids import new_id
from billing.models import PaymentAttempt, Refund, Transition
from billing.models.bulk import refunding, settling

_WHY_NOT_REVERSED = {
    RefundEnd.ORDER_UNKNOWN: "its order at the gateway is not known",
    RefundEnd.REVERSE_WINDOW_PASSED: "the gateway reverses a payment for 15 minutes only; refund it instead",
}


class RefundError(ValueError):
    """What was asked cannot be given back; the message names the field and the rule."""


class RefundResolution(StrEnum):
    REFUNDED = "refunded"
    NOT_REFUNDED = "not_refunded"


def request_refund(
    *, attempt: PaymentAttempt, amount_minor: int | None, reason: str, actor: str, now: datetime
) -> Refund:
    """Asks for `amount_minor` of what the attempt took to be given back; None: all that is left.

    Raises RefundError when the attempt has no money, when that much is not left, and while another refund of it is
    open. A worker sends it; what came of it is in its state."""
    with transaction.atomic():
        locked = _lock_money(attempt)
        try:
            kind, amount = kind_and_amount(
                amount_minor, captured_minor=locked.amount_minor, refunded_minor=locked.amount_refunded_minor
            )
        except RefundRuleError as error:
            raise RefundError(str(error)) from None
        return _create(locked, kind, amount, reason=reason, actor=actor, now=now)


def request_reverse(*, attempt: PaymentAttempt, reason: str, actor: str, now: datetime) -> Refund:
    """Asks for the whole payment to be taken back as if it had not been; possible for 15 minutes after the charge.

    Afterwards the invoice is open again and waits for a person. Raises RefundError."""
    with transaction.atomic():
        locked = _lock_money(attempt)
        if locked.amount_refunded_minor:
            raise RefundError("attempt: a part of it was given back already; a reversal takes back the whole")
        if end := cannot_reverse(locked.gateway_order_id, locked.armed_at, now):
            raise RefundError(f"attempt: {_WHY_NOT_REVERSED[end]}")
        return _create(locked, RefundKind.REVERSE, locked.amount_minor, reason=reason, actor=actor, now=now)


def withdraw(*, refund: Refund, reason: str, actor: str, limits: Limits, now: datetime) -> None:
    """Takes a request back that was not sent yet. Raises RefundError when it was."""
    finding = RefundFinding(
        RefundVerdict.CANNOT,
        RefundSource.OPERATOR,
        reason=f"{RefundEnd.WITHDRAWN.value}: {_said(reason)}",
        detail={"actor": actor},
    )
    with transaction.atomic():
        if settle_refund_in_transaction(refund.pk, finding, limits=limits, now=now, actor=actor) is None:
            raise RefundError("state: it was sent already, or is over")


def resolve_refund(
    *, refund: Refund, resolution: RefundResolution, reason: str, actor: str, limits: Limits, now: datetime
) -> RefundState:
    """Closes a refund that *needs_human*. Raises RefundError when it is not, or no longer, with a person."""
    verdict = {
        RefundResolution.REFUNDED: RefundVerdict.REFUNDED,
        RefundResolution.NOT_REFUNDED: RefundVerdict.PERSON_NOT_REFUNDED,
    }[resolution]
    finding = RefundFinding(
        verdict,
        RefundSource.OPERATOR,
        reason=f"decided by {actor}: {_said(reason)}",
        detail={"actor": actor, "decided_at": now.isoformat()},
    )
    with transaction.atomic():
        state = None
        settling.lock_for_settlement([refund.attempt_id], lock_accounts=False)
        if refunding.lock_refund(refund.pk).state == RefundState.NEEDS_HUMAN:
            state = settle_refund_in_transaction(refund.pk, finding, limits=limits, now=now, actor=actor)
        if state is None:
            raise RefundError("state: the refund is not with a person, or somebody else was first")
        return state


def _said(reason: str) -> str:
    if not reason.strip():
        raise RefundError("reason: say why")
    return reason.strip()


def _lock_money(attempt: PaymentAttempt) -> PaymentAttempt:
    locked = refunding.lock_around([attempt.pk])[attempt.pk]
    if AttemptState(locked.state) not in HAS_MONEY:
        raise RefundError(f"attempt: is {locked.state}; there is no money of it to give back")
    if locked.refunds.filter(state__in=sorted(OPEN)).exists():
        raise RefundError("attempt: a refund of it is open already; its outcome comes first")
    return locked


def _create(
    attempt: PaymentAttempt, kind: RefundKind, amount_minor: int, *, reason: str, actor: str, now: datetime
) -> Refund:
    refund = Refund.objects.create(
        public_id=new_id("ref", now),
        account_id=attempt.account_id,
        attempt=attempt,
        invoice_id=attempt.invoice_id,
        kind=kind.value,
        origin=RefundOrigin.ENGINE.value,
        amount_minor=amount_minor,
        currency=attempt.currency,
        requested_by=actor,
        requested_reason=_said(reason),
        state=RefundState.REQUESTED.value,
        created_at=now,
        next_check_at=now,
    )
    Transition.objects.create(
        account_id=attempt.account_id,
        subject_type="refund",
        subject_id=refund.pk,
        from_state="",
        to_state=refund.state,
        reason=refund.requested_reason,
        actor=actor,
        at=now,
    )
    doorbell.ring_on_commit(doorbell.REFUND)
    return refund
