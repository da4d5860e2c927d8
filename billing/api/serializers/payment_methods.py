"""Payment methods: cards bound at the gateway."""

from rest_framework import serializers

from billing.api import examples
from billing.api.fields import Body, Instant, Text, WebAddress
from billing.api.serializers.common import Told, id_of, identifier, link, told, word
from billing.domain.subscriptions import CardKind, CardState
from billing.models import PaymentMethod


class PaymentMethodBody(Body):
    customer = id_of("cus", "Who binds the card")
    return_url = WebAddress(
        required=False,
        help_text=(
            "Your own page, where the browser goes afterwards with `payment_method` and `status` (active, pending, "
            "failed or cancelled) added to its query. Left out, a plain page of ours ends the journey."
        ),
    )


class RevokeBody(Body):
    reason = Text(max_length=200, default="revoked by the merchant", help_text="Kept in the history.")


@examples.told_as(examples.A_CARD)
class PaymentMethodSerializer(Told):
    id = identifier("`pm_…`")
    customer = link("customer", "Whose card it is.")
    kind = word(CardKind, "`tokenized`: charged by this engine.", read_only=True)
    state = word(
        CardState,
        "`pending` until the gateway says that a card is bound; only `active` cards are charged.",
        read_only=True,
    )
    is_default = serializers.BooleanField(
        read_only=True, help_text="Charged for everything of the customer that names no card."
    )
    is_held = serializers.SerializerMethodField(
        help_text="Something about the card is unexplained, and nothing is charged on it until a person looked."
    )
    label = told(  # type: ignore[assignment]
        "First six and last four digits, as the gateway shows them; empty until a card is bound."
    )
    payment_url = serializers.SerializerMethodField(
        help_text="Send the customer's browser here to enter a card; null once there is nothing to enter."
    )
    return_url = serializers.SerializerMethodField(help_text="Your own page for the browser afterwards, or null.")
    bind_outcome = serializers.SerializerMethodField(
        help_text="`failed` or `cancelled`: what a browser last claimed on its way back; null otherwise. A hint only."
    )
    bind_reason = told("The reason that came with it; may be empty.")
    created_at = Instant(help_text="When binding was started.")
    activated_at = Instant(allow_null=True, help_text="When the gateway first said that the card may be charged.")

    def get_is_held(self, card: PaymentMethod) -> bool:
        return card.held_at is not None

    def get_payment_url(self, card: PaymentMethod) -> str | None:
        return (card.payment_url or None) if card.state == CardState.PENDING else None

    def get_return_url(self, card: PaymentMethod) -> str | None:
        return card.merchant_return_url or None

    def get_bind_outcome(self, card: PaymentMethod) -> str | None:
        return card.bind_outcome or None
