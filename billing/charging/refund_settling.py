"""Settling refunds: the only way in for evidence about money that goes back; one durable commit for each.

1. Lock what the attempt touches, in the one order, and the refund last.
2. Record the evidence; what was told before is a no-op.
3. Let `domain.refunds.decide` say what it does.
4. Carry it out on refund, attempt and invoice, with a row for every change.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import assert_never

from django.db import transaction

from billing.charging.limits import Limits
from billing.charging.settle import Told, settle_in_transaction
from billing.domain.attempts import HAS_MONEY, AttemptState, Finding, Source, Verdict, next_check
from billing.domain.refunds import (
    MAY_HAVE_ACTED,
    OPEN,
    Alarm,
    Move,
    RefundFinding,
    RefundKind,
    RefundOrigin,
    RefundSource,
    RefundState,
    RefundVerdict,
    Stay,
    decide,
    unexplained,
)
from billing.gateway.connection import ReadTransaction
from billing.ids import new_id
from billing.models import PaymentAttempt, Refund, Transition
from billing.models.bulk import refunding, settling, sql

R = RefundState


def settle_refund(
    refund_id: int, finding: RefundFinding, *, limits: Limits, now: datetime, actor: str = "engine"
) -> RefundState | None:
    """Settles one finding and returns the state that the refund came to; None when it did not move."""
    with transaction.atomic(durable=True):
        return settle_refund_in_transaction(refund_id, finding, limits=limits, now=now, actor=actor)


def settle_refund_in_transaction(
    refund_id: int, finding: RefundFinding, *, limits: Limits, now: datetime, actor: str
) -> RefundState | None:
    """The same inside the caller's transaction."""
    attempt_id = Refund.objects.values_list("attempt_id", flat=True).get(pk=refund_id)
    settling.lock_for_settlement([attempt_id], lock_accounts=False)
    attempt = PaymentAttempt.objects.get(pk=attempt_id)
    refund = refunding.lock_refund(refund_id)
    return RefundSettlement(refund, attempt, limits=limits, now=now, actor=actor).apply(finding)


