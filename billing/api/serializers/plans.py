"""Plans, and the members of a schedule."""

from functools import lru_cache
from typing import Any

from rest_framework import serializers

from billing.api import examples
from billing.api.fields import Body, Instant, LocalTime, Target, Text, WholeNumber
from billing.api.serializers.common import AMOUNT, Output, currency, identifier, string, whole, word
from billing.domain.money import LEAST_CHARGE_MINOR, MOST_CHARGE_MINOR
from billing.domain.recurrence import Recurrence
from billing.domain.schedule_rules import MAX_EVERY
from billing.domain.schedules import Interval
from billing.domain.subscriptions import ActivatesOn

TARGET = "WEEKLY: 0 (Sunday) to 6 (Saturday). MONTHLY: -1 (last day), 0 (first day) or 1 to 28. DAILY: none."
EVERY = "Every n-th occurrence: 2 with WEEKLY is every second week, 3 with MONTHLY is every quarter."
CHARGE_TIME = "Local time of day, HH:MM or HH:MM:SS."
TIME_ZONE = "IANA time zone of the schedule."
ACTIVATES_ON = (
    "What makes a subscription active: a usable `card`, or the `payment` of its first charge. `payment` counts only "
    "for subscriptions with `charge_at_start` on a plan without a trial: nothing else is charged at the start."
)


def amount() -> WholeNumber:
    return WholeNumber(min_value=LEAST_CHARGE_MINOR, max_value=MOST_CHARGE_MINOR, help_text=AMOUNT)


class PlanBody(Body):
    code = Text(
        max_length=64, pattern="[0-9A-Za-z._-]+", rule="must be letters, digits, dots, dashes and underscores",
        help_text="Identifies the plan. A plan with an existing code becomes its next version.",
    )  # fmt: skip
    name = Text(max_length=100, help_text="Shown on invoices and to the customer.")
    amount_minor = amount()
    currency = currency()
    interval = word(Interval, "The unit of the schedule.")
    target = Target(required=False, allow_null=True, default=None, help_text=TARGET)
    every = WholeNumber(min_value=1, max_value=MAX_EVERY, default=1, help_text=EVERY)
    charge_time = LocalTime(required=False, help_text=f"{CHARGE_TIME} Default 09:00.")
    time_zone = Text(max_length=64, required=False, help_text=f"{TIME_ZONE} Default: the account's.")
    trial_days = WholeNumber(min_value=0, max_value=3650, default=0, help_text="Days before the first charge.")
    repetitions = WholeNumber(
        min_value=1, max_value=100_000, required=False, allow_null=True, default=None,
        help_text="The total number of periods to charge. Null: until it is cancelled.",
    )  # fmt: skip
    activates_on = word(ActivatesOn, ACTIVATES_ON, default=ActivatesOn.PAYMENT.value)


# What plans and subscriptions have in common.
class ScheduleSerializer(Output):
    amount_minor = whole(AMOUNT)
    currency = currency()
    interval = word(Interval, "The unit of the schedule.")
    target = serializers.IntegerField(read_only=True, allow_null=True, help_text=TARGET)
    every = whole(EVERY)
    charge_time = LocalTime(read_only=True, help_text=CHARGE_TIME)
    time_zone = string(TIME_ZONE)
    schedule = serializers.SerializerMethodField(
        help_text="The same in words: `every month on the last day at 09:00, Asia/Kuala_Lumpur`."
    )
    repetitions = serializers.IntegerField(
        read_only=True, allow_null=True, help_text="The total number of periods to charge. Null: no end."
    )

    def get_schedule(self, row: Any) -> str:
        return _in_words(row.interval, row.target, row.every, row.charge_time, row.time_zone)


@lru_cache(maxsize=1024)
def _in_words(interval: str, target: int | None, every: int, charge_time: Any, zone: str) -> str:
    return Recurrence(Interval(interval), target, every, charge_time, zone).describe()


@examples.output_example(examples.A_PLAN)
class PlanSerializer(ScheduleSerializer):
    id = identifier("`plan_…`")
    code = string("Identifies the plan.")
    version = whole("Increases by one with each plan of the same code.")
    name = string("As sent.")
    trial_days = whole("Days before the first charge.")
    activates_on = word(ActivatesOn, ACTIVATES_ON, read_only=True)
    created_at = Instant(help_text="When this version was created.")
