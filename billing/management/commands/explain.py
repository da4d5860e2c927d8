"""`manage.py explain INVOICE`: the life of one invoice in sentences that can be read to a customer."""

from argparse import ArgumentParser
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from billing.explaining.explain import Answer, Explanation, Kind, NothingFoundError, explain, find_invoice
from billing.models.clock import database_now

WIDTH_OF_A_FILE = 120
STYLES = {
    Kind.PAID: "green",
    Kind.DECLINED: "red",
    Kind.SURPLUS: "yellow",
    Kind.REVERSED: "yellow",
    Kind.GIVEN_BACK: "green",
    Kind.NOT_GIVEN_BACK: "yellow",
    Kind.WITH_A_PERSON: "bold yellow",
    Kind.ALARM: "bold red",
    Kind.REFUSED: "yellow",
    Kind.STOPPED: "yellow",
    Kind.NOW: "bold",
    Kind.NEXT: "bold",
}
ANSWERS = {
    Answer.CHARGED: "bold green",
    Answer.CHARGED_TOO_OFTEN: "bold red",
    Answer.GIVEN_BACK: "bold",
    Answer.NOT_CHARGED: "bold",
    Answer.NOT_KNOWN: "bold yellow",
}


class Command(BaseCommand):
    help = "Explain in sentences why a customer was charged, or not."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="inv_…", help="or att_…, ref_…, or the gateway's transaction or order id")

    def handle(self, *, name: str, **_: Any) -> None:
        try:
            invoice = find_invoice(name)
        except NothingFoundError as error:
            raise CommandError(str(error)) from error
        explanation = explain(invoice=invoice, now=database_now(), to_staff=True)
        width = None if self.stdout.isatty() else WIDTH_OF_A_FILE
        _show(Console(file=self.stdout, highlight=False, width=width), explanation)  # type: ignore[arg-type]


def _show(console: Console, explanation: Explanation) -> None:
    console.print(Text(explanation.summary, style=ANSWERS[explanation.answer]))
    console.print(Text(f"{explanation.invoice.public_id}, times of {explanation.zone}", style="dim"))
    console.print()
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    for line in explanation.lines:
        when = {Kind.NOW: "now", Kind.NEXT: "next"}.get(line.kind) or _when(line.at, explanation.zone)
        text = Text(line.text, style=STYLES.get(line.kind, ""))
        if line.evidence:
            text.append(f"\n{', '.join(line.evidence)}", style="dim not bold")
        table.add_row(Text(when, style="cyan"), text)
    console.print(table)


def _when(at: datetime, zone: str) -> str:
    local = at.astimezone(ZoneInfo(zone))
    return f"{local:%a} {local.day:2} {local:%b %Y %H:%M:%S}"
