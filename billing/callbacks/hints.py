"""What a hint from outside may do: bring the next look at a card's open attempts, or at a checkout, forward, and
nothing else.

Anybody can send one. A read that a hint causes may find an attempt's order; it never counts towards absence sooner
than the ladder lets it, and hints of one card cause one read in `HINTED_READS_APART`."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import DateTimeField, ExpressionWrapper, F, Q, Value
from django.db.models.functions import Greatest

from billing import doorbell
from billing.domain.attempts import AttemptState
from billing.models import Checkout, PaymentAttempt

# A look that comes as soon as this is left alone.
SOON = timedelta(seconds=5)
HINTED_READS_APART = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Hint:
    """Which card or order somebody spoke of; nothing of it is known to be true. `our_order_id` is one that we gave."""

    gateway_customer_id: str | None
    gateway_order_id: str | None
    our_order_id: str | None = None


def check_sooner(*, hint: Hint, now: datetime) -> int:
    """Has the attempts that wait for a look at the hinted card, or the hinted checkout, looked at now, or a while after
    their last look; how many there are."""
    about = Q()
    if hint.gateway_customer_id:
        about |= Q(gateway_customer_id=hint.gateway_customer_id)
    if hint.gateway_order_id:
        about |= Q(gateway_order_id=hint.gateway_order_id)
    after_the_last = ExpressionWrapper(F("looked_at") + HINTED_READS_APART, output_field=DateTimeField())
    sooner = Greatest(Value(now, output_field=DateTimeField()), after_the_last)
    if hint.our_order_id:
        pages = Checkout.objects.filter(order_id=hint.our_order_id, next_check_at__gt=sooner + SOON)
        if found := pages.update(next_check_at=sooner):
            doorbell.ring_on_commit(doorbell.CHECKOUTS)
            return found
    if not about:
        return 0
    brought = PaymentAttempt.objects.filter(
        about,
        state__in=[AttemptState.UNKNOWN.value, AttemptState.IN_PROCESS.value],
        next_check_at__gt=sooner + SOON,
    ).update(next_check_at=sooner)
    if brought:
        doorbell.ring_on_commit(doorbell.RECONCILE)
    return brought
