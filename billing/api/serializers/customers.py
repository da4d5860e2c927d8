"""Customers."""

from billing.api import examples
from billing.api.fields import Body, Email, Instant, Metadata, Text
from billing.api.serializers.common import Told, identifier, told


class CustomerChangeBody(Body):
    name = Text(max_length=100, help_text="Shown to the customer on the gateway's card page.")
    email = Email(help_text="Where the gateway writes to.")
    country_code = Text(
        max_length=3, default="60", pattern="[1-9][0-9]{0,2}", rule="must be 1 to 3 digits without a plus",
        help_text="Of the telephone number, without a plus: 60 for Malaysia.",
    )  # fmt: skip
    phone_number = Text(
        max_length=14, pattern="[0-9]{5,14}", rule="must be 5 to 14 digits without the country code",
        help_text="Without the country code and its leading zero: 123456789.",
    )  # fmt: skip
    metadata = Metadata(required=False, help_text="Anything of yours; kept and told, never read.")


class CustomerBody(CustomerChangeBody):
    reference = Text(
        max_length=100, help_text="Your own name for the customer, unique in the account; it never changes."
    )


@examples.told_as(examples.A_CUSTOMER)
class CustomerSerializer(Told):
    id = identifier("`cus_…`")
    reference = told("Your own name for the customer.")
    name = told("As given.")
    email = told("As given.")
    country_code = told("Of the telephone number, without a plus.")
    phone_number = told("Without the country code.")
    metadata = Metadata(read_only=True, help_text="As given.")
    created_at = Instant(help_text="When it was created.")
