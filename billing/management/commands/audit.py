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
    CATALOGUE_INVARIANT,
    INVARIANTS,
    Violation,
    gateway_violations,
    violations,
)
from billing.mailing.digest import news_for_staff
from billing.models import GatewayAccount
from billing.models.clock import database_now

ALL = {CATALOGUE: CATALOGUE_INVARIANT, **INVARIANTS}
WIDTH_OF_A_FILE = 240
MOST_ROWS = 20  # of one invariant on a terminal; --json has all


class Command(BaseCommand):
    help = "Check that nobody was charged twice and no due charge was missed. Exits 1 if a check fails."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON object, with every row")
        parser.add_argument(
            "--gateway", action="store_true", help="also compare with the gateway: reads every card's orders"
        )
        parser.add_argument(
            "--mail", action="store_true", help="write to KITARAN_STAFF_MAIL when a check fails, once a day"
        )
        parser.add_argument("--account", metavar="acct_…", help="only this account (default: all)")

    def handle(self, *, as_json: bool, gateway: bool, account: str | None, mail: bool, **_: Any) -> None:
        now = database_now()
        account_id = _account_id(account)
        found = violations(now=now, account_id=account_id)
        if gateway:
            found += gateway_violations(now=now, account_id=account_id)
        by_code: defaultdict[str, list[Violation]] = defaultdict(list)
        for one in found:
            if one not in by_code[one.invariant]:
                by_code[one.invariant].append(one)
        if as_json:
            self.stdout.write(json.dumps(_machine_readable(by_code, now, account, gateway=gateway), indent=2))
        else:
            width = None if self.stdout.isatty() else WIDTH_OF_A_FILE
            console = Console(file=self.stdout, highlight=False, width=width)  # type: ignore[arg-type]
            _show(console, by_code, now, account, gateway=gateway)
        if found and mail:
            news_for_staff(event="audit.failed", account_id=account_id, occasion=f"audit {now:%Y-%m-%d}", now=now)
        if found:
            sys.exit(1)


def _account_id(account: str | None) -> int | None:
    if account is None:
        return None
    row = GatewayAccount.objects.filter(public_id=account).first()
    if row is None:
        raise CommandError(f"--account: no such account: {account!r}")
    return row.pk


def _machine_readable(
    by_code: Mapping[str, Sequence[Violation]], now: datetime, account: str | None, *, gateway: bool
) -> dict[str, object]:
    return {
        "at": now.isoformat(),
        "account": account,
        "gateway": gateway,
        "ok": not any(by_code.values()),
        "invariants": [
            {
                "code": code,
                "name": invariant.name,
                "sentence": invariant.sentence,
                "violations": [{"subject": one.subject, "text": one.text} for one in by_code.get(code, ())],
            }
            for code, invariant in ALL.items()
        ],
    }


def _show(
    console: Console, by_code: Mapping[str, Sequence[Violation]], now: datetime, account: str | None, *, gateway: bool
) -> None:
    of = f"account {account}" if account else "all accounts"
    against = "the database and the gateway" if gateway else "the database"
    console.print(Text(f"Audit of {of} against {against}, {now:%Y-%m-%d %H:%M:%S} UTC", style="bold"))
    console.print()
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for code, invariant in ALL.items():
        rows = by_code.get(code, ())
        verdict = Text(_violations(len(rows)), style="bold red") if rows else Text("ok", style="green")
        table.add_row(
            verdict,
            Text(code, style="bold"),
            Text(f"{invariant.name}: ", style="bold").append(invariant.sentence, style="not bold"),
        )
        for one in rows[:MOST_ROWS]:
            table.add_row("", "", Text.assemble(("→ ", "red"), (one.subject, "bold"), f" {one.text}"))
        if len(rows) > MOST_ROWS:
            table.add_row("", "", Text(f"→ and {len(rows) - MOST_ROWS} more; --json lists them all", style="red"))
    console.print(table)
    console.print()
    broken = [f"{code} ({one.name})" for code, one in ALL.items() if by_code.get(code)]
    if broken:
        total = _violations(sum(len(rows) for rows in by_code.values()))
        console.print(Text(f"{total} of {', '.join(broken)}.", style="bold red"))
    else:
        console.print(Text("All checks passed.", style="bold green"))


def _violations(count: int) -> str:
    return f"{count} violation{'s' if count != 1 else ''}"
