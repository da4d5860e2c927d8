"""System checks: combinations of settings that would break a promise are refused at start."""

from typing import Any

import pytest

from billing.checks import check_ladder, check_run_fits_the_hard_limit, check_window_is_inside_the_gateways


@pytest.mark.parametrize(
    ("ladder", "reports", "fine"),
    [
        ((120, 300), (180_000, 216_000), True),
        ((120, 300), (), True),
        ((300, 120), (), False),
        ((120, 120), (), False),
        ((120, 300), (300,), False),
        ((120, 300), (216_000, 180_000), False),
    ],
)
def test_each_check_of_an_unknown_attempt_is_later_than_the_last(
    settings: Any, ladder: tuple[int, ...], reports: tuple[int, ...], fine: bool
) -> None:
    settings.KITARAN_CHECK_LADDER_SECONDS = ladder
    settings.KITARAN_REPORT_LADDER_SECONDS = reports
    assert [error.id for error in check_ladder()] == ([] if fine else ["billing.E002"])


@pytest.mark.parametrize(("collect", "total", "fine"), [(60, 100, True), (120, 119, False), (120, 100, False)])
def test_a_run_ends_before_its_task_is_killed(settings: Any, collect: int, total: int, fine: bool) -> None:
    settings.KITARAN_COLLECT_SECONDS = collect
    settings.KITARAN_GATEWAY_TOTAL_SECONDS = total
    assert [error.id for error in check_run_fits_the_hard_limit()] == ([] if fine else ["billing.E001"])


@pytest.mark.parametrize(("window", "fine"), [(20, True), (60, True), (61, False)])
def test_a_late_sender_has_room_inside_the_gateways_own_window(settings: Any, window: int, fine: bool) -> None:
    settings.KITARAN_SEND_WINDOW_SECONDS = window
    assert [error.id for error in check_window_is_inside_the_gateways()] == ([] if fine else ["billing.E003"])
