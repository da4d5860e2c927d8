"""When absence from the gateway's daily reports counts."""

from datetime import UTC, date, datetime, timedelta

import pytest

from billing.domain.reports import absence_counts, days_of

NOON = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)  # in Malaysia
LATE = datetime(2026, 3, 2, 15, 30, tzinfo=UTC)  # 23:30 there
DAY, NEXT = date(2026, 3, 2), date(2026, 3, 3)


def test_days_are_malaysian_whatever_utc_says() -> None:
    assert days_of(NOON) == (DAY, NEXT)
    assert days_of(datetime(2026, 3, 1, 16, 0, tzinfo=UTC)) == (DAY, NEXT)
    assert days_of(datetime(2026, 3, 1, 15, 59, tzinfo=UTC)) == (date(2026, 3, 1), DAY)


@pytest.mark.parametrize(
    ("armed_at", "listed", "counts"),
    [
        (NOON, {DAY: ["1"], NEXT: []}, True),
        (NOON, {DAY: [], NEXT: ["1"]}, False),
        (NOON, {DAY: ["1"], NEXT: None}, False),
        (NOON, {DAY: ["1"]}, False),
        (NOON, {DAY: None, NEXT: ["1"]}, False),
        (NOON, {}, False),
        (LATE, {DAY: ["1"], NEXT: []}, False),
        (LATE, {DAY: [], NEXT: ["2"]}, False),
        (LATE, {DAY: ["1"], NEXT: ["2"]}, True),
        (LATE - timedelta(hours=1), {DAY: ["1"], NEXT: []}, True),
    ],
)
def test_absence_counts_when_the_days_reports_are_whole(
    armed_at: datetime, listed: dict[date, list[str] | None], counts: bool
) -> None:
    assert absence_counts(armed_at, listed) is counts
