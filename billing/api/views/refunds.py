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
from billing.charging.limits import Limits
from billing.charging.refund import RefundResolution, request_refund, request_reverse, resolve_refund, withdraw
from billing.models import PaymentAttempt, Refund


class RefundListView(ListView):
    tag = "Refunds"
    model = Refund
    answer_serializer = RefundSerializer
    filterset_class = RefundFilters
    scopes = {"GET": READ, "HEAD": READ, "POST": CHARGE}  # noqa: RUF012

    @operation(
        "list_refunds",
        "List refunds",
        "Newest first; those made in the gateway's own portal too, once they were seen.",
        answer=RefundSerializer,
        lists=True,
    )
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return self.page()

    @operation(
        "create_refund",
        "Give money back",
        "Asks for a payment, or a part of it, to be given back. A worker sends it once; the answer is the refund as it "
        "was asked for: read it again to see what came of it. A payment has one open refund at a time. Takes the scope "
        "`charge`. **Send an Idempotency-Key**: without one, a request that is repeated after a lost answer may give a "
        "part back twice.",
        request=RefundBody,
        answer=RefundSerializer,
        status=201,
        examples=examples.REFUND,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        said = self.body(RefundBody)
        attempt = refer(self.account, PaymentAttempt, said["attempt"], "attempt")
        given = {"attempt": attempt, "reason": said["reason"], "actor": self.caller.actor, "now": self.now}
        if not said["reverse"]:
            refund = request_refund(amount_minor=said["amount_minor"], **given)
        elif said["amount_minor"] is None:
            refund = request_reverse(**given)
        else:
            raise invalid("amount_minor", "not_usable", "a payment is reversed as a whole: leave it out")
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
        "Takes back a request that was not sent yet: 409 once it was. Takes the scope `charge`.",
        request=WithdrawBody,
        answer=RefundSerializer,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        said, refund = self.body(WithdrawBody), self.target()
        withdraw(
            refund=refund,
            reason=said["reason"],
            actor=self.caller.actor,
            limits=Limits.from_settings(),
            now=self.now,
        )
        return self.answer(refund)


class ResolveView(_OneRefundView):
    @operation(
        "resolve_refund",
        "Decide on a refund",
        "Closes a refund that `needs_human`, after a look at the gateway's own portal: 409 when it does not wait for a "
        "person. The decision is final. Takes the scope `charge`.",
        request=ResolveRefundBody,
        answer=RefundSerializer,
        examples=examples.RESOLVE_REFUND,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        refund = self.target()
        said = self.body(ResolveRefundBody)
        resolve_refund(
            refund=refund,
            resolution=RefundResolution(said["resolution"]),
            reason=said["reason"],
            actor=self.caller.actor,
            limits=Limits.from_settings(),
            now=self.now,
        )
        return self.answer(refund)
