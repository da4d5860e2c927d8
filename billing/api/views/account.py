"""`/account/`: the key's own account and its stop switch."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts.gateway_accounts import start_account, stop_account
from billing.api import examples
from billing.api.access import own_account
from billing.api.idempotency import idempotent
from billing.api.schema import operation
from billing.api.serializers.account import AccountSerializer, SwitchBody
from billing.api.views.base import CHARGE, AccountView
from billing.models import GatewayAccount


class _OwnAccountView(AccountView):
    tag = "Account"
    model = GatewayAccount
    answer_serializer = AccountSerializer

    def output(self) -> Response:
        return Response(AccountSerializer(own_account(self.account)).data)


class OwnAccountView(_OwnAccountView):
    @operation("read_account", "Read the account", "The account that the key belongs to.", answer=AccountSerializer)
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return self.output()


class StopView(_OwnAccountView):
    @operation(
        "stop_account",
        "Stop charging",
        "Turns the account's stop switch on. From then on nothing new is charged. Charges under way are followed to "
        "their end. Stopping a stopped account changes nothing.",
        request=SwitchBody,
        answer=AccountSerializer,
        examples=examples.SWITCH,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        body = self.body(SwitchBody)
        stop_account(account=self.account, reason=body["reason"], actor=self.caller.actor, now=self.now)
        return self.output()


class StartView(_OwnAccountView):
    scopes = {"POST": CHARGE}  # noqa: RUF012

    @operation(
        "start_account",
        "Charge again",
        "Turns the account's stop switch off. Invoices that fell due meanwhile are charged. Requires the scope "
        "`charge`.",
        request=SwitchBody,
        answer=AccountSerializer,
        examples=examples.SWITCH,
    )
    @idempotent()
    def post(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        body = self.body(SwitchBody)
        start_account(account=self.account, reason=body["reason"], actor=self.caller.actor, now=self.now)
        return self.output()
