"""Money given back."""

from billing.api import examples
from billing.api.fields import Body, Flag, Instant, Text, WholeNumber
from billing.api.serializers.common import AMOUNT, Output, currency, id_of, identifier, link, string, whole, word
from billing.charging.refunds.ask import RefundResolution
from billing.domain.refunds import RefundKind, RefundOrigin, RefundState


class RefundBody(Body):
    attempt = id_of("att", "The attempt to refund: one that `succeeded`, or `surplus` (an overpayment)")
    amount_minor = WholeNumber(
        min_value=1,
        max_value=2**53 - 1,
        required=False,
        allow_null=True,
        default=None,
        help_text="Amount in whole minor units. Null: all that is left. Partial refunds depend on the card's bank.",
    )
    reverse = Flag(
        default=False,
        help_text="Reverse the whole payment. Possible for 15 minutes after the charge. The invoice is then open "
        "again and needs review.",
    )
    reason = Text(max_length=500, help_text="The reason. Recorded in the history, not sent to the gateway.")


class WithdrawBody(Body):
    reason = Text(max_length=500, default="withdrawn by the merchant", help_text="Recorded in the history.")


class ResolveRefundBody(Body):
    resolution = word(RefundResolution, "What happened.")
    reason = Text(max_length=500, help_text="The reason for the decision. Recorded as evidence.")


@examples.output_example(examples.A_REFUND)
class RefundSerializer(Output):
    id = identifier("`ref_…`")
    attempt = link("attempt", "The attempt that is refunded.")
    invoice = link("invoice", "What the attempt was for.")
    kind = word(RefundKind, "`full` is the whole payment, with nothing refunded before.", read_only=True)
    origin = word(RefundOrigin, "`gateway`: made in the gateway's own portal and found there.", read_only=True)
    amount_minor = whole(AMOUNT)
    currency = currency()
    state = word(
        RefundState,
        "Only `succeeded` means that the money is refunded. An `unknown` refund is checked with the gateway until "
        "its outcome is known or a person decides. It is never sent again. `refused`, `not_sent` and `not_refunded` "
        "are final, and the refund can be requested again.",
        read_only=True,
    )
    state_reason = string("The gateway's code, or ours, for the reason. May be empty. For `requested`: why it waits.")
    requested_by = string("Who requested it.")
    reason = string("Why it was requested.", source="requested_reason")
    created_at = Instant(help_text="When it was requested, or first found.")
    armed_at = Instant(allow_null=True, help_text="When it was started. Null before.")
    settled_at = Instant(allow_null=True, help_text="When its outcome was first known.")
