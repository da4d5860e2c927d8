"""Dunning policies, what each is for, and what would follow a decline."""

from datetime import timedelta
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.api import dunning_examples as examples
from billing.api.examples import output_example
from billing.api.fields import Body, Instant, Text, WholeNumber
from billing.api.serializers.common import Output, id_of, identifier, link, string, whole, word
from billing.domain.declines import DeclineKind, decline_of
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
from billing.explaining.intervals import LEAST
from billing.explaining.recovered import Figures
from billing.models import DunningPolicy
from billing.models.bulk.recovered import InvoiceTally

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


class TallySerializer(Output):
    declined = whole("Invoices that were declined.")
    recovered = whole("Of these, paid since, by card or elsewhere.")
    lost = whole("Of these, uncollectible or void.")
    declined_minor = whole("The money of those that were declined, in sen.")
    recovered_minor = whole("The money of those that were recovered, in sen.")
    lost_minor = whole("The money of those that were lost, in sen.")
    tries_avoided = whole("Tries that were due and were not made, because the bank would have declined them.")
    median_days = serializers.SerializerMethodField(
        help_text="Half of the recovered ones were paid within so many days of the first try. Null: none was."
    )

    def get_median_days(self, row: InvoiceTally) -> float | None:
        return None if row.days is None else round(row.days / timedelta(days=1), 1)


class ReasonTallySerializer(TallySerializer):
    code = string("The bank's code of the first decline. Empty: none.")
    kind = word(DeclineKind, "What the code says about another try.", read_only=True)


class PolicyTallySerializer(TallySerializer):
    policy = string("The policy that the invoices have. Null: none, as first payments.", allow_null=True)


class TryTallySerializer(Output):
    number = whole("2 is the first retry.")
    tried = whole("Tries with this number.")
    paid = whole("Of these, paid.")
    paid_minor = whole("The money of those that were paid, in sen.")


class DayTallySerializer(Output):
    day = whole("Day of the month, in the account's time zone.")
    tried = whole("Retries on it.")
    paid = whole("Of these, paid.")
    paid_minor = whole("The money of those that were paid, in sen.")


class ComparisonSerializer(Output):
    scope = word(Scope, "What the two policies share.", source="assignment.scope", read_only=True)
    plan_code = string("The plan's code; empty for the other scopes.", source="assignment.plan_code")
    policy = link("assignment.policy", "The first policy.")
    second_policy = link("assignment.second_policy", "The second policy.")
    customers = whole("Customers with the first policy whose collection is over.", source="first.whole")
    recovered = whole("Of these, won back.", source="first.part")
    second_customers = whole("The same with the second policy.", source="second.whole")
    second_recovered = whole("Of these, won back.", source="second.part")
    difference_low = serializers.FloatField(
        source="difference.low", read_only=True,
        help_text="First share minus second, from -1 to 1: where the 95% interval of it starts.",
    )  # fmt: skip
    difference_high = serializers.FloatField(
        source="difference.high", read_only=True, help_text="Where the interval ends (Newcombe's score method)."
    )
    is_clear = serializers.BooleanField(
        read_only=True, help_text=f"Both have at least {LEAST} customers, and the interval does not contain zero."
    )
    verdict = string("In words, such as `too few to tell`.")
    declined_before = Instant(source="mature_before", help_text="Only customers who were declined before this count.")


@output_example(examples.FIGURES)
class RecoverySerializer(Output):
    since = Instant(help_text="Invoices first declined from this time on.")
    until = Instant(help_text="Invoices first declined before this time.")
    total = TallySerializer(read_only=True, help_text="All of them.")
    by_reason = serializers.SerializerMethodField(help_text="By the code of the first decline.")
    by_policy = serializers.SerializerMethodField(help_text="By policy.")
    by_try = TryTallySerializer(many=True, read_only=True, help_text="The retries, by their number.")
    by_day = DayTallySerializer(many=True, read_only=True, help_text="The retries, by the day of the month.")
    comparisons = ComparisonSerializer(
        many=True, read_only=True, help_text="Two policies by lot: each customer counts once, with the first decline."
    )

    @extend_schema_field(ReasonTallySerializer(many=True))
    def get_by_reason(self, found: Figures) -> list[dict[str, Any]]:
        return [
            {**TallySerializer(one).data, "code": one.code or "", "kind": decline_of(one.code or "").kind.value}
            for one in found.by_reason
        ]

    @extend_schema_field(PolicyTallySerializer(many=True))
    def get_by_policy(self, found: Figures) -> list[dict[str, Any]]:
        names = {number: row.public_id for number, row in found.policies.items()}
        return [
            {**TallySerializer(one).data, "policy": names[one.policy_id] if one.policy_id else None}
            for one in found.by_policy
        ]
