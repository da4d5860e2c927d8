"""`/customers/`"""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from billing.api import examples
from billing.api.access import taken
from billing.api.filters import CustomerFilters
from billing.api.idempotency import idempotent
from billing.api.schema import operation
from billing.api.serializers.customers import CustomerBody, CustomerChangeBody, CustomerSerializer
from billing.api.views.base import AccountView, ListView
from billing.models import Customer
from billing.subscriptions.customers import ReferenceTakenError, create_customer, update_customer


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
