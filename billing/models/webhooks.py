"""Where a merchant's systems are called, what was handed out to be delivered there, and each try to deliver it."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from billing.domain.webhooks import DeliveryState, Disabled, EndpointState
from billing.models.accounts import GatewayAccount
from billing.models.choices import any_of, choices


class WebhookEndpoint(models.Model):
    """A reader of the account's events with a cursor of its own.

    `sequence`: the last event that was handed out. `kinds` empty: all. `failing_since`: the first failed try after the
    last success. The secrets are stored encrypted; the old one signs too until `old_secret_ends_at`.
    `notice_due_at`: when the mail about its disabling is sent, or tried again; None: there is none to send."""

    public_id = models.TextField(unique=True)
    account = models.ForeignKey(GatewayAccount, on_delete=models.PROTECT, related_name="webhook_endpoints")
    url = models.TextField()
    kinds = ArrayField(models.TextField(), default=list, blank=True)
    description = models.TextField(blank=True, db_default="")
    email = models.TextField(blank=True, db_default="")
    state = models.TextField(choices=choices(EndpointState), db_default=EndpointState.ACTIVE.value)
    disabled_reason = models.TextField(blank=True, db_default="")
    sequence = models.BigIntegerField(db_default=0)
    failing_since = models.DateTimeField(null=True, blank=True)
    secret_encrypted = models.TextField()
    old_secret_encrypted = models.TextField(blank=True, db_default="")
    old_secret_ends_at = models.DateTimeField(null=True, blank=True)
    notice_due_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            any_of("state", EndpointState, name="webhook_endpoint_state_known"),
            models.CheckConstraint(
                condition=Q(state="disabled", disabled_reason__in=[one.value for one in Disabled])
                | (~Q(state="disabled") & Q(disabled_reason="")),
                name="a_disabled_endpoint_says_why",
            ),
            models.CheckConstraint(
                condition=Q(old_secret_ends_at__isnull=True, old_secret_encrypted="")
                | (Q(old_secret_ends_at__isnull=False) & ~Q(old_secret_encrypted="")),
                name="an_old_webhook_secret_has_an_end",
            ),
        )
        indexes = (
            models.Index(fields=("notice_due_at",), condition=Q(notice_due_at__isnull=False), name="endpoint_notice"),
        )

    def __str__(self) -> str:
        return self.description or self.public_id


class WebhookDelivery(models.Model):
    """One event on its way to one endpoint; deleted some time after it ended. No key points into history: the event's
    columns are copied.

    `tries` and `first_try_at` are of the current round; a person who resends begins another. Whoever holds the lease
    of the current `lease_token` sends, and records what came of it."""

    public_id = models.TextField(unique=True)
    account = models.ForeignKey(GatewayAccount, on_delete=models.PROTECT)
    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.PROTECT, related_name="deliveries")
    event_id = models.BigIntegerField()
    event_public_id = models.TextField()
    kind = models.TextField()
    subject_type = models.TextField()
    subject_id = models.BigIntegerField()
    sequence = models.BigIntegerField()
    state = models.TextField(choices=choices(DeliveryState), db_default=DeliveryState.PENDING.value)
    tries = models.IntegerField(db_default=0)
    first_try_at = models.DateTimeField(null=True, blank=True)
    next_try_at = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    lease_token = models.IntegerField(db_default=0)
    created_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("endpoint", "event_id"), name="one_delivery_per_endpoint_and_event"),
            any_of("state", DeliveryState, name="webhook_delivery_state_known"),
            models.CheckConstraint(
                condition=Q(state="pending", next_try_at__isnull=False, closed_at__isnull=True)
                | (~Q(state="pending") & Q(next_try_at__isnull=True, closed_at__isnull=False)),
                name="only_a_pending_delivery_is_tried",
            ),
        )
        indexes = (
            models.Index(
                fields=("endpoint", "next_try_at"), condition=Q(state="pending"), name="delivery_due_at_endpoint"
            ),
            models.Index(
                fields=("endpoint", "subject_type", "subject_id", "sequence"),
                condition=Q(state="pending"),
                name="delivery_before_of_object",
            ),
            models.Index(fields=("closed_at", "id"), condition=Q(closed_at__isnull=False), name="delivery_ended"),
        )


class WebhookTry(models.Model):
    """One POST and what came of it. Never changed; deleted with its delivery. `number` is the lease under which it was
    sent; a gap is a worker that died. `status` is None without an answer; `answer` is its beginning, redacted."""

    delivery = models.ForeignKey(WebhookDelivery, on_delete=models.PROTECT, related_name="log")
    number = models.IntegerField()
    at = models.DateTimeField()
    duration_ms = models.IntegerField()
    status = models.IntegerField(null=True, blank=True)
    error = models.TextField(blank=True)
    answer = models.TextField(blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("delivery", "number"), name="one_row_per_webhook_try"),)
