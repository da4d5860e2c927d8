"""Schedules by example: what is allowed, what it is called, and the days that go wrong elsewhere."""

import copy
import pickle
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest

from billing.domain.schedule_rules import zone_facts
from billing.domain.schedules import (
    Interval,
    Occurrence,
    Schedule,
    ScheduleEndedError,
    ScheduleError,
    following,
    next_due,
    occurrence_after,
    occurrence_at,
    occurrences,
)

NAIVE = datetime.fromisoformat("2026-01-01")


def make_schedule(interval: str = "MONTHLY", target: object = 1, **fields: Any) -> Schedule:
    fields.setdefault("anchor_date", "2026-01-01")
    return Schedule.parse(interval=interval, target=None if interval == "DAILY" else target, **fields)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local_days(schedule: Schedule, after: str, count: int) -> list[str]:
    zone = ZoneInfo(schedule.zone)
    return [f"{due.astimezone(zone):%Y-%m-%d}" for due in islice(occurrences(schedule, utc(after)), count)]


def local_times(schedule: Schedule, after: str, count: int) -> list[str]:
    zone = ZoneInfo(schedule.zone)
    return [f"{due.astimezone(zone):%m-%d %H:%M %Z}" for due in islice(occurrences(schedule, utc(after)), count)]


class TestWhatIsAllowed:
    @pytest.mark.parametrize(
        ("interval", "target", "value"),
        [
            ("DAILY", None, None),
            ("DAILY", "", None),
            ("DAILY", "0", None),
            ("DAILY", 0, None),
            *[("WEEKLY", n, n) for n in range(7)],
            *[("WEEKLY", str(n), n) for n in range(7)],
            *[("MONTHLY", n, n) for n in range(-1, 29)],
            *[("MONTHLY", str(n), n) for n in range(-1, 29)],
        ],
    )
    def test_every_gateway_rule_is_parsed_from_number_and_string(
        self, interval: str, target: object, value: int | None
    ) -> None:
        schedule = Schedule.parse(interval=interval, target=target, anchor_date="2026-01-01")
        assert schedule == Schedule(Interval(interval), value, date(2026, 1, 1))
        assert Schedule.parse(interval=Interval(interval), target=target, anchor_date=date(2026, 1, 1)) == schedule

    @pytest.mark.parametrize("interval", ["WEEKLY", "MONTHLY"])
    @pytest.mark.parametrize(
        "target",
        [None, "", True, False, 1.0, "1.0", " 1 ", "1 ", "+1", "01", "-0", "00", "１", "¹", "٣", "x", -2, "-2", 29,
         "9" * 5000],
    )  # fmt: skip
    def test_other_targets_are_refused_by_name(self, interval: str, target: object) -> None:
        with pytest.raises(ScheduleError, match=rf"^target: must be .* for {interval}[;,]") as caught:
            Schedule.parse(interval=interval, target=target, anchor_date="2026-01-01")
        assert caught.value.field == "target"

    @pytest.mark.parametrize("target", [-1, 7, "7", 28])
    def test_a_week_has_no_such_day(self, target: object) -> None:
        with pytest.raises(ScheduleError, match=r"target: must be 0 \(Sunday\) to 6 \(Saturday\) for WEEKLY; got "):
            make_schedule("WEEKLY", target)

    @pytest.mark.parametrize("target", [29, 30, 31, "29", "30", "31"])
    def test_end_of_the_month_is_written_as_minus_one(self, target: object) -> None:
        with pytest.raises(ScheduleError, match="use -1 for the last day"):
            make_schedule("MONTHLY", target)

    @pytest.mark.parametrize("target", [1, "1", -1, False, 0.0, " ", "00", b"", b"0"])
    def test_daily_takes_no_target(self, target: object) -> None:
        with pytest.raises(ScheduleError, match="target: must be left out for DAILY; got "):
            Schedule.parse(interval="DAILY", target=target, anchor_date="2026-01-01")

    def test_a_daily_value_itself_holds_no_target(self) -> None:
        with pytest.raises(ScheduleError, match="target: must be left out for DAILY; got "):
            Schedule(Interval.DAILY, 0, date(2026, 1, 1))

    @pytest.mark.parametrize(
        ("field", "value", "rule"),
        [
            *[("interval", v, "DAILY, WEEKLY or MONTHLY") for v in ("monthly", "YEARLY", "", None, 1, " DAILY", [])],
            *[("every", v, "from 1 to 1200") for v in (0, -1, 1201, "0", "01", "", None, True, 1.0, "1e1", "9" * 9)],
            *[
                ("zone", v, "IANA time zone")
                for v in ("", None, 8, "Asia/Nowhere", "+08:00", "../x", "America", "a\0b")
            ],
            *[("zone", v, "IANA time zone") for v in ("localtime", "posixrules", "right/UTC", "posix/UTC", "x" * 5000)],
            *[
                ("charge_time", v, "HH:MM")
                for v in ("9:00", "0900", "09:00Z", "09:00+08:00", "09:00:00.5", "", None, 9)
            ],
            *[("charge_time", v, "must be a time of day") for v in ("24:00", "09:60", "99:99")],
            ("charge_time", time(9, tzinfo=UTC), "time zone"),
            ("charge_time", time(9, microsecond=1), "whole seconds"),
            ("charge_time", time(9, fold=1), "the first counts"),
            *[("anchor_date", v, "YYYY-MM-DD") for v in ("2026-1-1", "20260101", "2026-W01-1", "", None, 20260101)],
            *[("anchor_date", v, "must be a day of the calendar") for v in ("2026-02-29", "2026-13-01", "0000-01-01")],
            ("anchor_date", NAIVE, "without a time"),
            ("anchor_date", date(1899, 12, 31), "from the year 1900"),
        ],
    )
    def test_other_fields_are_refused_with_their_name_and_rule(self, field: str, value: object, rule: str) -> None:
        fields: dict[str, Any] = {"interval": "MONTHLY", "target": 1, "anchor_date": "2026-01-01", field: value}
        with pytest.raises(ScheduleError) as caught:
            Schedule.parse(**fields)
        assert caught.value.field == field
        assert rule in caught.value.message
        assert str(caught.value) == f"{field}: {caught.value.message}"

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("interval", "MONTHLY"), ("target", "1"), ("every", "1"), ("charge_time", "09:00"), ("zone", None),
            ("anchor_date", "2026-01-01"), ("anchor_date", NAIVE),
        ],
    )  # fmt: skip
    def test_the_value_itself_takes_no_strings_for_other_types(self, field: str, value: object) -> None:
        fields: dict[str, Any] = {
            "interval": Interval.MONTHLY,
            "target": 1,
            "anchor_date": date(2026, 1, 1),
            field: value,
        }
        with pytest.raises(ScheduleError) as caught:
            Schedule(**fields)
        assert caught.value.field == field

    def test_text_is_read_into_all_fields(self) -> None:
        schedule = Schedule.parse(
            interval="WEEKLY", target="3", anchor_date="2026-02-28", every="1200", charge_time="23:59:58", zone="UTC"
        )
        assert schedule == Schedule(Interval.WEEKLY, 3, date(2026, 2, 28), 1200, time(23, 59, 58), "UTC")


