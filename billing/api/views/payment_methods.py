"""`/payment-methods/`"""

from typing import Any

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api import examples
from billing.api.access import refer
from billing.api.fields import NoBody
from billing.api.filters import PaymentMethodFilters
from billing.api.idempotency import idempotent
from billing.api.schema import operation
from billing.api.serializers.payment_methods import PaymentMethodBody, PaymentMethodSerializer, RevokeBody
from billing.api.views.base import AccountView, ListView
from billing.models import Customer, PaymentMethod
from billing.subscriptions.cards import confirm_binding, make_default, revoke_card, start_binding


class PaymentMethodListView(ListView):
    tag = "Payment methods"
    model = PaymentMethod
    answer_serializer = PaymentMethodSerializer
    filterset_class = PaymentMethodFilters

    @operation(
        "list_payment_methods", "List payment methods", "Newest first.", answer=PaymentMethodSerializer, lists=True
    )
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return self.page()

    @operation(
        "bind_payment_method",
        "Start binding a card",
        "Asks the gateway for its page and answers with `payment_url`: send the customer's browser there. The card is "
        "`pending` until the gateway itself says that it may be charged; the browser's return only makes us ask. The "
        "customer's first usable card becomes the default, and subscriptions that waited for it begin.",
        request=PaymentMethodBody,
        answer=PaymentMethodSerializer,
        status=201,
        examples=examples.PAYMENT_METHOD,
        codes=["gateway_unavailable"],
    )
    @idempotent(calls_gateway=True)
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        said = self.body(PaymentMethodBody)
        card = start_binding(
            customer=refer(self.account, Customer, said["customer"], "customer"),
            return_url=f"{settings.KITARAN_PUBLIC_URL}/bind",
            merchant_return_url=said.get("return_url", ""),
            actor=self.caller.actor,
            now=self.now,
        )
        return self.answer(card, status=201)


class _OneView(AccountView):
    tag = "Payment methods"
    model = PaymentMethod
    answer_serializer = PaymentMethodSerializer


class PaymentMethodView(_OneView):
    @operation("read_payment_method", "Read a payment method", "One card.", answer=PaymentMethodSerializer)
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return Response(self.answer_serializer(self.target()).data)


class MakeDefaultView(_OneView):
    @operation(
        "make_default_payment_method",
        "Make a card the default",
        "Everything of the customer that names no card is charged on it from now on. Only an active card: 409 "
        "otherwise.",
        request=NoBody,
        answer=PaymentMethodSerializer,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        self.body(NoBody)
        card = self.target()
        make_default(card=card, now=self.now)
        return self.answer(card)


class RevokeView(_OneView):
    @operation(
        "revoke_payment_method",
        "Revoke a card",
        "It is not charged any more. An attempt that is under way is still followed to its end. A revoked card stays "
        "revoked; revoking it again changes nothing.",
        request=RevokeBody,
        answer=PaymentMethodSerializer,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        said, card = self.body(RevokeBody), self.target()
        revoke_card(card=card, reason=said["reason"], actor=self.caller.actor, now=self.now)
        return self.answer(card)


class RefreshView(_OneView):
    @operation(
        "refresh_payment_method",
        "Ask the gateway about a card now",
        "For a card whose customer bound it and whose browser never came back. Answers the card as it is afterwards.",
        request=NoBody,
        answer=PaymentMethodSerializer,
        codes=["gateway_unavailable"],
    )
    @idempotent(calls_gateway=True)
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        self.body(NoBody)
        card = self.target()
        confirm_binding(card=card, now=self.now)
        return self.answer(card)
