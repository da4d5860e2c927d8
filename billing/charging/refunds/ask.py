"""Asking for money to go back, and a person's decision on a refund that evidence could not close.

A request is a row, and a worker sends it. Only `resolve_refund` speaks to the gateway, outside any transaction: nobody
decides against what it plainly shows.
"""

from datetime import datetime
from enum import StrEnum

from django.db import transaction

from billing import doorbell
from billing.charging.refunds.settle import settle_refund_in_transaction
from billing.domain.attempts import HAS_MONEY, AttemptState
from billing.domain.decisions import Decision
from billing.domain.errors import RefusedError
from billing.domain.reasons import Reason
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
    contradicted,
    kind_and_amount,
)
from billing.gateway.connection import GatewayUnavailableError, ReadTransaction, gateway_for
from billing.ids import new_id
from billing.models import PaymentAttempt, Refund
from billing.models.bulk import refunding
from billing.models.bulk.history import record_transition
from billing.operating.tuning import Tuning

_WHY_NOT_REVERSED = {
    RefundEnd.ORDER_UNKNOWN: "must have a known order at the gateway",
    RefundEnd.REVERSE_WINDOW_PASSED: "must be less than 15 minutes old to be reversed; refund it instead",
}


_MUST_NEED_REVIEW = "must need review; another person may have decided it"


class RefundError(RefusedError):
    """What was asked cannot be given back, or decided."""


class RefundResolution(StrEnum):
    REFUNDED = "refunded"
    NOT_REFUNDED = "not_refunded"


def request_refund(
    *,
    attempt: PaymentAttempt,
    amount_minor: int | None,
    decision: Decision,
    now: datetime,
    given_back_minor: int | None = None,
) -> Refund:
    """Asks for `amount_minor` of what the attempt took to be given back; None: all that is left.

    That is so much more than our books count as given back now. What turns out to be given back otherwise, before it
    is sent, is a part of it, and then it is not sent. `given_back_minor` is what whoever asks was shown as given back,
    and must still be so.

    Raises RefundError when the attempt has no money, when that much is not left, and while another refund of it is
    open. A worker sends it; what came of it is in its state."""
    with transaction.atomic():
        locked = _lock_money(attempt)
        if given_back_minor not in (None, locked.amount_refunded_minor):
            raise RefundError(
                "attempt", "not_usable", "part of it was refunded after this page was opened; open the page again"
            )
        try:
            kind, amount = kind_and_amount(
                amount_minor, captured_minor=locked.amount_minor, refunded_minor=locked.amount_refunded_minor
            )
        except RefundRuleError as error:
            raise RefundError(error.field, error.rule, error.message) from None
        return _create(locked, kind, amount, decision, now)


def request_reverse(*, attempt: PaymentAttempt, decision: Decision, now: datetime) -> Refund:
    """Asks for the whole payment to be taken back as if it had not been; possible for 15 minutes after the charge.

    Afterwards the invoice is open again and waits for a person. Raises RefundError."""
    with transaction.atomic():
        locked = _lock_money(attempt)
        if locked.amount_refunded_minor:
            raise RefundError(
                "attempt", "not_usable", "must not be partly refunded; a reversal takes back the whole payment"
            )
        if end := cannot_reverse(locked.gateway_order_id, locked.armed_at, now):
            raise RefundError("attempt", "not_usable", f"{_WHY_NOT_REVERSED[end]}")
        return _create(locked, RefundKind.REVERSE, locked.amount_minor, decision, now)


def withdraw(*, refund: Refund, decision: Decision, tuning: Tuning, now: datetime) -> None:
    """Takes a request back that was not sent yet. Raises RefundError when it was."""
    finding = RefundFinding(
        RefundVerdict.CANNOT,
        RefundSource.OPERATOR,
        reason=RefundEnd.WITHDRAWN,
        detail=_stated(decision).detail(now),
    )
    with transaction.atomic():
        if settle_refund_in_transaction(refund.pk, finding, tuning=tuning, now=now, actor=decision.actor) is None:
            raise RefundError("state", "state", "must be requested; only a refund that was not sent can be withdrawn")