class TestTheValue:
    def test_it_is_compared_by_its_fields_and_cannot_change(self) -> None:
        schedule = make_schedule()
        assert schedule == make_schedule()
        assert hash(schedule) == hash(make_schedule())
        assert schedule != make_schedule(every=2)
        with pytest.raises(FrozenInstanceError):
            schedule.every = 2  # type: ignore[misc]

    def test_copies_and_pickles_work_like_the_original(self) -> None:
        schedule = make_schedule("MONTHLY", -1, every=3, zone="Pacific/Apia")
        after = utc("2026-01-01T00:00")
        for twin in (copy.copy(schedule), copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))):  # noqa: S301
            assert twin == schedule
            assert next_due(twin, after) == next_due(schedule, after)
        assert local_days(replace(schedule, target=2, every=1), "2026-01-01T00:00", 1) == ["2026-01-02"]

    def test_errors_survive_pickling(self) -> None:
        for error in (ScheduleError("zone", "no"), ScheduleEndedError("after")):
            twin = pickle.loads(pickle.dumps(error))  # noqa: S301
            assert (type(twin), str(twin)) == (type(error), str(error))

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"interval": "DAILY"}, "every day at 09:00, Asia/Kuala_Lumpur"),
            ({"interval": "DAILY", "every": 10}, "every 10 days at 09:00, Asia/Kuala_Lumpur"),
            ({"interval": "WEEKLY", "target": 0}, "every week on Sunday at 09:00, Asia/Kuala_Lumpur"),
            ({"interval": "WEEKLY", "every": 2}, "every 2 weeks on Monday at 09:00, Asia/Kuala_Lumpur"),
            ({"interval": "WEEKLY", "target": 6}, "every week on Saturday at 09:00, Asia/Kuala_Lumpur"),
            ({"target": -1}, "every month on the last day at 09:00, Asia/Kuala_Lumpur"),
            ({"target": 0}, "every month on the first day at 09:00, Asia/Kuala_Lumpur"),
            ({"target": 1, "every": 12}, "every 12 months on the first day at 09:00, Asia/Kuala_Lumpur"),
            ({"target": 15, "every": 3, "zone": "UTC"}, "every 3 months on day 15 at 09:00, UTC"),
            ({"charge_time": "23:59:01"}, "every month on the first day at 23:59:01, Asia/Kuala_Lumpur"),
        ],
    )
    def test_it_describes_itself_in_words(self, fields: dict[str, Any], words: str) -> None:
        assert make_schedule(**fields).describe() == words


