"""The sweeper: an attempt or a refund whose sender must have given up long ago is *unknown*, and never armed again."""

from datetime import datetime

from billing.charging.attempts.settle import AttemptFinding, settle
from billing.charging.reading.orphans import match_orphans
from billing.charging.refunds.worker import sweep_refunds
from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.reads import LONGEST_WAIT_OF_AN_INVOICE
from billing.domain.reasons import Reason
from billing.models import PaymentAttempt
from billing.models.bulk import checking
from billing.operating import troubles
from billing.operating.clocks import addresses_off
from billing.operating.tuning import Tuning

BATCH = 500


def sweep(*, tuning: Tuning, now: datetime) -> int:
    """Turns attempts and refunds that are *sending* past their deadline into *unknown*; how many.

    Invoices that wait for a time that only a clock set back since can have written are due; due ones for which no
    look can show yet what their last attempt did wait until one can, and say so. One account's attempts never hold up
    another's."""
    not_at = addresses_off(now)
    checking.pull_back(now=now, longest_wait=LONGEST_WAIT_OF_AN_INVOICE, not_at=not_at)
    checking.wait_for_lists(now=now)
    lost = PaymentAttempt.objects.filter(state="sending", deadline_at__lte=now).order_by("deadline_at")
    lost = lost.exclude(account__api_url__in=not_at)
    by_account: dict[int, list[str]] = {}
    for marker, account_id in lost.values_list("marker", "account_id")[:BATCH]:
        by_account.setdefault(account_id, []).append(marker)
    finding = Finding(Verdict.UNCLEAR, Source.SWEEPER, reason=Reason.SENDER_LOST)
    swept = sweep_refunds(tuning=tuning, now=now, not_at=not_at)
    match_orphans(tuning=tuning, now=now)
    for account_id, markers in by_account.items():
        with troubles.isolated(account_id, "sweep", lambda: now):
            states = settle([AttemptFinding(marker, finding) for marker in markers], tuning=tuning, now=now)
            swept += sum(states.values())
    return swept
