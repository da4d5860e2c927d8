"""Cases: attempts that wait for a person, with everything that a decision rests on, and the decisions."""

from typing import Any

from rest_framework import serializers

from billing.api import examples
from billing.api.fields import Body, Choice, Instant, Text
from billing.api.serializers.common import AMOUNT, Told, currency, id_of, link, told, whole, word
from billing.api.serializers.invoices import AttemptSerializer, InvoiceSerializer, ProposalSerializer
from billing.api.serializers.payment_methods import PaymentMethodSerializer
from billing.charging.case import BEFORE, EXPLAINED, NO_ORDER, TOOK_NOTHING, UNEXPLAINED
from billing.charging.resolve_many import MOST_AT_ONCE
from billing.domain.attempts import AttemptState, Source, Verdict
from billing.domain.resolution import ProposalKind, Resolution

REASON = "What the decision rests on; kept as evidence."


class ResolveBody(Body):
    resolution = word(Resolution, "What happened: the money was taken, the bank refused, or no money moved.")
    transaction_id = Text(
        max_length=64, required=False, default="",
        help_text="The gateway's id of the transaction, with `charged`; it is read at the gateway and compared.",
    )  # fmt: skip
    reason = Text(max_length=500, help_text=REASON)
    despite_orders = serializers.ListField(
        child=Text(max_length=64), required=False, default=list, max_length=100,
        help_text="Orders of the card that nothing explains, which somebody looked at and found to be something else: "
        "`declined` and `not_charged` are refused without them. `card_not_known` where the gateway forgot the card.",
    )  # fmt: skip


class ReleaseBody(Body):
    reason = Text(max_length=500, help_text="Why the card may be charged for its other invoices again.")


def _attempts() -> Any:
    return serializers.ListField(
        child=id_of("att", "An attempt"), min_length=1, max_length=MOST_AT_ONCE, help_text="Each once."
    )


class ResolveManyBody(Body):
    attempts = _attempts()
    resolution = Choice(
        choices=[(one.value, one.value) for one in Resolution if one is not Resolution.CHARGED],
        help_text="`charged` names a transaction each, so it is decided one by one.",
    )
    reason = Text(max_length=500, help_text=REASON)


class ReleaseManyBody(Body):
    attempts = _attempts()
    reason = Text(max_length=500, help_text="Why the cards may be charged for their other invoices again.")


class EvidenceSerializer(Told):
    source = word(Source, "Who told us.", read_only=True)  # type: ignore[assignment]
    verdict = word(Verdict, "What it says about the money.", read_only=True)
    reason = told("The code or word that came with it; may be empty.")
    content = serializers.DictField(read_only=True, help_text="What was said, verbatim, without personal data.")
    recorded_at = Instant(help_text="When it was recorded.")


class OrderSerializer(Told):
    gateway_order_id = told("The gateway's id of the order.")
    gateway_transaction_id = told("The gateway's id of the transaction; may be empty.")
    status = told("The gateway's word for its state.")
    amount_minor = whole(AMOUNT)
    currency = currency()
    ordered_at = Instant(allow_null=True, help_text="When it was made, by the gateway.")


class PairSerializer(Told):
    attempt = link("attempt", "Our attempt; null for an order that is none of ours.", nullable=True)
    state = told("The attempt's state.", source="attempt.state", allow_null=True)
    marker = told("The attempt's marker.", source="attempt.marker", allow_null=True)
    order = OrderSerializer(read_only=True, allow_null=True, help_text="The gateway's order; null when none is seen.")
    explained = Choice(
        read_only=True,
        source="why",
        choices=[(one, one) for one in (EXPLAINED, BEFORE, UNEXPLAINED, NO_ORDER, TOOK_NOTHING)],
        help_text="What explains the order. `unexplained` ones may be money: look at them first.",
    )


class HeldUpSerializer(Told):
    invoice = told("An open invoice that would be charged on this card.")
    description = told("What it is for.")
    amount_minor = whole(AMOUNT)
    currency = currency()
    due_at = Instant(help_text="Since when it waits.")


class ChoiceSerializer(Told):
    decision = word(ProposalKind, "The choice.", read_only=True, source="kind")
    invoice = told("What becomes of the invoice.")
    next_charge_at = Instant(allow_null=True, help_text="When it is charged next; null: not, or not by itself.")
    subscription = told("What becomes of the subscription.")
    card = told("What becomes of the card.")


@examples.told_as(examples.A_CASE)
class CaseSerializer(Told):
    attempt = AttemptSerializer(read_only=True, help_text="The attempt.")
    invoice = InvoiceSerializer(read_only=True, source="attempt.invoice", help_text="What it tries to collect.")
    payment_method = PaymentMethodSerializer(read_only=True, source="attempt.payment_method", help_text="The card.")
    evidence = EvidenceSerializer(many=True, read_only=True, help_text="Everything that was heard, in order.")
    orders = PairSerializer(
        many=True, read_only=True, source="pairs", help_text="Attempts on the card beside the gateway's orders of it."
    )
    holds_up = HeldUpSerializer(many=True, read_only=True, help_text="Other invoices that wait because of it.")
    choices = ChoiceSerializer(many=True, read_only=True, help_text="What may be decided; empty once it is.")
    proposals = ProposalSerializer(many=True, read_only=True, help_text="What was proposed, the newest first.")
    second_person = serializers.BooleanField(
        read_only=True, help_text="Whether a decision is only proposed, for another person to confirm."
    )


class OutcomeErrorSerializer(Told):
    field = told("What it is about.")
    rule = told("A stable word for the rule.")
    message = told("The rule in words.")


class OutcomeSerializer(Told):
    attempt = link("attempt", "The attempt.")
    outcome = serializers.SerializerMethodField(help_text="`done`, `proposed` (another person confirms) or `refused`.")
    state = serializers.SerializerMethodField(help_text="The attempt's state now.")
    proposal = told("The proposal, when it was proposed.", source="decision.proposal.public_id", allow_null=True)
    error = OutcomeErrorSerializer(read_only=True, source="refused", allow_null=True, help_text="Why it was refused.")

    def get_outcome(self, one: Any) -> str:
        if one.decision is None:
            return "refused"
        return "proposed" if one.decision.proposal else "done"

    def get_state(self, one: Any) -> str:
        state: AttemptState = AttemptState(one.decision.state if one.decision else one.attempt.state)
        return state.value


@examples.told_as(examples.OUTCOMES)
class OutcomesSerializer(Told):
    results = OutcomeSerializer(many=True, read_only=True, help_text="One for each attempt, in the order asked.")
