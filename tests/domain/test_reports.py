"""When absence from the gateway's daily reports counts."""

from datetime import UTC, date, datetime, timedelta

import pytest

from billing.domain.reports import absence_counts, days_of

NOON = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)  # in Malaysia
LATE = datetime(2026, 3, 2, 15, 30, tzinfo=UTC)  # 23:30 there
BOTH_OVER = datetime(2026, 3, 3, 16, 0, tzinfo=UTC)  # midnight in Malaysia
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
    assert absence_counts(armed_at, listed, read_at=BOTH_OVER) is counts


def test_a_report_of_a_day_that_is_not_over_shows_no_absence() -> None:
    listed = {DAY: ["1"], NEXT: ["2"]}
    assert not absence_counts(NOON, listed, read_at=BOTH_OVER - timedelta(microseconds=1))
    assert not absence_counts(LATE, listed, read_at=LATE + timedelta(hours=2))
