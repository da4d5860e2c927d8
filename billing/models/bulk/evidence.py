"""Evidence, written once: of attempts and of refunds, each in its own table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.db.models import Model

from billing.models.attempts import Evidence
from billing.models.bulk.writing import by_name, insert
from billing.models.refunds import RefundEvidence

Key = tuple[int, str, str]  # attempt or refund, source, digest
REPEATED = {
    "attempt": "ON CONFLICT ON CONSTRAINT evidence_is_told_once DO NOTHING",
    "refund": "ON CONFLICT ON CONSTRAINT refund_evidence_is_told_once DO NOTHING",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvidence:
    """`subject_id` is the attempt's or the refund's; `content` is JSON text."""

    account_id: int
    subject_id: int
    source: str
    verdict: str
    reason: str
    content: str
    digest: str

    @property
    def key(self) -> Key:
        return self.subject_id, self.source, self.digest


def insert_evidence(items: Sequence[NewEvidence], *, of: Literal["attempt", "refund"], now: datetime) -> dict[Key, int]:
    """Records evidence; ids by key of what was new. A repeat is not in the answer."""
    columns, subject_id = by_name(items), f"{of}_id"
    columns |= {subject_id: columns.pop("subject_id", []), "recorded_at": now}
    model: type[Model] = Evidence if of == "attempt" else RefundEvidence
    inserted = insert(model, columns, conflict=REPEATED[of], returning=(subject_id, "source", "digest", "id"))
    return {(subject, source, digest): evidence for subject, source, digest, evidence in inserted}
