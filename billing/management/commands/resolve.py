"""`manage.py resolve ATTEMPT`: a person's decision on an attempt that evidence could not close."""

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.charging.limits import Limits
from billing.charging.resolve import Resolution, ResolutionError, resolve
from billing.models import PaymentAttempt
from billing.models.clock import database_now


class Command(BaseCommand):
    help = "Decide on an attempt that needs a human: was the customer charged, declined, or not charged?"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("attempt", metavar="att_…")
        parser.add_argument("--as", dest="resolution", required=True, choices=[r.value for r in Resolution])
        parser.add_argument("--transaction", default="", help="the gateway's transaction id, for --as charged")
        parser.add_argument("--reason", required=True, help="what the decision rests on")

    def handle(self, *, attempt: str, resolution: str, transaction: str, reason: str, **_: Any) -> None:
        row = PaymentAttempt.objects.filter(public_id=attempt).first()
        if row is None:
            raise CommandError(f"attempt: there is no attempt {attempt!r}")
        try:
            state = resolve(
                attempt=row,
                resolution=Resolution(resolution),
                reason=reason,
                actor=getpass.getuser(),
                limits=Limits.from_settings(),
                now=database_now(),
                transaction_id=transaction,
            )
        except ResolutionError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{attempt} is {state.value}.")
