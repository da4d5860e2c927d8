"""The gateway's daily reports: which days can list a charge, and when absence from them counts.

A report of a day that lists no success that we know of may simply not be made yet: absence from it says nothing.
"""

from collections.abc import Collection, Mapping
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from billing.domain.matching import LATEST

# The gateway's reports are of days in Malaysia, whatever the merchant's time zone.
REPORT_ZONE = ZoneInfo("Asia/Kuala_Lumpur")


def days_of(armed_at: datetime) -> tuple[date, date]:
    """The day of arming and the next one: what was asked for before midnight may be booked after it."""
    day = armed_at.astimezone(REPORT_ZONE).date()
    return day, day + timedelta(days=1)


def absence_counts(armed_at: datetime, successes: Mapping[date, Collection[str] | None], *, read_at: datetime) -> bool:
    """Whether a charge that neither report lists was not made, as far as reports can say so.

    `successes` are, by day, the transactions known to us that its report lists; None: it could not be read. Both
    must have been read (from `read_at` on, and both days were over by then), and each day on which the charge can
    have been made must list one."""
    if read_at.astimezone(REPORT_ZONE).date() <= max(days_of(armed_at)):
        return False
    possible = {at.astimezone(REPORT_ZONE).date() for at in (armed_at, armed_at + LATEST)}
    return all(successes.get(day) is not None for day in days_of(armed_at)) and all(
        successes.get(day) for day in possible
    )