class RefundSettlement:
    """One refund with its attempt, both locked with all that they touch, inside the caller's transaction."""

    def __init__(self, refund: Refund, attempt: PaymentAttempt, *, limits: Limits, now: datetime, actor: str) -> None:
        self._refund = refund
        self._attempt = attempt
        self._limits = limits
        self._now = now
        self._actor = actor

    def apply(self, finding: RefundFinding) -> RefundState | None:
        """Records the finding and carries out what it does; the new state, or None when it did not move."""
        evidence_id = _record(self._refund, finding, self._now)
        if evidence_id is None:
            return None
        decision = decide(RefundState(self._refund.state), finding)
        match decision:
            case Move(to, reason):
                self._move(to, reason, finding, evidence_id)
                return to
            case Stay():
                self._stay(finding)
            case Alarm(reason):
                _tell(self._refund, self._attempt, "refund.alarm", reason, self._now)
            case _:
                assert_never(decision)
        return None

    def _move(self, to: RefundState, reason: str, finding: RefundFinding, evidence_id: int) -> None:
        refund = self._refund
        before = refund.state
        refund.state = to.value
        refund.state_reason = reason
        refund.last_evidence_id = evidence_id
        refund.next_check_at = self._first_check(finding) if to is R.UNKNOWN else None
        refund.settled_at = None if to in OPEN else self._now
        refund.save(
            update_fields=["state", "state_reason", "last_evidence_id", "next_check_at", "settled_at", *_REQUEST]
            if to is R.SENDING
            else ["state", "state_reason", "last_evidence_id", "next_check_at", "settled_at"]
        )
        _log(refund, before, reason, evidence_id, self._actor, self._now)
        self._carry_out(to, finding)

    def _carry_out(self, to: RefundState, finding: RefundFinding) -> None:
        match to:
            case R.SUCCEEDED:
                if self._refund.kind == RefundKind.REVERSE:
                    self._reverse(finding)
                else:
                    _count(self._attempt, self._refund.amount_minor)
                _tell(self._refund, self._attempt, "refund.succeeded", "", self._now)
            case R.REFUSED | R.NOT_SENT | R.NOT_REFUNDED:
                _tell(self._refund, self._attempt, "refund.failed", "", self._now)
            case R.NEEDS_HUMAN:
                _tell(self._refund, self._attempt, "refund.needs_human", "", self._now)
            case R.SENDING | R.UNKNOWN:
                pass
            case R.REQUESTED:
                raise AssertionError("nothing moves to requested")
            case _:
                assert_never(to)

    def _reverse(self, finding: RefundFinding) -> None:
        """The payment itself is gone: its attempt is told so, with evidence of its own.

        The answer to the reversal is no answer to the attempt's one request; it shows the transaction as it is now."""
        by_a_person = finding.source is RefundSource.OPERATOR
        told = Finding(
            Verdict.REVERSED,
            Source.OPERATOR if by_a_person else Source.TRANSACTION_QUERY,
            reason="reversed_on_request",
            transaction_id=self._attempt.gateway_transaction_id,
            detail={"refund": self._refund.public_id},
        )
        settle_in_transaction([Told(self._attempt.pk, told)], limits=self._limits, now=self._now, actor=self._actor)

    def _stay(self, finding: RefundFinding) -> None:
        """A query that settled nothing counts one rung; after the last one it is asked again at the last pace."""
        refund = self._refund
        if refund.state != R.UNKNOWN or finding.source is not RefundSource.TRANSACTION_QUERY or not refund.armed_at:
            return
        refund.checks_done += 1
        after = next_check(refund.armed_at, self._limits.ladder, refund.checks_done, self._now)
        refund.next_check_at = after or self._now + self._limits.ladder[-1]
        refund.save(update_fields=["checks_done", "next_check_at"])

    def _first_check(self, finding: RefundFinding) -> datetime:
        if finding.source is RefundSource.SWEEPER or self._refund.armed_at is None:
            return self._now  # its sender is gone: the deadline has passed already
        return next_check(self._refund.armed_at, self._limits.ladder, 0, self._now) or self._now


_REQUEST = (
    "request_method",
    "request_url",
    "request_body",
    "request_nonce",
    "request_timestamp",
    "request_signature",
    "request_hash",
    "armed_at",
    "window_ends_at",
    "deadline_at",
)


def write_down(reads: Mapping[int, ReadTransaction], *, limits: Limits, now: datetime, actor: str = "engine") -> int:
    """Takes over what transactions, by the attempt that they belong to, show of money that went back: refunds made at
    the gateway, and payments that it reversed. One durable commit; how many things were news."""
    with transaction.atomic(durable=True):
        settling.lock_for_settlement(sorted(reads), lock_accounts=False)
        news = len(record_seen(reads, limits=limits, now=now, actor=actor))
        paid = PaymentAttempt.objects.filter(pk__in=reads, state__in=HAS_MONEY).order_by("pk")
        reversals = [
            Told(attempt.pk, reads[attempt.pk].finding(attempt.marker, Source.TRANSACTION_QUERY))
            for attempt in paid
            if reads[attempt.pk].money.reversed
        ]
        if reversals:
            news += sum(settle_in_transaction(reversals, limits=limits, now=now, actor=actor).values())
    return news