class TestDays:
    def test_the_last_day_follows_february_and_leap_years(self) -> None:
        schedule = make_schedule("MONTHLY", -1, every=1, anchor_date="2027-12-31")
        assert local_days(schedule, "2027-12-31T12:00", 4) == ["2028-01-31", "2028-02-29", "2028-03-31", "2028-04-30"]
        assert local_days(schedule, "2100-02-01T00:00", 1) == ["2100-02-28"]
        assert local_days(schedule, "2400-02-01T00:00", 1) == ["2400-02-29"]

    def test_every_twelve_months_from_29_february_stays_on_last_day(self) -> None:
        schedule = make_schedule("MONTHLY", -1, every=12, anchor_date="2024-02-29")
        days = ["2024-02-29", "2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"]
        assert local_days(schedule, "2024-01-01T00:00", 5) == days

    def test_every_three_months_from_the_end_of_november(self) -> None:
        schedule = make_schedule("MONTHLY", -1, every=3, anchor_date="2025-11-30")
        days = ["2025-11-30", "2026-02-28", "2026-05-31", "2026-08-31", "2026-11-30", "2027-02-28", "2027-05-31"]
        assert local_days(schedule, "2025-11-01T00:00", 7) == days

    def test_day_28_is_no_last_day(self) -> None:
        schedule = make_schedule("MONTHLY", 28, anchor_date="2028-01-29")
        assert local_days(schedule, "2028-01-01T00:00", 2) == ["2028-02-28", "2028-03-28"]

    def test_the_first_day_is_zero_or_one(self) -> None:
        zero, one = make_schedule("MONTHLY", 0), make_schedule("MONTHLY", 1)
        assert local_days(zero, "2025-01-01T00:00", 14) == local_days(one, "2025-01-01T00:00", 14)

    def test_anchor_is_the_first_occurrence_when_it_matches(self) -> None:
        for schedule in (
            make_schedule("DAILY", anchor_date="2026-05-04"),
            make_schedule("WEEKLY", 1, anchor_date="2026-05-04", every=2),
            make_schedule("MONTHLY", 4, anchor_date="2026-05-04", every=5),
        ):
            assert following(schedule, -1) == Occurrence(0, utc("2026-05-04T01:00"))

    def test_nothing_falls_before_the_anchor(self) -> None:
        schedule = make_schedule("MONTHLY", 3, anchor_date="2026-05-04", every=12)
        assert local_days(schedule, "1950-01-01T00:00", 2) == ["2026-06-03", "2027-06-03"]

    def test_every_two_weeks_counts_from_the_first_matching_day(self) -> None:
        schedule = make_schedule("WEEKLY", 1, anchor_date="2026-05-05", every=2)
        assert local_days(schedule, "2026-01-01T00:00", 3) == ["2026-05-11", "2026-05-25", "2026-06-08"]

    def test_kuala_lumpur_kept_another_offset_until_1982(self) -> None:
        schedule = make_schedule("DAILY", anchor_date="1981-12-01")
        assert local_times(schedule, "1981-12-30T12:00", 3) == [
            "12-31 09:00 +0730",
            "01-01 09:00 +08",
            "01-02 09:00 +08",
        ]


