"""What is sold. A plan that was sold is never edited: a change is a new version."""

from datetime import datetime

from django.db import transaction
from django.db.models import Max

from billing.domain.errors import RefusedError
from billing.domain.money import Price
from billing.domain.recurrence import Recurrence
from billing.ids import new_id
from billing.models import GatewayAccount, Plan
from billing.models.bulk.history import record_transition


class PlanError(RefusedError):
    """A plan that the rules do not allow; the message names the field and the rule."""


def create_plan(
    *,
    account: GatewayAccount,
    code: str,
    name: str,
    price: Price,
    recurrence: Recurrence,
    now: datetime,
    trial_days: int = 0,
    repetitions: int | None = None,
    actor: str = "engine",
) -> Plan:
    """A new plan, or the next version of the code. Raises PlanError."""
    if trial_days < 0:
        raise PlanError("trial_days", "not_usable", "must not be negative")
    if repetitions is not None and repetitions < 1:
        raise PlanError("repetitions", "not_usable", "must be at least 1; leave it out for no end")
    with transaction.atomic():
        GatewayAccount.objects.select_for_update().get(pk=account.pk)
        newest = Plan.objects.filter(account=account, code=code).aggregate(newest=Max("version"))["newest"] or 0
        plan = Plan.objects.create(
            public_id=new_id("plan", now),
            account=account,
            code=code,
            version=newest + 1,
            name=name,
            amount_minor=price.amount_minor,
            currency=price.currency,
            interval=recurrence.interval.value,
            target=recurrence.target,
            every=recurrence.every,
            charge_time=recurrence.charge_time,
            time_zone=recurrence.zone,
            trial_days=trial_days,
            repetitions=repetitions,
            created_at=now,
        )
        record_transition(
            account_id=account.pk,
            subject_type="plan",
            subject_id=plan.pk,
            from_state="",
            to_state="created",
            reason=f"version {plan.version}",
            actor=actor,
            now=now,
        )
        return plan
