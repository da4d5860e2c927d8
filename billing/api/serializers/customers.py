"""Customers."""

from rest_framework import serializers

from billing.api import examples
from billing.api.fields import Body, Email, Flag, Instant, Metadata, Text
from billing.api.serializers.common import Output, identifier, string, word
from billing.domain.messages import Language


class CustomerChangeBody(Body):
    name = Text(max_length=100, help_text="Shown to the customer on the gateway's card page.")
    email = Email(help_text="The address that the gateway writes to.")
    country_code = Text(
        max_length=3, default="60", pattern="[1-9][0-9]{0,2}", rule="must be 1 to 3 digits without a plus",
        help_text="Country code of the phone number, without a plus: 60 for Malaysia.",
    )  # fmt: skip
    phone_number = Text(
        max_length=14, pattern="[1-9][0-9]{4,13}",
        rule="must be 5 to 14 digits without the country code and its leading zero",
        help_text="Without the country code and its leading zero: 123456789.",
    )  # fmt: skip
    language = word(
        Language, "Of the e-mails that Kitaran sends: `en` or `ms` (Malay); null: the account's.", allow_null=True,
        required=False,
    )  # fmt: skip
    silenced = Flag(
        required=False,
        help_text="Whether the customer gets only the e-mails that card networks require: the enrolment, and notices "
        "before a charge.",
    )
    metadata = Metadata(required=False, help_text="Any data of yours. Stored and returned, never interpreted.")


class CustomerBody(CustomerChangeBody):
    reference = Text(max_length=100, help_text="Your own id for the customer, unique in the account. It never changes.")


class EndLinksBody(Body):
    reason = Text(max_length=200, default="requested by the merchant", help_text="Recorded in the history.")


@examples.output_example(examples.A_PAYMENT_LINK)
class PaymentLinkSerializer(Output):
    url = serializers.CharField(
        read_only=True,
        allow_null=True,
        help_text="Leads to the customer's page. Whoever has it can open the page. It is sent this once: null "
        "in a replayed response.",
    )
    expires_at = Instant(help_text="Until when the link works, unless the customer's links are ended before.")


@examples.output_example(examples.A_CUSTOMER)
class CustomerSerializer(Output):
    id = identifier("`cus_…`")
    reference = string("Your own id for the customer.")
    name = string("As sent.")
    email = string("As sent.")
    country_code = string("Country code of the phone number, without a plus.")
    phone_number = string("Without the country code.")
    language = word(
        Language, "Of the e-mails that Kitaran sends; null: the account's.", allow_null=True, read_only=True
    )
    silenced = Flag(read_only=True, help_text="Whether the customer gets only the e-mails that are required.")
    metadata = Metadata(read_only=True, help_text="As sent.")
    created_at = Instant(help_text="When it was created.")
