"""Invoices and the attempts to collect them."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.api import examples
from billing.api.fields import Body, Choice, Day, Instant, Text
from billing.api.serializers.common import AMOUNT, Output, currency, id_of, identifier, link, string, whole, word
from billing.api.serializers.plans import amount
from billing.domain.arming import Refusal
from billing.domain.attempts import AttemptState
from billing.domain.closing import PaidBy
from billing.domain.declines import DeclineKind, decline_of
from billing.domain.messages import Language
from billing.domain.resolution import ProposalKind, ProposalOutcome
from billing.domain.subscriptions import Hold, InvoiceState
from billing.explaining.explain import Answer, Kind
from billing.models import Invoice, PaymentAttempt

REASON = "The reason for the decision. Recorded in the history."


class InvoiceBody(Body):
    customer = id_of("cus", "Who is billed")
    amount_minor = amount()
    currency = currency()
    description = Text(max_length=200, help_text="What it is for. Shown on the invoice and to the customer.")
    payment_method = id_of(
        "pm", "The active card to charge. Null: the customer's default card",
        required=False, allow_null=True, default=None,
    )  # fmt: skip


class InvoiceLineSerializer(Output):
    description = string("What it is for.")
    quantity = whole("How many.")
    amount_minor = whole("For the whole line.")


class PaidElsewhereBody(Body):
    method = Choice(
        choices=[(one.value, one.value) for one in PaidBy if one is not PaidBy.GATEWAY],
        help_text="How it was paid.",
    )
    reference = Text(
        max_length=200, help_text="Reference of the payment, such as a receipt number or a line of a bank statement."
    )
    paid_date = Day(help_text="The day of the payment in the account's time zone. Must not be in the future.")
    reason = Text(max_length=500, help_text=REASON)


class FoundPaymentBody(Body):
    transaction_id = Text(
        max_length=64, help_text="The gateway's id of the transaction. It is read at the gateway and compared."
    )
    reason = Text(max_length=500, help_text=REASON)


class CloseBody(Body):
    reason = Text(max_length=500, help_text=REASON)


class OutsidePaymentSerializer(Output):
    id = identifier("`pay_…`")
    method = word(PaidBy, "How it was paid. `gateway` for a charge that no attempt explains.", read_only=True)
    reference = string("Reference of the payment. Empty with `gateway`.")
    transaction_id = string("The gateway's transaction, or null.", source="gateway_transaction_id", allow_null=True)
    paid_date = serializers.DateField(read_only=True, help_text="The day of the payment in the account's time zone.")
    recorded_by = string("Who recorded it.")
    confirmed_by = string("The second person. Empty if none was needed.")
    recorded_at = Instant(help_text="When it was recorded.")


class ProposalSerializer(Output):
    id = identifier("`prop_…`")
    decision = word(
        ProposalKind,
        "What is proposed: to resolve or release an attempt, to close an invoice, or to release a hold.",
        read_only=True,
        source="kind",
    )
    transaction_id = string("The gateway's transaction, if money was taken. Otherwise empty.")
    reason = string("The reason for the proposal.")
    proposed_by = string("Who proposed it.")
    proposed_at = Instant(help_text="When it was decided.")
    outcome = word(ProposalOutcome, "`open` awaits approval.", read_only=True)
    decided_by = string("Who confirmed or rejected it. Empty while it is open.")
    decided_at = Instant(allow_null=True, help_text="When it was decided.")
    decided_reason = string("Why it was decided so. May be empty.")


def open_proposal(row: Any) -> Any:
    """What waits for another person, of the row's prefetched proposals; None when nothing does."""
    waiting = next((one for one in row.proposals.all() if one.outcome == ProposalOutcome.OPEN), None)
    return ProposalSerializer(waiting).data if waiting else None


