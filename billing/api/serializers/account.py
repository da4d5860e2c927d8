"""The account that the key belongs to."""

from rest_framework import serializers

from billing.api import examples
from billing.api.fields import Body, Instant, Text
from billing.api.serializers.common import Output, identifier, string, whole, word
from billing.domain.arming import Environment
from billing.models import AccountPace, GatewayAccount
from billing.operating.pauses import words


class SwitchBody(Body):
    reason = Text(max_length=200, help_text="Recorded in the history.")


@examples.output_example(examples.AN_ACCOUNT)
class AccountSerializer(Output):
    id = identifier("`acct_…`")
    name = string("The merchant's name, as customers see it.")
    environment = word(Environment, "`live` moves real money.", read_only=True)
    time_zone = string("IANA name; the default zone of plans.")
    store_id = string("The gateway's id of the store.")
    charge_limit_minor = whole("The most that one charge may be.")
    second_person_above_minor = whole(
        "A decision about an attempt above this amount needs a second person. Null: off.", allow_null=True
    )
    first_payment_hours = whole("How long a first charge may stay unpaid before its subscription expires.")
    is_stopped = serializers.SerializerMethodField(help_text="Nothing new is charged while it is stopped.")
    stopped_at = Instant(allow_null=True, help_text="When charging was stopped.")
    stopped_reason = string("Why it was stopped. Empty while it runs.")
    is_paused = serializers.SerializerMethodField(
        help_text="The account paused automatically or needs review. Nothing new is charged meanwhile."
    )
    paused_reason = serializers.SerializerMethodField(help_text="Why it is paused. Empty while it charges.")
    created_at = Instant(help_text="When the account was opened.")

    def get_is_paused(self, account: GatewayAccount) -> bool:
        return bool(self.get_paused_reason(account))

    def get_paused_reason(self, account: GatewayAccount) -> str:
        pace = AccountPace.objects.filter(account=account).first()
        return words(pace) if pace else ""

    def get_is_stopped(self, account: GatewayAccount) -> bool:
        return account.stopped_at is not None
