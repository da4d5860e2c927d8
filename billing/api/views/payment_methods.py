"""`/payment-methods/`"""

from typing import Any, ClassVar

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api import examples
from billing.api.access import refer
from billing.api.fields import NoBody
from billing.api.filters import PaymentMethodFilters
from billing.api.idempotency import idempotent
from billing.api.schema import operation
from billing.api.serializers.payment_methods import (
    ClearHoldBody,
    HoldSerializer,
    PaymentMethodBody,
    PaymentMethodSerializer,
    RevokeBody,
)
from billing.api.views.base import CHARGE, AccountView, ListView
from billing.charging.cases.clear_hold import clear_hold, preview_hold
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
        "Save a card",
        "Requests the gateway's card page and returns its `payment_url`: send the customer's browser there. The card "
        "is `pending` until the gateway confirms that it can be charged; the browser's return only triggers the "
        "check. The customer's first usable card becomes the default, and subscriptions that waited for it start.",
        request=PaymentMethodBody,
        answer=PaymentMethodSerializer,
        status=201,
        examples=examples.PAYMENT_METHOD,
        codes=["gateway_unavailable"],
    )
    @idempotent(calls_gateway=True)
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        body = self.body(PaymentMethodBody)
        card = start_binding(
            customer=refer(self.account, Customer, body["customer"], "customer"),
            return_url=f"{settings.KITARAN_PUBLIC_URL}/bind",
            merchant_return_url=body.get("return_url", ""),
            actor=self.caller.actor,
            now=self.now,
        )
        return self.answer(card, status=201)


class _OneView(AccountView):
    tag = "Payment methods"
    model = PaymentMethod
    answer_serializer: ClassVar[type[Any]] = PaymentMethodSerializer


class PaymentMethodView(_OneView):
    @operation("read_payment_method", "Read a payment method", "One card.", answer=PaymentMethodSerializer)
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return Response(self.answer_serializer(self.target()).data)


class MakeDefaultView(_OneView):
    @operation(
        "make_default_payment_method",
        "Make a card the default",
        "From now on the customer's invoices that name no card are charged to it. The card must be active: 409 "
        "otherwise.",
        request=NoBody,
        answer=PaymentMethodSerializer,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        self.body(NoBody)
        card = self.target()
        make_default(card=card, actor=self.caller.actor, now=self.now)
        return self.answer(card)


class RevokeView(_OneView):
    @operation(
        "revoke_payment_method",
        "Revoke a card",
        "The card is not charged any more. An attempt under way is followed to its end. A revoked card stays "
        "revoked; revoking it again changes nothing.",
        request=RevokeBody,
        answer=PaymentMethodSerializer,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        body, card = self.body(RevokeBody), self.target()
        revoke_card(card=card, reason=body["reason"], actor=self.caller.actor, now=self.now)
        return self.answer(card)


class HoldView(_OneView):
    answer_serializer = HoldSerializer

    @operation(
        "read_hold",
        "Preview the release of a hold",
        "The invoices that are charged to the card once the hold is released, the unexplained orders, and which of "
        "these may pay an invoice that is still owed.",
        answer=HoldSerializer,
    )
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return Response(HoldSerializer(preview_hold(self.target(), now=self.now)).data)


class ClearHoldView(_OneView):
    answer_serializer = HoldSerializer
    scopes = {"POST": CHARGE}  # noqa: RUF012

    @operation(
        "clear_hold",
        "Release the hold of a card",
        "The card is charged again, starting with the invoices that wait for it: read `/hold/` first. Record an "
        "order that may pay an invoice as its found payment, or name it in `charge_although`: 400 otherwise. Above "
        "the account's `second_person_above_minor` the decision needs approval. Requires the scope `charge`.",
        request=ClearHoldBody,
        answer=HoldSerializer,
        examples=examples.CLEAR_HOLD,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        card = self.target()
        body = self.body(ClearHoldBody)
        clear_hold(
            card=card,
            reason=body["reason"],
            charge_although=body["charge_although"],
            actor=self.caller.actor,
            now=self.now,
        )
        return Response(HoldSerializer(preview_hold(self.target(), now=self.now)).data)


class RefreshView(_OneView):
    @operation(
        "refresh_payment_method",
        "Check a card with the gateway now",
        "For a card that the customer saved without returning from the gateway's page. Returns the updated card.",
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
