"""`manage.py create_api_key`: a key for a merchant's developer, shown once."""

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.accounts.api_keys import SCOPES, create_api_key
from billing.models import GatewayAccount
from billing.models.clock import database_now


class Command(BaseCommand):
    help = "Create an API key of one account. The key is printed once and cannot be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", required=True, metavar="acct_…")
        parser.add_argument("--name", required=True, help="what uses the key, such as 'shop backend'")
        parser.add_argument(
            "--scope",
            dest="scopes",
            action="append",
            required=True,
            choices=SCOPES,
            help="repeat for several: read; write (create and change); charge (take money at once, end a stop)",
        )

    def handle(self, *, account: str, name: str, scopes: list[str], **_: Any) -> None:
        row = GatewayAccount.objects.filter(public_id=account).first()
        if row is None:
            raise CommandError(f"--account: no such account: {account!r}")
        if not name.strip():
            raise CommandError("--name: must state what uses the key")
        api_key, key = create_api_key(
            account=row, name=name.strip(), scopes=scopes, actor=getpass.getuser(), now=database_now()
        )
        self.stderr.write(
            f"Key {api_key.public_id} of {row.name} ({row.environment}), scopes {', '.join(api_key.scopes)}. "
            "This is the only time that it is shown:"
        )
        self.stdout.write(key)
