"""Settling refunds: the only way in for evidence about money that goes back; one durable commit for each.

1. Lock what the attempt touches, in the one order, and the refund last.
2. Record the evidence; a finding that is on record already is a no-op.
3. Let `domain.refunds.decide` say what it does.
4. Carry it out on refund, attempt and invoice, with a row for every change.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_never

from billing.charging.attempts.settle import AttemptFinding, settle_in_transaction
from billing.charging.protocol.evidence import evidence_of
from billing.charging.protocol.orphans import orphan_of
from billing.charging.protocol.request import RequestColumns, SendTimes
from billing.domain.attempts import HAS_MONEY, Alarm, AttemptState, Finding, Source, Stay, Verdict, next_check
from billing.domain.orphans import OrphanKind
from billing.domain.reasons import Reason
from billing.domain.refunds import (
    MAY_HAVE_ACTED,
    OPEN,
    Move,
    RefundEnd,
    RefundFinding,
    RefundKind,
    RefundOrigin,
    RefundSource,
    RefundState,
    RefundVerdict,
    decide,
    overtaken,
    still_owed,
    unexplained,
)
from billing.gateway.connection import ReadTransaction
from billing.ids import new_id
from billing.models import PaymentAttempt, Refund
from billing.models.bulk import refunding, settling, sql
from billing.models.bulk.evidence import insert_evidence
from billing.models.bulk.history import record_event, record_transition
from billing.models.bulk.orphans import NewOrphan, record_new_orphans
from billing.operating.tuning import Tuning

logger = logging.getLogger(__name__)

R = RefundState


def settle_refund(
    refund_id: int, finding: RefundFinding, *, tuning: Tuning, now: datetime, actor: str = "engine"
) -> RefundState | None:
    """Settles one finding and returns the state that the refund came to; None when it did not move."""
    with sql.durable():
        return settle_refund_in_transaction(refund_id, finding, tuning=tuning, now=now, actor=actor)


@dataclass(frozen=True, slots=True)
class AskedBack:
    """What was asked of the gateway, kept beside the answer until it is settled."""

    account_id: int
    public_id: str
    nonce: str
    transaction_id: str
    amount_minor: int
    currency: str


def settle_refund_answer(
    asked: AskedBack, finding: RefundFinding, *, tuning: Tuning, now: datetime
) -> RefundState | None:
    """Settles the answer to the one request with this nonce; an answer that no refund accounts for, or that cannot be
    settled at all, is kept as an orphan. After a restore a row's id may be another refund's."""
    try:
        with sql.durable():
            refund_id = Refund.objects.filter(request_nonce=asked.nonce).values_list("pk", flat=True).first()
            if refund_id is not None:
                return settle_refund_in_transaction(refund_id, finding, tuning=tuning, now=now, actor="engine")
    except sql.NOT_DONE_YET:
        raise
    except Exception:
        logger.exception("refund: the answer to refund %s was not settled", asked.public_id)
    with sql.durable():
        record_new_orphans([_orphan(asked, finding, now)], now=now)
    return None


def _orphan(asked: AskedBack, finding: RefundFinding, now: datetime) -> NewOrphan:
    evidence = evidence_of(finding, _content(finding))
    return orphan_of(
        OrphanKind.REFUND, asked, evidence, marker=asked.public_id, transaction_id=asked.transaction_id, now=now
    )


def settle_refund_in_transaction(
    refund_id: int, finding: RefundFinding, *, tuning: Tuning, now: datetime, actor: str
) -> RefundState | None:
    """The same inside the caller's transaction."""
    attempt_id = Refund.objects.values_list("attempt_id", flat=True).get(pk=refund_id)
    settling.lock_for_settlement([attempt_id])
    attempt = PaymentAttempt.objects.get(pk=attempt_id)
    refund = refunding.lock_refund(refund_id)
    return RefundSettlement(refund, attempt, tuning=tuning, now=now, actor=actor).apply(finding)


