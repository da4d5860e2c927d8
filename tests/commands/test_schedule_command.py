"""`manage.py schedule` prints due instants from its options alone: no database, no clock."""

import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

ROOT = Path(__file__).resolve().parents[2]


def run(*options: str) -> str:
    out = StringIO()
    call_command("schedule", *options, stdout=out)
    return out.getvalue()


def run_json(*options: str) -> list[str]:
    return json.loads(run(*options, "--json"))


LAST_DAY = ("--interval", "MONTHLY", "--target", "-1")
DAILY = ("--interval", "DAILY", "--count", "3")
NEW_YORK = ("--zone", "America/New_York")


def test_json_is_a_list_of_local_instants_with_offset() -> None:
    dues = run_json(*LAST_DAY, "--from", "2028-01-31T00:00", "--count", "3")
    assert dues == ["2028-01-31T09:00:00+08:00", "2028-02-29T09:00:00+08:00", "2028-03-31T09:00:00+08:00"]


def test_words_come_first_and_then_aligned_lines() -> None:
    lines = run(*LAST_DAY, "--from", "2026-01-31T00:00", "--count", "2").splitlines()
    assert lines == [
        "every month on the last day at 09:00, Asia/Kuala_Lumpur",
        "Sat 2026-01-31  09:00 +08:00  2026-01-31 01:00 UTC",
        "Sat 2026-02-28  09:00 +08:00  2026-02-28 01:00 UTC",
    ]


def test_columns_stay_aligned_when_the_offset_has_seconds() -> None:
    lines = run(*DAILY, "--zone", "Africa/Monrovia", "--from", "1972-01-05", "--count", "3").splitlines()
    assert lines[1:] == [
        "Wed 1972-01-05  09:00 -00:44:30  1972-01-05 09:44:30 UTC",
        "Thu 1972-01-06  09:00 -00:44:30  1972-01-06 09:44:30 UTC",
        "Fri 1972-01-07  09:00 +00:00     1972-01-07 09:00 UTC",
    ]


def test_from_is_exclusive() -> None:
    assert run_json(*DAILY, "--from", "2026-05-04T09:00")[0] == "2026-05-05T09:00:00+08:00"
    assert run_json(*DAILY, "--from", "2026-05-04T08:59:59")[0] == "2026-05-04T09:00:00+08:00"


def test_from_with_an_offset_is_that_instant() -> None:
    for start in ("2026-05-04T01:00Z", "2026-05-03T21:00-04:00", "2026-05-04T09:00+08:00"):
        assert run_json(*DAILY, "--from", start)[0] == "2026-05-05T09:00:00+08:00"


def test_the_anchor_is_the_local_day_of_from_unless_given() -> None:
    fortnightly = ("--interval", "WEEKLY", "--target", "1", "--every", "2", "--count", "2")
    local_tuesday = run_json(*fortnightly, "--from", "2026-05-04T23:00Z")
    assert local_tuesday == ["2026-05-11T09:00:00+08:00", "2026-05-25T09:00:00+08:00"]
    given = run_json(*fortnightly, "--from", "2026-05-04T23:00Z", "--anchor", "2026-05-04")
    assert given == ["2026-05-18T09:00:00+08:00", "2026-06-01T09:00:00+08:00"]


def test_from_without_offset_follows_the_rules_of_charge_times() -> None:
    in_gap = run_json(*DAILY, *NEW_YORK, "--at", "03:30", "--from", "2026-03-08T02:30")
    assert in_gap[0] == "2026-03-09T03:30:00-04:00"  # 02:30 is 03:30 that day, and --from is exclusive
    doubled = run_json(*DAILY, *NEW_YORK, "--at", "01:45", "--from", "2026-11-01T01:30")
    assert doubled[0] == "2026-11-01T01:45:00-04:00"


def test_daily_accepts_an_empty_or_zero_target() -> None:
    expected = run(*DAILY, "--from", "2026-05-04")
    for target in ("", "0"):
        assert run(*DAILY, "--target", target, "--from", "2026-05-04") == expected


def test_options_may_come_from_code_as_values() -> None:
    out = StringIO()
    call_command(
        "schedule", interval="MONTHLY", target=-1, start="2026-02-01T00:00", every=12, count=2, json=True, stdout=out
    )
    assert json.loads(out.getvalue()) == ["2026-02-28T09:00:00+08:00", "2027-02-28T09:00:00+08:00"]


def test_fewer_are_printed_when_the_calendar_ends() -> None:
    assert len(run_json(*DAILY, "--from", "9999-12-31T00:00")) == 1
    with pytest.raises(CommandError, match="--from: no occurrence is left before the year 9999 ends"):
        run(*DAILY, "--from", "9999-12-31T09:00")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--interval", "MONTHLY", "--target", "31"), "--target: .*use -1 for the last day"),
        (("--interval", "MONTHLY"), "--target: must be a whole number for MONTHLY"),
        (("--interval", "WEEKLY", "--target", "7"), "--target: must be 0 .* for WEEKLY; got 7"),
        (("--interval", "DAILY", "--target", "1"), "--target: must be left out for DAILY; got 1"),
        (("--interval", "monthly", "--target", "1"), "--interval: must be DAILY, WEEKLY or MONTHLY"),
        ((*DAILY, "--every", "0"), "--every: must be a whole number from 1 to 1200"),
        ((*DAILY, "--at", "25:00"), "--at: must be a time of day; got 25:00"),
        ((*DAILY, "--at", "9am"), "--at: must be a local time, HH:MM"),
        ((*DAILY, "--zone", "Asia/Nowhere"), "--zone: must be a known IANA time zone; got 'Asia/Nowhere'"),
        ((*DAILY, "--anchor", "2026-02-30"), "--anchor: must be a day of the calendar; got 2026-02-30"),
        ((*DAILY, "--anchor", ""), "--anchor: must be a date, YYYY-MM-DD"),
        ((*DAILY, "--from", "yesterday"), "--from: must be an ISO 8601 date and time"),
        ((*DAILY, "--from", "0001-01-01T00:00+14:00"), "--from: must be in the years 1 to 9999"),
        ((*DAILY, "--from", "1066-10-14"), "--anchor: must be a day from the year 1900 on"),
        *[((*DAILY, "--count", count), "--count: .*from 1 to 10000") for count in ("0", "-1", "10001", "x", "1.5", "")],
    ],
)
def test_errors_name_the_option_and_the_rule(options: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError, match=message) as caught:
        run("--from", "2026-05-04T00:00", *options)
    assert caught.value.returncode == 1


def test_it_is_a_command_of_manage_py_that_needs_no_database() -> None:
    """With addresses where nothing listens; an error is one line and exit code 1."""
    nowhere = {"DATABASE_URL": "postgresql://127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1/0"}
    command = [sys.executable, "-W", "error", "manage.py", "schedule", "--from", "2026-01-31T00:00", "--count", "1"]
    good, bad = (
        subprocess.run(
            [*command, "--interval", "MONTHLY", "--target", target, "--json"],
            cwd=ROOT, env={**os.environ, **nowhere}, capture_output=True, text=True, timeout=60, check=False,
        )
        for target in ("-1", "29")
    )  # fmt: skip
    assert (good.returncode, json.loads(good.stdout)) == (0, ["2026-01-31T09:00:00+08:00"])
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr.startswith("CommandError: --target: ")
    assert "Traceback" not in bad.stderr
