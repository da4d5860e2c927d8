"""Subscriptions."""

from rest_framework import serializers

from billing.api import examples
from billing.api.fields import Body, Flag, Instant, Metadata, Text
from billing.api.serializers.common import Output, id_of, identifier, link, string, whole, word
from billing.api.serializers.plans import ACTIVATES_ON, ScheduleSerializer
from billing.domain.catch_up import CatchUp
from billing.domain.subscriptions import ActivatesOn, Collector, OpenInvoices, SubscriptionState

CATCH_UP = (
    "What happens to periods missed in an outage of more than a day: charge `all` in order, charge `latest_only`, "
    "`skip` them, or `ask` a person."
)


class SubscriptionBody(Body):
    reference = Text(
        max_length=100, help_text="Your own id for the subscription, unique in the account. It never changes."
    )
    customer = id_of("cus", "Who is billed")
    plan = id_of("plan", "The plan. Its price and schedule are copied")
    payment_method = id_of(
        "pm", "The card to charge. Null: the customer's default card", required=False, allow_null=True, default=None
    )
    charge_at_start = Flag(
        default=False, help_text="Charge the first period at the start; the schedule follows. Otherwise the first "
                                 "charge is on the first scheduled date after the start. On a plan with "
                                 "`activates_on` `payment` the subscription is active once this charge is paid.",
    )  # fmt: skip
    catch_up = word(CatchUp, CATCH_UP, default=CatchUp.ALL.value)
    metadata = Metadata(required=False, help_text="Any data of yours. Stored and returned, never interpreted.")


class SubscriptionChangeBody(Body):
    payment_method = id_of(
        "pm", "The active card to charge. Null: the customer's default card", required=False, allow_null=True
    )
    catch_up = word(CatchUp, CATCH_UP, required=False)
    metadata = Metadata(required=False, help_text="Replaces all metadata.")


class ReasonBody(Body):
    reason = Text(max_length=200, default="requested by the merchant", help_text="Recorded in the history.")


class CancelBody(ReasonBody):
    open_invoices = word(
        OpenInvoices,
        "What becomes of its open invoices: `collect` them as before, `void` them, `write_off` what stays owed, or "
        "leave each to a person (`review`).",
        default=OpenInvoices.REVIEW.value,
    )


@examples.output_example(examples.A_SUBSCRIPTION)
class SubscriptionSerializer(ScheduleSerializer):
    id = identifier("`sub_…`")
    reference = string("Your own id for the subscription.")
    customer = link("customer", "Who is billed.")
    plan = link("plan", "The plan.")
    payment_method = link("payment_method", "The card to charge. Null: the customer's default card.", nullable=True)
    state = word(
        SubscriptionState,
        "`incomplete` waits for a usable card, or for its first charge to be paid. `expired` was not paid in time: its "
        "first invoice is void. `past_due` has a declined invoice that is being retried. Nothing is owed for time "
        "spent incomplete or paused.",
        read_only=True,
    )
    collector = word(
        Collector, "`engine`: charged by Kitaran. `gateway`: charged by the gateway's own engine.", read_only=True
    )
    catch_up = word(CatchUp, CATCH_UP, read_only=True)
    charge_at_start = serializers.BooleanField(
        read_only=True, help_text="Whether the first period is charged at the start."
    )
    activates_on = word(ActivatesOn, f"As on the plan. {ACTIVATES_ON}", read_only=True)
    first_payment_ends_at = Instant(
        allow_null=True,
        help_text="Until when the first charge may be paid, or could be; later after each declined charge. It expires "
        "then, unless an outcome is open. Null when it is not active by its first payment.",
    )
    periods_opened = whole("The number of periods opened, skipped ones included.", source="period_index")
    periods_charged = whole("The number of periods not skipped.")
    next_due_at = Instant(allow_null=True, help_text="When the next period falls due. Null when none will.")
    trial_ends_at = Instant(allow_null=True, help_text="When the trial ends, or null.")
    activated_at = Instant(
        allow_null=True,
        help_text="When it started: with a card, or with the charge that paid first. The schedule is anchored to the "
        "day on which it had a card.",
    )
    ended_at = Instant(allow_null=True, help_text="When it was cancelled or completed, or expired; or null.")
    metadata = Metadata(read_only=True, help_text="As sent.")
    created_at = Instant(help_text="When it was created.")


@examples.output_example(examples.TWO_DATES)
class NextDatesSerializer(Output):
    dates = serializers.ListField(child=Instant(), read_only=True, help_text="Due dates and times, earliest first.")
