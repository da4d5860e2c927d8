"""What keeps an account's work from being done, and whether the database's clock agrees with the gateways'."""

from django.db import models
from django.db.models import Q

from billing.models.accounts import GatewayAccount


class AccountTrouble(models.Model):
    """Work of an account (or, without one, of the installation) that fails: since when, how often, and why.

    The row goes when the work succeeds. `message` holds no secrets and nothing of a customer."""

    account = models.ForeignKey(GatewayAccount, on_delete=models.CASCADE, null=True, related_name="troubles")
    work = models.TextField()
    since = models.DateTimeField()
    last_at = models.DateTimeField()
    count = models.IntegerField(db_default=1)
    error = models.TextField()
    message = models.TextField(db_default="")

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("account", "work"), name="one_trouble_per_account_and_work", nulls_distinct=False
            ),
            models.CheckConstraint(condition=Q(count__gt=0), name="a_trouble_happened"),
        )

    def __str__(self) -> str:
        return f"{self.work}: {self.error}"


class GatewayClock(models.Model):
    """A gateway's clock as one machine saw it last, as the instant at which the machine was started.

    `ahead`: how far ahead of it the database's clock was found, None while they agree; `agrees_since` is an uptime."""

    api_url = models.TextField()
    machine = models.TextField()
    started_earliest = models.DateTimeField()
    started_latest = models.DateTimeField()
    uptime = models.DurationField()
    ahead = models.DurationField(null=True)
    agrees_since = models.DurationField(null=True)
    checked_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("api_url", "machine"), name="one_clock_per_gateway_and_machine"),
            models.CheckConstraint(
                condition=Q(agrees_since__isnull=True) | Q(ahead__isnull=False), name="only_a_wrong_clock_agrees_again"
            ),
        )

    def __str__(self) -> str:
        return f"{self.api_url} on {self.machine}"
