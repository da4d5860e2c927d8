"""E-mails to customers."""

from billing.api import examples
from billing.api.fields import Instant
from billing.api.serializers.common import Output, identifier, link, string, word
from billing.domain.messages import Language, MessageKind, MessageState


@examples.output_example(examples.A_MESSAGE)
class MessageSerializer(Output):
    id = identifier("`msg_…`")
    customer = link("customer", "Whom it is to.")
    kind = word(MessageKind, "What it is about. `notice`: before a charge.", read_only=True)
    language = word(Language, "The language it is in.", read_only=True)
    state = word(
        MessageState,
        "`sent`: the mail server accepted it. `refused` and `bounced`: it did not, or returned it; correct the "
        "customer's address. `unknown`: it may have been sent, and is sent again only by a person. `canceled`: no "
        "longer true.",
        read_only=True,
    )
    state_reason = string("The mail server's answer, or why it was not sent. May be empty.")
    subject = string("As it was sent. Empty before.")
    text = string("As it was sent, as plain text. Empty before.")
    created_at = Instant(help_text="When it was written.")
    sent_at = Instant(allow_null=True, help_text="When the mail server accepted it. Null before.")
    sent_again_at = Instant(
        allow_null=True, help_text="When a person had an unknown one sent again: it may have arrived twice. Else null."
    )
