"""Invoices and the attempts to collect them."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.api import examples
from billing.api.fields import Body, Instant, Text
from billing.api.serializers.common import AMOUNT, Told, currency, id_of, identifier, link, told, whole, word
from billing.api.serializers.plans import amount
from billing.audit.explain import Answer, Kind
from billing.domain.arming import Refusal
from billing.domain.attempts import AttemptState
from billing.domain.resolution import ProposalKind, ProposalOutcome
from billing.domain.subscriptions import Hold, InvoiceState
from billing.models import PaymentAttempt


class InvoiceBody(Body):
    customer = id_of("cus", "Who pays")
    amount_minor = amount()
    currency = currency()
    description = Text(max_length=200, help_text="What it is for; shown on the invoice and to the customer.")
    payment_method = id_of(
        "pm", "The active card to charge; null: the customer's default card",
        required=False, allow_null=True, default=None,
    )  # fmt: skip


class InvoiceLineSerializer(Told):
    description = told("What it is for.")
    quantity = whole("How many.")
    amount_minor = whole("Of the whole line.")


@examples.told_as(examples.AN_INVOICE)
class InvoiceSerializer(Told):
    id = identifier("`inv_…`")
    customer = link("customer", "Who pays.")
    subscription = link("subscription", "Whose period it is; null for a one-off.", nullable=True)
    period_index = whole("Number of the period, from 0; null for a one-off.", allow_null=True)
    payment_method = link(
        "payment_method", "The card it names; null: the subscription's card, or the default card.", nullable=True
    )
    state = word(InvoiceState, "Only `paid` means that the money was taken.", read_only=True)
    state_reason = told("Why it is in that state; may be empty.")
    description = told("What it is for.")
    lines = InvoiceLineSerializer(many=True, read_only=True, help_text="What the amount is made of.")
    amount_minor = whole(AMOUNT)
    currency = currency()
    amount_refunded_minor = whole("How much of it was given back.")
    due_at = Instant(help_text="When it fell due.")
    next_attempt_at = Instant(
        allow_null=True, help_text="When it is tried next; null while an attempt is under way and when nothing follows."
    )
    attempt_count = whole("How many attempts there were.")
    hold = word(Hold, "Why an open invoice waits for a person's decision.", read_only=True, allow_null=True)
    refusal = word(Refusal, "Why it was last not tried when its time came.", read_only=True, allow_null=True)
    created_at = Instant(help_text="When it was issued.")
    closed_at = Instant(allow_null=True, help_text="When it left the state `open`.")


class ProposalSerializer(Told):
    id = identifier("`prop_…`")
    decision = word(
        ProposalKind, "What is proposed: a resolution, or the release of the card.", read_only=True, source="kind"
    )
    transaction_id = told("The gateway's transaction, with `charged`; else empty.")
    reason = told("What the proposal rests on.")
    proposed_by = told("Who proposed it.")
    proposed_at = Instant(help_text="When.")
    outcome = word(ProposalOutcome, "`open` waits for another person.", read_only=True)
    decided_by = told("Who confirmed or rejected it; empty while it is open.")
    decided_at = Instant(allow_null=True, help_text="When.")
    decided_reason = told("Why; may be empty.")


@examples.told_as(examples.AN_ATTEMPT)
class AttemptSerializer(Told):
    id = identifier("`att_…`")
    invoice = link("invoice", "What it tries to collect.")
    payment_method = link("payment_method", "The card.")
    number = serializers.IntegerField(read_only=True, help_text="Counts the invoice's attempts from 1.")
    state = word(
        AttemptState,
        "`sending`, `in_process` and `unknown` are still open: an unknown attempt is looked into until the gateway or "
        "a person says what came of it, and is never simply repeated.",
        read_only=True,
    )
    state_reason = told("The gateway's code or our word for why; may be empty.")
    amount_minor = whole(AMOUNT)
    currency = currency()
    amount_refunded_minor = whole("How much of it was given back.")
    marker = told("Twelve characters that name the attempt in the gateway's records.")
    gateway_transaction_id = told("The gateway's id of the payment, when known.", allow_null=True)
    gateway_order_id = told("The gateway's id of the order, when known.", allow_null=True)
    armed_at = Instant(help_text="When it was decided and written down.")
    settled_at = Instant(allow_null=True, help_text="When its outcome was first known.")
    proposal = serializers.SerializerMethodField(
        help_text="With `needs_human`: the decision that was proposed and waits for another person; else null."
    )

    @extend_schema_field(ProposalSerializer(allow_null=True))
    def get_proposal(self, attempt: PaymentAttempt) -> Any:
        waiting = next((one for one in attempt.proposals.all() if one.outcome == ProposalOutcome.OPEN), None)
        return ProposalSerializer(waiting).data if waiting else None


class ExplanationLineSerializer(Told):
    at = Instant(help_text="When it happened; for `next`, when it will.")
    kind = word(Kind, "What the sentence is about.", read_only=True)
    text = told("The sentence.")
    evidence = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="Ids that it rests on, ours and the gateway's."
    )


@examples.told_as(examples.AN_EXPLANATION)
class ExplanationSerializer(Told):
    invoice = link("invoice", "What is explained.")
    answer = word(Answer, "Whether the customer's money was taken, and kept, in one word.", read_only=True)
    summary = told("The same in a sentence or two.")
    time_zone = told("The time zone that the sentences speak in.", source="zone")
    lines = ExplanationLineSerializer(many=True, read_only=True, help_text="Its life, in order of time.")
