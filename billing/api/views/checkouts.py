"""`/invoices/{id}/checkout/` and `/checkouts/`"""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.access import rows_of
from billing.api.idempotency import idempotent
from billing.api.schema import operation
from billing.api.serializers.checkouts import CheckoutBody, CheckoutSerializer
from billing.api.views.base import AccountView
from billing.charging.checkouts.open import open_checkout
from billing.models import Checkout, Invoice


class OpenCheckoutView(AccountView):
    tag = "Checkouts"
    model = Invoice
    answer_serializer = CheckoutSerializer

    @operation(
        "open_checkout",
        "Open a payment page",
        "Requests Revenue Monster's payment page for an open or uncollectible invoice and returns its `url`: send the "
        "customer's browser there, to pay by FPX, DuitNow, a wallet or a card with 3D Secure. Calling it again gives "
        "the same page while it can be used. No card is charged for the invoice while somebody may be paying. Money "
        "that arrives anyway is an overpayment. 409 if nothing is owed, and while a charge may have taken the "
        "money.",
        request=CheckoutBody,
        answer=CheckoutSerializer,
        status=201,
        codes=["gateway_unavailable"],
    )
    @idempotent(calls_gateway=True)
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        invoice = self.target()
        body = self.body(CheckoutBody)
        checkout = open_checkout(
            invoice=invoice, actor=self.caller.actor, now=self.now, return_url=body.get("return_url", "")
        )
        row = rows_of(self.account, Checkout).get(pk=checkout.pk)
        return Response(self.answer_serializer(row).data, status=201)


class CheckoutView(AccountView):
    tag = "Checkouts"
    model = Checkout
    answer_serializer = CheckoutSerializer

    @operation("read_checkout", "Read a payment page", "One payment page.", answer=CheckoutSerializer)
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return Response(self.answer_serializer(self.target()).data)