def resolve_refund(
    *, refund: Refund, resolution: RefundResolution, decision: Decision, tuning: Tuning, now: datetime
) -> RefundState:
    """Closes a refund that *needs_review*, after a look at its transaction.

    Raises RefundError when it is not, or no longer, with a person, and for what the gateway plainly contradicts;
    GatewayUnavailableError when it cannot be asked, but for a refund that is with a person because of that. Then
    nothing was changed."""
    _stated(decision)
    current = Refund.objects.select_related("attempt__account").defer("request_body", "attempt__request_body")
    now_open = current.get(pk=refund.pk)
    if now_open.state != RefundState.NEEDS_REVIEW:
        raise RefundError("state", "state", _MUST_NEED_REVIEW)
    seen = _read(now_open)
    if seen is not None:
        _refuse_against(seen, now_open, resolution)
    verdict = {
        RefundResolution.REFUNDED: RefundVerdict.REFUNDED,
        RefundResolution.NOT_REFUNDED: RefundVerdict.PERSON_NOT_REFUNDED,
    }[resolution]
    shown = {"transaction": seen.content} if seen else {"transaction": "the gateway does not show it"}
    finding = RefundFinding(
        verdict,
        RefundSource.OPERATOR,
        reason=Reason.DECIDED_BY_PERSON,
        detail={**decision.detail(now), **shown},
    )
    with transaction.atomic():
        state = settle_refund_in_transaction(refund.pk, finding, tuning=tuning, now=now, actor=decision.actor)
        if state is None:  # somebody else decided meanwhile
            raise RefundError("state", "state", _MUST_NEED_REVIEW)
        return state


def _read(refund: Refund) -> ReadTransaction | None:
    """The refund's transaction as the gateway shows it; None where it has not shown it for days."""
    try:
        return gateway_for(refund.attempt.account).read_transaction(refund.attempt.gateway_transaction_id or "")
    except GatewayUnavailableError:
        if refund.state_reason != Reason.READS_KEEP_FAILING:
            raise
        return None


def _refuse_against(seen: ReadTransaction, refund: Refund, resolution: RefundResolution) -> None:
    against = contradicted(
        seen.money,
        refunded=resolution is RefundResolution.REFUNDED,
        kind=RefundKind(refund.kind),
        amount_minor=refund.amount_minor,
        before_minor=refund.attempt.amount_refunded_minor,
        transaction_id=refund.attempt.gateway_transaction_id or "",
    )
    if against is not None:
        word = resolution.value.replace("_", " ")
        raise RefundError("resolution", against.rule, f"{against.message}; it cannot be called {word}")


def _stated(decision: Decision) -> Decision:
    if not decision.reason:
        raise RefundError("reason", "required", "must not be empty")
    return decision


def _lock_money(attempt: PaymentAttempt) -> PaymentAttempt:
    locked = refunding.lock_around([attempt.pk])[attempt.pk]
    if AttemptState(locked.state) not in HAS_MONEY:
        raise RefundError("attempt", "not_usable", f"must have money to refund; it is {locked.state}")
    if locked.refunds.filter(state__in=sorted(OPEN)).exists():
        raise RefundError("attempt", "not_usable", "has an open refund; its outcome must be known first")
    return locked


def _create(attempt: PaymentAttempt, kind: RefundKind, amount_minor: int, decision: Decision, now: datetime) -> Refund:
    refund = Refund.objects.create(
        public_id=new_id("ref", now),
        account_id=attempt.account_id,
        attempt=attempt,
        invoice_id=attempt.invoice_id,
        kind=kind.value,
        origin=RefundOrigin.ENGINE.value,
        amount_minor=amount_minor,
        currency=attempt.currency,
        refunded_before_minor=attempt.amount_refunded_minor,
        requested_by=decision.actor,
        requested_reason=_stated(decision).reason,
        state=RefundState.REQUESTED.value,
        created_at=now,
        next_check_at=now,
    )
    record_transition(
        account_id=attempt.account_id,
        subject_type="refund",
        subject_id=refund.pk,
        from_state="",
        to_state=refund.state,
        reason=refund.requested_reason,
        actor=decision.actor,
        now=now,
    )
    doorbell.ring_on_commit(doorbell.REFUND)
    return refund
