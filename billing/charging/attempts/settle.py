"""settle: the only way in for evidence, whoever brings it; one durable commit per batch.

1. Lock what the attempts touch, in the one order.
2. Record the evidence; a finding that is on record already is a no-op.
3. Let `domain.attempts.decide` say what each finding does.
4. Carry it out on attempt, invoice, subscription, card and account, with a row for every change.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from billing.charging.attempts.consequences import Settlement
from billing.charging.protocol.evidence import evidence_of
from billing.charging.protocol.orphans import orphan_of
from billing.domain.attempts import ENDED_WITHOUT_MONEY, Finding, Verdict
from billing.domain.orphans import OrphanKind
from billing.domain.reasons import Reason
from billing.models.bulk import settling
from billing.models.bulk.evidence import Key, NewEvidence, insert_evidence
from billing.models.bulk.orphans import NewOrphan, record_new_orphans
from billing.models.bulk.sql import CONNECTION_LOST, NOT_DONE_YET, HeldError, durable
from billing.operating.tuning import Tuning

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of the gateway, kept beside the answer until it is settled. The description names the invoice."""

    account_id: int
    nonce: str
    gateway_customer_id: str
    amount_minor: int
    currency: str
    title: str
    description: str

    def is_of(self, attempt: settling.AttemptRow) -> bool:
        return (attempt.account_id, attempt.request_nonce, attempt.gateway_customer_id) == (
            self.account_id,
            self.nonce,
            self.gateway_customer_id,
        ) and (attempt.amount_minor, attempt.currency) == (self.amount_minor, self.currency)


@dataclass(frozen=True, slots=True)
class AttemptFinding:
    """A finding about the attempt with this marker, on its way in. `asked` is what an answer is the answer to.

    A row's id means another attempt after a restore; the marker, which the gateway has seen, does not."""

    marker: str
    finding: Finding
    asked: Asked | None = None


class AttemptGoneError(LookupError):
    """No attempt has the marker: what was found was read of a database that is no longer this one."""


def settle(
    findings: Sequence[AttemptFinding], *, tuning: Tuning, now: datetime, actor: str = "engine"
) -> dict[str, int]:
    """Settles the findings and returns how many attempts came to each state.

    A batch in which two attempts claim one transaction is settled one by one; the second claim needs review. So is
    one of which another transaction holds a row: the others are on record before the error is raised."""
    if not findings:
        return {}
    try:
        return _settle(findings, tuning=tuning, now=now, actor=actor)
    except HeldError:
        if len(findings) == 1:
            raise
        logger.warning("settle: rows of one of %d findings are locked; settling separately", len(findings))
    except CONNECTION_LOST:
        raise
    except Exception as error:  # noqa: BLE001  (one finding must not block the others)
        logger.warning("settle: a batch of %d failed (%s); settling separately", len(findings), type(error).__name__)
    counts: dict[str, int] = {}
    held: HeldError | None = None
    for one in findings:
        try:
            states = _settle_one(one, tuning=tuning, now=now, actor=actor)
        except HeldError as error:
            held = error
        else:
            for state, count in states.items():
                counts[state] = counts.get(state, 0) + count
    if held is not None:  # the caller settles all of them again: what is on record is recorded once
        raise held
    return counts


def _settle_one(one: AttemptFinding, *, tuning: Tuning, now: datetime, actor: str) -> dict[str, int]:
    """A finding that cannot be carried out is not understood, and what is not understood is unknown.

    What an answer showed is kept beside the attempt as an orphan, and settled once it can be. When not even that can
    be written, the attempt stays as it is: the sweeper and the reconciler go on with it."""
    unclear = Finding(Verdict.UNCLEAR, one.finding.source, reason=Reason.NOT_RECORDABLE)
    for finding in (one.finding, one.finding, unclear):  # twice: a claim may have come in between
        try:
            with durable():
                states = settle_in_transaction([replace(one, finding=finding)], tuning=tuning, now=now, actor=actor)
                record_orphans([one] if finding is unclear else [], now=now)
        except NOT_DONE_YET:
            raise
        except AttemptGoneError:
            logger.warning("settle: attempt %s is not in the database", one.marker)
            return {}
        except Exception:
            logger.exception("settle: attempt %s was not settled", one.marker)
        else:
            return states
    try:
        with durable():
            record_orphans([one], now=now)
    except NOT_DONE_YET:
        raise
    except Exception:
        logger.exception("settle: the response to %s is not on record", one.marker)
    return {}


