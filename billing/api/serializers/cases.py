"""Cases: attempts that wait for a person, with everything that a decision rests on, and the decisions."""

from typing import Any

from rest_framework import serializers

from billing.api import examples
from billing.api.fields import Body, Choice, Instant, Text
from billing.api.serializers.common import AMOUNT, Output, currency, id_of, link, string, whole, word
from billing.api.serializers.invoices import AttemptSerializer, InvoiceSerializer, ProposalSerializer
from billing.api.serializers.payment_methods import PaymentMethodSerializer
from billing.charging.cases.case import BEFORE, EXPLAINED, NO_ORDER, TOOK_NOTHING, UNEXPLAINED
from billing.charging.cases.resolve_many import MOST_AT_ONCE
from billing.domain.attempts import AttemptState, Source, Verdict
from billing.domain.resolution import TOOK_MONEY, ProposalKind, Resolution

REASON = "The reason for the decision. Recorded as evidence."


class ResolveBody(Body):
    resolution = word(
        Resolution,
        "What happened: `charged` (the money was taken), `declined` (the bank refused), `not_charged` (no money "
        "moved), or `charged_and_given_back` (the money was taken and all of it refunded; both are recorded, and the "
        "invoice is not charged again).",
    )
    transaction_id = Text(
        max_length=64, required=False, default="",
        help_text="The gateway's id of the transaction, if money was taken. It is read at the gateway and compared.",
    )  # fmt: skip
    reason = Text(max_length=500, help_text=REASON)
    despite_orders = serializers.ListField(
        child=Text(max_length=64), required=False, default=list, max_length=100,
        help_text="Unexplained orders of the card that a person reviewed and found to be something else. `declined` "
                  "and `not_charged` are refused without them. Use `card_not_known` if the gateway no longer knows "
                  "the card, `card_not_readable` if it has not shown the card's orders for a long time.",
    )  # fmt: skip


class ReleaseBody(Body):
    reason = Text(max_length=500, help_text="Why the card may be charged for its other invoices again.")


def _attempts() -> Any:
    return serializers.ListField(
        child=id_of("att", "An attempt"), min_length=1, max_length=MOST_AT_ONCE, help_text="Each attempt once."
    )


class ResolveManyBody(Body):
    attempts = _attempts()
    resolution = Choice(
        choices=[(one.value, one.value) for one in Resolution if one not in TOOK_MONEY],
        help_text="`charged` needs a transaction id for each attempt, so decide those one at a time.",
    )
    reason = Text(max_length=500, help_text=REASON)


class ReleaseManyBody(Body):
    attempts = _attempts()
    reason = Text(max_length=500, help_text="Why the cards may be charged for their other invoices again.")


class EvidenceSerializer(Output):
    source = word(Source, "Where the evidence comes from.", read_only=True)  # type: ignore[assignment]
    verdict = word(Verdict, "What it shows about the money.", read_only=True)
    reason = string("The code or word that came with it. May be empty.")
    content = serializers.DictField(read_only=True, help_text="The content, verbatim, without personal data.")
    recorded_at = Instant(help_text="When it was recorded.")


class OrderSerializer(Output):
    gateway_order_id = string("The gateway's id of the order.")
    gateway_transaction_id = string("The gateway's id of the transaction. May be empty.")
    status = string("The gateway's name for its state.")
    amount_minor = whole(AMOUNT)
    currency = currency()
    ordered_at = Instant(allow_null=True, help_text="When it was created, by the gateway's clock.")


class PairSerializer(Output):
    attempt = link("attempt", "Our attempt. Null for an order that is not ours.", nullable=True)
    state = string("The attempt's state.", source="attempt.state", allow_null=True)
    marker = string("The attempt's marker.", source="attempt.marker", allow_null=True)
    order = OrderSerializer(read_only=True, allow_null=True, help_text="The gateway's order. Null when none was found.")
    explained = Choice(
        read_only=True,
        source="why",
        choices=[(one, one) for one in (EXPLAINED, BEFORE, UNEXPLAINED, NO_ORDER, TOOK_NOTHING)],
        help_text="What explains the order. `unexplained` orders may be money: review them first.",
    )


class HeldUpSerializer(Output):
    invoice = string("An open invoice that would be charged on this card.")
    description = string("What it is for.")
    amount_minor = whole(AMOUNT)
    currency = currency()
    due_at = Instant(help_text="Waiting since.")


class ChoiceSerializer(Output):
    decision = word(ProposalKind, "The decision.", read_only=True, source="kind")
    invoice = string("The effect on the invoice.")
    next_charge_at = Instant(allow_null=True, help_text="When it is charged next. Null: never, or not automatically.")
    subscription = string("The effect on the subscription.")
    card = string("The effect on the card.")


@examples.output_example(examples.A_CASE)
class CaseSerializer(Output):
    attempt = AttemptSerializer(read_only=True, help_text="The attempt.")
    invoice = InvoiceSerializer(read_only=True, source="attempt.invoice", help_text="What it tries to collect.")
    payment_method = PaymentMethodSerializer(read_only=True, source="attempt.payment_method", help_text="The card.")
    evidence = EvidenceSerializer(many=True, read_only=True, help_text="All evidence, in order.")
    orders = PairSerializer(
        many=True, read_only=True, source="pairs", help_text="The attempts on the card beside the gateway's orders."
    )
    holds_up = HeldUpSerializer(many=True, read_only=True, help_text="Other invoices waiting for the card.")
    choices = ChoiceSerializer(many=True, read_only=True, help_text="The possible decisions. Empty once it is decided.")
    proposals = ProposalSerializer(many=True, read_only=True, help_text="Proposed decisions, newest first.")
    second_person = serializers.BooleanField(
        read_only=True, help_text="Whether a decision has to be confirmed by a second person."
    )


class OutcomeErrorSerializer(Output):
    field = string("The subject.")
    rule = string("A stable code for the rule.")
    message = string("The rule in words.")


class OutcomeSerializer(Output):
    attempt = link("attempt", "The attempt.")
    outcome = serializers.SerializerMethodField(help_text="`done`, `proposed` (another person confirms) or `refused`.")
    state = serializers.SerializerMethodField(help_text="The attempt's state now.")
    proposal = string("The proposal, if it needs approval.", source="decision.proposal.public_id", allow_null=True)
    error = OutcomeErrorSerializer(
        read_only=True, source="refused", allow_null=True, help_text="Why the decision was refused."
    )

    def get_outcome(self, one: Any) -> str:
        if one.resolved is None:
            return "refused"
        return "proposed" if one.resolved.proposal else "done"

    def get_state(self, one: Any) -> str:
        state: AttemptState = AttemptState(one.resolved.state if one.resolved else one.attempt.state)
        return state.value


@examples.output_example(examples.OUTCOMES)
class OutcomesSerializer(Output):
    results = OutcomeSerializer(many=True, read_only=True, help_text="One for each attempt, in the order asked.")
