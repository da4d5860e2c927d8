"""`manage.py quarantine`: what a quarantine is about, reading what is left, and lifting it."""

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.charging.recovery.from_cards import read_quarantined
from billing.domain.doubts import in_utc
from billing.domain.money import display
from billing.domain.plurals import counted
from billing.models import GatewayAccount
from billing.models.clock import database_now
from billing.operating import quarantine, recognise, shutdown
from billing.operating.tuning import Tuning
from billing.operating.witness import WitnessError

FOR_SECONDS = 86_400


class Command(BaseCommand):
    help = (
        "Show the accounts in quarantine: since when and why, what was read and found, and what is left to do. "
        "`read` reads the cards that are due (workers do so too; it may be interrupted). `lift` ends the quarantine."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("what", nargs="?", choices=("show", "read", "lift"), default="show")
        parser.add_argument("--account", metavar="acct_…", help="only this account (default: all in quarantine)")
        parser.add_argument("--reason", default="", help="for lift: what was found; recorded in the history")

    def handle(self, *, what: str, account: str | None, reason: str, **_: Any) -> None:
        try:
            recognise.watch(now=database_now())
        except WitnessError as error:
            self.stderr.write(f"witness: {error}")
        accounts = GatewayAccount.objects.exclude(quarantined_at=None).order_by("pk")
        if account is not None:
            if not GatewayAccount.objects.filter(public_id=account).exists():
                raise CommandError(f"--account: no such account: {account!r}")
            accounts = accounts.filter(public_id=account)
        if not accounts:
            self.stdout.write("No account is in quarantine.")
            return
        if what == "read":
            for one in accounts:
                self._read(one)
        if what == "lift":
            for one in accounts:
                self._lift(one, reason)
            return
        for one in accounts.all():
            self._show(one)

    def _read(self, account: GatewayAccount) -> None:
        done = read_quarantined(
            tuning=Tuning.from_settings(),
            clock=database_now,
            should_stop=shutdown.requested,
            account_id=account.pk,
            for_seconds=FOR_SECONDS,
        )
        self.stdout.write(
            f"{account.public_id}: read {counted(done.read, 'card')}, {done.failed} failed, "
            f"{counted(done.attempts, 'charge')} recovered."
        )

    def _lift(self, account: GatewayAccount, reason: str) -> None:
        try:
            quarantine.lift(account=account, reason=reason, actor=f"command:{getpass.getuser()}", now=database_now())
        except quarantine.QuarantineError as error:
            raise CommandError(f"{account.public_id}: {error}") from error
        self.stdout.write(
            f"{account.public_id} is out of quarantine. For a while each card is read before its first charge."
        )

    def _show(self, account: GatewayAccount) -> None:
        found = quarantine.status(account, now=database_now())
        lines = [
            f"{account.public_id} {account.name}: in quarantine since {account.quarantined_at:%Y-%m-%d %H:%M:%S} UTC",
            f"  reason: {found.why}",
            f"  ({account.quarantine_detail})",
            f"  charges may be missing since {_instant(account.quarantine_point_at)}",
            f"  cards: {found.cards}, read once: {found.read_once}, not completely read: {found.unread}",
            f"  recovered: {counted(len(found.recovered), 'charge')}",
        ]
        lines += [
            f"  card {card.public_id} could not be read; a person set it aside, so it counts as read"
            for card in found.given_up[:20]
        ]
        lines += [
            f"    {one.invoice.public_id} {display(one.amount_minor, one.currency)} {one.state}"
            for one in found.recovered[:20]
        ]
        lines.append(f"  unexplained: {counted(len(found.unmatched), 'order')}; their customers' cards are on hold")
        lines += [
            f"    {one.gateway_order_id} {display(one.amount_minor, one.currency)} {one.status} "
            f"card {one.payment_method.public_id}"
            for one in found.unmatched[:20]
        ]
        lines += [f"  {line}" for line in quarantine.report_lines(found.reports)]
        lines.append(
            f"  cannot be lifted yet: {found.why_not_lifted.sentence(in_utc)}"
            if found.why_not_lifted
            else "  can be lifted: manage.py quarantine lift --reason '...'"
        )
        self.stdout.write("\n".join(lines))


def _instant(at: Any) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "ever"
