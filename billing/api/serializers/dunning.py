"""Dunning policies, what each is for, and what would follow a decline."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.api import dunning_examples as examples
from billing.api.examples import output_example
from billing.api.fields import Body, Instant, Text, WholeNumber
from billing.api.serializers.common import Output, id_of, identifier, string, whole, word
from billing.domain.dunning import (
    DAYS_OF_MONTH,
    DEFAULT_RETRY_DAYS,
    HOURS,
    MOST_DAYS,
    MOST_GRACE_DAYS,
    MOST_MOVE,
    MOST_TRIES,
    WEEKDAYS,
    FinalAction,
    Scope,
)
from billing.models import DunningPolicy

_RETRY_DAYS = f"Days after the day of the first try, rising; at most {MOST_TRIES - 1}. Empty: no retries."
_RETRY_HOUR = "The hour of each retry, in the account's time zone. Null: the time of day of the first try."
_PREFER = (
    f"Days of the month. A retry moves forward to the next of them, by at most {MOST_MOVE} days; if none is that near, "
    "it moves only away from days to avoid. Empty: any day."
)
_AVOID = f"Days of the month past which a retry moves forward, by at most {MOST_MOVE} days."
_WEEKDAYS = "Weekdays past which a retry moves forward. 0 is Sunday."
_QUIET = (
    "Tries whose decline is not mailed to the customer. The warning before the last try and the news of the end are "
    "always mailed."
)
_GRACE = "Days after the last try during which the invoice stays open; then `final_action` follows."
_FINAL = "What follows when no try was paid: the subscription is canceled or paused, or stays past due (`keep`)."
_CODE = "Your own short name of the policy. Unique in the account."
_NAME = "For your staff."


def _numbers(allowed: range, words: str, **options: Any) -> serializers.ListField:
    child = WholeNumber(min_value=allowed[0], max_value=allowed[-1])
    return serializers.ListField(child=child, help_text=words, max_length=len(allowed), **options)


class DunningPolicyChangeBody(Body):
    name = Text(max_length=100, help_text=_NAME)
    retry_days = serializers.ListField(
        child=WholeNumber(min_value=1, max_value=MOST_DAYS), max_length=MOST_TRIES - 1,
        default=list(DEFAULT_RETRY_DAYS), help_text=_RETRY_DAYS,
    )  # fmt: skip
    retry_hour = WholeNumber(
        min_value=HOURS[0], max_value=HOURS[-1], allow_null=True, default=None, help_text=_RETRY_HOUR
    )
    prefer_days = _numbers(DAYS_OF_MONTH, _PREFER, default=list)
    avoid_days = _numbers(DAYS_OF_MONTH, _AVOID, default=list)
    avoid_weekdays = _numbers(WEEKDAYS, _WEEKDAYS, default=list)
    quiet_tries = _numbers(range(1, MOST_TRIES + 1), _QUIET, default=list)
    grace_days = WholeNumber(min_value=0, max_value=MOST_GRACE_DAYS, default=0, help_text=_GRACE)
    final_action = word(FinalAction, _FINAL, default=FinalAction.CANCEL.value)


class DunningPolicyBody(DunningPolicyChangeBody):
    code = Text(
        max_length=64, pattern="[0-9A-Za-z._-]+", rule="must be letters, digits, dots, dashes and underscores",
        help_text=_CODE,
    )  # fmt: skip


class DunningAssignBody(Body):
    scope = word(Scope, "What the policy is for: all `subscriptions` whose plan has none, `one_offs`, or one `plan`.")
    plan_code = Text(
        max_length=64, allow_blank=True, default="", help_text="Only for `plan`: its code. Counts for all its versions."
    )
    second_policy = id_of(
        "dpol", "Another policy, for a share of the subscriptions chosen by lot.",
        required=False, allow_null=True, default=None,
    )  # fmt: skip
    second_percent = WholeNumber(
        min_value=1, max_value=99, required=False, allow_null=True, default=None,
        help_text="The share of `second_policy`, in percent.",
    )  # fmt: skip
    reason = Text(max_length=200, default="by the merchant", help_text="Recorded in the history.")


class DunningUnassignBody(Body):
    plan_code = Text(max_length=64, help_text="A plan that has this policy. It then follows all `subscriptions`.")
    reason = Text(max_length=200, default="by the merchant", help_text="Recorded in the history.")


class DunningUseSerializer(Output):
    scope = word(Scope, "All subscriptions, one-offs or one plan.", read_only=True)
    plan_code = string("The plan's code; empty for the other scopes.")
    percent = whole("The share of the scope that gets this policy, in percent.")


@output_example(examples.A_POLICY)
class DunningPolicySerializer(Output):
    id = identifier("`dpol_…`")
    code = string(_CODE)
    name = string(_NAME)
    retry_days = serializers.ListField(child=whole(""), read_only=True, help_text=_RETRY_DAYS)
    retry_hour = whole(_RETRY_HOUR, allow_null=True)
    prefer_days = serializers.ListField(child=whole(""), read_only=True, help_text=_PREFER)
    avoid_days = serializers.ListField(child=whole(""), read_only=True, help_text=_AVOID)
    avoid_weekdays = serializers.ListField(child=whole(""), read_only=True, help_text=_WEEKDAYS)
    quiet_tries = serializers.ListField(child=whole(""), read_only=True, help_text=_QUIET)
    grace_days = whole(_GRACE)
    final_action = word(FinalAction, _FINAL, read_only=True)
    used_for = serializers.SerializerMethodField(help_text="What it is assigned to. Empty: it counts for nothing.")
    created_at = Instant(help_text="When it was created.")

    @extend_schema_field(DunningUseSerializer(many=True))
    def get_used_for(self, row: DunningPolicy) -> list[dict[str, Any]]:
        first = [(one, 100 - (one.second_percent or 0)) for one in row.assignments.all()]
        second = [(one, one.second_percent) for one in row.second_assignments.all()]
        return [
            {"scope": one.scope, "plan_code": one.plan_code, "percent": percent} for one, percent in (*first, *second)
        ]


class PreviewTrySerializer(Output):
    number = whole("1 is the first try.")
    at = Instant(help_text="When it is made.")
    message = string(
        "The mail that its decline causes, where the account sends it: `payment_failed` or `last_warning`. Null: none.",
        allow_null=True,
    )


@output_example(examples.A_PREVIEW)
class PreviewSerializer(Output):
    tries = PreviewTrySerializer(many=True, read_only=True, help_text="All tries, if none is paid.")
    ends_at = Instant(help_text="When `final_action` follows.")
    final_action = word(FinalAction, _FINAL, source="action", read_only=True)
