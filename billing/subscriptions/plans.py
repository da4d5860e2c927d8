"""What is sold. A plan that was sold is never edited: a change is a new version."""

from datetime import date, datetime, time

from django.db import transaction
from django.db.models import Max

from billing.domain.money import check_charge
from billing.domain.schedules import DEFAULT_CHARGE_TIME, DEFAULT_ZONE, Schedule
from billing.ids import new_id
from billing.models import GatewayAccount, Plan


class PlanError(ValueError):
    """A plan that the rules do not allow; the message names the field and the rule."""


def create_plan(
    *,
    account: GatewayAccount,
    code: str,
    name: str,
    amount_minor: int,
    interval: object,
    target: object,
    now: datetime,
    currency: str = "MYR",
    every: object = 1,
    charge_time: time = DEFAULT_CHARGE_TIME,
    zone: str = DEFAULT_ZONE,
    trial_days: int = 0,
    repetitions: int | None = None,
) -> Plan:
    """A new plan, or the next version of the code. Raises ScheduleError, MoneyError or PlanError."""
    check_charge(amount_minor, currency)
    schedule = Schedule.parse(
        interval=interval,
        target=target,
        every=every,
        charge_time=charge_time,
        zone=zone,
        anchor_date=date(2000, 1, 1),  # the subscription's activation sets the real one
    )
    if trial_days < 0:
        raise PlanError("trial_days: must not be negative")
    if repetitions is not None and repetitions < 1:
        raise PlanError("repetitions: must be at least 1, or left out for no end")
    with transaction.atomic():
        GatewayAccount.objects.select_for_update().get(pk=account.pk)
        newest = Plan.objects.filter(account=account, code=code).aggregate(newest=Max("version"))["newest"] or 0
        return Plan.objects.create(
            public_id=new_id("plan", now),
            account=account,
            code=code,
            version=newest + 1,
            name=name,
            amount_minor=amount_minor,
            currency=currency,
            interval=schedule.interval.value,
            target=schedule.target,
            every=schedule.every,
            charge_time=schedule.charge_time,
            time_zone=schedule.zone,
            trial_days=trial_days,
            repetitions=repetitions,
            created_at=now,
        )
