"""Whose money it is: the installation, its gateway accounts, and the keys to the API."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from billing.domain.arming import Environment
from billing.domain.dunning import DEFAULT_RETRY_DAYS, MOST_DAYS, MOST_TRIES, FinalAction
from billing.domain.matching import LEAST_HOURS_OF_ABSENCE, MarkerEcho
from billing.domain.money import MOST_CHARGE_MINOR
from billing.models.choices import any_of, choices, only_if


def default_retry_days() -> list[int]:
    return list(DEFAULT_RETRY_DAYS)


class Installation(models.Model):
    """One row (id 1): the stop switch of everything."""

    stopped_at = models.DateTimeField(null=True, blank=True)
    stopped_reason = models.TextField(blank=True, db_default="")
    stopped_by = models.TextField(blank=True, db_default="")

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(id=1), name="one_installation"),)


class GatewayAccount(models.Model):
    """A merchant's application at Revenue Monster. Every other row belongs to one.

    Secret and private key are stored encrypted (`billing.models.encryption`). `stopped_at` is the
    account's stop switch: while it is set nothing is armed."""

    public_id = models.TextField(unique=True)
    name = models.TextField()
    environment = models.TextField(choices=choices(Environment))
    oauth_url = models.TextField()
    api_url = models.TextField()
    client_id = models.TextField()
    client_secret_encrypted = models.TextField()
    private_key_encrypted = models.TextField()
    gateway_public_key = models.TextField(blank=True, db_default="")
    store_id = models.TextField()
    charge_path = models.TextField(db_default="customer_order")
    time_zone = models.TextField(db_default="Asia/Kuala_Lumpur")
    charge_limit_minor = models.BigIntegerField(db_default=MOST_CHARGE_MINOR)
    preflight_always = models.BooleanField(db_default=False)
    marker_echo = models.TextField(choices=choices(MarkerEcho), db_default=MarkerEcho.UNPROVEN.value)
    # None: that the gateway shows nothing never permits another attempt; a person decides.
    retry_after_absence_hours = models.IntegerField(null=True, blank=True)
    retry_days = ArrayField(models.IntegerField(), default=default_retry_days)
    final_action = models.TextField(choices=choices(FinalAction), db_default=FinalAction.CANCEL.value)
    # Above it, what one person decides about a case waits for another; empty: off.
    second_person_above_minor = models.BigIntegerField(null=True, blank=True)
    not_sent_in_a_row = models.IntegerField(db_default=0)
    stopped_at = models.DateTimeField(null=True, blank=True)
    stopped_reason = models.TextField(blank=True, db_default="")
    stopped_by = models.TextField(blank=True, db_default="")
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            any_of("environment", Environment, name="account_environment_known"),
            any_of("final_action", FinalAction, name="account_final_action_known"),
            any_of("marker_echo", MarkerEcho, name="account_marker_echo_known"),
            models.CheckConstraint(
                condition=Q(charge_path__in=["customer_order", "recurring_charge"]),
                name="account_charge_path_known",
            ),
            models.CheckConstraint(condition=Q(charge_limit_minor__gt=0), name="account_limit_positive"),
            only_if(
                "second_person_above_minor",
                Q(second_person_above_minor__gte=0),
                name="account_second_person_amount_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(retry_after_absence_hours__isnull=True)
                | Q(retry_after_absence_hours__gte=LEAST_HOURS_OF_ABSENCE),
                name="absence_permits_only_after_long",
            ),
            models.CheckConstraint(
                condition=Q(retry_days__len__lt=MOST_TRIES) & Q(retry_days__contained_by=list(range(1, MOST_DAYS + 1))),
                name="at_most_four_tries_in_thirty_days",
            ),
            models.CheckConstraint(
                condition=(Q(retry_days__1__isnull=True) | Q(retry_days__1__gt=F("retry_days__0")))
                & (Q(retry_days__2__isnull=True) | Q(retry_days__2__gt=F("retry_days__1"))),
                name="each_retry_day_is_later_than_the_last",
            ),
        )

    def __str__(self) -> str:
        return self.name


class ApiKey(models.Model):
    """A key of one account, stored as its prefix and a hash; the key itself is shown once."""

    public_id = models.TextField(unique=True)
    account = models.ForeignKey(GatewayAccount, on_delete=models.PROTECT, related_name="api_keys")
    name = models.TextField()
    prefix = models.TextField(unique=True)
    key_hash = models.TextField(unique=True)
    scopes = ArrayField(models.TextField())
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(scopes__contained_by=["read", "write", "charge"]), name="api_key_scopes_known"
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class IdempotencyRecord(models.Model):
    """What was answered to a POST that carried an `Idempotency-Key`, so that a repeat gets the same."""

    account = models.ForeignKey(GatewayAccount, on_delete=models.CASCADE)
    key = models.TextField()
    request_hash = models.TextField()
    response_status = models.IntegerField(null=True)
    response_body = models.JSONField(null=True)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("account", "key"), name="one_answer_per_idempotency_key"),
            models.CheckConstraint(
                condition=Q(finished_at__isnull=True, response_status__isnull=True)
                | Q(finished_at__isnull=False, response_status__isnull=False, finished_at__gte=F("created_at")),
                name="finished_idempotency_record_has_its_answer",
            ),
        )
