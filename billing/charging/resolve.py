"""A person's decision on an attempt that evidence could not close, and the release of a card that waits behind it."""

from datetime import datetime
from enum import StrEnum

from django.db import transaction
from django.db.models import F

from billing import doorbell
from billing.charging.limits import Limits
from billing.charging.settle import Told, settle
from billing.domain.attempts import AttemptState, Finding, Source, Verdict
from billing.domain.subscriptions import InvoiceState
from billing.models import Invoice, PaymentAttempt, PaymentMethod, Transition


class Resolution(StrEnum):
    CHARGED = "charged"
    DECLINED = "declined"
    NOT_CHARGED = "not_charged"


class ResolutionError(ValueError):
    """The decision is not possible; the message says why."""


def resolve(
    *,
    attempt: PaymentAttempt,
    resolution: Resolution,
    reason: str,
    actor: str,
    limits: Limits,
    now: datetime,
    transaction_id: str = "",
) -> AttemptState:
    """Closes an attempt that *needs_human*; raises ResolutionError when it is not, or no longer, with a person.

    `transaction_id` is the gateway's, needed to call it charged. Not charged lets the invoice be tried again."""
    if not reason.strip():
        raise ResolutionError("reason: say what the decision rests on")
    if resolution is Resolution.CHARGED and not transaction_id.strip():
        raise ResolutionError("transaction_id: a charge is named by the gateway's transaction")
    verdicts = {
        Resolution.CHARGED: Verdict.PAID,
        Resolution.DECLINED: Verdict.DECLINED,
        Resolution.NOT_CHARGED: Verdict.PERSON_NOT_CHARGED,
    }
    current = PaymentAttempt.objects.get(pk=attempt.pk)
    if current.state != AttemptState.NEEDS_HUMAN:
        raise ResolutionError(f"attempt: is {current.state}, not with a person")
    finding = Finding(
        verdicts[resolution],
        Source.OPERATOR,
        reason=f"decided by {actor}: {reason}",
        amount_minor=current.amount_minor,
        currency=current.currency,
        transaction_id=transaction_id.strip() or None,
        detail={"actor": actor, "decided_at": now.isoformat()},
    )
    counts = settle([Told(current.pk, finding)], limits=limits, now=now, actor=actor)
    if not counts:
        raise ResolutionError(
            "attempt: the decision was not accepted; the transaction may be another attempt's, "
            "or somebody else was first"
        )
    return AttemptState(PaymentAttempt.objects.get(pk=attempt.pk).state)


def release_card(*, attempt: PaymentAttempt, reason: str, actor: str, now: datetime) -> None:
    """Lets the card's later invoices go on while this attempt's own invoice stays blocked."""
    if not reason.strip():
        raise ResolutionError("reason: say why the card may be charged again")
    with transaction.atomic():
        PaymentMethod.objects.select_for_update().get(pk=attempt.payment_method_id)
        released = PaymentAttempt.objects.filter(
            pk=attempt.pk, state=AttemptState.NEEDS_HUMAN.value, released_at=None
        ).update(released_at=now, released_by=actor, released_reason=reason)
        if not released:
            raise ResolutionError("attempt: is not with a person, or its card is released already")
        # A card that is held for another reason too stays held for that one.
        reasons = PaymentAttempt.objects.filter(pk=attempt.pk).values("state_reason")
        PaymentMethod.objects.filter(pk=attempt.payment_method_id, held_reason__in=reasons).update(
            held_at=None, held_reason=""
        )
        Transition.objects.create(
            account_id=attempt.account_id,
            subject_type="card",
            subject_id=attempt.payment_method_id,
            from_state="waiting",
            to_state="released",
            reason=reason,
            actor=actor,
            at=now,
        )
        doorbell.ring_on_commit(doorbell.COLLECT)


def collect_held(*, invoice: Invoice, reason: str, actor: str, now: datetime) -> None:
    """A person decides that an invoice which waits (missed periods, a reversal, a cancelled subscription) is
    collected after all. Raises ResolutionError when it does not wait."""
    with transaction.atomic():
        freed = Invoice.objects.filter(pk=invoice.pk, state=InvoiceState.OPEN.value, hold__isnull=False).update(
            hold=None, next_attempt_at=now, collect_regardless=True
        )
        if not freed:
            raise ResolutionError("invoice: does not wait for a person")
        Transition.objects.create(
            account_id=invoice.account_id,
            subject_type="invoice",
            subject_id=invoice.pk,
            from_state=f"open ({invoice.hold})",
            to_state="open",
            reason=reason,
            actor=actor,
            at=now,
        )
        doorbell.ring_on_commit(doorbell.COLLECT)


def clear_hold(*, card: PaymentMethod, reason: str, actor: str, now: datetime) -> None:
    """A person has looked at what was unexplained about the card: it may be charged again."""
    with transaction.atomic():
        cleared = PaymentMethod.objects.filter(pk=card.pk, held_at__isnull=False).update(held_at=None, held_reason="")
        if not cleared:
            raise ResolutionError("payment_method: is not held")
        Transition.objects.create(
            account_id=card.account_id,
            subject_type="card",
            subject_id=card.pk,
            from_state="held",
            to_state="free",
            reason=reason,
            actor=actor,
            at=now,
        )
        Invoice.objects.filter(
            payment_method_id=card.pk, state=InvoiceState.OPEN.value, next_attempt_at__gt=now, refusal__isnull=False
        ).update(next_attempt_at=now, lease_token=F("lease_token") + 1)
