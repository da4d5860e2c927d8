"""`manage.py create_account`: record a merchant's application at Revenue Monster.

Secrets come from files or from standard input, never from the command line, which every user of the machine can read.
"""

import getpass
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from billing.accounts.add_account import add_account
from billing.accounts.gateway_accounts import AccountError
from billing.domain.arming import Environment
from billing.models import GatewayAccount
from billing.models.clock import database_now

STDIN = "-"


class Command(BaseCommand):
    help = "Create a gateway account. Secrets are read from files, or one of them from standard input (-)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--name", required=True, help="the merchant's name, as customers see it")
        parser.add_argument("--environment", required=True, choices=[e.value for e in Environment])
        parser.add_argument("--client-id", required=True)
        parser.add_argument("--client-secret-file", required=True, metavar="FILE", help="- is standard input")
        parser.add_argument(
            "--private-key-file", required=True, metavar="FILE", help="the merchant's RSA key, PEM; - is standard input"
        )
        parser.add_argument(
            "--gateway-public-key-file", default="", metavar="FILE", help="Revenue Monster's public key, PEM"
        )
        parser.add_argument("--store-id", required=True)
        parser.add_argument("--time-zone", default="Asia/Kuala_Lumpur", help="default %(default)s")
        parser.add_argument("--oauth-url", default="", help="of a simulator only")
        parser.add_argument("--api-url", default="", help="of a simulator only")
        parser.add_argument(
            "--unproved",
            action="store_true",
            help=(
                "save the credentials even if the gateway does not answer; the account then stays stopped until they "
                "are checked"
            ),
        )

    def handle(self, **options: Any) -> None:
        files = ("client_secret_file", "private_key_file", "gateway_public_key_file")
        if sum(options[name] == STDIN for name in files) > 1:
            raise CommandError("only one of the files can be standard input (-)")
        secret, private_key, public_key = (_read(name, options[name]) for name in files)
        _check_private_key(private_key)
        if public_key:
            _check_public_key(public_key)
        for name in ("name", "client_id", "store_id"):
            if not options[name].strip():
                raise CommandError(f"{_option(name)}: must not be empty")
        _check_zone(options["time_zone"])
        environment = Environment(options["environment"])
        known = GatewayAccount.objects.filter(environment=environment.value, client_id=options["client_id"]).first()
        if known is not None:
            raise CommandError(f"--client-id: must be new; account {known.public_id} has it")
        try:
            account = add_account(
                name=options["name"].strip(),
                environment=environment,
                client_id=options["client_id"],
                client_secret=secret,
                private_key_pem=private_key,
                gateway_public_key=public_key,
                store_id=options["store_id"],
                time_zone=options["time_zone"],
                oauth_url=options["oauth_url"],
                api_url=options["api_url"],
                actor=getpass.getuser(),
                now=database_now(),
                may_be_unproved=options["unproved"],
            )
        except AccountError as error:
            raise CommandError(str(error)) from error
        if account.credentials_unproved_at:
            self.stderr.write("The gateway did not answer. The account is stopped until its credentials are checked.")
        if environment is Environment.LIVE and not settings.KITARAN_ALLOW_LIVE:
            self.stderr.write("The account moves real money. It charges nothing until KITARAN_ALLOW_LIVE=1 is set.")
        self.stdout.write(account.public_id)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _read(name: str, path: str) -> str:
    if not path:
        return ""
    try:
        text = sys.stdin.read() if path == STDIN else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise CommandError(f"{_option(name)}: {path!r} cannot be read: {reason}") from error
    if not text.strip():
        raise CommandError(f"{_option(name)}: {path!r} is empty")
    return text.strip()


def _check_private_key(pem: str) -> None:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's own words may quote the key.
        raise CommandError("--private-key-file: must be a PEM private key without a password") from None
    if not isinstance(key, RSAPrivateKey):
        raise CommandError("--private-key-file: must be an RSA key")


def _check_public_key(pem: str) -> None:
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise CommandError("--gateway-public-key-file: must be a PEM public key") from None
    if not isinstance(key, RSAPublicKey):
        raise CommandError("--gateway-public-key-file: must be an RSA key")


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise CommandError(f"--time-zone: must be a known IANA time zone; got {name!r}") from error
