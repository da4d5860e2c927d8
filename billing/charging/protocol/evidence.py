"""Evidence of what came of a money request: a finding as one text, so that the same finding twice is one row."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from billing.domain.attempts import Finding
from billing.domain.refunds import RefundFinding
from billing.models.bulk.evidence import NewEvidence


@dataclass(frozen=True, slots=True)
class Evidence:
    """`content` is JSON text; `digest` is of it and of the verdict."""

    source: str
    verdict: str
    reason: str
    content: str
    digest: str

    def of(self, account_id: int, subject_id: int) -> NewEvidence:
        """The row that records it, of an attempt or a refund."""
        return NewEvidence(
            account_id=account_id,
            subject_id=subject_id,
            source=self.source,
            verdict=self.verdict,
            reason=self.reason,
            content=self.content,
            digest=self.digest,
        )


def evidence_of(finding: Finding | RefundFinding, content: Mapping[str, object], *, since: str = "") -> Evidence:
    """The finding with what was seen, `content`. The same finding again is news if `since` differs."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    digest = hashlib.sha256(f"{finding.verdict}\n{text}{since}".encode()).hexdigest()
    return Evidence(finding.source.value, finding.verdict.value, finding.reason, text, digest)
