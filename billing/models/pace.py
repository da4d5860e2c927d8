"""How fast each account charges, what its runs began with, and what its days came to."""

from django.db import models

from billing.domain.pacing import CANARY, PaceState
from billing.models.accounts import GatewayAccount
from billing.models.choices import any_of, choices


class AccountPace(models.Model):
    """One account's pace (`billing.domain.pacing.Pace`), shared by all workers; written when they ask for permits.

    `shares` maps a worker to [charges in flight, until when they count]."""

    account = models.OneToOneField(GatewayAccount, on_delete=models.PROTECT, primary_key=True, related_name="pace")
    state = models.TextField(choices=choices(PaceState), db_default=PaceState.CLOSED.value)
    kind = models.TextField(blank=True, db_default="")
    reason = models.TextField(blank=True, db_default="")
    since = models.DateTimeField(null=True, blank=True)
    retry_at = models.DateTimeField(null=True, blank=True)
    openings = models.IntegerField(db_default=0)
    allowance = models.IntegerField(db_default=CANARY)
    good = models.IntegerField(db_default=0)
    bad = models.IntegerField(db_default=0)
    bad_in_a_row = models.IntegerField(db_default=0)
    tried = models.IntegerField(db_default=0)
    declined = models.IntegerField(db_default=0)
    usually_tried = models.IntegerField(db_default=0)
    usually_declined = models.IntegerField(db_default=0)
    last_charge_at = models.DateTimeField(null=True, blank=True)
    next_slot_at = models.DateTimeField(null=True, blank=True)
    let_run_until = models.DateTimeField(null=True, blank=True)
    shares = models.JSONField(default=dict)

    class Meta:
        constraints = (
            any_of("state", PaceState, name="pace_state_known"),
            models.CheckConstraint(
                condition=models.Q(state__in=[PaceState.CLOSED.value]) | ~models.Q(reason=""),
                name="a_pause_says_why",
            ),
        )

    def __str__(self) -> str:
        return f"{self.account}: {self.state}"


class RunManifest(models.Model):
    """What was due when an account's run began: charges, sums in minor units by currency, the largest amount; beside
    it the account's own history, and why the run was held, if it was."""

    account = models.ForeignKey(GatewayAccount, on_delete=models.PROTECT)
    began_at = models.DateTimeField()
    charges = models.IntegerField()
    sums_minor = models.JSONField()
    largest_minor = models.BigIntegerField()
    history_days = models.IntegerField()
    most_charges = models.IntegerField()
    held_reason = models.TextField(blank=True, db_default="")

    def __str__(self) -> str:
        return f"{self.account}: {self.charges} due at {self.began_at}"


class AccountDay(models.Model):
    """Charges of one account that took money on one day (UTC), counted when they were settled."""

    account = models.ForeignKey(GatewayAccount, on_delete=models.PROTECT)
    day = models.DateField()
    currency = models.TextField()
    charges = models.IntegerField()
    sum_minor = models.BigIntegerField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("account", "day", "currency"), name="one_count_per_day"),)

    def __str__(self) -> str:
        return f"{self.account}, {self.day}: {self.charges}"
