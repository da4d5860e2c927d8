"""The account that the key belongs to."""

from rest_framework import serializers

from billing.api import examples
from billing.api.fields import Body, Instant, Text
from billing.api.serializers.common import Told, identifier, told, whole, word
from billing.domain.arming import Environment
from billing.models import GatewayAccount


class SwitchBody(Body):
    reason = Text(max_length=200, help_text="Kept in the history.")


@examples.told_as(examples.AN_ACCOUNT)
class AccountSerializer(Told):
    id = identifier("`acct_…`")
    name = told("The merchant's name, as customers see it.")
    environment = word(Environment, "`live` moves real money.", read_only=True)
    time_zone = told("IANA name; the default zone of plans.")
    store_id = told("The gateway's id of the store.")
    charge_limit_minor = whole("Nothing above it is charged.")
    second_person_above_minor = whole(
        "Above it, what one person decides about an attempt waits for another; null: off.", allow_null=True
    )
    is_stopped = serializers.SerializerMethodField(help_text="While it is stopped nothing new is charged.")
    stopped_at = Instant(allow_null=True, help_text="When the switch was thrown.")
    stopped_reason = told("Why; empty while it runs.")
    created_at = Instant(help_text="When the account was opened.")

    def get_is_stopped(self, account: GatewayAccount) -> bool:
        return account.stopped_at is not None