class TestDaylightSaving:
    def test_a_time_that_does_not_exist_moves_forward_by_the_gap(self) -> None:
        schedule = make_schedule("DAILY", charge_time="02:30", zone="America/New_York")
        times = ["03-07 02:30 EST", "03-08 03:30 EDT", "03-09 02:30 EDT"]
        assert local_times(schedule, "2026-03-07T00:00", 3) == times
        moved = utc("2026-03-08T07:30")
        for asked in ("2026-03-08T06:59", "2026-03-08T07:00", "2026-03-08T07:29:59"):
            assert next_due(schedule, utc(asked)) == moved
        assert next_due(schedule, moved) == utc("2026-03-09T06:30")

    def test_of_a_doubled_time_the_first_counts(self) -> None:
        schedule = make_schedule("DAILY", charge_time="01:30", zone="America/New_York")
        times = ["10-31 01:30 EDT", "11-01 01:30 EDT", "11-02 01:30 EST"]
        assert local_times(schedule, "2026-10-31T00:00", 3) == times
        for asked in ("2026-11-01T05:30", "2026-11-01T06:00", "2026-11-01T06:29:59", "2026-11-01T06:30"):
            assert next_due(schedule, utc(asked)) == utc("2026-11-02T06:30")

    def test_a_gap_at_midnight_keeps_the_day(self) -> None:
        schedule = make_schedule("DAILY", charge_time="00:00", zone="America/Sao_Paulo", anchor_date="2017-10-01")
        assert local_times(schedule, "2017-10-14T12:00", 2) == ["10-15 01:00 -02", "10-16 00:00 -02"]

    def test_a_gap_across_midnight_moves_into_the_next_day(self) -> None:
        """Toronto's clocks went from 23:30 on 30 March 1919 to 00:30."""
        schedule = make_schedule("DAILY", charge_time="23:45", zone="America/Toronto", anchor_date="1919-03-01")
        times = ["03-29 23:45 EST", "03-31 00:45 EDT", "03-31 23:45 EDT"]
        assert local_times(schedule, "1919-03-29T12:00", 3) == times
        assert next_due(schedule, utc("1919-03-31T04:40")) == utc("1919-03-31T04:45")

    @pytest.mark.parametrize(("interval", "target"), [("DAILY", None), ("WEEKLY", 4), ("MONTHLY", -1)])
    @pytest.mark.parametrize("every", [1, 2])
    def test_kuala_lumpur_skipped_the_last_half_hour_of_1981(
        self, interval: str, target: int | None, every: int
    ) -> None:
        """The old day's charge is due in the new year, and a question asked in between finds it."""
        schedule = make_schedule(interval, target, every=every, charge_time="23:45", anchor_date="1981-12-31")
        due = utc("1981-12-31T16:15")
        assert local_times(schedule, "1981-12-30T00:00", 1) == ["01-01 00:15 +08"]
        for asked in ("1981-12-31T15:59", "1981-12-31T16:00", "1981-12-31T16:10"):
            assert occurrence_after(schedule, utc(asked)) == Occurrence(0, due)
        assert occurrence_after(schedule, due).index == 1

    def test_a_gap_of_seven_hours_moves_by_seven_hours(self) -> None:
        """Vostok Station reopened on 1 November 1994 at +07, after months on UTC."""
        schedule = make_schedule("DAILY", charge_time="05:00", anchor_date="1994-10-30", zone="Antarctica/Vostok")
        assert next_due(schedule, utc("1994-11-01T04:30")) == utc("1994-11-01T05:00")
        assert local_times(schedule, "1994-11-01T04:30", 2) == ["11-01 12:00 +07", "11-02 05:00 +07"]

    @pytest.mark.parametrize(
        ("zone", "skipped"),
        [
            ("Pacific/Apia", "2011-12-30"),
            ("Pacific/Fakaofo", "2011-12-30"),
            ("Pacific/Kwajalein", "1993-08-21"),
            ("Pacific/Kiritimati", "1994-12-31"),
            ("Pacific/Kanton", "1994-12-31"),
        ],
    )
    @pytest.mark.parametrize("clock", ["00:00", "09:00", "23:59:59"])
    def test_a_day_that_the_zone_skipped_has_no_occurrence(self, zone: str, skipped: str, clock: str) -> None:
        day = date.fromisoformat(skipped)
        one = timedelta(days=1)
        schedule = make_schedule("DAILY", anchor_date=str(day - one), zone=zone, charge_time=clock)
        assert occurrence_at(schedule, 1) is None
        before, after = following(schedule, -1), following(schedule, 0)
        assert (before.index, after.index) == (0, 2)
        assert after.due_at - before.due_at == one
        assert local_days(schedule, "1990-01-01T00:00", 3) == [str(day - one), str(day + one), str(day + 2 * one)]
        assert occurrence_after(schedule, before.due_at) == after
        assert occurrence_after(schedule, after.due_at - timedelta(microseconds=1)) == after
        from_the_day = replace(schedule, anchor_date=day)
        assert following(from_the_day, -1).index == 1

    def test_a_month_whose_only_day_was_skipped_is_left_out(self) -> None:
        schedule = make_schedule("MONTHLY", -1, anchor_date="1994-11-01", zone="Pacific/Kiritimati")
        assert local_days(schedule, "1994-01-01T00:00", 2) == ["1994-11-30", "1995-01-31"]

    def test_instant_read_inside_a_clock_gap_is_understood(self) -> None:
        zone = ZoneInfo("Pacific/Apia")
        schedule = make_schedule("DAILY", anchor_date="2011-12-01", charge_time="16:00", zone="Pacific/Apia")
        for fold in (0, 1):
            asked = datetime(2011, 12, 30, 15, fold=fold, tzinfo=zone)
            assert next_due(schedule, asked) == next_due(schedule, asked.astimezone(UTC))

    def test_only_days_that_crossed_the_date_line_are_skipped(self) -> None:
        skipped = {
            (name, str(date.fromordinal(day)))
            for name in available_timezones() - {"localtime", "posixrules"}
            for day in zone_facts(name).skipped_days
        }
        names = {name for name, _ in skipped}
        assert {"Pacific/Apia", "Pacific/Fakaofo", "Pacific/Kwajalein", "Pacific/Kiritimati"} <= names
        assert all(name.startswith("Pacific/") or name == "Kwajalein" for name in names)


