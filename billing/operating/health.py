"""How the engine is, computed from PostgreSQL alone."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.models import Heartbeat, Installation, Invoice, PaymentAttempt, Subscription

LATE = timedelta(minutes=10)
PULSE = timedelta(seconds=60)
QUEUES = ("charge", "housekeeping", "reconcile")


@dataclass(frozen=True, slots=True)
class Health:
    """`problems` is empty when all is well; each is a sentence for the operator."""

    problems: tuple[str, ...]
    silent_queues: tuple[str, ...]
    due_but_unopened: bool
    due_but_unclaimed: bool
    stopped: bool
    with_a_person: int

    @property
    def ok(self) -> bool:
        return not self.problems


def check(now: datetime) -> Health:
    """Due for ten minutes and nobody took it, or a queue without a pulse for a minute, is a problem."""
    beats = dict(Heartbeat.objects.values_list("queue", "beat_at"))
    silent = tuple(queue for queue in QUEUES if queue not in beats or now - beats[queue] > PULSE)
    unopened = Subscription.objects.filter(next_due_at__lte=now - LATE).exists()
    unclaimed = Invoice.objects.filter(next_attempt_at__lte=now - LATE, account__stopped_at=None).exists()
    stopped = Installation.objects.exclude(stopped_at=None).exists()
    needing = PaymentAttempt.objects.filter(state="needs_human").count()
    problems = [f"queue {queue} has had no pulse for a minute" for queue in silent]
    if unopened:
        problems.append("subscriptions have been due for ten minutes without an invoice")
    if unclaimed and not stopped:
        problems.append("invoices have been due for ten minutes without an attempt")
    return Health(tuple(problems), silent, unopened, unclaimed, stopped, needing)
