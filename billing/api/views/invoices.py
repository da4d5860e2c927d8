"""`/invoices/` and `/attempts/`"""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from billing.api import examples
from billing.api.access import refer
from billing.api.fields import NoBody
from billing.api.filters import AttemptFilters, InvoiceFilters
from billing.api.idempotency import idempotent
from billing.api.schema import operation
from billing.api.serializers.invoices import (
    AttemptSerializer,
    ExplanationSerializer,
    InvoiceBody,
    InvoiceSerializer,
)
from billing.api.views.base import CHARGE, READ, AccountView, ListView
from billing.audit.explain import explain
from billing.charging.charge_now import charge_now
from billing.charging.limits import Limits
from billing.charging.look import look_at_gateway
from billing.models import Customer, Invoice, PaymentAttempt, PaymentMethod


class InvoiceListView(ListView):
    tag = "Invoices"
    model = Invoice
    answer_serializer = InvoiceSerializer
    filterset_class = InvoiceFilters
    scopes = {"GET": READ, "HEAD": READ, "POST": CHARGE}  # noqa: RUF012

    @operation("list_invoices", "List invoices", "Newest first.", answer=InvoiceSerializer, lists=True)
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return self.page()

    @operation(
        "charge_now",
        "Charge now",
        "Issues a one-off invoice that a worker collects at once. The answer is the open invoice: read it again, or "
        "its attempts, to see what came of it. Takes the scope `charge`. **Send an Idempotency-Key**: without one, a "
        "request that is repeated after a lost answer is a second charge.",
        request=InvoiceBody,
        answer=InvoiceSerializer,
        status=201,
        examples=examples.INVOICE,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        said = self.body(InvoiceBody)
        card = said["payment_method"]
        invoice = charge_now(
            customer=refer(self.account, Customer, said["customer"], "customer"),
            payment_method=refer(self.account, PaymentMethod, card, "payment_method") if card else None,
            amount_minor=said["amount_minor"],
            currency=said["currency"],
            description=said["description"],
            actor=self.caller.actor,
            now=self.now,
        )
        return self.answer(invoice, status=201)


class InvoiceView(AccountView):
    tag = "Invoices"
    model = Invoice
    answer_serializer = InvoiceSerializer

    @operation("read_invoice", "Read an invoice", "One invoice.", answer=InvoiceSerializer)
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return Response(self.answer_serializer(self.target()).data)


class ExplanationView(AccountView):
    tag = "Invoices"
    model = Invoice
    answer_serializer = ExplanationSerializer

    @operation(
        "explain_invoice",
        "Why was I charged, or why not?",
        "The life of the invoice in sentences, with what each rests on. Staff and what they wrote are not named.",
        answer=ExplanationSerializer,
    )
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        told = explain(invoice=self.target(), now=self.now, to_staff=False)
        return Response(self.answer_serializer(told).data)


class RefreshInvoiceView(AccountView):
    tag = "Invoices"
    model = Invoice
    answer_serializer = InvoiceSerializer

    @operation(
        "refresh_invoice",
        "Look at the gateway now",
        "Reads the cards that the invoice was tried on, and the transactions of all its payments, at the gateway, and "
        "takes over what is news: late payments, and refunds made in the gateway's own portal. Answers the invoice as "
        "it is afterwards.",
        request=NoBody,
        answer=InvoiceSerializer,
        codes=["gateway_unavailable"],
    )
    @idempotent(calls_gateway=True)
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        self.body(NoBody)
        invoice = self.target()
        look_at_gateway(invoice=invoice, limits=Limits.from_settings(), now=self.now)
        return self.answer(invoice)


class AttemptListView(ListView):
    tag = "Attempts"
    model = PaymentAttempt
    answer_serializer = AttemptSerializer
    filterset_class = AttemptFilters

    @operation(
        "list_attempts", "List attempts", "Every try to collect an invoice, newest first.",
        answer=AttemptSerializer, lists=True,
    )  # fmt: skip
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return self.page()


class AttemptView(AccountView):
    tag = "Attempts"
    model = PaymentAttempt
    answer_serializer = AttemptSerializer

    @operation("read_attempt", "Read an attempt", "One attempt.", answer=AttemptSerializer)
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return Response(self.answer_serializer(self.target()).data)
