"""`/dunning-policies/`"""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts.dunning_policies import assign_policy, change_policy, create_policy, unassign_policy
from billing.api import dunning_examples as examples
from billing.api.access import refer
from billing.api.fields import read_instant
from billing.api.filters import DunningPolicyFilters
from billing.api.idempotency import idempotent
from billing.api.problems import invalid
from billing.api.schema import operation
from billing.api.serializers.dunning import (
    DunningAssignBody,
    DunningPolicyBody,
    DunningPolicyChangeBody,
    DunningPolicySerializer,
    DunningUnassignBody,
    PreviewSerializer,
)
from billing.api.views.base import AccountView, ListView
from billing.domain.dunning import Scope, preview
from billing.models import DunningPolicy
from billing.models.bulk.dunning import policy_value

TAG = "Dunning policies"


class DunningPolicyListView(ListView):
    tag = TAG
    model = DunningPolicy
    answer_serializer = DunningPolicySerializer
    filterset_class = DunningPolicyFilters

    @operation("list_dunning_policies", "List policies", "Newest first.", answer=DunningPolicySerializer, lists=True)
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return self.page()

    @operation(
        "create_dunning_policy",
        "Create a policy",
        "It counts for nothing until it is assigned.",
        request=DunningPolicyBody,
        answer=DunningPolicySerializer,
        status=201,
        examples=examples.NEW_POLICY,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        body = self.body(DunningPolicyBody)
        code = body.pop("code")
        row = create_policy(account=self.account, code=code, values=body, actor=self.caller.actor, now=self.now)
        return self.answer(row, status=201)


class _OnePolicyView(AccountView):
    tag = TAG
    model = DunningPolicy
    answer_serializer = DunningPolicySerializer


class DunningPolicyView(_OnePolicyView):
    @operation("read_dunning_policy", "Read a policy", "One policy.", answer=DunningPolicySerializer)
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return Response(self.answer_serializer(self.target()).data)

    @operation(
        "update_dunning_policy",
        "Change a policy",
        "What is left out stays as it is. A change counts from the next decline on: tries that are planned already "
        "stay on their days.",
        request=DunningPolicyChangeBody,
        answer=DunningPolicySerializer,
        examples=examples.CHANGE,
    )
    def patch(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        row, changes = self.target(), self.body(DunningPolicyChangeBody, partial=True)
        change_policy(policy=row, changes=changes, reason="by the API", actor=self.caller.actor, now=self.now)
        return self.answer(row)


class DunningPreviewView(_OnePolicyView):
    parameters = frozenset({"declined_at"})

    @operation(
        "preview_dunning_policy",
        "What follows a decline?",
        "The tries, mails and the end that follow when a subscription's charge is declined at `declined_at` and "
        "nothing is paid. Settlement decides with the same function.",
        answer=PreviewSerializer,
        parameters=[
            OpenApiParameter(
                "declined_at",
                {"type": "string", "format": "date-time"},
                description="When the first try is declined, with an offset. Default: now.",
            )
        ],
    )
    def get(self, request: Request, **_: Any) -> Response:
        return Response(PreviewSerializer(preview(policy_value(self.target()), self._declined_at(request))).data)

    def _declined_at(self, request: Request) -> datetime:
        text = request.query_params.get("declined_at")
        if text is None:
            return self.now
        # In an address a plus sign that was not escaped arrives as a space.
        moment = read_instant(text.replace(" ", "+"))
        if moment is None:
            message = "must be a date and time with an offset, such as 2026-01-31T00:00:00Z"
            raise invalid("declined_at", "instant", message)
        return moment


class AssignDunningView(_OnePolicyView):
    @operation(
        "assign_dunning_policy",
        "Assign a policy",
        "Invoices of the scope get it at their first decline; those that were declined before keep theirs. With "
        "`second_policy` a share of the subscriptions gets that one instead, always the same for one subscription.",
        request=DunningAssignBody,
        answer=DunningPolicySerializer,
        examples=examples.ASSIGN,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        row, body = self.target(), self.body(DunningAssignBody)
        named = body["second_policy"]
        assign_policy(
            policy=row,
            scope=Scope(body["scope"]),
            plan_code=body["plan_code"],
            second=refer(self.account, DunningPolicy, named, "second_policy") if named else None,
            second_percent=body["second_percent"],
            reason=body["reason"],
            actor=self.caller.actor,
            now=self.now,
        )
        return self.answer(row)


class UnassignDunningView(_OnePolicyView):
    @operation(
        "unassign_dunning_policy",
        "Take a policy from a plan",
        "The plan's subscriptions then get the policy of all subscriptions.",
        request=DunningUnassignBody,
        answer=DunningPolicySerializer,
        examples=examples.UNASSIGN,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        row, body = self.target(), self.body(DunningUnassignBody)
        unassign_policy(
            policy=row,
            plan_code=body["plan_code"],
            reason=body["reason"],
            actor=self.caller.actor,
            now=self.now,
        )
        return self.answer(row)
