"""`manage.py schedule`: print when a schedule is due. Needs no database and does not read the clock."""

import json
import re
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any, Never
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.domain.schedules import DEFAULT_ZONE, Schedule, ScheduleError, occurrences

MAX_COUNT = 10_000
_ANY_DAY = date(2000, 1, 1)

_OPTION_OF_FIELD = {
    "interval": "--interval",
    "target": "--target",
    "anchor_date": "--anchor",
    "every": "--every",
    "charge_time": "--at",
    "zone": "--zone",
    "after": "--from",
}


class Command(BaseCommand):
    help = "Print the next dates and times at which a schedule is due."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        # Options arrive as text: Schedule.parse is the one judge of what they may say.
        parser.add_argument("--interval", required=True, help="DAILY, WEEKLY or MONTHLY")
        parser.add_argument(
            "--target",
            help="WEEKLY 0 (Sunday) to 6 (Saturday); MONTHLY -1 (last day), 0 (first day) or 1 to 28; DAILY none",
        )
        parser.add_argument("--every", default="1", help="every n-th occurrence (default 1)")
        parser.add_argument("--at", default="09:00", help="local charge time, HH:MM (default 09:00)")
        parser.add_argument("--zone", default=DEFAULT_ZONE, help=f"IANA time zone (default {DEFAULT_ZONE})")
        parser.add_argument("--anchor", help="day from which occurrences count (default: the day of --from)")
        parser.add_argument(
            "--from",
            dest="start",
            required=True,
            help="print what is due after this date and time, ISO 8601; in the schedule's zone if it has no offset",
        )
        parser.add_argument("--count", default="12", help=f"how many, 1 to {MAX_COUNT} (default 12)")
        parser.add_argument("--json", action="store_true", help="one JSON list of ISO 8601 dates and times with offset")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        try:
            schedule, start = read_schedule(options)
            count = read_count(options["count"])
            dues = list(islice(occurrences(schedule, start), count))
        except ScheduleError as error:
            refuse(_OPTION_OF_FIELD[error.field], error.message, error)
        if not dues:
            refuse("--from", "no occurrence is left before the year 9999 ends")
        zone = ZoneInfo(schedule.zone)
        if options["json"]:
            self.stdout.write(json.dumps([due.astimezone(zone).isoformat() for due in dues]))
            return
        self.stdout.write(schedule.describe())
        for line in table(dues, zone):
            self.stdout.write(line)


def read_schedule(options: dict[str, Any]) -> tuple[Schedule, datetime]:
    """The schedule that the options describe, and the instant of --from (UTC)."""
    start = read_instant(options["start"])
    fields = {
        "interval": options["interval"],
        "target": options["target"],
        "every": options["every"],
        "charge_time": options["at"],
        "zone": options["zone"],
    }
    anchor = options["anchor"]
    # Without --anchor the zone decides which day --from is, so the zone is judged first, with any anchor.
    schedule = Schedule.parse(anchor_date=_ANY_DAY if anchor is None else anchor, **fields)
    zone = ZoneInfo(schedule.zone)
    try:
        start = (start if start.tzinfo else start.replace(tzinfo=zone)).astimezone(UTC)
        local_date = start.astimezone(zone).date()
    except OverflowError as error:
        refuse("--from", "must be in the years 1 to 9999", error)
    if anchor is None:
        schedule = Schedule.parse(anchor_date=local_date, **fields)
    return schedule, start


def read_instant(text: object) -> datetime:
    """An ISO 8601 date and time, aware or naive."""
    try:
        return datetime.fromisoformat(str(text))
    except ValueError as error:
        refuse("--from", "must be an ISO 8601 date and time, such as 2026-01-31T00:00 or 2026-01-31T00:00+08:00", error)


def read_count(text: object) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,4}", str(text)) or int(str(text)) > MAX_COUNT:
        refuse("--count", f"must be a whole number from 1 to {MAX_COUNT}")
    return int(str(text))


def table(dues: list[datetime], zone: ZoneInfo) -> list[str]:
    """One line each, in columns: the local day, the local time with its offset, and the instant in UTC."""
    rows = []
    for due in dues:
        local = due.astimezone(zone)
        offset = local.isoformat()[len("2026-01-31T09:00:00") :]
        rows.append((f"{local:%a %Y-%m-%d}", f"{clock(local)} {offset}", f"{due:%Y-%m-%d} {clock(due)} UTC"))
    width = max(len(local_time) for _, local_time, _ in rows)
    return [f"{day}  {local_time:<{width}}  {utc}" for day, local_time, utc in rows]


def clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}" if moment.second else f"{moment:%H:%M}"


def refuse(option: str, rule: str, cause: Exception | None = None) -> Never:
    raise CommandError(f"{option}: {rule}") from cause