class RefundSettlement:
    """One refund with its attempt, both locked with all that they touch, inside the caller's transaction."""

    def __init__(self, refund: Refund, attempt: PaymentAttempt, *, tuning: Tuning, now: datetime, actor: str) -> None:
        self._refund = refund
        self._attempt = attempt
        self._tuning = tuning
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
                _record_alarm(self._refund, self._attempt, reason, self._now)
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
        _log(refund, self._attempt, before, reason, evidence_id, self._actor, self._now)
        self._carry_out(to, finding)

    def _carry_out(self, to: RefundState, finding: RefundFinding) -> None:
        match to:
            case R.SUCCEEDED:
                if self._refund.kind == RefundKind.REVERSE:
                    self._reverse(finding)
                else:
                    _count(self._attempt, self._refund.amount_minor)
                    self._pay_with_what_is_left()
            case R.REFUSED | R.NOT_SENT | R.NOT_REFUNDED:
                self._pay_with_what_is_left()
            case R.SENDING | R.UNKNOWN | R.NEEDS_REVIEW:
                pass
            case R.REQUESTED:
                raise AssertionError("nothing moves to requested")
            case _:
                assert_never(to)

    def _pay_with_what_is_left(self) -> None:
        """Surplus became no payment while it might be on its way back; what stayed here becomes it now."""
        if not refunding.wants_its_money(self._attempt):
            return
        finding = Finding(
            Verdict.PAID,
            Source.HOLDER_ENDED,
            reason=Reason.HOLDER_ENDED_WITHOUT_MONEY,
            detail={"refund": self._refund.public_id},
        )
        findings = [AttemptFinding(self._attempt.marker, finding)]
        settle_in_transaction(findings, tuning=self._tuning, now=self._now, actor=self._actor)

    def _reverse(self, finding: RefundFinding) -> None:
        """The payment itself is gone: its attempt gets evidence of its own.

        The answer to the reversal is no answer to the attempt's one request; it shows the transaction as it is now."""
        by_a_person = finding.source is RefundSource.OPERATOR
        reversal = Finding(
            Verdict.REVERSED,
            Source.OPERATOR if by_a_person else Source.TRANSACTION_QUERY,
            reason=Reason.REVERSED_ON_REQUEST,
            transaction_id=self._attempt.gateway_transaction_id,
            detail={"refund": self._refund.public_id},
        )
        settle_in_transaction(
            [AttemptFinding(self._attempt.marker, reversal)], tuning=self._tuning, now=self._now, actor=self._actor
        )

    def _stay(self, finding: RefundFinding) -> None:
        """A query that settled nothing counts one rung; after the last one it is asked again at the last pace."""
        refund = self._refund
        if refund.state != R.UNKNOWN or finding.source is not RefundSource.TRANSACTION_QUERY or not refund.armed_at:
            return
        refund.checks_done += 1
        after = next_check(refund.armed_at, self._tuning.ladder, refund.checks_done, self._now)
        refund.next_check_at = after or self._now + self._tuning.ladder[-1]
        refund.save(update_fields=["checks_done", "next_check_at"])

    def _first_check(self, finding: RefundFinding) -> datetime:
        if finding.source is RefundSource.SWEEPER or self._refund.armed_at is None:
            return self._now  # its sender is gone: the deadline has passed already
        return next_check(self._refund.armed_at, self._tuning.ladder, 0, self._now) or self._now


_REQUEST = (*RequestColumns.__annotations__, *SendTimes.__annotations__)


def write_down(reads: Mapping[int, ReadTransaction], *, tuning: Tuning, now: datetime, actor: str = "engine") -> int:
    """Takes over what transactions, by the attempt that they belong to, show of money that went back: refunds made at
    the gateway, and payments that it reversed. One durable commit; how many things were news."""
    with sql.durable():
        settling.lock_for_settlement(sorted(reads))
        news = len(record_seen(reads, tuning=tuning, now=now, actor=actor))
        paid = PaymentAttempt.objects.filter(pk__in=reads, state__in=HAS_MONEY).order_by("pk")
        reversals = [
            AttemptFinding(attempt.marker, reads[attempt.pk].finding(attempt.marker, Source.TRANSACTION_QUERY))
            for attempt in paid
            if reads[attempt.pk].money.reversed
        ]
        if reversals:
            news += sum(settle_in_transaction(reversals, tuning=tuning, now=now, actor=actor).values())
    return news


