"""`/webhook-endpoints/` and `/webhook-deliveries/`"""

from collections.abc import Callable, Sequence
from typing import Any

from drf_spectacular.utils import OpenApiExample
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api import webhook_examples as examples
from billing.api.fields import NoBody
from billing.api.filters import WebhookDeliveryFilters, WebhookEndpointFilters
from billing.api.idempotency import idempotent, without_secret
from billing.api.schema import operation
from billing.api.serializers.webhooks import (
    ResendSpanBody,
    ResentSerializer,
    ResumeWebhookBody,
    RotateSecretBody,
    WebhookDeliverySerializer,
    WebhookDeliveryWithTriesSerializer,
    WebhookEndpointBody,
    WebhookEndpointChangeBody,
    WebhookEndpointSerializer,
    WebhookReasonBody,
    WebhookSecretSerializer,
    WebhookTestSerializer,
)
from billing.api.views.base import AccountView, ListView, Serializer
from billing.models import WebhookDelivery, WebhookEndpoint
from billing.notifying.endpoints import (
    create_endpoint,
    delete_endpoint,
    end_old_secret,
    pause_endpoint,
    resume_endpoint,
    rotate_secret,
    send_test,
    update_endpoint,
)
from billing.notifying.resend import MOST_EVENTS, resend_delivery, resend_span

TAG = "Webhooks"


def _with_secret(endpoint: WebhookEndpoint, secret: str, *, status: int) -> Response:
    """Shown this once: what is kept for a repeated request does not have the secret."""
    shown = {"endpoint": WebhookEndpointSerializer(endpoint).data, "secret": secret}
    return without_secret(Response(shown, status=status), "secret")


