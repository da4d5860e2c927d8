"""`manage.py audit`: everything that must always be true, asked of the database and, if wanted, of the gateway."""

import json
import sys
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from billing.audit.invariants import (
    CATALOGUE,
    CATALOGUE_SENTENCE,
    INVARIANTS,
    Violation,
    gateway_violations,
    violations,
)
from billing.models import GatewayAccount
from billing.models.clock import database_now

SENTENCES = {CATALOGUE: CATALOGUE_SENTENCE, **INVARIANTS}
WIDTH_OF_A_FILE = 240
MOST_ROWS = 20  # of one invariant on a terminal; --json has all


class Command(BaseCommand):
    help = "Check that nobody was charged twice and nothing is forgotten. Reads only; exits 1 when something is wrong."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON object, with every row")
        parser.add_argument(
            "--gateway", action="store_true", help="compare with the gateway too: reads every card's orders"
        )
        parser.add_argument("--account", metavar="acct_…", help="only this account (default: all)")

    def handle(self, *, as_json: bool, gateway: bool, account: str | None, **_: Any) -> None:
        now = database_now()
        account_id = _account_id(account)
        found = violations(now=now, account_id=account_id)
        if gateway:
            found += gateway_violations(now=now, account_id=account_id)
        by_name: defaultdict[str, list[Violation]] = defaultdict(list)
        for one in found:
            if one not in by_name[one.invariant]:
                by_name[one.invariant].append(one)
        if as_json:
            self.stdout.write(json.dumps(_machine_readable(by_name, now, account, gateway=gateway), indent=2))
        else:
            width = None if self.stdout.isatty() else WIDTH_OF_A_FILE
            console = Console(file=self.stdout, highlight=False, width=width)  # type: ignore[arg-type]
            _show(console, by_name, now, account, gateway=gateway)
        if found:
            sys.exit(1)


def _account_id(account: str | None) -> int | None:
    if account is None:
        return None
    row = GatewayAccount.objects.filter(public_id=account).first()
    if row is None:
        raise CommandError(f"--account: there is no account {account!r}")
    return row.pk


def _machine_readable(
    by_name: Mapping[str, Sequence[Violation]], now: datetime, account: str | None, *, gateway: bool
) -> dict[str, object]:
    return {
        "at": now.isoformat(),
        "account": account,
        "gateway": gateway,
        "ok": not any(by_name.values()),
        "invariants": [
            {
                "name": name,
                "sentence": sentence,
                "violations": [{"subject": one.subject, "text": one.text} for one in by_name.get(name, ())],
            }
            for name, sentence in SENTENCES.items()
        ],
    }


def _show(
    console: Console, by_name: Mapping[str, Sequence[Violation]], now: datetime, account: str | None, *, gateway: bool
) -> None:
    of = f"account {account}" if account else "all accounts"
    against = "the database and the gateway" if gateway else "the database"
    console.print(Text(f"Audit of {of} against {against}, {now:%Y-%m-%d %H:%M:%S} UTC", style="bold"))
    console.print()
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for name, sentence in SENTENCES.items():
        rows = by_name.get(name, ())
        verdict = Text(_violations(len(rows)), style="bold red") if rows else Text("ok", style="green")
        table.add_row(verdict, Text(name, style="bold"), sentence)
        for one in rows[:MOST_ROWS]:
            table.add_row("", "", Text.assemble(("→ ", "red"), (one.subject, "bold"), f" {one.text}"))
        if len(rows) > MOST_ROWS:
            table.add_row("", "", Text(f"→ and {len(rows) - MOST_ROWS} more; --json lists them all", style="red"))
    console.print(table)
    console.print()
    broken = [name for name in SENTENCES if by_name.get(name)]
    if broken:
        total = _violations(sum(len(by_name[name]) for name in broken))
        console.print(Text(f"{total} of {', '.join(broken)}.", style="bold red"))
    else:
        console.print(Text("Everything is as it must be.", style="bold green"))


def _violations(count: int) -> str:
    return f"{count} violation{'s' if count != 1 else ''}"
