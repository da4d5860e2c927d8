"""`manage.py resolve ATTEMPT`: a person's decision on an attempt that evidence could not close."""

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.charging.cases.resolve import Resolution, ResolutionError, resolve
from billing.domain.decisions import Decision
from billing.gateway.connection import GatewayUnavailableError
from billing.models import PaymentAttempt
from billing.models.clock import database_now
from billing.operating.tuning import Tuning


class Command(BaseCommand):
    help = (
        "Decide on an attempt that needs review: was the customer charged, declined, or not charged? Above the "
        "account's amount for a second person the decision is sent for approval: a person who is signed in to the "
        "admin confirms or rejects it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("attempt", metavar="att_…")
        parser.add_argument("--as", dest="resolution", required=True, choices=[r.value for r in Resolution])
        parser.add_argument("--transaction", default="", help="the gateway's transaction id, for --as charged")
        parser.add_argument("--reason", required=True, help="the reason for the decision")
        parser.add_argument(
            "--despite",
            action="append",
            default=[],
            metavar="ORDER",
            help="an unexplained order at the gateway that you reviewed; may be repeated",
        )

    def handle(
        self, *, attempt: str, resolution: str, transaction: str, reason: str, despite: list[str], **_: Any
    ) -> None:
        row = PaymentAttempt.objects.filter(public_id=attempt).first()
        if row is None:
            raise CommandError(f"attempt: no such attempt: {attempt!r}")
        try:
            decision = resolve(
                attempt=row,
                resolution=Resolution(resolution),
                decision=Decision(f"command:{getpass.getuser()}", reason),
                tuning=Tuning.from_settings(),
                now=database_now(),
                transaction_id=transaction,
                despite_orders=despite,
            )
        except ResolutionError as error:
            raise CommandError(str(error)) from error
        except GatewayUnavailableError as error:
            raise CommandError(f"gateway: gave no usable answer; nothing was changed: {error}") from error
        if decision.proposal is not None:
            self.stdout.write(
                f"{attempt} is above the account's amount for a second person. Sent for approval as "
                f"{decision.proposal.public_id}; a person confirms or rejects it in the admin."
            )
            return
        self.stdout.write(f"{attempt} is {decision.state.value}.")
