"""Subscriptions."""

from rest_framework import serializers

from billing.api import examples
from billing.api.fields import Body, Flag, Instant, Metadata, Text
from billing.api.serializers.common import Told, id_of, identifier, link, told, whole, word
from billing.api.serializers.plans import ScheduleSerializer
from billing.domain.catch_up import CatchUp
from billing.domain.subscriptions import Collector, SubscriptionState

CATCH_UP = (
    "What happens to periods that were missed in an outage of more than a day: `all` in order, `latest_only`, `skip`, "
    "or `ask` a person."
)


class SubscriptionBody(Body):
    reference = Text(
        max_length=100, help_text="Your own name for the subscription, unique in the account; it never changes."
    )
    customer = id_of("cus", "Who pays")
    plan = id_of("plan", "What is sold; price and schedule are copied")
    payment_method = id_of(
        "pm", "The card to charge; null: the customer's default card", required=False, allow_null=True, default=None
    )
    charge_at_start = Flag(
        default=False, help_text="Charge the first period at once; the schedule follows. Otherwise the first charge "
        "is the first occurrence after the start.",
    )  # fmt: skip
    catch_up = word(CatchUp, CATCH_UP, default=CatchUp.ALL.value)
    metadata = Metadata(required=False, help_text="Anything of yours; kept and told, never read.")


class SubscriptionChangeBody(Body):
    payment_method = id_of(
        "pm", "The active card to charge; null: the customer's default card", required=False, allow_null=True
    )
    catch_up = word(CatchUp, CATCH_UP, required=False)
    metadata = Metadata(required=False, help_text="Replaces all of it.")


class ReasonBody(Body):
    reason = Text(max_length=200, default="asked by the merchant", help_text="Kept in the history.")


@examples.told_as(examples.A_SUBSCRIPTION)
class SubscriptionSerializer(ScheduleSerializer):
    id = identifier("`sub_…`")
    reference = told("Your own name for the subscription.")
    customer = link("customer", "Who pays.")
    plan = link("plan", "What was sold.")
    payment_method = link("payment_method", "The card to charge; null: the customer's default card.", nullable=True)
    state = word(
        SubscriptionState,
        "`incomplete` waits for a usable card; `past_due` has a declined invoice that is being retried; nothing is "
        "owed for time spent incomplete or paused.",
        read_only=True,
    )
    collector = word(Collector, "`engine`: charged by us; `gateway`: by the gateway's own engine.", read_only=True)
    catch_up = word(CatchUp, CATCH_UP, read_only=True)
    charge_at_start = serializers.BooleanField(
        read_only=True, help_text="Whether the first period was charged at once."
    )
    periods_opened = whole("How many periods have an invoice, skipped ones included.", source="period_index")
    periods_charged = whole("How many periods were not skipped.")
    next_due_at = Instant(allow_null=True, help_text="When the next period falls due; null when none will.")
    trial_ends_at = Instant(allow_null=True, help_text="When the trial ends, if there is one.")
    activated_at = Instant(allow_null=True, help_text="When it began: its schedule is anchored that day.")
    ended_at = Instant(allow_null=True, help_text="When it was cancelled or completed.")
    metadata = Metadata(read_only=True, help_text="As given.")
    created_at = Instant(help_text="When it was created.")


@examples.told_as(examples.TWO_DATES)
class NextDatesSerializer(Told):
    dates = serializers.ListField(child=Instant(), read_only=True, help_text="Due instants, the nearest first.")
