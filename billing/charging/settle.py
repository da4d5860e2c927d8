"""settle: the only way in for evidence, whoever brings it; one durable commit per batch.

1. Lock what the attempts touch, in the one order.
2. Record the evidence; what was told before is a no-op.
3. Let `domain.attempts.decide` say what each finding does.
4. Carry it out on attempt, invoice, subscription, card and account, with a row for every change.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import InterfaceError, OperationalError, transaction

from billing.charging.consequences import Settlement
from billing.charging.limits import Limits
from billing.domain.attempts import ENDED_WITHOUT_MONEY, Finding, Verdict
from billing.models.bulk import settling

logger = logging.getLogger(__name__)

# The database is away, or chose us in a deadlock: the caller connects again and settles the same once more.
CONNECTION_LOST = (OperationalError, InterfaceError)


@dataclass(frozen=True, slots=True)
class Told:
    """A finding about an attempt, on its way in."""

    attempt_id: int
    finding: Finding


def settle(told: Sequence[Told], *, limits: Limits, now: datetime, actor: str = "engine") -> dict[str, int]:
    """Settles the findings and returns how many attempts came to each state.

    A batch in which two attempts claim one transaction is settled one by one; the second claim goes to a person."""
    if not told:
        return {}
    try:
        return _settle(told, limits=limits, now=now, actor=actor)
    except CONNECTION_LOST:
        raise
    except Exception as error:  # noqa: BLE001  (one finding must not hold up the others)
        logger.warning("settle: a batch of %d failed (%s); settling one by one", len(told), type(error).__name__)
    counts: dict[str, int] = {}
    for one in told:
        for state, count in _settle_one(one, limits=limits, now=now, actor=actor).items():
            counts[state] = counts.get(state, 0) + count
    return counts


def _settle_one(one: Told, *, limits: Limits, now: datetime, actor: str) -> dict[str, int]:
    """What cannot be carried out as it was told is not understood, and what is not understood is unknown.

    When not even that can be written, the attempt stays as it is: the sweeper and the reconciler go on with it."""
    unclear = Finding(Verdict.UNCLEAR, one.finding.source, reason="not_recordable")
    for finding in (one.finding, one.finding, unclear):  # twice: a claim may have come in between
        try:
            return _settle([Told(one.attempt_id, finding)], limits=limits, now=now, actor=actor)
        except CONNECTION_LOST:
            raise
        except Exception:
            logger.exception("settle: attempt %s was not settled", one.attempt_id)
    return {}


def settle_in_transaction(told: Sequence[Told], *, limits: Limits, now: datetime, actor: str) -> dict[str, int]:
    """The same inside the caller's transaction, for a use case that records more with it."""
    locked = settling.lock_for_settlement(
        sorted({one.attempt_id for one in told}),
        lock_accounts=any(one.finding.verdict is Verdict.NOT_SENT for one in told),
    )
    evidence = _record([(locked.attempts[one.attempt_id], one) for one in told], now=now)
    claims = settling.claims(
        list(locked.accounts),
        transactions=sorted({one.finding.transaction_id for one in told if one.finding.transaction_id}),
        orders=sorted({one.finding.order_id for one in told if one.finding.order_id}),
    )
    settlement = Settlement(locked, claims, limits=limits, now=now, actor=actor)
    for one, evidence_id in evidence:
        settlement.apply(one.attempt_id, one.finding, evidence_id)
    return settlement.write()


def _settle(told: Sequence[Told], *, limits: Limits, now: datetime, actor: str) -> dict[str, int]:
    with transaction.atomic(durable=True):
        return settle_in_transaction(told, limits=limits, now=now, actor=actor)


def _record(told: Sequence[tuple[settling.AttemptRow, Told]], *, now: datetime) -> list[tuple[Told, int]]:
    """Writes the evidence; the findings that are news, each with its evidence's id.

    Money is news again to an attempt that has ended without it since: it may have been told before a person, who
    overlooked it, decided."""
    fresh: dict[tuple[int, str, str], tuple[Told, settling.NewEvidence]] = {}
    for attempt, one in told:
        finding = one.finding
        ended_by = attempt.last_evidence_id if attempt.state in ENDED_WITHOUT_MONEY else None
        since = f"\nsince {ended_by}" if ended_by and finding.verdict is Verdict.PAID else ""
        content = json.dumps(_content(finding), sort_keys=True, separators=(",", ":"), default=str)
        digest = hashlib.sha256(f"{finding.verdict}\n{content}{since}".encode()).hexdigest()
        row = settling.NewEvidence(
            attempt.account_id,
            one.attempt_id,
            finding.source.value,
            finding.verdict.value,
            finding.reason,
            digest,
            content,
        )
        fresh.setdefault((one.attempt_id, finding.source.value, digest), (one, row))
    ids = settling.insert_evidence([row for _, row in fresh.values()], now=now)
    return [(one, ids[key]) for key, (one, _) in fresh.items() if key in ids]


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
