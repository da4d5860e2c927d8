"""Money given back."""

from billing.api import examples
from billing.api.fields import Body, Flag, Instant, Text, WholeNumber
from billing.api.serializers.common import AMOUNT, Told, currency, id_of, identifier, link, told, whole, word
from billing.charging.refund import RefundResolution
from billing.domain.refunds import RefundKind, RefundOrigin, RefundState


class RefundBody(Body):
    attempt = id_of("att", "Whose money goes back: an attempt that `succeeded`, or `surplus`")
    amount_minor = WholeNumber(
        min_value=1,
        max_value=2**53 - 1,
        required=False,
        allow_null=True,
        default=None,
        help_text="How much, in whole minor units; null: all that is left. Whether a part can go back depends on the "
        "card's bank.",
    )
    reverse = Flag(
        default=False,
        help_text="Take the whole payment back as if it had not been, possible for 15 minutes after it. The invoice "
        "is open again afterwards and waits for a person.",
    )
    reason = Text(max_length=500, help_text="Why; kept in the history, and not told to the gateway.")


class WithdrawBody(Body):
    reason = Text(max_length=500, default="withdrawn by the merchant", help_text="Kept in the history.")


class ResolveRefundBody(Body):
    resolution = word(RefundResolution, "What really happened.")
    reason = Text(max_length=500, help_text="What the decision rests on; it becomes evidence.")


@examples.told_as(examples.A_REFUND)
class RefundSerializer(Told):
    id = identifier("`ref_…`")
    attempt = link("attempt", "Whose money goes back.")
    invoice = link("invoice", "What the attempt was for.")
    kind = word(RefundKind, "`full` is the whole, untouched payment.", read_only=True)
    origin = word(RefundOrigin, "`gateway`: made in the gateway's own portal, and seen there.", read_only=True)
    amount_minor = whole(AMOUNT)
    currency = currency()
    state = word(
        RefundState,
        "Only `succeeded` means that the money goes back. An `unknown` refund is looked into until the gateway or a "
        "person says what came of it, and is never sent again; `refused`, `not_sent` and `not_refunded` are final, and "
        "the refund may be asked for anew.",
        read_only=True,
    )
    state_reason = told("The gateway's code or our word for why; may be empty. Says why a `requested` one waits.")
    requested_by = told("Who asked.")
    reason = told("Why it was asked for.", source="requested_reason")
    created_at = Instant(help_text="When it was asked for, or first seen.")
    armed_at = Instant(allow_null=True, help_text="When its request was written down to be sent; null before.")
    settled_at = Instant(allow_null=True, help_text="When its outcome was known.")
