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
from billing.domain.money import Price
from billing.domain.recurrence import Recurrence
from billing.models import Plan
from billing.subscriptions.plans import create_plan


def _members(body: dict[str, Any], *names: str) -> dict[str, Any]:
    """Takes the named members out of the body; those with a default may be missing."""
    return {name: body.pop(name) for name in names if name in body}


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
        body = self.body(PlanBody)
        zone = body.pop("time_zone", self.account.time_zone)
        price = Price(**_members(body, "amount_minor", "currency"))
        recurrence = Recurrence.parse(zone=zone, **_members(body, "interval", "target", "every", "charge_time"))
        plan = create_plan(
            account=self.account,
            price=price,
            recurrence=recurrence,
            actor=self.caller.actor,
            now=self.now,
            **body,
        )
        return self.answer(plan, status=201)


class PlanView(AccountView):
    tag = "Plans"
    model = Plan
    answer_serializer = PlanSerializer

    @operation("read_plan", "Read a plan", "One version of a plan.", answer=PlanSerializer)
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return Response(self.answer_serializer(self.target()).data)
