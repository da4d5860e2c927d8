"""`manage.py switch stop|start`: the stop switch of the installation or of one account."""

import getpass
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.accounts.change_account import prove_account
from billing.accounts.gateway_accounts import (
    AccountError,
    start_account,
    start_installation,
    stop_account,
    stop_installation,
)
from billing.models import GatewayAccount
from billing.models.clock import database_now


class Command(BaseCommand):
    help = "Stop or start charging, everywhere or for one account. Charges under way are followed to their end."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("to", choices=("stop", "start"))
        parser.add_argument("--account", metavar="acct_…", help="only this account (default: the installation)")
        parser.add_argument("--reason", required=True, help="recorded in the history")

    def handle(self, *, to: str, account: str | None, reason: str, **_: Any) -> None:
        now, actor = database_now(), getpass.getuser()
        if account is None:
            change = stop_installation if to == "stop" else start_installation
            changed = change(reason=reason, actor=actor, now=now)
        else:
            row = GatewayAccount.objects.filter(public_id=account).first()
            if row is None:
                raise CommandError(f"--account: no such account: {account!r}")
            if to == "stop":
                changed = stop_account(account=row, reason=reason, actor=actor, now=now)
            else:
                changed = _start(row, reason=reason, actor=actor, now=now)
        what = account or "the installation"
        state = "stopped" if to == "stop" else "running"
        self.stdout.write(f"{what} is {state}." if changed else f"{what} is already {state}.")


def _start(row: GatewayAccount, *, reason: str, actor: str, now: datetime) -> bool:
    """Starts the account; credentials that were saved without proof are proved first."""
    try:
        prove_account(account=row, reason=reason, actor=actor, now=now)
        return start_account(account=row, reason=reason, actor=actor, now=now)
    except AccountError as error:
        raise CommandError(str(error)) from error
