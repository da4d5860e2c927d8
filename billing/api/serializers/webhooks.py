"""Webhook endpoints, their deliveries and tries."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.api import webhook_examples as examples
from billing.api.examples import output_example
from billing.api.fields import Body, Email, Flag, GivenInstant, Instant, Text
from billing.api.serializers.common import Output, identifier, link, string, whole, word
from billing.domain.events import KINDS
from billing.domain.webhooks import DeliveryState, EndpointState, TryError
from billing.models import WebhookDelivery

MOST_TRIES_SHOWN = 50
_URL = (
    "Where events are sent: https, a public address, no user name, at most 2000 characters. Redirects are not followed."
)
_ERRORS = ", ".join(f"`{error}`" for error in TryError)
_TYPES = "Types of events, such as `invoice.paid`. Empty: all."


def _types(**options: Any) -> serializers.ListField:
    return serializers.ListField(child=Text(max_length=101), max_length=len(KINDS), help_text=_TYPES, **options)


class WebhookEndpointBody(Body):
    url = Text(max_length=2000, help_text=_URL)
    types = _types(source="kinds", default=list)
    description = Text(max_length=200, allow_blank=True, default="", help_text="Your own words.")
    email = Email(
        allow_blank=True, default="", help_text="Who gets a mail when the endpoint is disabled. Empty: nobody."
    )


class WebhookEndpointChangeBody(Body):
    url = Text(max_length=2000, required=False, help_text=_URL)
    types = _types(source="kinds", required=False)
    description = Text(max_length=200, allow_blank=True, required=False, help_text="Your own words.")
    email = Email(
        allow_blank=True, required=False, help_text="Who gets a mail when the endpoint is disabled. Empty: nobody."
    )


class WebhookReasonBody(Body):
    reason = Text(max_length=200, default="by the merchant", help_text="Recorded in the history.")


class ResumeWebhookBody(WebhookReasonBody):
    skip_missed = Flag(
        default=False, help_text="Deliver only what happens from now on. Pending deliveries are canceled."
    )


class RotateSecretBody(Body):
    end_old_at_once = Flag(
        default=False, help_text="The previous secret stops signing now. Otherwise both sign for 24 hours."
    )


class ResendSpanBody(Body):
    created_from = GivenInstant(help_text="Events created at or after this time.")
    created_before = GivenInstant(help_text="Events created before this time.")
    types = _types(source="kinds", default=list)


@output_example(examples.A_WEBHOOK_ENDPOINT)
class WebhookEndpointSerializer(Output):
    id = identifier("`whe_…`")
    url = string("Where events are sent.")
    types = serializers.ListField(child=serializers.CharField(), source="kinds", read_only=True, help_text=_TYPES)
    description = string("Your own words.")
    email = string("Who gets a mail when the endpoint is disabled.")
    state = word(
        EndpointState,
        "`paused`: events wait until it is resumed. `disabled`: it answered 410, or no try succeeded for five days; "
        "events wait too. `deleted` is final.",
        read_only=True,
    )
    disabled_reason = string("`gone`: it answered 410. `failing`: five days without a success. Empty: not disabled.")
    failing_since = Instant(
        allow_null=True, help_text="The first failed try after the last success. Null: none failed."
    )
    old_secret_ends_at = Instant(
        allow_null=True, help_text="Until when the previous secret signs too. Null: there is one secret."
    )
    created_at = Instant(help_text="When it was created.")


@output_example(examples.A_WEBHOOK_SECRET)
class WebhookSecretSerializer(Output):
    endpoint = WebhookEndpointSerializer(read_only=True, help_text="The endpoint.")
    secret = string(
        "The signing secret, `whsec_…`, shown this once. Null in a response that is repeated for an Idempotency-Key: "
        "it is not stored to be shown again. Rotate the secret if you did not receive it.",
        allow_null=True,
    )


@output_example(examples.A_WEBHOOK_TEST)
class WebhookTestSerializer(Output):
    event = string("The test event, `evt_…`. Its type is `webhook_endpoint.test`.")


@output_example(examples.A_RESENT_SPAN)
class ResentSerializer(Output):
    count = whole("How many events are delivered once more.")


class WebhookTrySerializer(Output):
    number = whole("Counts up. A gap is a try of a worker that died: it may have arrived.")
    at = Instant(help_text="When it was sent.")
    duration_ms = whole("How long it took, in milliseconds.")
    status = whole("The HTTP status of the answer. Null: no answer.", allow_null=True)
    error = string(f"Why it was no success: {_ERRORS}. Empty: it was one.")
    answer = string("The beginning of the answer, at most 1 KiB, without secrets, e-mail addresses and long numbers.")


@output_example(examples.A_WEBHOOK_DELIVERY)
class WebhookDeliverySerializer(Output):
    id = identifier("`whd_…`")
    endpoint = link("endpoint", "Where it goes.")
    event = string("The event, `evt_…`: the `webhook-id` of each try.", source="event_public_id")
    type = string("The type of the event.", source="kind")
    state = word(
        DeliveryState,
        "`failed`: the last of ten tries failed. It can be resent. `canceled`: the endpoint was deleted, or resumed "
        "without what it had missed.",
        read_only=True,
    )
    try_count = whole("Tries since it was created, or resent.", source="tries")
    next_try_at = Instant(
        allow_null=True, help_text="When it is tried next, once earlier events of its object have ended. Null: ended."
    )
    created_at = Instant(help_text="When the event was handed out to the endpoint.")
    closed_at = Instant(allow_null=True, help_text="When it was delivered, failed or was canceled.")


@output_example(examples.A_WEBHOOK_DELIVERY_WITH_TRIES)
class WebhookDeliveryWithTriesSerializer(WebhookDeliverySerializer):
    tries = serializers.SerializerMethodField(help_text=f"The last {MOST_TRIES_SHOWN} tries, newest first.")

    @extend_schema_field(WebhookTrySerializer(many=True))
    def get_tries(self, delivery: WebhookDelivery) -> Any:
        return WebhookTrySerializer(delivery.log.order_by("-number")[:MOST_TRIES_SHOWN], many=True).data


class WebhookEndpointInEventSerializer(Output):
    """What an event shows of an endpoint: its address, which may hold a secret, is not told to other endpoints."""

    id = identifier("`whe_…`")
    description = string("Your own words.")
    state = word(EndpointState, "Its state.", read_only=True)
    disabled_reason = string("Why it was disabled. Empty: it is not.")
    created_at = Instant(help_text="When it was created.")
