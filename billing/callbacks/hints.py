"""What a hint from outside may do: bring the next look at a card's open attempts forward, and nothing else."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q

from billing import doorbell
from billing.charging.limits import Limits
from billing.domain.attempts import AttemptState
from billing.models import PaymentAttempt

# A look that comes as soon as this is left alone.
SOON = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Hint:
    """Which card or order somebody spoke of; nothing of it is known to be true."""

    gateway_customer_id: str | None
    gateway_order_id: str | None


def look_sooner(*, hint: Hint, limits: Limits, now: datetime) -> int:
    """Has the attempts that wait for a look at the hinted card looked at now; how many there are.

    The last look of the ladder is never brought forward: it is the one that hands an attempt to a person, and
    forged hints shall not use up the gateway's time to make up its mind."""
    about = Q()
    if hint.gateway_customer_id:
        about |= Q(gateway_customer_id=hint.gateway_customer_id)
    if hint.gateway_order_id:
        about |= Q(gateway_order_id=hint.gateway_order_id)
    if not about:
        return 0
    brought = PaymentAttempt.objects.filter(
        about,
        state__in=[AttemptState.UNKNOWN.value, AttemptState.IN_PROCESS.value],
        next_check_at__gt=now + SOON,
        checks_done__lt=len(limits.rungs) - 1,
    ).update(next_check_at=now)
    if brought:
        doorbell.ring_on_commit(doorbell.RECONCILE)
    return brought
