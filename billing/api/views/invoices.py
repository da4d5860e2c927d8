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
    CloseBody,
    ExplanationSerializer,
    FoundPaymentBody,
    InvoiceBody,
    InvoiceSerializer,
    PaidElsewhereBody,
)
from billing.api.views.base import CHARGE, READ, AccountView, ListView
from billing.charging.attempts.charge_now import charge_now
from billing.charging.cases.resolve import collect_held
from billing.charging.cases.retry_now import retry_now
from billing.charging.cases.ways_out import pay_elsewhere, record_found_payment, void, write_off
from billing.charging.reading.refresh import check_with_gateway
from billing.domain.closing import PaidBy
from billing.explaining.explain import explain
from billing.models import Customer, Invoice, PaymentAttempt, PaymentMethod
from billing.operating.tuning import Tuning


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
        "Issues a one-off invoice that a worker collects at once. The response is the open invoice. Read it again, "
        "or its attempts, for the outcome. A declined one is tried again on the account's retry days for one-off "
        "charges; by default there are none, and it is `uncollectible` at once. Requires the scope `charge`. **Send an "
        "Idempotency-Key**: without one, a request that is repeated after a lost response is a second charge.",
        request=InvoiceBody,
        answer=InvoiceSerializer,
        status=201,
        examples=examples.INVOICE,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        body = self.body(InvoiceBody)
        card = body["payment_method"]
        invoice = charge_now(
            customer=refer(self.account, Customer, body["customer"], "customer"),
            payment_method=refer(self.account, PaymentMethod, card, "payment_method") if card else None,
            amount_minor=body["amount_minor"],
            currency=body["currency"],
            description=body["description"],
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
        "Why was the customer charged, or not?",
        "The history of the invoice in sentences, each with the ids behind it. Staff names and notes are left out.",
        answer=ExplanationSerializer,
    )
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        explanation = explain(invoice=self.target(), now=self.now, to_staff=False)
        return Response(self.answer_serializer(explanation).data)


class RefreshInvoiceView(AccountView):
    tag = "Invoices"
    model = Invoice
    answer_serializer = InvoiceSerializer

    @operation(
        "refresh_invoice",
        "Check with Revenue Monster now",
        "Reads the invoice's cards and the transactions of its payments at the gateway, and records what is new: "
        "late payments, and refunds made in the gateway's own portal. Returns the updated invoice.",
        request=NoBody,
        answer=InvoiceSerializer,
        codes=["gateway_unavailable"],
    )
    @idempotent(calls_gateway=True)
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        self.body(NoBody)
        invoice = self.target()
        check_with_gateway(invoice=invoice, tuning=Tuning.from_settings(), now=self.now)
        return self.answer(invoice)


_PROPOSES = (
    "Above the account's `second_person_above_minor` the decision needs approval, and nothing is charged until then: "
    "the response has a `proposal`, which a person confirms or rejects in the admin. Requires the scope `charge`."
)
_OWED = "409 if nothing is owed, and while an attempt may have taken the money."


class _CloseView(AccountView):
    tag = "Invoices"
    model = Invoice
    answer_serializer = InvoiceSerializer
    scopes = {"POST": CHARGE}  # noqa: RUF012


class PaidElsewhereView(_CloseView):
    @operation(
        "pay_invoice_elsewhere",
        "Record a payment made elsewhere",
        "An open or uncollectible invoice was paid in full in cash, by transfer or in another system. It is closed "
        f"as paid, and the card is not charged for it any more. {_OWED} {_PROPOSES}",
        request=PaidElsewhereBody,
        answer=InvoiceSerializer,
        examples=examples.PAID_ELSEWHERE,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        invoice = self.target()
        body = self.body(PaidElsewhereBody)
        pay_elsewhere(
            invoice=invoice,
            method=PaidBy(body["method"]),
            reference=body["reference"],
            paid_date=body["paid_date"],
            decision=self.decision(body),
            now=self.now,
        )
        return self.answer(invoice)


class FoundPaymentView(_CloseView):
    @operation(
        "record_found_payment",
        "Record a payment found at the gateway",
        "A gateway transaction that no attempt explains is the payment of the invoice, for example after a backup "
        "was restored. It is read and compared, and the invoice is closed as paid. The card is released once none of "
        f"its orders is unexplained. {_OWED} {_PROPOSES}",
        request=FoundPaymentBody,
        answer=InvoiceSerializer,
        examples=examples.FOUND_PAYMENT,
        codes=["gateway_unavailable"],
    )
    @idempotent(calls_gateway=True)
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        invoice = self.target()
        body = self.body(FoundPaymentBody)
        record_found_payment(
            invoice=invoice,
            transaction_id=body["transaction_id"],
            decision=self.decision(body),
            now=self.now,
        )
        return self.answer(invoice)


class VoidView(_CloseView):
    @operation(
        "void_invoice",
        "Void an invoice",
        "Nothing is owed for an open or uncollectible invoice. Final. Money that still arrives is an overpayment. "
        f"{_OWED} {_PROPOSES}",
        request=CloseBody,
        answer=InvoiceSerializer,
        examples=examples.VOID,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        invoice = self.target()
        void(invoice=invoice, decision=self.decision(self.body(CloseBody)), now=self.now)
        return self.answer(invoice)


class WriteOffView(_CloseView):
    @operation(
        "write_off_invoice",
        "Write off an invoice",
        "An open invoice stays owed but is no longer collected: it becomes uncollectible. It can be collected again "
        f"later, and a late payment pays it. {_OWED} {_PROPOSES}",
        request=CloseBody,
        answer=InvoiceSerializer,
        examples=examples.WRITE_OFF,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        invoice = self.target()
        write_off(invoice=invoice, decision=self.decision(self.body(CloseBody)), now=self.now)
        return self.answer(invoice)


class CollectView(_CloseView):
    @operation(
        "collect_invoice",
        "Collect an invoice now",
        "Charges the card now: an open invoice before its next try, one that needs review, or one that was written "
        "off or is uncollectible. All the usual checks apply. 409 if nothing is owed, and while an attempt is under "
        "way. Requires the scope `charge`.",
        request=CloseBody,
        answer=InvoiceSerializer,
        examples=examples.COLLECT,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        invoice = self.target()
        collect = collect_held if invoice.hold is not None else retry_now
        collect(invoice=invoice, decision=self.decision(self.body(CloseBody)), now=self.now)
        return self.answer(invoice)


class AttemptListView(ListView):
    tag = "Attempts"
    model = PaymentAttempt
    answer_serializer = AttemptSerializer
    filterset_class = AttemptFilters

    @operation(
        "list_attempts", "List attempts", "Every attempt to collect an invoice, newest first.",
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
