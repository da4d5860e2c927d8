"""What is sold, and who is on it."""

from django.db import models
from django.db.models import Q

from billing.domain.catch_up import CatchUp
from billing.domain.money import CURRENCIES, LEAST_CHARGE_MINOR
from billing.domain.schedules import Interval
from billing.domain.subscriptions import RUNNING, ActivatesOn, Collector, SubscriptionState
from billing.models.accounts import GatewayAccount
from billing.models.choices import any_of, choices, only_if
from billing.models.customers import Customer, PaymentMethod


class ScheduleColumns(models.Model):
    """The columns of a `billing.domain.schedules.Schedule`, without its anchor."""

    interval = models.TextField(choices=choices(Interval))
    target = models.SmallIntegerField(null=True, blank=True)
    every = models.SmallIntegerField(db_default=1)
    charge_time = models.TimeField(db_default="09:00")
    time_zone = models.TextField(db_default="Asia/Kuala_Lumpur")

    class Meta:
        abstract = True


def schedule_constraints(noun: str) -> tuple[models.CheckConstraint, ...]:
    return (
        models.CheckConstraint(
            condition=Q(interval="DAILY", target__isnull=True)
            | Q(interval="WEEKLY", target__isnull=False, target__gte=0, target__lte=6)
            | Q(interval="MONTHLY", target__isnull=False, target__gte=-1, target__lte=28),
            name=f"{noun}_target_fits_its_interval",
        ),
        models.CheckConstraint(condition=Q(every__gte=1), name=f"{noun}_every_positive"),
        models.CheckConstraint(
            condition=Q(amount_minor__gte=LEAST_CHARGE_MINOR), name=f"{noun}_amount_at_least_the_minimum"
        ),
        models.CheckConstraint(condition=Q(currency__in=sorted(CURRENCIES)), name=f"{noun}_currency_known"),
        models.CheckConstraint(
            condition=Q(repetitions__isnull=True) | Q(repetitions__gt=0), name=f"{noun}_repetitions_positive"
        ),
    )


class Plan(ScheduleColumns):
    """What is sold. A used plan is not edited (trigger): a change is a new version of its code."""

    public_id = models.TextField(unique=True)
    account = models.ForeignKey(GatewayAccount, on_delete=models.PROTECT)
    code = models.TextField()
    version = models.IntegerField(db_default=1)
    name = models.TextField()
    amount_minor = models.BigIntegerField()
    currency = models.TextField(db_default="MYR")
    trial_days = models.IntegerField(db_default=0)
    # What makes a subscription active that is charged at its start. New plans name it; this is for older code.
    activates_on = models.TextField(choices=choices(ActivatesOn), db_default=ActivatesOn.CARD.value)
    repetitions = models.IntegerField(null=True, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("account", "code", "version"), name="one_plan_per_code_and_version"),
            models.CheckConstraint(condition=Q(trial_days__gte=0), name="plan_trial_not_negative"),
            any_of("activates_on", ActivatesOn, name="plan_activates_on_known"),
            *schedule_constraints("plan"),
        )

    def __str__(self) -> str:
        return f"{self.name} (v{self.version})"


class Subscription(ScheduleColumns):
    """A customer on a plan.

    `next_due_at` is set exactly while the engine has a next period to open; `occurrence` is that period's
    number in the schedule counted from `anchor_date`, `period_index` its number in this subscription (one up
    per period, for ever). `periods_charged` counts the periods that were not skipped. `first_payment_ends_at` is set
    from the start of those that are active once their first charge is paid: until when it may be, or could."""

    public_id = models.TextField(unique=True)
    account = models.ForeignKey(GatewayAccount, on_delete=models.PROTECT)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="subscriptions")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT)
    payment_method = models.ForeignKey(PaymentMethod, on_delete=models.PROTECT, null=True, blank=True)
    reference = models.TextField()
    state = models.TextField(choices=choices(SubscriptionState))
    collector = models.TextField(choices=choices(Collector), db_default=Collector.ENGINE.value)
    catch_up = models.TextField(choices=choices(CatchUp), db_default=CatchUp.ALL.value)
    amount_minor = models.BigIntegerField()
    currency = models.TextField()
    repetitions = models.IntegerField(null=True, blank=True)
    charge_at_start = models.BooleanField(db_default=False)
    activates_on = models.TextField(choices=choices(ActivatesOn), db_default=ActivatesOn.CARD.value)
    first_payment_ends_at = models.DateTimeField(null=True, blank=True)
    anchor_date = models.DateField(null=True, blank=True)
    occurrence = models.IntegerField(null=True, blank=True)
    next_due_at = models.DateTimeField(null=True, blank=True)
    period_index = models.IntegerField(db_default=0)
    periods_charged = models.IntegerField(db_default=0)
    trial_ends_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    activated_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    # Its due periods could not be opened: since when, why, and when that is tried again.
    open_failed_at = models.DateTimeField(null=True, blank=True)
    open_error = models.TextField(blank=True, db_default="")
    open_again_at = models.DateTimeField(null=True, blank=True)
    metadata = models.JSONField(default=dict)

    class Meta:
        constraints = (
            any_of("state", SubscriptionState, name="subscription_state_known"),
            any_of("collector", Collector, name="subscription_collector_known"),
            any_of("catch_up", CatchUp, name="subscription_catch_up_known"),
            any_of("activates_on", ActivatesOn, name="subscription_activates_on_known"),
            only_if(
                "first_payment_ends_at",
                Q(
                    activates_on=ActivatesOn.PAYMENT.value,
                    charge_at_start=True,
                    trial_ends_at__isnull=True,
                    collector=Collector.ENGINE.value,
                    anchor_date__isnull=False,
                    occurrence__isnull=False,
                    period_index__gte=1,
                ),
                name="only_a_first_payment_runs_out",
            ),
            models.CheckConstraint(
                condition=~Q(state=SubscriptionState.EXPIRED.value) | Q(first_payment_ends_at__isnull=False),
                name="only_an_unpaid_start_expires",
            ),
            models.UniqueConstraint(fields=("account", "reference"), name="subscription_reference_once_per_account"),
            only_if(
                "next_due_at",
                Q(
                    state__in=sorted(s.value for s in RUNNING),
                    collector=Collector.ENGINE.value,
                    anchor_date__isnull=False,
                    occurrence__isnull=False,
                ),
                name="only_running_engine_subscriptions_fall_due",
            ),
            models.CheckConstraint(
                condition=Q(periods_charged__lte=models.F("period_index"), periods_charged__gte=0),
                name="subscription_counts_its_periods",
            ),
            models.CheckConstraint(
                condition=Q(open_failed_at__isnull=True, open_again_at__isnull=True, open_error="")
                | Q(open_failed_at__isnull=False, open_again_at__isnull=False) & ~Q(open_error=""),
                name="what_could_not_be_opened_says_why",
            ),
            *schedule_constraints("subscription"),
        )
        indexes = (
            models.Index(fields=("next_due_at", "id"), condition=Q(next_due_at__isnull=False), name="subscription_due"),
            models.Index(
                fields=("first_payment_ends_at",),
                condition=Q(first_payment_ends_at__isnull=False, state=SubscriptionState.INCOMPLETE.value),
                name="subscription_unpaid",
            ),
            models.Index(
                fields=("open_again_at", "id"), condition=Q(open_again_at__isnull=False), name="subscription_not_opened"
            ),
        )

    def __str__(self) -> str:
        return self.public_id
