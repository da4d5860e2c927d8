"""What an account does about declined invoices, and which invoices each policy is for."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from billing.domain.dunning import (
    DAYS_OF_MONTH,
    HOURS,
    MOST_DAYS,
    MOST_GRACE_DAYS,
    MOST_TRIES,
    WEEKDAYS,
    FinalAction,
    Scope,
)
from billing.models.accounts import GatewayAccount
from billing.models.choices import any_of, choices, only_if


def _rising_days() -> Q:
    pairs = [
        Q((f"retry_days__{after}__isnull", True)) | Q((f"retry_days__{after}__gt", F(f"retry_days__{after - 1}")))
        for after in (1, 2)
    ]
    return pairs[0] & pairs[1]


class DunningPolicy(models.Model):
    """A `billing.domain.dunning.DunningPolicy` of an account; its zone is the account's.

    An invoice keeps the policy of its first decline. What a policy says now counts for each decline that comes."""

    public_id = models.TextField(unique=True)
    account = models.ForeignKey(GatewayAccount, on_delete=models.PROTECT, related_name="dunning_policies")
    code = models.TextField()
    name = models.TextField()
    retry_days = ArrayField(models.IntegerField(), default=list, blank=True)
    retry_hour = models.SmallIntegerField(null=True, blank=True)
    prefer_days = ArrayField(models.IntegerField(), default=list, blank=True)
    avoid_days = ArrayField(models.IntegerField(), default=list, blank=True)
    avoid_weekdays = ArrayField(models.IntegerField(), default=list, blank=True)
    quiet_tries = ArrayField(models.IntegerField(), default=list, blank=True)
    grace_days = models.IntegerField(db_default=0)
    final_action = models.TextField(choices=choices(FinalAction))
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("account", "code"), name="one_dunning_policy_per_code"),
            any_of("final_action", FinalAction, name="policy_final_action_known"),
            models.CheckConstraint(
                condition=Q(retry_days__len__lt=MOST_TRIES) & Q(retry_days__contained_by=list(range(1, MOST_DAYS + 1))),
                name="at_most_four_tries_in_thirty_days",
            ),
            models.CheckConstraint(condition=_rising_days(), name="each_retry_day_is_later_than_the_last"),
            only_if("retry_hour", Q(retry_hour__in=list(HOURS)), name="policy_retry_hour_known"),
            models.CheckConstraint(
                condition=Q(prefer_days__contained_by=list(DAYS_OF_MONTH))
                & Q(avoid_days__contained_by=list(DAYS_OF_MONTH))
                & Q(avoid_weekdays__contained_by=list(WEEKDAYS))
                & Q(quiet_tries__contained_by=list(range(1, MOST_TRIES + 1))),
                name="policy_days_known",
            ),
            models.CheckConstraint(
                condition=Q(grace_days__gte=0, grace_days__lte=MOST_GRACE_DAYS), name="policy_grace_at_most_thirty_days"
            ),
        )

    def __str__(self) -> str:
        return self.name


class DunningAssignment(models.Model):
    """Which policy the invoices of a scope get at their first decline; a second one gets a share of them, by lot."""

    account = models.ForeignKey(GatewayAccount, on_delete=models.PROTECT, related_name="dunning_assignments")
    scope = models.TextField(choices=choices(Scope))
    plan_code = models.TextField(blank=True, db_default="")
    policy = models.ForeignKey(DunningPolicy, on_delete=models.PROTECT, related_name="assignments")
    second_policy = models.ForeignKey(
        DunningPolicy, on_delete=models.PROTECT, null=True, blank=True, related_name="second_assignments"
    )
    second_percent = models.SmallIntegerField(null=True, blank=True)
    assigned_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("account", "scope", "plan_code"), name="one_policy_per_scope"),
            any_of("scope", Scope, name="policy_scope_known"),
            models.CheckConstraint(
                condition=Q(scope=Scope.PLAN.value) & ~Q(plan_code="") | ~Q(scope=Scope.PLAN.value) & Q(plan_code=""),
                name="only_the_policy_of_a_plan_names_one",
            ),
            models.CheckConstraint(
                condition=Q(second_policy__isnull=True, second_percent__isnull=True)
                | Q(second_policy__isnull=False, second_percent__gte=1, second_percent__lte=99)
                & ~Q(second_policy=F("policy")),
                name="a_share_has_two_policies",
            ),
        )
