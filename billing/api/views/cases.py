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
from billing.charging.case import read_case
from billing.charging.limits import Limits
from billing.charging.resolve import Resolution, release_card, resolve
from billing.charging.resolve_many import OneOfMany, release_many, resolve_many
from billing.models import PaymentAttempt

_PROPOSES = (
    "Above the account's `second_person_above_minor` it is only proposed: the answer has a `proposal`, which a person "
    "confirms or rejects in the admin. A key never confirms. Takes the scope `charge`."
)


class _AttemptView(AccountView):
    tag = "Attempts"
    model = PaymentAttempt
    answer_serializer: ClassVar[type[Any]] = AttemptSerializer


class CaseView(_AttemptView):
    @operation(
        "read_case",
        "Read a case",
        "Everything that a decision about an attempt with a person rests on: invoice, card, evidence, the gateway's "
        "orders beside ours, the invoices that it holds up, and what each choice does.",
        answer=CaseSerializer,
    )
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return Response(CaseSerializer(read_case(self.target(), now=self.now)).data)


class ResolveView(_AttemptView):
    scopes = {"POST": CHARGE}  # noqa: RUF012

    @operation(
        "resolve_attempt",
        "Resolve an attempt",
        "Decides about an attempt in the state `needs_human`, after a look at the gateway: the transaction, or the "
        f"card's orders, must not contradict it. {_PROPOSES}",
        request=ResolveBody,
        answer=AttemptSerializer,
        examples=examples.RESOLVE,
        codes=("gateway_unavailable",),
    )
    @idempotent(calls_gateway=True)
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        attempt = self.target()
        said = self.body(ResolveBody)
        resolve(
            attempt=attempt,
            resolution=Resolution(said["resolution"]),
            transaction_id=said["transaction_id"],
            despite_orders=said["despite_orders"],
            reason=said["reason"],
            actor=self.caller.actor,
            limits=Limits.from_settings(),
            now=self.now,
        )
        return self.answer(attempt)


class ReleaseView(_AttemptView):
    scopes = {"POST": CHARGE}  # noqa: RUF012

    @operation(
        "release_card_of_attempt",
        "Release the card",
        "The card of an attempt in the state `needs_human` is charged for its other invoices again; the attempt's own "
        f"invoice stays blocked. {_PROPOSES}",
        request=ReleaseBody,
        answer=AttemptSerializer,
        examples=examples.RELEASE,
    )
    @idempotent(calls_gateway=True)
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        attempt = self.target()
        said = self.body(ReleaseBody)
        release_card(attempt=attempt, reason=said["reason"], actor=self.caller.actor, now=self.now)
        return self.answer(attempt)


class _ManyView(_AttemptView):
    answer_serializer = OutcomesSerializer
    scopes = {"POST": CHARGE}  # noqa: RUF012

    def named(self, ids: list[str]) -> list[PaymentAttempt]:
        """The attempts. Raises Problem for one that is not there, which refuses the whole request."""
        return [
            refer(self.account, PaymentAttempt, public_id, f"attempts.{number}") for number, public_id in enumerate(ids)
        ]

    def told(self, results: list[OneOfMany]) -> Response:
        return Response(OutcomesSerializer({"results": results}).data)


class ResolveManyView(_ManyView):
    @operation(
        "resolve_attempts",
        "Resolve several attempts",
        "The same decision about up to 100 attempts in the state `needs_human`, such as after an incident. Each is "
        f"looked at and decided by itself; `results` says what came of each. {_PROPOSES}",
        request=ResolveManyBody,
        answer=OutcomesSerializer,
        examples=examples.RESOLVE_MANY,
    )
    @idempotent(calls_gateway=True)
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        said = self.body(ResolveManyBody)
        results = resolve_many(
            attempts=self.named(said["attempts"]),
            resolution=Resolution(said["resolution"]),
            reason=said["reason"],
            actor=self.caller.actor,
            limits=Limits.from_settings(),
            now=self.now,
        )
        return self.told(results)


class ReleaseManyView(_ManyView):
    @operation(
        "release_cards_of_attempts",
        "Release several cards",
        f"Releases the cards of up to 100 attempts in the state `needs_human`, each by itself. {_PROPOSES}",
        request=ReleaseManyBody,
        answer=OutcomesSerializer,
        examples=examples.RELEASE_MANY,
    )
    @idempotent(calls_gateway=True)
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        said = self.body(ReleaseManyBody)
        results = release_many(
            attempts=self.named(said["attempts"]), reason=said["reason"], actor=self.caller.actor, now=self.now
        )
        return self.told(results)
