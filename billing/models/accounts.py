"""Whose money it is: the installation, its gateway accounts, and the keys to the API."""

from datetime import datetime

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from billing.domain.arming import Environment
from billing.domain.doubts import Doubt
from billing.domain.first_payment import DEFAULT_HOURS, MOST_HOURS
from billing.domain.matching import LEAST_HOURS_OF_ABSENCE, MarkerEcho
from billing.domain.money import MOST_CHARGE_MINOR
from billing.domain.pacing import IN_FLIGHT
from billing.domain.paying import DEFAULT_LINK_DAYS, MOST_LINK_DAYS
from billing.domain.reads import MOST_LIST_LAG_SECONDS
from billing.models.choices import any_of, choices, only_if


class Installation(models.Model):
    """One row (id 1): the stop switch of everything, and which database this is.

    `epoch` is a random word that names this life of the database; witnesses carry it, and a new one begins with each
    quarantine. The four columns after `past_epochs` are PostgreSQL's own: what they were when the epoch began."""

    stopped_at = models.DateTimeField(null=True, blank=True)
    stopped_reason = models.TextField(blank=True, db_default="")
    stopped_by = models.TextField(blank=True, db_default="")
    epoch = models.TextField(blank=True, db_default="")
    past_epochs = ArrayField(models.TextField(), default=list, blank=True)
    system_identifier = models.TextField(blank=True, db_default="")
    timeline = models.TextField(blank=True, db_default="")
    database_oid = models.TextField(blank=True, db_default="")
    database_name = models.TextField(blank=True, db_default="")

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(id=1), name="one_installation"),)


class Host(models.Model):
    """A machine whose processes charge, known by a random id that it keeps beside its witness.

    `admitted_at` is empty while it is not known whether the host belongs to this database; it arms nothing then."""

    host_id = models.TextField(unique=True)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    admitted_at = models.DateTimeField(null=True, blank=True)
    armed_at = models.DateTimeField(null=True, blank=True)


class GatewayAccount(models.Model):
    """A merchant's application at Revenue Monster. Every other row belongs to one.

    Secret and private key are stored encrypted (`billing.models.encryption`). `stopped_at` is the
    account's stop switch, which only people throw: while it is set nothing is armed. Nor is it while `quarantined_at`
    is set: this database may have forgotten charges since `quarantine_point_at` (empty: at any time). Until
    `preflight_until` first attempts are preceded by a look too."""

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
    # How long the gateway's lists may lag: a look made earlier after a refusal does not exclude that it was false.
    list_lag_seconds = models.IntegerField(db_default=3600)
    marker_echo = models.TextField(choices=choices(MarkerEcho), db_default=MarkerEcho.UNPROVEN.value)
    # None: that the gateway shows nothing never permits another attempt; a person decides.
    retry_after_absence_hours = models.IntegerField(null=True, blank=True)
    # Off only where the gateway offers no reports: then late money is found by reading the cards alone.
    reads_reports = models.BooleanField(db_default=True)
    # How long a subscription waits for its first payment, from its start and anew from each declined charge.
    first_payment_hours = models.IntegerField(db_default=DEFAULT_HOURS)
    # What customers may do on their own page, and how long a link to it is good for.
    payers_may_cancel = models.BooleanField(db_default=True)
    payment_link_days = models.IntegerField(db_default=DEFAULT_LINK_DAYS)
    # Above it, what one person decides about a case waits for another; empty: off.
    second_person_above_minor = models.BigIntegerField(null=True, blank=True)
    # Shares of what the gateway allows, for all workers together; empty: no limit of ours. What is in flight when the
    # gateway breaks is in doubt, and may end with a person.
    charges_per_second = models.IntegerField(null=True, blank=True)
    max_in_flight = models.IntegerField(null=True, blank=True, db_default=IN_FLIGHT)
    stopped_at = models.DateTimeField(null=True, blank=True)
    stopped_reason = models.TextField(blank=True, db_default="")
    stopped_by = models.TextField(blank=True, db_default="")
    # Since when the account has credentials that were saved without proof; None: the gateway proved them.
    credentials_unproved_at = models.DateTimeField(null=True, blank=True)
    quarantined_at = models.DateTimeField(null=True, blank=True)
    quarantine_reason = models.TextField(blank=True, db_default="")
    quarantine_detail = models.TextField(blank=True, db_default="")
    quarantine_point_at = models.DateTimeField(null=True, blank=True)
    # The clock by which it began was wrong, or not compared yet: it begins anew by one that is right.
    quarantine_clock_doubted = models.BooleanField(db_default=False)
    # What the daily reports showed, as `billing.charging.recovery.from_reports` writes it.
    quarantine_reports = models.JSONField(default=dict, blank=True)
    preflight_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            only_if(
                "credentials_unproved_at", Q(stopped_at__isnull=False), name="unproved_credentials_stop_an_account"
            ),
            only_if(
                "quarantined_at",
                Q(quarantine_reason__in=[doubt.value for doubt in Doubt]),
                name="quarantined_account_says_why",
            ),
            models.CheckConstraint(
                condition=Q(quarantine_clock_doubted=False) | Q(quarantined_at__isnull=False),
                name="only_a_quarantine_doubts_its_clock",
            ),
            any_of("environment", Environment, name="account_environment_known"),
            any_of("marker_echo", MarkerEcho, name="account_marker_echo_known"),
            models.CheckConstraint(
                condition=Q(charge_path__in=["customer_order", "recurring_charge"]),
                name="account_charge_path_known",
            ),
            models.CheckConstraint(condition=Q(charge_limit_minor__gt=0), name="account_limit_positive"),
            models.CheckConstraint(
                condition=Q(list_lag_seconds__gte=0, list_lag_seconds__lte=MOST_LIST_LAG_SECONDS),
                name="account_list_lag_known",
            ),
            models.CheckConstraint(
                condition=Q(first_payment_hours__gte=1, first_payment_hours__lte=MOST_HOURS),
                name="account_first_payment_hours_known",
            ),
            models.CheckConstraint(
                condition=Q(payment_link_days__gte=1, payment_link_days__lte=MOST_LINK_DAYS),
                name="account_payment_link_days_known",
            ),
            only_if(
                "second_person_above_minor",
                Q(second_person_above_minor__gte=0),
                name="account_second_person_amount_not_negative",
            ),
            only_if("charges_per_second", Q(charges_per_second__gt=0), name="account_rate_positive"),
            only_if("max_in_flight", Q(max_in_flight__gt=0), name="account_in_flight_positive"),
            models.CheckConstraint(
                condition=Q(retry_after_absence_hours__isnull=True)
                | Q(retry_after_absence_hours__gte=LEAST_HOURS_OF_ABSENCE),
                name="absence_permits_only_after_long",
            ),
        )

    def __str__(self) -> str:
        return self.name

    def preflights_always(self, now: datetime) -> bool:
        """Whether first attempts too are preceded by a look at the card."""
        return self.preflight_always or (self.preflight_until is not None and now < self.preflight_until)


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
