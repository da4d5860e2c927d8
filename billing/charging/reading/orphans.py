"""Orphans: answers of the gateway whose attempt or refund was not there when they came, and how they are accounted for.

A database that was put back to an earlier state has forgotten charges whose senders still wait. Their answers are kept
beside what was asked. Whoever finds what they belong to calls `match_orphans`: it settles those whose row is in the
database again, and closes those whose transaction a read of the card has found.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db import transaction

from billing.charging.attempts.settle import AttemptFinding, settle_in_transaction
from billing.charging.refunds.settle import settle_refund_in_transaction
from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.decisions import Decision
from billing.domain.errors import RefusedError
from billing.domain.orphans import OrphanKind, OrphanMatch
from billing.domain.refunds import RefundFinding, RefundSource, RefundVerdict
from billing.models import OrphanAnswer
from billing.models.bulk import orphans
from billing.models.bulk.sql import CONNECTION_LOST, durable
from billing.operating.tuning import Tuning

logger = logging.getLogger(__name__)

BATCH = 200


class OrphanError(RefusedError):
    """What was asked about an orphan answer is not possible; the message names the field and the rule."""


def match_orphans(*, tuning: Tuning, now: datetime, actor: str = "engine") -> int:
    """Settles the answers whose attempt or refund is there now, and closes those whose transaction is; how many."""
    if not OrphanAnswer.objects.filter(matched_at=None).exists():
        return 0
    matched = _match(OrphanKind.CHARGE, _settle_charge, tuning=tuning, now=now, actor=actor)
    matched += _match(OrphanKind.REFUND, _settle_refund, tuning=tuning, now=now, actor=actor)
    return matched + orphans.match_transactions(by=actor, now=now)


Settle = Callable[[OrphanAnswer, int, Tuning, datetime, str], Any]


def _match(kind: OrphanKind, settle: Settle, *, tuning: Tuning, now: datetime, actor: str) -> int:
    matched = after = 0
    while found := orphans.with_a_row(kind.value, after=after, limit=BATCH):
        for orphan_id, row_id in found:
            after = orphan_id
            try:
                with durable():
                    orphan = _lock(orphan_id)
                    if orphan is None:
                        continue
                    settle(orphan, row_id, tuning, now, actor)
                    orphans.mark_matched(
                        orphan_id, how=OrphanMatch.ROW.value, row_id=row_id, by=actor, note="", now=now
                    )
                    matched += 1
            except CONNECTION_LOST:
                raise
            except Exception:  # it stays unmatched, is shown, and is tried again
                logger.exception("orphans: the answer to %s could not be settled", kind.value)
    return matched


def _lock(orphan_id: int) -> OrphanAnswer | None:
    """The orphan, unless it was matched meanwhile or somebody else matches it."""
    unmatched = OrphanAnswer.objects.select_for_update(skip_locked=True).filter(matched_at=None)
    return unmatched.filter(pk=orphan_id).first()


def _settle_charge(orphan: OrphanAnswer, _: int, tuning: Tuning, now: datetime, actor: str) -> None:
    kept = orphan.content
    finding = Finding(
        Verdict(orphan.verdict),
        Source(orphan.source),
        reason=kept.get("reason", ""),
        amount_minor=kept.get("amount_minor"),
        currency=kept.get("currency"),
        store_id=kept.get("store_id"),
        gateway_customer_id=orphan.gateway_customer_id,
        marker=kept.get("marker"),
        transaction_id=kept.get("transaction_id"),
        order_id=kept.get("order_id"),
        detail=kept.get("detail", {}),
    )
    settle_in_transaction([AttemptFinding(orphan.marker, finding)], tuning=tuning, now=now, actor=actor)


def _settle_refund(orphan: OrphanAnswer, refund_id: int, tuning: Tuning, now: datetime, actor: str) -> None:
    kept = orphan.content
    finding = RefundFinding(
        RefundVerdict(orphan.verdict),
        RefundSource(orphan.source),
        reason=kept.get("reason", ""),
        detail=kept.get("detail", {}),
    )
    settle_refund_in_transaction(refund_id, finding, tuning=tuning, now=now, actor=actor)


def close_orphan(*, orphan: OrphanAnswer, decision: Decision, now: datetime) -> None:
    """A person looked into an answer that nothing was found for, and says what came of it. Raises OrphanError."""
    if not decision.reason:
        raise OrphanError("reason", "required", "must state the outcome")
    with transaction.atomic():
        how, by, note = OrphanMatch.PERSON.value, decision.actor, decision.reason
        if not orphans.mark_matched(orphan.pk, how=how, row_id=None, by=by, note=note, now=now):
            raise OrphanError("orphan", "state", "must be open; it is already explained")
