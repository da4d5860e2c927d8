"""Django system checks: combinations of settings that would break a promise."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

TASK_HARD_LIMIT_SECONDS = 240
MARGIN_SECONDS = 20


def register_all() -> None:
    register(check_run_fits_the_hard_limit, Tags.compatibility)
    register(check_ladder, Tags.compatibility)
    register(check_window_is_inside_the_gateways, Tags.compatibility)


def check_run_fits_the_hard_limit(**_: Any) -> Sequence[CheckMessage]:
    total = settings.KITARAN_COLLECT_SECONDS + settings.KITARAN_GATEWAY_TOTAL_SECONDS + MARGIN_SECONDS
    if total < TASK_HARD_LIMIT_SECONDS:
        return []
    return [
        Error(
            "KITARAN_COLLECT_SECONDS + KITARAN_GATEWAY_TOTAL_SECONDS leave a run no time to settle: together with "
            f"{MARGIN_SECONDS} s they are {total} s, and a task is killed after {TASK_HARD_LIMIT_SECONDS} s.",
            id="billing.E001",
        )
    ]


def check_ladder(**_: Any) -> Sequence[CheckMessage]:
    ladder = settings.KITARAN_CHECK_LADDER_SECONDS + settings.KITARAN_REPORT_LADDER_SECONDS
    if list(ladder) == sorted(set(ladder)):
        return []
    return [
        Error(
            "KITARAN_CHECK_LADDER_SECONDS, then KITARAN_REPORT_LADDER_SECONDS: each check is later than the last.",
            id="billing.E002",
        )
    ]


def check_window_is_inside_the_gateways(**_: Any) -> Sequence[CheckMessage]:
    if settings.KITARAN_SEND_WINDOW_SECONDS <= 60:
        return []
    return [
        Error(
            "KITARAN_SEND_WINDOW_SECONDS is more than 60: the gateway takes timestamps of up to 120 s, and a late "
            "sender needs the rest.",
            id="billing.E003",
        )
    ]
