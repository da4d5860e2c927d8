"""How the engine is, computed from PostgreSQL alone."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef

from billing.domain.late_money import REPORT_MISSING_AFTER, report_day
from billing.domain.webhooks import DeliveryState, EndpointState
from billing.models import (
    Event,
    FoundPayment,
    GatewayAccount,
    Heartbeat,
    Installation,
    Invoice,
    OrphanAnswer,
    PaymentAttempt,
    ReportDay,
    Subscription,
    WebhookDelivery,
    WebhookEndpoint,
    waiting_proposals,
)
from billing.operating import clocks, pauses, quarantine, troubles

LATE = timedelta(minutes=10)
PROPOSED_FOR_LONG = timedelta(days=1)
UNPUBLISHED_FOR_LONG = timedelta(minutes=5)
PULSE = timedelta(seconds=60)
NAMED = 3
QUEUES = ("charge", "housekeeping", "mail", "notify", "reconcile")


@dataclass(frozen=True, slots=True)
class Health:
    """`problems` is empty when all is well; each is a sentence for the operator."""

    problems: tuple[str, ...]
    silent_queues: tuple[str, ...]
    due_but_unopened: bool
    due_but_unclaimed: bool
    stopped: bool
    with_a_person: int
    found_payments: int

    @property
    def ok(self) -> bool:
        return not self.problems


def check(now: datetime) -> Health:
    """How the engine is at `now`. Each part below says what is wrong in sentences; add a part for each new promise."""
    silent = _silent_queues(now)
    unopened, unclaimed = _unopened(now), _unclaimed(now)
    stopped = Installation.objects.exclude(stopped_at=None).exists()
    problems = [
        *_of_queues(silent),
        *quarantine.sentences(),
        *_of_what_is_due(unopened=unopened, unclaimed=unclaimed and not stopped),
        *([] if stopped else pauses.sentences(now)),
        *_not_opened(),
        *_orphans(),
        *_proposals(now),
        *_without_reports(now),
        *_unpublished(now),
        *_not_sent(now),
        *clocks.sentences(now),
        *troubles.sentences(now),
    ]
    needing = PaymentAttempt.objects.filter(state="needs_review").count()
    found = FoundPayment.objects.filter(decided_at=None).count()
    return Health(tuple(problems), silent, unopened, unclaimed, stopped, needing, found)


def _silent_queues(now: datetime) -> tuple[str, ...]:
    """Queues without a pulse for a minute."""
    beats = dict(Heartbeat.objects.values_list("queue", "beat_at"))
    return tuple(queue for queue in QUEUES if queue not in beats or now - beats[queue] > PULSE)


def _unopened(now: datetime) -> bool:
    return Subscription.objects.filter(next_due_at__lte=now - LATE).exists()


def _unclaimed(now: datetime) -> bool:
    """Whether what no stop switch holds back has been due for ten minutes, and nobody took it."""
    late = Invoice.objects.filter(
        next_attempt_at__lte=now - LATE, account__stopped_at=None, account__quarantined_at=None
    )
    return late.exclude(account__pace__state__in=pauses.PAUSED).exists()


def _of_queues(silent: tuple[str, ...]) -> list[str]:
    return [f"queue {queue} has had no heartbeat for a minute" for queue in silent]


def _of_what_is_due(*, unopened: bool, unclaimed: bool) -> list[str]:
    problems = []
    if unopened:
        problems.append("subscriptions have been due for ten minutes without an invoice")
    if unclaimed:
        problems.append("invoices have been due for ten minutes without an attempt")
    return problems


def _not_opened() -> list[str]:
    """Subscriptions whose due periods could not be opened; the others go on."""
    failed = Subscription.objects.exclude(open_again_at=None).exclude(next_due_at=None).order_by("open_failed_at")
    found = list(failed.values_list("public_id", "open_error")[: NAMED + 1])
    return _named("subscription", "could not be opened and is retried", found)


def _orphans() -> list[str]:
    """Answers of the gateway, perhaps money taken, that no attempt or refund accounts for."""
    unmatched = OrphanAnswer.objects.filter(matched_at=None).order_by("id")
    found = list(unmatched.values_list("marker", "verdict")[: NAMED + 1])
    return _named("gateway answer", "belongs to nothing in this database", found)


def _proposals(now: datetime) -> list[str]:
    """Decisions of one person that another one should have confirmed or rejected by now."""
    found = waiting_proposals().filter(proposed_at__lte=now - PROPOSED_FOR_LONG)
    waiting = list(found.values_list("public_id", "kind")[: NAMED + 1])
    return _named("proposal", "has waited for approval for more than a day", waiting)


def _unpublished(now: datetime) -> list[str]:
    """Accounts whose feed is behind: their own systems do not see what has happened."""
    late = Event.objects.filter(sequence=None, created_at__lte=now - UNPUBLISHED_FOR_LONG).values("account_id")
    names = GatewayAccount.objects.filter(pk__in=late).order_by("pk").values_list("name", flat=True)[: NAMED + 1]
    minutes = UNPUBLISHED_FOR_LONG // timedelta(minutes=1)
    return _named("account", "has a feed that is behind", [(name, f"no event for {minutes} minutes") for name in names])


def _not_sent(now: datetime) -> list[str]:
    """Endpoints to which a webhook could have been sent for ten minutes; one that fails waits for its own next try."""
    pending = WebhookDelivery.objects.filter(state=DeliveryState.PENDING.value)
    earlier = pending.filter(
        endpoint=OuterRef("endpoint"),
        subject_type=OuterRef("subject_type"),
        subject_id=OuterRef("subject_id"),
        sequence__lt=OuterRef("sequence"),
    )
    late = pending.filter(~Exists(earlier), next_try_at__lte=now - LATE, endpoint_id=OuterRef("pk"), tries=0).exclude(
        lease_until__gt=now
    )
    waiting = WebhookEndpoint.objects.filter(Exists(late), state=EndpointState.ACTIVE.value, failing_since=None)
    names = waiting.order_by("pk").values_list("public_id", flat=True)[: NAMED + 1]
    return _named("webhook endpoint", "is not sent what is due", [(name, "for ten minutes") for name in names])


def _named(noun: str, what: str, found: list[tuple[str, str]]) -> list[str]:
    more = ["and more"] if len(found) > NAMED else []
    return [f"{noun} {name} {what}: {why}" for name, why in found[:NAMED]] + [f"{noun}: {text}" for text in more]


def _without_reports(now: datetime) -> list[str]:
    """Accounts with a report that should have been read to the end by now."""
    missing = ReportDay.objects.filter(
        complete_at=None, day__lt=report_day(now - REPORT_MISSING_AFTER), account__reads_reports=True
    )
    return [
        f"the daily reports of {name} have not been read for two days; late payments are found later"
        for name in sorted(set(missing.values_list("account__name", flat=True)))
    ]
