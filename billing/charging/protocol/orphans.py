"""Answers that fit nothing: each is kept with what was asked, until what it belongs to is found."""

from datetime import datetime
from typing import Protocol

from billing.charging.protocol.evidence import Evidence
from billing.domain.orphans import OrphanKind, OrphanMatch, moved_no_money
from billing.models.bulk.orphans import NewOrphan


class Asked(Protocol):
    """What was asked of the gateway, as charges and refunds keep it beside the answer."""

    @property
    def account_id(self) -> int: ...
    @property
    def nonce(self) -> str: ...
    @property
    def amount_minor(self) -> int: ...
    @property
    def currency(self) -> str: ...


def orphan_of(
    kind: OrphanKind,
    asked: Asked,
    evidence: Evidence,
    *,
    marker: str,
    transaction_id: str,
    now: datetime,
    order_id: str = "",
    gateway_customer_id: str = "",
    title: str = "",
    description: str = "",
) -> NewOrphan:
    """The answer as it is recorded. One that moved no money is matched at once.

    An answer that no row could take may hold what PostgreSQL stores in no text; it is kept without that."""
    harmless = moved_no_money(evidence.verdict)
    return NewOrphan(
        account_id=asked.account_id,
        kind=kind.value,
        marker=marker,
        nonce=asked.nonce,
        gateway_customer_id=gateway_customer_id,
        amount_minor=asked.amount_minor,
        currency=asked.currency,
        title=title,
        description=description,
        source=evidence.source,
        verdict=evidence.verdict,
        reason=evidence.reason.replace("\x00", ""),
        transaction_id=transaction_id.replace("\x00", ""),
        order_id=order_id.replace("\x00", ""),
        content=evidence.content.replace("\\u0000", ""),
        digest=evidence.digest,
        matched_at=now if harmless else None,
        matched_how=OrphanMatch.NO_MONEY.value if harmless else None,
    )
