"""`/customers/`"""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from billing.api import examples
from billing.api.access import taken
from billing.api.fields import NoBody
from billing.api.filters import CustomerFilters
from billing.api.idempotency import idempotent, without_secret
from billing.api.schema import operation
from billing.api.serializers.customers import (
    CustomerBody,
    CustomerChangeBody,
    CustomerSerializer,
    EndLinksBody,
    PaymentLinkSerializer,
)
from billing.api.views.base import AccountView, ListView
from billing.models import Customer
from billing.subscriptions.customers import ReferenceTakenError, create_customer, update_customer
from billing.subscriptions.payment_links import end_links, payment_link


class CustomerListView(ListView):
    tag = "Customers"
    model = Customer
    answer_serializer = CustomerSerializer
    filterset_class = CustomerFilters

    @operation("list_customers", "List customers", "Newest first.", answer=CustomerSerializer, lists=True)
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return self.page()

    @operation(
        "create_customer",
        "Create a customer",
        "Creates a customer: who is billed. The `reference` is unique in the account: 409 with `existing` if it is "
        "in use.",
        request=CustomerBody,
        answer=CustomerSerializer,
        status=201,
        examples=examples.CUSTOMER,
        codes=["reference_taken"],
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        body = self.body(CustomerBody)
        try:
            customer = create_customer(account=self.account, actor=self.caller.actor, now=self.now, **body)
        except ReferenceTakenError as error:
            raise taken(self.account, Customer, body["reference"], error) from error
        return self.answer(customer, status=201)


class CustomerView(AccountView):
    tag = "Customers"
    model = Customer
    answer_serializer = CustomerSerializer

    @operation("read_customer", "Read a customer", "One customer.", answer=CustomerSerializer)
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return Response(self.answer_serializer(self.target()).data)

    @operation(
        "update_customer",
        "Update a customer",
        "Changes the members that are sent. `metadata` is replaced as a whole. The gateway keeps the name and "
        "address that it received when a card was saved.",
        request=CustomerChangeBody,
        answer=CustomerSerializer,
        examples=examples.CUSTOMER_CHANGE,
    )
    def patch(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        customer = self.target()
        changes = self.body(CustomerChangeBody, partial=True)
        update_customer(customer=customer, changes=changes, actor=self.caller.actor, now=self.now)
        return self.answer(customer)


class PaymentLinkView(AccountView):
    tag = "Customers"
    model = Customer
    answer_serializer = PaymentLinkSerializer

    @operation(
        "create_payment_link",
        "Make a payment link",
        "A link to the customer's page: what is owed and why a card was declined, pay now, another card, "
        "receipts, and, unless the account says otherwise, cancel. Send it to the customer and to nobody else. It "
        "works for as many days as the account says. Links that were made before keep working.",
        request=NoBody,
        answer=PaymentLinkSerializer,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        self.body(NoBody)
        link = payment_link(self.target(), now=self.now)
        return without_secret(Response(PaymentLinkSerializer(link).data), "url")


class EndPaymentLinksView(AccountView):
    tag = "Customers"
    model = Customer
    answer_serializer = CustomerSerializer

    @operation(
        "end_payment_links",
        "End all payment links",
        "Every link to the customer's page stops working, those in sent messages included. Links that are made "
        "afterwards work.",
        request=EndLinksBody,
        answer=CustomerSerializer,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        body, customer = self.body(EndLinksBody), self.target()
        end_links(customer=customer, reason=body["reason"], actor=self.caller.actor, now=self.now)
        return self.answer(customer)