class TestTheEndsOfTheCalendar:
    @pytest.mark.parametrize("zone", ["Asia/Kuala_Lumpur", "UTC", "America/New_York", "Pacific/Kiritimati"])
    @pytest.mark.parametrize(("interval", "target"), [("DAILY", None), ("WEEKLY", 5), ("MONTHLY", -1), ("MONTHLY", 5)])
    def test_it_ends_cleanly_and_starts_from_anywhere(self, interval: str, target: int | None, zone: str) -> None:
        schedule = make_schedule(interval, target, zone=zone, charge_time="23:59")
        last = list(occurrences(schedule, utc("9999-11-01T00:00")))
        assert 1 <= len(last) <= 61
        assert all(a < b for a, b in pairwise(last))
        end = occurrence_after(schedule, last[-1] - timedelta(seconds=1))
        for ask in (
            lambda: next_due(schedule, last[-1]),
            lambda: following(schedule, end.index),
            lambda: occurrence_at(schedule, end.index + 1),
            lambda: occurrence_at(schedule, 10**30),
            lambda: next_due(schedule, datetime.max.replace(tzinfo=UTC)),
            lambda: next_due(schedule, datetime.max.replace(tzinfo=timezone(-timedelta(hours=12)))),
        ):
            with pytest.raises(ScheduleEndedError, match="before the year 9999 ends"):
                ask()
        assert list(occurrences(schedule, last[-1])) == []
        for hours in (-12, 0, 14):
            earliest = datetime.min.replace(tzinfo=timezone(timedelta(hours=hours)))
            assert occurrence_after(schedule, earliest) == following(schedule, -1)

    def test_an_anchor_on_the_last_day_has_one_occurrence_or_none(self) -> None:
        assert list(occurrences(make_schedule("DAILY", anchor_date="9999-12-31"), utc("2026-01-01T00:00"))) != []
        assert list(occurrences(make_schedule("MONTHLY", 5, anchor_date="9999-12-31"), utc("2026-01-01T00:00"))) == []

    def test_naive_instants_are_refused(self) -> None:
        schedule = make_schedule()
        for ask in (next_due, occurrence_after, occurrences):
            with pytest.raises(ScheduleError, match=r"^after: must be a date and time with a time zone"):
                ask(schedule, NAIVE)

    @pytest.mark.parametrize("index", [-2, True, 1.0, "1", None])
    def test_numbers_that_are_none_are_refused(self, index: Any) -> None:
        for ask in (occurrence_at, following):
            with pytest.raises(ScheduleError, match=r"^index: must be a whole number"):
                ask(make_schedule(), index)
        with pytest.raises(ScheduleError, match=r"^index: must be a whole number from 0"):
            occurrence_at(make_schedule(), -1)
