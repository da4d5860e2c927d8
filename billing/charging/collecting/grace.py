"""grace: trying ended some days ago, and the invoice was not paid since; what its policy says follows (docs/adr/0030).

1. Find open invoices whose grace is over and for which nothing else is planned, in accounts that charge and whose clock
   is right.
2. In one commit each: recognise the database, for one that was put back may have forgotten a payment; lock account,
   card, subscription, invoice and attempts, in the one order; look again.
3. The invoice is uncollectible, and its subscription ends as after a last decline.
"""

from datetime import datetime

from django.db.models import Exists, OuterRef, QuerySet

from billing.charging.attempts.changes import Changes
from billing.charging.attempts.decline import give_up
from billing.charging.protocol import permission
from billing.domain.attempts import HAS_MONEY, HOLDS_PLACE, UNRESOLVED
from billing.domain.subscriptions import InvoiceState
from billing.models import Invoice, PaymentAttempt
from billing.models.bulk import arming, settling
from billing.operating import troubles
from billing.operating.clocks import addresses_not_to_open

BATCH = 200
# An attempt that may have taken the money, or has: what comes of it decides.
MAY_BE_PAID = HOLDS_PLACE | UNRESOLVED | HAS_MONEY


def end_graces(*, now: datetime) -> int:
    """Ends at most `BATCH` graces that were over by `now`; how many. Each one's failures are its own."""
    ended = 0
    for invoice in _over(now)[:BATCH]:
        with troubles.isolated(invoice.account_id, f"end the grace of {invoice.public_id}", lambda: now):
            ended += _end(invoice, now)
    return ended


def _over(now: datetime) -> QuerySet[Invoice]:
    attempts = PaymentAttempt.objects.filter(invoice=OuterRef("pk"), state__in=[state.value for state in MAY_BE_PAID])
    found = Invoice.objects.filter(
        ~Exists(attempts),
        state=InvoiceState.OPEN.value,
        grace_ends_at__lte=now,
        next_attempt_at=None,
        hold=None,
        account__stopped_at=None,
        account__quarantined_at=None,
    )
    return found.exclude(account__api_url__in=addresses_not_to_open(now)).order_by("grace_ends_at", "pk")


def _end(invoice: Invoice, now: datetime) -> int:
    def decide() -> permission.Frozen[int]:
        return permission.Frozen(_end_if_over(invoice, now))

    match permission.ask_permission(decide, about=f"the end of the grace of {invoice.public_id}", now=now):
        case permission.Permitted(ended):
            return ended
        case _:  # the database is not recognised: nothing is decided in it
            return 0


def _end_if_over(invoice: Invoice, now: datetime) -> int:
    stopped = arming.lock_account(invoice.account_id).stopped
    locked, _ = settling.lock_invoices([invoice.pk])
    row = locked.invoices.get(invoice.pk)
    if stopped or row is None or not _is_over(row, locked, now):
        return 0
    last = max(locked.attempts.values(), key=lambda attempt: attempt.number, default=None)
    changes = Changes(locked, now)
    changes.touch(row)
    give_up(changes, row, changes.policy_of(row).final_action, last.last_evidence_id if last else None)
    changes.write_rows()
    changes.write_history("engine")
    return 1


def _is_over(row: settling.InvoiceRow, locked: settling.Locked, now: datetime) -> bool:
    return (
        row.state == InvoiceState.OPEN
        and row.grace_ends_at is not None
        and row.grace_ends_at <= now
        and row.next_attempt_at is None
        and row.hold is None
        and not any(attempt.state in MAY_BE_PAID for attempt in locked.attempts.values())
        and not arming.invoices_being_paid([row.id])
    )
