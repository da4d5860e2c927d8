"""`/plans/`"""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from billing.api import examples
from billing.api.filters import PlanFilters
from billing.api.idempotency import idempotent
from billing.api.schema import operation
from billing.api.serializers.plans import PlanBody, PlanSerializer
from billing.api.views.base import AccountView, ListView
from billing.models import Plan
from billing.subscriptions.plans import create_plan


class PlanListView(ListView):
    tag = "Plans"
    model = Plan
    answer_serializer = PlanSerializer
    filterset_class = PlanFilters

    @operation("list_plans", "List plans", "All versions, newest first.", answer=PlanSerializer, lists=True)
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return self.page()

    @operation(
        "create_plan",
        "Create a plan, or its next version",
        "A plan is never edited: a change is a new version of its code, and subscriptions stay on theirs.",
        request=PlanBody,
        answer=PlanSerializer,
        status=201,
        examples=examples.PLAN,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        said = self.body(PlanBody)
        zone = said.pop("time_zone", self.account.time_zone)
        return self.answer(create_plan(account=self.account, zone=zone, now=self.now, **said), status=201)


class PlanView(AccountView):
    tag = "Plans"
    model = Plan
    answer_serializer = PlanSerializer

    @operation("read_plan", "Read a plan", "One version of a plan.", answer=PlanSerializer)
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return Response(self.answer_serializer(self.target()).data)