def record_seen(
    reads: Mapping[int, ReadTransaction], *, tuning: Tuning, now: datetime, actor: str = "engine"
) -> list[Refund]:
    """Writes down money that the gateway shows as given back and that nothing here explains.

    `reads` are transactions by the attempt that they belong to; their attempts, and all that these touch, are locked
    by the caller. While a refund of the attempt may have acted, what is seen may be that one: its own check shows."""
    written = []
    for attempt in PaymentAttempt.objects.filter(pk__in=reads, state__in=HAS_MONEY).order_by("pk"):
        read = reads[attempt.pk]
        if read.money.transaction_id != attempt.gateway_transaction_id or not read.says_refunded:
            continue
        amount = unexplained(read.money, explained_minor=attempt.amount_refunded_minor)
        waiting = refunding.lock_open_refund(attempt.pk, sorted(OPEN))
        if not amount or (waiting is not None and waiting.state in MAY_HAVE_ACTED):
            continue
        if waiting is not None:
            _end_overtaken(waiting, attempt, amount, tuning=tuning, now=now, actor=actor)
        written.append(_write_seen(attempt, amount, read, now=now, actor=actor))
    return written


def _end_overtaken(
    waiting: Refund, attempt: PaymentAttempt, seen_minor: int, *, tuning: Tuning, now: datetime, actor: str
) -> None:
    """A refund that was asked for and not sent ends when money is seen to have gone back otherwise since."""
    refunded = attempt.amount_refunded_minor + seen_minor
    end = overtaken(
        amount_minor=waiting.amount_minor, before_minor=waiting.refunded_before_minor, refunded_minor=refunded
    )
    if end is None:
        return
    finding = cannot(end, waiting, refunded, RefundSource.TRANSACTION_QUERY)
    RefundSettlement(waiting, attempt, tuning=tuning, now=now, actor=actor).apply(finding)


def cannot(end: RefundEnd, refund: Refund, refunded_minor: int, source: RefundSource) -> RefundFinding:
    """That a requested refund is never sent, with what was given back of its payment and what is left of it."""
    left = still_owed(
        amount_minor=refund.amount_minor,
        before_minor=refund.refunded_before_minor,
        refunded_minor=refunded_minor,
    )
    detail = {"refunded_minor": refunded_minor, "still_owed_minor": left}
    return RefundFinding(RefundVerdict.CANNOT, source, reason=end.value, detail=detail)


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
        state_reason=Reason.SEEN_AT_THE_GATEWAY,
        created_at=now,
        settled_at=now,
    )
    finding = RefundFinding(
        RefundVerdict.REFUNDED, RefundSource.TRANSACTION_QUERY, reason=Reason.SEEN_AT_THE_GATEWAY, detail=read.content
    )
    refund.last_evidence_id = _record(refund, finding, now)
    refund.save(update_fields=["last_evidence_id"])
    _log(refund, attempt, "", Reason.SEEN_AT_THE_GATEWAY, refund.last_evidence_id, actor, now)
    _count(attempt, amount_minor)
    return refund


def _count(attempt: PaymentAttempt, amount_minor: int) -> None:
    """Money that goes back from a surplus was never the invoice's."""
    refunding.add_refunded(attempt, amount_minor, pays_its_invoice=attempt.state == AttemptState.SUCCEEDED)


def _content(finding: RefundFinding) -> dict[str, object]:
    return {"reason": finding.reason, "detail": finding.detail}


def _record(refund: Refund, finding: RefundFinding, now: datetime) -> int | None:
    """Writes the evidence; its id, or None when it is on record already."""
    row = evidence_of(finding, _content(finding)).of(refund.account_id, refund.pk)
    return insert_evidence([row], of="refund", now=now).get(row.key)


def _log(
    refund: Refund,
    attempt: PaymentAttempt,
    before: str,
    reason: str,
    evidence_id: int | None,
    actor: str,
    now: datetime,
) -> None:
    record_transition(
        account_id=refund.account_id,
        subject_type="refund",
        subject_id=refund.pk,
        from_state=before,
        to_state=refund.state,
        reason=reason,
        evidence_id=evidence_id,
        actor=actor,
        now=now,
        detail=_detail(refund, attempt),
    )


def _detail(refund: Refund, attempt: PaymentAttempt) -> dict[str, Any]:
    return {
        "refund": refund.public_id,
        "attempt": attempt.public_id,
        "kind": refund.kind,
        "origin": refund.origin,
        "amount_minor": refund.amount_minor,
        "currency": refund.currency,
    }


def _record_alarm(refund: Refund, attempt: PaymentAttempt, reason: str, now: datetime) -> None:
    record_event(
        account_id=refund.account_id,
        kind="refund.alarm",
        subject_type="refund",
        subject_id=refund.pk,
        occasion=reason,
        payload={**_detail(refund, attempt), "reason": reason},
        now=now,
    )
