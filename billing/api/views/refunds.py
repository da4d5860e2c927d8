"""`/refunds/`"""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from billing.api import examples
from billing.api.access import refer
from billing.api.filters import RefundFilters
from billing.api.idempotency import idempotent
from billing.api.problems import invalid
from billing.api.schema import operation
from billing.api.serializers.refunds import RefundBody, RefundSerializer, ResolveRefundBody, WithdrawBody
from billing.api.views.base import CHARGE, READ, AccountView, ListView
from billing.charging.refunds.ask import RefundResolution, request_refund, request_reverse, resolve_refund, withdraw
from billing.models import PaymentAttempt, Refund
from billing.operating.tuning import Tuning


class RefundListView(ListView):
    tag = "Refunds"
    model = Refund
    answer_serializer = RefundSerializer
    filterset_class = RefundFilters
    scopes = {"GET": READ, "HEAD": READ, "POST": CHARGE}  # noqa: RUF012

    @operation(
        "list_refunds",
        "List refunds",
        "Newest first. Includes refunds made in the gateway's own portal, once found.",
        answer=RefundSerializer,
        lists=True,
    )
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return self.page()

    @operation(
        "create_refund",
        "Refund a payment",
        "Requests the refund of a payment, or of a part of it. A worker sends it once. The response is the requested "
        "refund: read it again for the outcome. A payment has one open refund at a time. Requires the scope "
        "`charge`. **Send an Idempotency-Key**: without one, a request that is repeated after a lost response may "
        "refund a part twice.",
        request=RefundBody,
        answer=RefundSerializer,
        status=201,
        examples=examples.REFUND,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        body = self.body(RefundBody)
        attempt = refer(self.account, PaymentAttempt, body["attempt"], "attempt")
        decision, amount_minor = self.decision(body), body["amount_minor"]
        if not body["reverse"]:
            refund = request_refund(attempt=attempt, amount_minor=amount_minor, decision=decision, now=self.now)
        elif amount_minor is None:
            refund = request_reverse(attempt=attempt, decision=decision, now=self.now)
        else:
            raise invalid("amount_minor", "not_usable", "must be left out with reverse: the whole payment is reversed")
        return self.answer(refund, status=201)


class _OneRefundView(AccountView):
    tag = "Refunds"
    model = Refund
    answer_serializer = RefundSerializer
    scopes = {"GET": READ, "HEAD": READ, "POST": CHARGE}  # noqa: RUF012


class RefundView(_OneRefundView):
    @operation("read_refund", "Read a refund", "One refund.", answer=RefundSerializer)
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return Response(self.answer_serializer(self.target()).data)


class WithdrawView(_OneRefundView):
    @operation(
        "withdraw_refund",
        "Withdraw a refund",
        "Withdraws a refund that was not sent yet: 409 once it was. Requires the scope `charge`.",
        request=WithdrawBody,
        answer=RefundSerializer,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        body, refund = self.body(WithdrawBody), self.target()
        withdraw(
            refund=refund,
            decision=self.decision(body),
            tuning=Tuning.from_settings(),
            now=self.now,
        )
        return self.answer(refund)


class ResolveView(_OneRefundView):
    @operation(
        "resolve_refund",
        "Decide on a refund",
        "Closes a refund in the state `needs_review`: 409 in any other state. Check the gateway's own portal before "
        "you decide. The transaction is read at the gateway first: a decision that it contradicts is refused with "
        "the rule `refunded_at_the_gateway` or `not_refunded_at_the_gateway`. The decision is final. Requires the "
        "scope `charge`.",
        request=ResolveRefundBody,
        answer=RefundSerializer,
        examples=examples.RESOLVE_REFUND,
        codes=("gateway_unavailable",),
    )
    @idempotent(calls_gateway=True)
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        refund = self.target()
        body = self.body(ResolveRefundBody)
        resolve_refund(
            refund=refund,
            resolution=RefundResolution(body["resolution"]),
            decision=self.decision(body),
            tuning=Tuning.from_settings(),
            now=self.now,
        )
        return self.answer(refund)
