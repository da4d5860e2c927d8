"""The demonstration on a terminal: a table that is drawn again in place, or lines when there is no terminal."""

import sys
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from billing.demo.view import Row, Snapshot

MESSAGES_SHOWN = 6
WARNINGS_SHOWN = 3  # in lines of their own, so that news do not push them away


class Screen(Protocol):
    """Where the demonstration is shown."""

    def say(self, text: str) -> None:
        """Something happened."""

    def warn(self, text: str) -> None:
        """Something happened to a process; any thread may call it."""

    def show(self, snapshot: Snapshot | None, addresses: Mapping[str, str], *, trouble: str = "") -> None:
        """The state of things; without a snapshot nothing is known yet."""

    def close(self) -> None:
        """The show is over: what is printed from now on stands below it."""


def screen() -> Screen:
    console = Console(highlight=False)
    return LiveScreen(console) if console.is_terminal else PlainScreen()


class PlainScreen:
    """Lines, each when something has changed."""

    def __init__(self) -> None:
        self._last = ""

    def say(self, text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def warn(self, text: str) -> None:
        self.say(text)

    def show(self, snapshot: Snapshot | None, addresses: Mapping[str, str], *, trouble: str = "") -> None:  # noqa: ARG002
        line = trouble or (summary(snapshot) if snapshot else "")
        if line and line != self._last:
            self.say(line)
            self._last = line

    def close(self) -> None:
        return


class LiveScreen:
    """The table, drawn in place; what is printed stands below it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop", transient=False)
        self._messages: deque[str] = deque(maxlen=MESSAGES_SHOWN)
        self._warnings: deque[str] = deque(maxlen=WARNINGS_SHOWN)
        self._started = False

    def say(self, text: str) -> None:
        if self._started:
            self._messages.append(text)
        else:
            self._console.print(Text(text))

    def warn(self, text: str) -> None:
        if self._started:
            self._warnings.append(text)
        else:
            self._console.print(Text(text, style="yellow"))

    def show(self, snapshot: Snapshot | None, addresses: Mapping[str, str], *, trouble: str = "") -> None:
        if snapshot is None:
            return
        if not self._started:
            self._started = True
            self._live.start()
        messages = Text("\n".join(self._messages), style="dim", no_wrap=True, overflow="ellipsis")
        parts: list[RenderableType] = [_header(snapshot, addresses), table(snapshot)]
        parts += [Text(text, style="yellow", no_wrap=True, overflow="ellipsis") for text in list(self._warnings)]
        parts.append(messages)
        if trouble:
            parts.append(Text(trouble, style="bold red"))
        self._live.update(Group(*parts), refresh=True)

    def close(self) -> None:
        if self._started:
            self._started = False
            self._live.stop()


def summary(snapshot: Snapshot) -> str:
    """The counts in one line."""
    counts = snapshot.counts
    due = local(snapshot.next_due_at, snapshot.zone, "%a %d %b %H:%M") or "none"
    return (
        f"due {counts.due}: waiting {counts.waiting}, in flight {counts.in_flight}, paid {counts.paid}, "
        f"declined {counts.declined}, unknown {counts.unknown}; next due {due}"
    )


def _header(snapshot: Snapshot, addresses: Mapping[str, str]) -> RenderableType:
    where = Text("Kitaran  ", style="bold", no_wrap=True, overflow="ellipsis")
    for name, url in addresses.items():
        where.append(f"{name} ", style="dim not bold")
        where.append(f"{url}  ", style="cyan not bold")
    counts = snapshot.counts
    line = Text(no_wrap=True, overflow="ellipsis")
    for name, number, style in (
        ("due", counts.due, "bold"),
        ("waiting", counts.waiting, "bold"),
        ("in flight", counts.in_flight, "bold cyan"),
        ("paid", counts.paid, "bold green"),
        ("declined", counts.declined, "bold red"),
        ("unknown", counts.unknown, "bold yellow"),
    ):
        line.append(f"{name} ", style="dim")
        line.append(f"{number}  ", style=style if number else "dim")
    line.append("next due ", style="dim")
    line.append(local(snapshot.next_due_at, snapshot.zone, "%a %d %b %H:%M") or "none", style="bold")
    line.append(local(snapshot.at, snapshot.zone, "  %H:%M:%S"), style="dim")
    return Group(where, line)


def table(snapshot: Snapshot) -> Table:
    """All subscriptions; 100 columns are enough for it."""
    drawn = Table(
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        header_style="bold underline",
        caption=f"All are due at {snapshot.charge_times}; times are of {snapshot.zone}.",
        caption_style="dim",
        caption_justify="left",
    )
    drawn.add_column("Customer", no_wrap=True, overflow="ellipsis")
    drawn.add_column("Plan", no_wrap=True, overflow="ellipsis")
    drawn.add_column("Due", no_wrap=True, overflow="ellipsis", style="dim")
    drawn.add_column("Amount", justify="right", no_wrap=True)
    drawn.add_column("State", no_wrap=True, min_width=16)
    drawn.add_column("Tried", no_wrap=True, style="dim", min_width=8)
    drawn.add_column("Next due", no_wrap=True, style="dim", min_width=9)
    for row in snapshot.rows:
        drawn.add_row(*_cells(row, snapshot.zone))
    return drawn


def _cells(row: Row, zone: str) -> tuple[RenderableType, ...]:
    return (
        row.customer,
        row.plan,
        row.schedule,
        row.amount,
        Text(row.state, style=row.style),
        local(row.last_attempt_at, zone, "%H:%M:%S"),
        local(row.next_due_at, zone, "%d %b %y"),
    )


def local(at: datetime | None, zone: str, pattern: str) -> str:
    return at.astimezone(ZoneInfo(zone)).strftime(pattern) if at is not None else ""
