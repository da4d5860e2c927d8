"""Evidence, written once: of attempts and of refunds, each in its own table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from billing.models.bulk.sql import columns, rows

Key = tuple[int, str, str]  # attempt or refund, source, digest


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


def _insert(table: str, subject: str, constraint: str) -> str:
    return f"""INSERT INTO {table} (recorded_at, account_id, {subject}, source, verdict, reason, content, digest)
               SELECT %s, n.* FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::jsonb[],
                                          %s::text[]) AS n
               ON CONFLICT ON CONSTRAINT {constraint} DO NOTHING
               RETURNING {subject}, source, digest, id"""  # noqa: S608


_INSERT = {
    "attempt": _insert("billing_evidence", "attempt_id", "evidence_is_told_once"),
    "refund": _insert("billing_refundevidence", "refund_id", "refund_evidence_is_told_once"),
}


def insert_evidence(items: Sequence[NewEvidence], *, of: Literal["attempt", "refund"], now: datetime) -> dict[Key, int]:
    """Records evidence; ids by key of what was new. A repeat is not in the answer."""
    inserted = rows(_INSERT[of], [now, *columns(items, NewEvidence)])
    return {(subject, source, digest): evidence for subject, source, digest, evidence in inserted}
