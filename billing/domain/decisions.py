"""A person's decision: who, and why. Evidence keeps it in fields of its detail, beside what the gateway showed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Decision:
    """Who decides, as the history names them, and why in their own words, without space around them.

    A program and the command line have no user id. Where two persons decided, `proposed_by` was the first."""

    actor: str
    reason: str
    user_id: int | None = None
    proposed_by: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", self.reason.strip())

    def detail(self, at: datetime) -> dict[str, Any]:
        return {"actor": self.actor, "reason": self.reason, "decided_at": at.isoformat()}

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Decision":
        """The decision that evidence of a person holds. Older rows have who decided before the reason, as one text."""
        kept = content.get("detail")
        detail = kept if isinstance(kept, dict) else {}
        reason = str(detail.get("reason") or content.get("reason") or "")
        actor, proposed_by = str(detail.get("actor") or "somebody"), str(detail.get("proposed_by") or "")
        for before in (f"decided by {actor}: ", f"proposed by {proposed_by}, confirmed by {actor}: ", "withdrawn: "):
            reason = reason.removeprefix(before)
        return cls(actor, reason, proposed_by=proposed_by)