def settle_in_transaction(
    findings: Sequence[AttemptFinding], *, tuning: Tuning, now: datetime, actor: str
) -> dict[str, int]:
    """The same inside the caller's transaction, for a use case that records more with it."""
    locked = settling.lock_for_settlement((), markers=sorted({one.marker for one in findings}))
    by_marker = {attempt.marker: attempt for attempt in locked.attempts.values()}
    orphans = [one for one in findings if one.asked is not None and not _is_there(one, by_marker)]
    record_orphans(orphans, now=now)
    evidence = _record([(_attempt_of(one, by_marker), one) for one in findings if one not in orphans], now=now)
    claims = settling.claims(
        list(locked.accounts),
        transactions=sorted({one.finding.transaction_id for one in findings if one.finding.transaction_id}),
        orders=sorted({one.finding.order_id for one in findings if one.finding.order_id}),
    )
    settlement = Settlement(locked, claims, tuning=tuning, now=now, actor=actor)
    for attempt, one, evidence_id in evidence:
        settlement.apply(attempt.id, one.finding, evidence_id)
    return settlement.write()


def _is_there(one: AttemptFinding, by_marker: dict[str, settling.AttemptRow]) -> bool:
    attempt = by_marker.get(one.marker)
    return attempt is not None and (one.asked is None or one.asked.is_of(attempt))


def _attempt_of(one: AttemptFinding, by_marker: dict[str, settling.AttemptRow]) -> settling.AttemptRow:
    if one.marker not in by_marker:
        raise AttemptGoneError(f"marker: no attempt has {one.marker}")
    return by_marker[one.marker]


def record_orphans(answers: Sequence[AttemptFinding], *, now: datetime) -> None:
    """Keeps answers that no attempt accounts for, each with what was asked; one event for each that may be money.

    Runs inside the caller's transaction. What is not an answer, and so has not been asked, is left out."""
    orphans = [_orphan(one, one.asked, now) for one in answers if one.asked is not None]
    record_new_orphans(orphans, now=now)


def _orphan(one: AttemptFinding, asked: Asked, now: datetime) -> NewOrphan:
    return orphan_of(
        OrphanKind.CHARGE,
        asked,
        evidence_of(one.finding, _content(one.finding)),
        marker=one.marker,
        transaction_id=one.finding.transaction_id or "",
        order_id=one.finding.order_id or "",
        gateway_customer_id=asked.gateway_customer_id,
        title=asked.title,
        description=asked.description,
        now=now,
    )


def _settle(findings: Sequence[AttemptFinding], *, tuning: Tuning, now: datetime, actor: str) -> dict[str, int]:
    with durable():
        return settle_in_transaction(findings, tuning=tuning, now=now, actor=actor)


def _record(
    findings: Sequence[tuple[settling.AttemptRow, AttemptFinding]], *, now: datetime
) -> list[tuple[settling.AttemptRow, AttemptFinding, int]]:
    """Writes the evidence; the findings that are news, each with its evidence's id.

    Money is news again to an attempt that has ended without it since: it may have been on record before a person, who
    overlooked it, decided."""
    fresh: dict[Key, tuple[settling.AttemptRow, AttemptFinding, NewEvidence]] = {}
    for attempt, one in findings:
        finding = one.finding
        ended_by = attempt.last_evidence_id if attempt.state in ENDED_WITHOUT_MONEY else None
        since = f"\nsince {ended_by}" if ended_by and finding.verdict is Verdict.PAID else ""
        row = evidence_of(finding, _content(finding), since=since).of(attempt.account_id, attempt.id)
        fresh.setdefault(row.key, (attempt, one, row))
    ids = insert_evidence([row for _, _, row in fresh.values()], of="attempt", now=now)
    return [(attempt, one, ids[key]) for key, (attempt, one, _) in fresh.items() if key in ids]


def _content(finding: Finding) -> dict[str, object]:
    found = {
        "amount_minor": finding.amount_minor,
        "currency": finding.currency,
        "store_id": finding.store_id,
        "marker": finding.marker,
        "transaction_id": finding.transaction_id,
        "order_id": finding.order_id,
        "reason": finding.reason,
    }
    return {name: value for name, value in found.items() if value not in (None, "")} | {"detail": finding.detail}
