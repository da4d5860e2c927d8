"""`/subscriptions/`"""

from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api import examples
from billing.api.access import refer, taken
from billing.api.filters import SubscriptionFilters
from billing.api.idempotency import idempotent
from billing.api.problems import invalid
from billing.api.schema import operation
from billing.api.serializers.subscriptions import (
    CancelBody,
    NextDatesSerializer,
    ReasonBody,
    SubscriptionBody,
    SubscriptionChangeBody,
    SubscriptionSerializer,
)
from billing.api.views.base import CHARGE, AccountView, ListView
from billing.charging.cases.cancel import cancel
from billing.domain.catch_up import CatchUp
from billing.domain.subscriptions import OpenInvoices
from billing.models import Customer, PaymentMethod, Plan, Subscription
from billing.subscriptions.customers import ReferenceTakenError
from billing.subscriptions.lifecycle import pause, resume
from billing.subscriptions.start import start_subscription
from billing.subscriptions.upcoming import next_dates
from billing.subscriptions.update import update_subscription

MOST_DATES = 50


class SubscriptionListView(ListView):
    tag = "Subscriptions"
    model = Subscription
    answer_serializer = SubscriptionSerializer
    filterset_class = SubscriptionFilters

    @operation("list_subscriptions", "List subscriptions", "Newest first.", answer=SubscriptionSerializer, lists=True)
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return self.page()

    @operation(
        "create_subscription",
        "Put a customer on a plan",
        "Starts now if the customer has a usable card. Otherwise it is `incomplete` and starts with the first usable "
        "card. The first charge is on the first scheduled date after the start (and the trial), or at the start with "
        "`charge_at_start`: then it is `incomplete` until that is paid, where the plan's `activates_on` says so. After "
        "a declined charge the next card that the customer saves is charged. The `reference` is unique in the account: "
        "409 with `existing`.",
        request=SubscriptionBody,
        answer=SubscriptionSerializer,
        status=201,
        examples=examples.SUBSCRIPTION,
        codes=["reference_taken"],
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        body = self.body(SubscriptionBody)
        card = body["payment_method"]
        try:
            subscription = start_subscription(
                customer=refer(self.account, Customer, body["customer"], "customer"),
                plan=refer(self.account, Plan, body["plan"], "plan"),
                payment_method=refer(self.account, PaymentMethod, card, "payment_method") if card else None,
                reference=body["reference"],
                charge_at_start=body["charge_at_start"],
                catch_up=CatchUp(body["catch_up"]),
                metadata=body.get("metadata"),
                actor=self.caller.actor,
                now=self.now,
            )
        except ReferenceTakenError as error:
            raise taken(self.account, Subscription, body["reference"], error) from error
        return self.answer(subscription, status=201)


class _OneView(AccountView):
    tag = "Subscriptions"
    model = Subscription
    answer_serializer = SubscriptionSerializer


class SubscriptionView(_OneView):
    @operation("read_subscription", "Read a subscription", "One subscription.", answer=SubscriptionSerializer)
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return Response(self.answer_serializer(self.target()).data)

    @operation(
        "update_subscription",
        "Update a subscription",
        "Changes the members that are sent. Price and schedule come from its plan and never change. With another "
        "card, invoices that were declined or refused on the old one are tried again now.",
        request=SubscriptionChangeBody,
        answer=SubscriptionSerializer,
        examples=examples.SUBSCRIPTION_CHANGE,
    )
    def patch(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        subscription, body = self.target(), self.body(SubscriptionChangeBody, partial=True)
        changes: dict[str, Any] = {}
        if "payment_method" in body:
            card = body["payment_method"]
            changes["payment_method"] = refer(self.account, PaymentMethod, card, "payment_method") if card else None
        if "catch_up" in body:
            changes["catch_up"] = CatchUp(body["catch_up"])
        if "metadata" in body:
            changes["metadata"] = body["metadata"]
        update_subscription(subscription=subscription, actor=self.caller.actor, now=self.now, **changes)
        return self.answer(subscription)


class PauseView(_OneView):
    @operation(
        "pause_subscription",
        "Pause a subscription",
        "No period falls due and nothing is charged until it is resumed. Open invoices wait. Nothing is owed for the "
        "time in between. The subscription must be running: 409 otherwise.",
        request=ReasonBody,
        answer=SubscriptionSerializer,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        body, subscription = self.body(ReasonBody), self.target()
        pause(subscription=subscription, reason=body["reason"], actor=self.caller.actor, now=self.now)
        return self.answer(subscription)


class ResumeView(_OneView):
    @operation(
        "resume_subscription",
        "Resume a subscription",
        "The next period is on the first scheduled date from now on. Invoices that were open before are collected "
        "again. The subscription must be paused: 409 otherwise.",
        request=ReasonBody,
        answer=SubscriptionSerializer,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        body, subscription = self.body(ReasonBody), self.target()
        resume(subscription=subscription, reason=body["reason"], actor=self.caller.actor, now=self.now)
        return self.answer(subscription)


class CancelView(_OneView):
    @operation(
        "cancel_subscription",
        "Cancel a subscription",
        "Ends the subscription now, for good. `open_invoices` says what becomes of those: by default they stay owed "
        "and need review, each with an event `invoice.held`. One whose attempt may have taken the money is left to "
        "review whatever you ask for, and so is one that another person is to decide about. To close one above the "
        "account's `second_person_above_minor` is proposed to a second person. An attempt under way is followed to "
        "its end. 409 if it has already ended. All but `review` require the scope `charge`.",
        request=CancelBody,
        examples=examples.CANCEL,
        answer=SubscriptionSerializer,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        body, subscription = self.body(CancelBody), self.target()
        wish = OpenInvoices(body["open_invoices"])
        if wish is not OpenInvoices.REVIEW:
            self.caller.require(CHARGE)
        cancel(subscription=subscription, open_invoices=wish, decision=self.decision(body), now=self.now)
        return self.answer(subscription)


class NextDatesView(_OneView):
    parameters = frozenset({"count"})

    @operation(
        "list_next_dates",
        "When is it due next?",
        "The next due dates and times, as far as known now. Empty when nothing falls due.",
        answer=NextDatesSerializer,
        parameters=[
            OpenApiParameter(
                "count",
                {"type": "integer", "minimum": 1, "maximum": MOST_DATES, "default": 5},
                description="The number of dates.",
            )
        ],
    )
    def get(self, request: Request, **_: Any) -> Response:
        text = request.query_params.get("count", "5")
        if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MOST_DATES):
            raise invalid("count", "out_of_range", f"must be a whole number from 1 to {MOST_DATES}")
        dates = next_dates(self.target(), count=int(text))
        return Response(NextDatesSerializer({"dates": dates}).data)
