"""`/attempts/{id}/case/` and the decisions about cases."""

from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from billing.api import examples
from billing.api.access import refer
from billing.api.idempotency import idempotent
from billing.api.schema import operation
from billing.api.serializers.cases import (
    CaseSerializer,
    OutcomesSerializer,
    ReleaseBody,
    ReleaseManyBody,
    ResolveBody,
    ResolveManyBody,
)
from billing.api.serializers.invoices import AttemptSerializer
from billing.api.views.base import CHARGE, AccountView
from billing.charging.cases.case import read_case
from billing.charging.cases.resolve import Resolution, release_card, resolve
from billing.charging.cases.resolve_many import OneOfMany, release_many, resolve_many
from billing.models import PaymentAttempt
from billing.operating.tuning import Tuning

_PROPOSES = (
    "Above the account's `second_person_above_minor` the decision needs approval: the response has a `proposal`, "
    "which a person confirms or rejects in the admin. An API key never confirms. Requires the scope `charge`."
)


class _AttemptView(AccountView):
    tag = "Attempts"
    model = PaymentAttempt
    answer_serializer: ClassVar[type[Any]] = AttemptSerializer


class CaseView(_AttemptView):
    @operation(
        "read_case",
        "Read a case",
        "Everything needed to decide on an attempt that needs review: invoice, card, evidence, the gateway's orders "
        "beside ours, the other invoices waiting, and what each decision does.",
        answer=CaseSerializer,
    )
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return Response(CaseSerializer(read_case(self.target(), now=self.now)).data)


class ResolveView(_AttemptView):
    scopes = {"POST": CHARGE}  # noqa: RUF012

    @operation(
        "resolve_attempt",
        "Resolve an attempt",
        "Decides on an attempt in the state `needs_review`. The gateway is read first: the transaction, or the card's "
        f"orders, must not contradict the decision. {_PROPOSES}",
        request=ResolveBody,
        answer=AttemptSerializer,
        examples=examples.RESOLVE,
        codes=("gateway_unavailable",),
    )
    @idempotent(calls_gateway=True)
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        attempt = self.target()
        body = self.body(ResolveBody)
        resolve(
            attempt=attempt,
            resolution=Resolution(body["resolution"]),
            transaction_id=body["transaction_id"],
            despite_orders=body["despite_orders"],
            decision=self.decision(body),
            tuning=Tuning.from_settings(),
            now=self.now,
        )
        return self.answer(attempt)


class ReleaseView(_AttemptView):
    scopes = {"POST": CHARGE}  # noqa: RUF012

    @operation(
        "release_card_of_attempt",
        "Release the card",
        "Releases the card of an attempt in the state `needs_review`: its other invoices are charged again. The "
        f"attempt's own invoice stays blocked. {_PROPOSES}",
        request=ReleaseBody,
        answer=AttemptSerializer,
        examples=examples.RELEASE,
    )
    @idempotent(calls_gateway=True)
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        attempt = self.target()
        body = self.body(ReleaseBody)
        release_card(attempt=attempt, decision=self.decision(body), now=self.now)
        return self.answer(attempt)


class _ManyView(_AttemptView):
    answer_serializer = OutcomesSerializer
    scopes = {"POST": CHARGE}  # noqa: RUF012

    def named(self, ids: list[str]) -> list[PaymentAttempt]:
        """The attempts. Raises Problem for one that is not there, which refuses the whole request."""
        return [
            refer(self.account, PaymentAttempt, public_id, f"attempts.{number}") for number, public_id in enumerate(ids)
        ]

    def output(self, results: list[OneOfMany]) -> Response:
        return Response(OutcomesSerializer({"results": results}).data)


class ResolveManyView(_ManyView):
    @operation(
        "resolve_attempts",
        "Resolve several attempts",
        "Makes the same decision about up to 100 attempts in the state `needs_review`, for example after an incident. "
        f"Each is checked and decided on its own; `results` has the outcome of each. {_PROPOSES}",
        request=ResolveManyBody,
        answer=OutcomesSerializer,
        examples=examples.RESOLVE_MANY,
    )
    @idempotent(calls_gateway=True)
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        body = self.body(ResolveManyBody)
        results = resolve_many(
            attempts=self.named(body["attempts"]),
            resolution=Resolution(body["resolution"]),
            decision=self.decision(body),
            tuning=Tuning.from_settings(),
            now=self.now,
        )
        return self.output(results)


class ReleaseManyView(_ManyView):
    @operation(
        "release_cards_of_attempts",
        "Release several cards",
        f"Releases the cards of up to 100 attempts in the state `needs_review`, each on its own. {_PROPOSES}",
        request=ReleaseManyBody,
        answer=OutcomesSerializer,
        examples=examples.RELEASE_MANY,
    )
    @idempotent(calls_gateway=True)
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        body = self.body(ReleaseManyBody)
        results = release_many(attempts=self.named(body["attempts"]), decision=self.decision(body), now=self.now)
        return self.output(results)
