"""Payment methods: cards bound at the gateway."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.api import examples
from billing.api.fields import Body, Instant, Text, WebAddress
from billing.api.serializers.common import AMOUNT, Output, currency, id_of, identifier, link, string, word
from billing.api.serializers.invoices import ProposalSerializer, open_proposal
from billing.domain.closing import Likeness
from billing.domain.subscriptions import CardKind, CardState
from billing.models import PaymentMethod


class PaymentMethodBody(Body):
    customer = id_of("cus", "Whose card it is")
    return_url = WebAddress(
        required=False,
        help_text=(
            "Your own page, where the browser goes afterwards. `payment_method` and `status` (active, pending, "
            "failed or cancelled) are added to its query. Leave it out to end on a plain page of Kitaran."
        ),
    )


class RevokeBody(Body):
    reason = Text(max_length=200, default="revoked by the merchant", help_text="Recorded in the history.")


class ClearHoldBody(Body):
    reason = Text(max_length=500, help_text="The reason for releasing the hold. Recorded in the history.")
    charge_although = serializers.ListField(
        child=Text(max_length=64), required=False, default=list, max_length=100,
        help_text="Orders, and transactions of found payments, that may pay an invoice that is still owed, but that "
                  "a person reviewed and found to be something else. Their invoices are charged anyway.",
    )  # fmt: skip


class DueSerializer(Output):
    invoice = string("An invoice that is charged to this card once the hold is released.")
    description = string("What it is for.")
    amount_minor = serializers.IntegerField(read_only=True, help_text=AMOUNT)
    currency = currency()
    due_at = Instant(help_text="Waiting since.")


class UnexplainedSerializer(Output):
    gateway_order_id = string("The gateway's id of the order.")
    gateway_transaction_id = string("The gateway's id of the transaction; may be empty.")
    status = string("The gateway's name for its state.")
    amount_minor = serializers.IntegerField(read_only=True, help_text=AMOUNT)
    currency = currency()
    ordered_at = Instant(allow_null=True, help_text="When it was created, by the gateway's clock.")


class CandidateSerializer(Output):
    order = string("The order, or the transaction of a found payment without a known order.", source="named")
    transaction_id = string(
        "Its transaction. Record it as a found payment of the invoice, and nothing is charged again.",
        source="order.gateway_transaction_id",
    )
    invoice = link("invoice", "The invoice that it may pay.")
    why = word(Likeness, "Why it may pay it.", read_only=True)


@examples.output_example(examples.A_HOLD)
class HoldSerializer(Output):
    payment_method = link("card", "The card.")
    is_held = serializers.SerializerMethodField(help_text="Whether the card is on hold.")
    reason = string("Why the card is on hold. Empty when it is not.", source="card.held_reason")
    charges = DueSerializer(
        many=True, read_only=True, source="due", help_text="What is charged when the hold is released."
    )
    total_minor = serializers.IntegerField(read_only=True, help_text=f"The total of these. {AMOUNT}")
    orders = UnexplainedSerializer(
        many=True, read_only=True, help_text="Unexplained orders. They count as reviewed once the hold is released."
    )
    may_be_paid = CandidateSerializer(
        many=True, read_only=True, source="candidates", help_text="Which of them may pay an invoice."
    )
    proposal = serializers.SerializerMethodField(help_text="A proposal that awaits approval. Otherwise null.")

    def get_is_held(self, seen: Any) -> bool:
        return seen.card.held_at is not None

    @extend_schema_field(ProposalSerializer(allow_null=True))
    def get_proposal(self, seen: Any) -> Any:
        return open_proposal(seen.card)


@examples.output_example(examples.A_CARD)
class PaymentMethodSerializer(Output):
    id = identifier("`pm_…`")
    customer = link("customer", "Whose card it is.")
    kind = word(CardKind, "`tokenized`: charged by this engine.", read_only=True)
    state = word(
        CardState,
        "`pending` until the customer has saved the card at the gateway. Only `active` cards are charged.",
        read_only=True,
    )
    is_default = serializers.BooleanField(
        read_only=True, help_text="Charged for all invoices of the customer that name no card."
    )
    is_held = serializers.SerializerMethodField(
        help_text="Something about the card is unexplained. It is not charged until a person has reviewed it."
    )
    declined_for_good = string(
        "The code of a decline after which the bank approves nothing on this card any more. It is not charged: the "
        "customer needs another card. Null otherwise.",
        source="frozen_by",
        allow_null=True,
    )
    rests_until = Instant(
        allow_null=True,
        help_text="From when the card is tried automatically again after its declines. May have passed.",
    )
    label = string(  # type: ignore[assignment]
        "First six and last four digits, as the gateway shows them. Empty until a card is saved."
    )
    payment_url = serializers.SerializerMethodField(
        help_text="Send the customer's browser here to enter a card. Null once no card has to be entered."
    )
    return_url = serializers.SerializerMethodField(help_text="Your own page for the browser afterwards, or null.")
    bind_outcome = serializers.SerializerMethodField(
        help_text="`failed` or `cancelled`: what the browser last claimed on its return. Null otherwise. A hint only."
    )
    bind_reason = string("The reason that came with it. May be empty.")
    created_at = Instant(help_text="When saving the card was started.")
    activated_at = Instant(allow_null=True, help_text="When the gateway first confirmed that the card can be charged.")

    def get_is_held(self, card: PaymentMethod) -> bool:
        return card.held_at is not None

    def get_payment_url(self, card: PaymentMethod) -> str | None:
        return (card.payment_url or None) if card.state == CardState.PENDING else None

    def get_return_url(self, card: PaymentMethod) -> str | None:
        return card.merchant_return_url or None

    def get_bind_outcome(self, card: PaymentMethod) -> str | None:
        return card.bind_outcome or None
