"""Payment pages of the gateway's on which an invoice is paid."""

from typing import Any

from rest_framework import serializers

from billing.api import examples
from billing.api.fields import Body, Instant, WebAddress
from billing.api.serializers.common import AMOUNT, Output, currency, identifier, link, string, whole, word
from billing.domain.checkouts import CheckoutState
from billing.models import Checkout


class CheckoutBody(Body):
    return_url = WebAddress(
        required=False,
        help_text=(
            "Your own page, where the browser goes afterwards. `checkout` and `status` (open, paid or closed) are "
            "added to its query. Leave it out to end on a plain page of Kitaran."
        ),
    )


@examples.output_example(examples.A_CHECKOUT)
class CheckoutSerializer(Output):
    id = identifier("`chk_…`")
    invoice = link("invoice", "What is paid on the page.")
    state = word(
        CheckoutState,
        "`open`: the page can be used. `closed`: it is over, and nothing was paid as far as the gateway shows. Only "
        "`paid` means that the money was received.",
        read_only=True,
    )
    state_reason = string("Why it is in that state. May be empty.")
    amount_minor = whole(AMOUNT)
    currency = currency()
    order_id = string("Our order id, by which the payment is found in the gateway's portal.")
    url = serializers.SerializerMethodField(help_text="Where to send the customer's browser. Null unless `open`.")
    expires_at = Instant(help_text="Until when the page is handed out.")
    created_at = Instant(help_text="When it was requested.")
    closed_at = Instant(allow_null=True, help_text="When it was paid or over.")
    attempts = serializers.SerializerMethodField(help_text="The attempts that are payments made on it, in order.")

    def get_url(self, checkout: Checkout) -> str | None:
        return checkout.url if checkout.state == CheckoutState.OPEN else None

    def get_attempts(self, checkout: Checkout) -> list[str]:
        made: Any = sorted(checkout.attempts.all(), key=lambda attempt: attempt.pk)
        return [attempt.public_id for attempt in made]
