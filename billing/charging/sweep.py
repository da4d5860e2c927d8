"""The sweeper: an attempt or a refund whose sender must have given up long ago is *unknown*, and never armed again."""

from datetime import datetime

from billing.charging.limits import Limits
from billing.charging.refund_worker import sweep_refunds
from billing.charging.settle import Told, settle
from billing.domain.attempts import Finding, Source, Verdict
from billing.models import PaymentAttempt

BATCH = 500


def sweep(*, limits: Limits, now: datetime) -> int:
    """Turns attempts and refunds that are *sending* past their deadline into *unknown*; how many."""
    lost = list(
        PaymentAttempt.objects.filter(state="sending", deadline_at__lte=now)
        .order_by("deadline_at")
        .values_list("id", flat=True)[:BATCH]
    )
    finding = Finding(Verdict.UNCLEAR, Source.SWEEPER, reason="sender_lost")
    swept = sweep_refunds(limits=limits, now=now)
    return swept + sum(settle([Told(attempt, finding) for attempt in lost], limits=limits, now=now).values())
