"""`/dunning-policies/`, and what they win back: `/account/recovery/`."""

from datetime import datetime, timedelta
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
    RecoverySerializer,
)
from billing.api.views.base import AccountView, ListView
from billing.domain.dunning import Scope, preview
from billing.explaining.recovered import DEFAULT_SPAN, LONGEST_SPAN, figures_of
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


class RecoveryView(AccountView):
    tag = TAG
    model = DunningPolicy
    parameters = frozenset({"since", "until"})

    @operation(
        "read_recovery",
        "What was won back?",
        "Of the invoices that were declined for the first time in a span: declined, recovered and lost, by reason, "
        "policy, try and day of the month; and policies compared by lot. As it is now.",
        answer=RecoverySerializer,
        parameters=[
            OpenApiParameter(
                "since", {"type": "string", "format": "date-time"}, description="From then on. Default: 90 days ago."
            ),
            OpenApiParameter(
                "until", {"type": "string", "format": "date-time"}, description="Before then. Default: now."
            ),
        ],
    )
    def get(self, request: Request, **_: Any) -> Response:
        until = _instant(request, "until", self.now)
        since = _instant(request, "since", until - DEFAULT_SPAN)
        if not timedelta(0) < until - since <= LONGEST_SPAN:
            raise invalid("since", "out_of_range", f"must be before `until`, by at most {LONGEST_SPAN.days} days")
        return Response(RecoverySerializer(figures_of(self.account, since=since, until=until, now=self.now)).data)


def _instant(request: Request, name: str, default: datetime) -> datetime:
    """A query parameter as an instant. Raises Problem."""
    text = request.query_params.get(name)
    if text is None:
        return default
    # In an address a plus sign that was not escaped arrives as a space.
    moment = read_instant(text.replace(" ", "+"))
    if moment is None:
        raise invalid(name, "instant", "must be a date and time with an offset, such as 2026-01-31T00:00:00Z")
    return moment


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
        declined_at = _instant(request, "declined_at", self.now)
        return Response(PreviewSerializer(preview(policy_value(self.target()), declined_at)).data)


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
