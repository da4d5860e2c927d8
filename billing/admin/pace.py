"""An account's pace on its page: that it pauses or waits, why, what its last runs began with, and letting it run."""

from datetime import datetime
from typing import Any

from django.utils.html import format_html

from billing.admin.toolkit.actions import Done, Given, PersonAction
from billing.admin.toolkit.formats import moment
from billing.admin.toolkit.pages import Cell, Facts, Table, Words
from billing.charging.attempts import pace
from billing.domain.money import display
from billing.domain.pacing import RUN_OVER, PaceState
from billing.domain.plurals import counted
from billing.models import AccountPace, GatewayAccount, RunManifest
from billing.models.clock import database_now
from billing.operating.pauses import PAUSED, words

LISTED = 5


def pace_of(row: GatewayAccount) -> AccountPace | None:
    """Read once for a page."""
    return getattr(row, "pace", None)


def pace_notice(row: GatewayAccount) -> list[Words]:
    """Why nothing is charged for the account just now, when it is not stopped."""
    known = pace_of(row)
    if known is None or known.state not in PAUSED or row.stopped_at is not None:
        return []
    since = moment(known.since, row.time_zone)
    colour = "danger" if known.state == PaceState.HELD else "warning"
    return [Words(format_html("Since {} {} {}.", since, row.name, words(known)), colour)]


def pace_facts(row: GatewayAccount, now: datetime) -> Facts:
    known = pace_of(row)
    most = f"{row.max_in_flight} at once" if row.max_in_flight else "one for each sender"
    rate = f"{row.charges_per_second} a second" if row.charges_per_second else "no limit per second"
    facts: list[tuple[str, Any]] = [("Limit", f"{most}, {rate}"), ("Now", _now(known, now))]
    if known is not None and known.retry_at is not None and known.state == PaceState.OPEN:
        facts.append(("Next try", moment(known.retry_at, row.time_zone)))
    return Facts("Charging pace", facts)


def _now(known: AccountPace | None, now: datetime) -> str:
    if known is not None and known.state == PaceState.HELD:
        return "needs review"
    if known is not None and known.state in PAUSED:
        return "paused automatically"
    if known is None or known.last_charge_at is None or now - known.last_charge_at >= RUN_OVER:
        return "no run under way; the next one starts with a few charges"
    return f"up to {known.allowance} at once, more as charges end well"


def runs(row: GatewayAccount) -> Table:
    """What was due when the last runs began."""
    found = RunManifest.objects.filter(account=row).order_by("-pk")[:LISTED]
    rows = [
        [
            Cell(moment(one.began_at, row.time_zone)),
            Cell(str(one.charges), number=True),
            Cell(", ".join(display(sum_, currency) for currency, sum_ in sorted(one.sums_minor.items())), number=True),
            Cell(one.held_reason or "charged"),
        ]
        for one in found
    ]
    return Table("Last runs", ["Started", "Due", "Total", "Result"], rows, "No runs yet.")


def _let_run(row: GatewayAccount, given: Given) -> Done:
    pace.let_run(account=row, reason=given.reason, actor=given.actor, now=given.now)
    return Done("Account running. It starts with a few charges.")


def _explain(row: GatewayAccount) -> str:
    known = pace_of(row)
    due = pace.due(row, now=database_now())
    owed = ", ".join(display(total, currency) for currency, total in sorted(due.sums_minor.items())) or "nothing"
    largest = f", the largest {display(due.largest_minor, 'MYR')}" if due.charges > 1 else ""
    what = f"{counted(due.charges, 'charge')} due: {owed}{largest}."
    if known is not None and known.state == PaceState.HELD:
        return f"{row.name} {words(known)}. {what} Resuming charges them, and the account is not held again for a day."
    return f"{row.name} is paused automatically. {what} Kitaran reads the gateway now and charges them if it answers."


LET_RUN = PersonAction(
    name="let-run",
    label="Resume charging",
    icon="play_circle",
    permission="billing.change_gatewayaccount",
    offered=lambda row: (known := pace_of(row)) is not None and known.state in (PaceState.OPEN, PaceState.HELD),
    explain=_explain,
    carry_out=_let_run,
)