@examples.output_example(examples.AN_INVOICE)
class InvoiceSerializer(Output):
    id = identifier("`inv_…`")
    customer = link("customer", "Who is billed.")
    subscription = link("subscription", "The subscription that is billed. Null for a one-off.", nullable=True)
    period_index = whole("Number of the period, from 0. Null for a one-off.", allow_null=True)
    payment_method = link(
        "payment_method", "The card to charge. Null: the subscription's card, or the default card.", nullable=True
    )
    state = word(InvoiceState, "Only `paid` means that the money was received.", read_only=True)
    state_reason = string("Why it is in that state. May be empty.")
    description = string("What it is for.")
    lines = InvoiceLineSerializer(many=True, read_only=True, help_text="What the amount is made of.")
    amount_minor = whole(AMOUNT)
    currency = currency()
    amount_refunded_minor = whole("How much of it was refunded.")
    due_at = Instant(help_text="When it fell due.")
    next_attempt_at = Instant(
        allow_null=True,
        help_text="When it is tried next. Null while an attempt is under way, and when no try follows automatically.",
    )
    attempt_count = whole("The number of attempts so far.")
    tries = whole("How many of its tries were declined, or not made because of the card.")
    tries_avoided = whole("Of these, how many were not made: the bank would have declined them.")
    dunning_policy = link(
        "dunning_policy", "The policy that its first decline met (`dpol_…`). Null before.", nullable=True
    )
    grace_ends_at = Instant(
        allow_null=True,
        help_text="While it is open and no try is left: until when it can still be paid. May have passed.",
    )
    hold = word(Hold, "Why an open invoice needs review.", read_only=True, allow_null=True)
    refusal = word(Refusal, "Why the last due try was not made.", read_only=True, allow_null=True)
    created_at = Instant(help_text="When it was issued.")
    closed_at = Instant(allow_null=True, help_text="When it left the state `open`.")
    paid_elsewhere = serializers.SerializerMethodField(
        help_text="The payment that a person recorded, if no attempt paid it. Otherwise null."
    )
    proposal = serializers.SerializerMethodField(
        help_text="A proposal to close it that awaits approval. Otherwise null."
    )

    @extend_schema_field(OutsidePaymentSerializer(allow_null=True))
    def get_paid_elsewhere(self, invoice: Invoice) -> Any:
        payment = next(iter(invoice.outside_payments.all()), None)
        return OutsidePaymentSerializer(payment).data if payment else None

    @extend_schema_field(ProposalSerializer(allow_null=True))
    def get_proposal(self, invoice: Invoice) -> Any:
        return open_proposal(invoice)


class DeclineSerializer(Output):
    code = string("The code that the gateway passed on. May be a word where it gave none.")
    kind = word(
        DeclineKind,
        "`hard`: the bank will never approve this card; only another one helps. `soft`: another day may help. "
        "`unknown`: the code has no published meaning.",
        read_only=True,
    )
    meaning = string("What the code means, for your staff. Empty when `kind` is `unknown`.")
    message = string("A sentence for the customer, in English.")


@examples.output_example(examples.AN_ATTEMPT)
class AttemptSerializer(Output):
    id = identifier("`att_…`")
    invoice = link("invoice", "What it tries to collect.")
    payment_method = link("payment_method", "The card. Null: it was paid on a payment page.", nullable=True)
    checkout = link("checkout", "The payment page on which it was paid. Null: a charge of a card.", nullable=True)
    number = serializers.IntegerField(read_only=True, help_text="Number of the attempt, from 1.")
    state = word(
        AttemptState,
        "`sending`, `in_process` and `unknown` are unresolved. An unknown attempt is checked with the gateway until "
        "its outcome is known or a person decides. It is never simply repeated.",
        read_only=True,
    )
    state_reason = string("The gateway's code, or ours, for the reason. May be empty.")
    decline = serializers.SerializerMethodField(
        help_text="With `declined`: what the bank's code means. Otherwise null."
    )
    amount_minor = whole(AMOUNT)
    currency = currency()
    amount_refunded_minor = whole("How much of it was refunded.")
    marker = string("Twelve characters that identify the attempt in the gateway's records.")
    gateway_transaction_id = string("The gateway's id of the payment, when known.", allow_null=True)
    gateway_order_id = string("The gateway's id of the order, when known.", allow_null=True)
    armed_at = Instant(help_text="When the attempt started.")
    settled_at = Instant(allow_null=True, help_text="When its outcome was first known.")
    proposal = serializers.SerializerMethodField(
        help_text="With `needs_review`: the proposed decision that awaits approval. Otherwise null."
    )

    @extend_schema_field(DeclineSerializer(allow_null=True))
    def get_decline(self, attempt: PaymentAttempt) -> Any:
        if attempt.state != AttemptState.DECLINED:
            return None
        meaning = decline_of(attempt.state_reason)
        return {
            "code": attempt.state_reason,
            "kind": meaning.kind.value,
            "meaning": meaning.staff,
            "message": meaning.payer[Language.ENGLISH],
        }

    @extend_schema_field(ProposalSerializer(allow_null=True))
    def get_proposal(self, attempt: PaymentAttempt) -> Any:
        return open_proposal(attempt)


class ExplanationLineSerializer(Output):
    at = Instant(help_text="When it happened, or will happen for `next`.")
    kind = word(Kind, "The subject of the sentence.", read_only=True)
    text = string("The sentence.")
    evidence = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="The ids behind it, ours and the gateway's."
    )


@examples.output_example(examples.AN_EXPLANATION)
class ExplanationSerializer(Output):
    invoice = link("invoice", "The invoice that is explained.")
    answer = word(Answer, "Whether the customer's money was taken and kept, as one code.", read_only=True)
    summary = string("The same in a sentence or two.")
    time_zone = string("The time zone of the sentences.", source="zone")
    lines = ExplanationLineSerializer(
        many=True, read_only=True, help_text="The history of the invoice, in order of time."
    )