class WebhookEndpointListView(ListView):
    tag = TAG
    model = WebhookEndpoint
    answer_serializer = WebhookEndpointSerializer
    filterset_class = WebhookEndpointFilters

    @operation(
        "list_webhook_endpoints",
        "List webhook endpoints",
        "Newest first.",
        answer=WebhookEndpointSerializer,
        lists=True,
    )
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return self.page()

    @operation(
        "create_webhook_endpoint",
        "Add a webhook endpoint",
        "The events of the account from now on are sent there by POST, signed as Standard Webhooks describes it. The "
        "signing secret is shown in this response only. Each event arrives at least once, with the same `webhook-id` "
        "each time; events of one object arrive in order. Answer 2xx within 15 seconds. Any other answer is tried "
        "again, ten times in three days; `Retry-After` is honoured; 410 disables the endpoint.",
        request=WebhookEndpointBody,
        answer=WebhookSecretSerializer,
        status=201,
        examples=examples.WEBHOOK_ENDPOINT,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        body = self.body(WebhookEndpointBody)
        endpoint, secret = create_endpoint(account=self.account, actor=self.caller.actor, now=self.now, **body)
        return _with_secret(endpoint, secret, status=201)


class _OneEndpointView(AccountView):
    tag = TAG
    model = WebhookEndpoint
    answer_serializer = WebhookEndpointSerializer

    def done_by(self) -> dict[str, Any]:
        return {"actor": self.caller.actor, "now": self.now}


class WebhookEndpointView(_OneEndpointView):
    @operation("read_webhook_endpoint", "Read a webhook endpoint", "One endpoint.", answer=WebhookEndpointSerializer)
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return Response(self.answer_serializer(self.target()).data)

    @operation(
        "update_webhook_endpoint",
        "Change a webhook endpoint",
        "What is left out stays as it is. Pending deliveries go to the new address; other types count for the events "
        "from now on.",
        request=WebhookEndpointChangeBody,
        answer=WebhookEndpointSerializer,
        examples=examples.WEBHOOK_ENDPOINT_CHANGE,
    )
    def patch(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        endpoint = self.target()
        changes = self.body(WebhookEndpointChangeBody, partial=True)
        update_endpoint(endpoint=endpoint, changes=changes, **self.done_by())
        return self.answer(endpoint)


def _action(
    name: str,
    summary: str,
    description: str,
    *,
    use_case: Callable[..., WebhookEndpoint],
    body: Serializer = WebhookReasonBody,
    shown: Sequence[OpenApiExample] = examples.WEBHOOK_REASON,
) -> type[_OneEndpointView]:
    """A POST that does one thing to an endpoint, with what its body says, and answers with the endpoint."""

    class View(_OneEndpointView):
        @operation(name, summary, description, request=body, answer=WebhookEndpointSerializer, examples=shown)
        @idempotent()
        def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
            endpoint, values = self.target(), self.body(body)
            use_case(endpoint=endpoint, **values, **self.done_by())
            return self.answer(endpoint)

    return View


PauseWebhookView = _action(
    "pause_webhook_endpoint",
    "Pause a webhook endpoint",
    "Nothing is sent until it is resumed. Events wait. 409 unless it is active.",
    use_case=pause_endpoint,
)
ResumeWebhookView = _action(
    "resume_webhook_endpoint",
    "Resume a webhook endpoint",
    "A paused or disabled endpoint gets its events again. What it missed is sent first, in order, with all its tries, "
    "or skipped with `skip_missed`.",
    use_case=resume_endpoint,
    body=ResumeWebhookBody,
    shown=examples.RESUME_WEBHOOK,
)
DeleteWebhookView = _action(
    "delete_webhook_endpoint",
    "Delete a webhook endpoint",
    "Final. Pending deliveries are canceled, and its secrets are forgotten. Its past deliveries are still listed, as "
    "long as any.",
    use_case=delete_endpoint,
)
EndOldSecretView = _action(
    "end_old_webhook_secret",
    "End the previous secret",
    "From now on the newest secret alone signs. 409 when there is one secret only.",
    use_case=end_old_secret,
    body=NoBody,
    shown=(),
)


class RotateSecretView(_OneEndpointView):
    @operation(
        "rotate_webhook_secret",
        "Rotate the signing secret",
        "Makes a new secret and shows it in this response only. For 24 hours each request carries two signatures, one "
        "with each secret, so that you can change yours without a gap.",
        request=RotateSecretBody,
        answer=WebhookSecretSerializer,
        examples=examples.ROTATE_SECRET,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        endpoint, body = self.target(), self.body(RotateSecretBody)
        rotated, secret = rotate_secret(endpoint=endpoint, **body, **self.done_by())
        return _with_secret(rotated, secret, status=200)


class TestWebhookView(_OneEndpointView):
    @operation(
        "test_webhook_endpoint",
        "Send a test event",
        "Sends an event of the type `webhook_endpoint.test` to this endpoint alone, whatever types it takes. Its "
        "delivery shows what the endpoint answered. 409 unless it is active.",
        request=NoBody,
        answer=WebhookTestSerializer,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        endpoint = self.target()
        self.body(NoBody)
        return Response({"event": send_test(endpoint=endpoint, now=self.now)})


class ResendSpanView(_OneEndpointView):
    @operation(
        "resend_webhook_events",
        "Send a span of time again",
        "Sends the account's events that were created in the span once more, also those that the endpoint never got, "
        f"whatever types it takes. At most {MOST_EVENTS} events at once; test events are left out. Each keeps its "
        "`webhook-id`.",
        request=ResendSpanBody,
        answer=ResentSerializer,
        examples=examples.RESEND_SPAN,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        endpoint, body = self.target(), self.body(ResendSpanBody)
        count = resend_span(
            endpoint=endpoint,
            since=body["created_from"],
            before=body["created_before"],
            kinds=body["kinds"],
            now=self.now,
        )
        return Response({"count": count})


class WebhookDeliveryListView(ListView):
    tag = TAG
    model = WebhookDelivery
    answer_serializer = WebhookDeliverySerializer
    filterset_class = WebhookDeliveryFilters

    @operation(
        "list_webhook_deliveries",
        "List webhook deliveries",
        "Newest first: each event that was handed out to an endpoint, and what became of it. A delivery that ended is "
        "deleted after some time (30 days unless the installation says otherwise).",
        answer=WebhookDeliverySerializer,
        lists=True,
    )
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return self.page()


class _OneDeliveryView(AccountView):
    tag = TAG
    model = WebhookDelivery
    answer_serializer = WebhookDeliveryWithTriesSerializer


class WebhookDeliveryView(_OneDeliveryView):
    @operation(
        "read_webhook_delivery",
        "Read a webhook delivery",
        "One delivery with its tries and what the endpoint answered.",
        answer=WebhookDeliveryWithTriesSerializer,
    )
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return Response(self.answer_serializer(self.target()).data)


class ResendDeliveryView(_OneDeliveryView):
    @operation(
        "resend_webhook_delivery",
        "Send a delivery again",
        "Begins another ten tries, with the same `webhook-id`. 409 while it is pending. One that was deleted is sent "
        "again by a span of time.",
        request=NoBody,
        answer=WebhookDeliveryWithTriesSerializer,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        delivery = self.target()
        self.body(NoBody)
        resend_delivery(delivery=delivery, now=self.now)
        return self.answer(delivery)