def record_seen(
    reads: Mapping[int, ReadTransaction], *, limits: Limits, now: datetime, actor: str = "engine"
) -> list[Refund]:
    """Writes down money that the gateway shows as given back and that nothing here explains.

    `reads` are transactions by the attempt that they belong to; their attempts, and all that these touch, are locked
    by the caller. While a refund of the attempt may have acted, what is seen may be that one: its own look tells."""
    written = []
    for attempt in PaymentAttempt.objects.filter(pk__in=reads, state__in=HAS_MONEY).order_by("pk"):
        read = reads[attempt.pk]
        if read.money.transaction_id != attempt.gateway_transaction_id or not read.says_refunded:
            continue
        amount = unexplained(read.money, explained_minor=attempt.amount_refunded_minor)
        waiting = refunding.lock_open_refund(attempt.pk, sorted(OPEN))
        if not amount or (waiting is not None and waiting.state in MAY_HAVE_ACTED):
            continue
        left = attempt.amount_minor - attempt.amount_refunded_minor - amount
        if waiting is not None and (waiting.amount_minor > left or waiting.kind == RefundKind.REVERSE):
            settlement = RefundSettlement(waiting, attempt, limits=limits, now=now, actor=actor)
            settlement.apply(
                RefundFinding(RefundVerdict.CANNOT, RefundSource.TRANSACTION_QUERY, reason="refunded_at_the_gateway")
            )
        written.append(_write_seen(attempt, amount, read, now=now, actor=actor))
    return written


def _write_seen(
    attempt: PaymentAttempt, amount_minor: int, read: ReadTransaction, *, now: datetime, actor: str
) -> Refund:
    refund = Refund.objects.create(
        public_id=new_id("ref", now),
        account_id=attempt.account_id,
        attempt=attempt,
        invoice_id=attempt.invoice_id,
        kind=(RefundKind.FULL if amount_minor == attempt.amount_minor else RefundKind.PARTIAL).value,
        origin=RefundOrigin.GATEWAY.value,
        amount_minor=amount_minor,
        currency=attempt.currency,
        requested_by="gateway",
        requested_reason="seen at the gateway",
        state=R.SUCCEEDED.value,
        state_reason="seen_at_the_gateway",
        created_at=now,
        settled_at=now,
    )
    finding = RefundFinding(
        RefundVerdict.REFUNDED, RefundSource.TRANSACTION_QUERY, reason="seen_at_the_gateway", detail=read.content
    )
    refund.last_evidence_id = _record(refund, finding, now)
    refund.save(update_fields=["last_evidence_id"])
    _log(refund, "", "seen_at_the_gateway", refund.last_evidence_id, actor, now)
    _count(attempt, amount_minor)
    _tell(refund, attempt, "refund.succeeded", "", now)
    return refund


def _count(attempt: PaymentAttempt, amount_minor: int) -> None:
    """Money that goes back from a surplus was never the invoice's."""
    refunding.add_refunded(attempt, amount_minor, pays_its_invoice=attempt.state == AttemptState.SUCCEEDED)


def _record(refund: Refund, finding: RefundFinding, now: datetime) -> int | None:
    content = json.dumps(
        {"reason": finding.reason, "detail": finding.detail}, sort_keys=True, separators=(",", ":"), default=str
    )
    return refunding.insert_evidence(
        account_id=refund.account_id,
        refund_id=refund.pk,
        source=finding.source.value,
        verdict=finding.verdict.value,
        reason=finding.reason,
        digest=hashlib.sha256(f"{finding.verdict}\n{content}".encode()).hexdigest(),
        content=content,
        now=now,
    )


def _log(refund: Refund, before: str, reason: str, evidence_id: int | None, actor: str, now: datetime) -> None:
    Transition.objects.create(
        account_id=refund.account_id,
        subject_type="refund",
        subject_id=refund.pk,
        from_state=before,
        to_state=refund.state,
        reason=reason,
        evidence_id=evidence_id,
        actor=actor,
        at=now,
    )


def _tell(refund: Refund, attempt: PaymentAttempt, kind: str, occasion: str, now: datetime) -> None:
    payload = {
        "refund": refund.public_id,
        "attempt": attempt.public_id,
        "kind": refund.kind,
        "origin": refund.origin,
        "amount_minor": refund.amount_minor,
        "currency": refund.currency,
        "reason": occasion or refund.state_reason,
    }
    event = sql.NewEvent(
        new_id("evt", now), refund.account_id, kind, "refund", refund.pk, occasion, json.dumps(payload)
    )
    sql.insert_events([event], now=now)
