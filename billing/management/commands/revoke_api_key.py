"""`manage.py revoke_api_key KEY`: the key opens nothing from now on."""

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q

from billing.accounts.api_keys import revoke_api_key
from billing.models import ApiKey
from billing.models.clock import database_now


class Command(BaseCommand):
    help = "Revoke an API key. Work that it already started continues."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("key", metavar="key_…", help="the key's id, or its first characters (kit_1a2b3c4d)")

    def handle(self, *, key: str, **_: Any) -> None:
        row = ApiKey.objects.filter(Q(public_id=key) | Q(prefix=key)).first()
        if row is None:
            raise CommandError(
                "key: no such key; must be an id (key_…) or the first characters of a key (kit_1a2b3c4d)"
            )
        revoked = revoke_api_key(api_key=row, actor=getpass.getuser(), now=database_now())
        self.stdout.write(f"{row.public_id} is revoked." if revoked else f"{row.public_id} is already revoked.")
