"""When a webhook is tried again, what its answer means, and what is kept of it."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.webhooks import (
    LAST_TRY_AFTER,
    MOST_TRIES,
    SPREAD_PERMILLE,
    WAITS,
    Disabled,
    TryError,
    asked_wait,
    error_of,
    kept,
    must_disable,
    next_try,
)

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
MIDDLE = SPREAD_PERMILLE // 2


def rounds(chance: int, retry_after: str = "") -> list[datetime]:
    """The instants of all tries when each one fails at once."""
    times, at = [NOW], NOW
    while again := next_try(tries=len(times), first_at=NOW, now=at, retry_after=retry_after, chance=chance):
        times.append(at := again)
    return times


def test_ten_tries_take_three_days_when_each_fails() -> None:
    times = rounds(MIDDLE)
    assert [later - earlier for earlier, later in pairwise(times)] == list(WAITS)
    assert len(times) == MOST_TRIES == 10
    assert timedelta(days=2, hours=23) < times[-1] - NOW <= LAST_TRY_AFTER


@given(st.integers(0, SPREAD_PERMILLE), st.integers(1, 9))
def test_wait_is_within_a_tenth_of_the_table(chance: int, tries: int) -> None:
    again = next_try(tries=tries, first_at=NOW, now=NOW, retry_after="", chance=chance)
    assert again is not None
    assert WAITS[tries - 1] * 9 // 10 <= again - NOW <= min(WAITS[tries - 1] * 11 // 10, LAST_TRY_AFTER)


@given(st.integers(0, SPREAD_PERMILLE), st.text(max_size=30))
def test_no_try_is_after_the_end_whatever_is_asked(chance: int, retry_after: str) -> None:
    assert max(rounds(chance, retry_after)) <= NOW + LAST_TRY_AFTER
    assert len(rounds(chance, retry_after)) <= MOST_TRIES


def test_no_try_follows_the_end_when_it_is_past() -> None:
    late = NOW + LAST_TRY_AFTER
    assert next_try(tries=3, first_at=NOW, now=late, retry_after="", chance=0) is None


def test_retry_after_lengthens_a_wait_and_never_shortens_it() -> None:
    def after(text: str, tries: int = 1) -> timedelta:
        again = next_try(tries=tries, first_at=NOW, now=NOW, retry_after=text, chance=MIDDLE)
        assert again is not None
        return again - NOW

    assert after("120") == timedelta(seconds=120)
    assert after(format_datetime(NOW + timedelta(minutes=7), usegmt=True)) == timedelta(minutes=7)
    assert after("1", tries=4) == timedelta(minutes=30)
    assert after("999999999") == LAST_TRY_AFTER


@pytest.mark.parametrize("text", ["", "-5", "1.5", "soon", "1e9", "99999999999", "Mon, 99 Foo 2026", "٣"])
def test_malformed_retry_after_asks_for_nothing(text: str) -> None:
    assert asked_wait(text, NOW) == timedelta(0)


def test_date_without_a_zone_is_utc_and_a_past_one_is_nothing() -> None:
    assert asked_wait("Mon, 02 Mar 2026 01:00:30 -0000", NOW) == timedelta(seconds=30)
    assert asked_wait("Mon, 02 Mar 2020 01:00:30 GMT", NOW) == timedelta(0)


def test_only_2xx_is_success_and_no_redirect_is_followed() -> None:
    assert [error_of(status) for status in (200, 204, 299)] == [None] * 3
    assert {error_of(status) for status in (301, 302, 307, 308)} == {TryError.REDIRECT}
    assert {error_of(status) for status in (199, 400, 404, 410, 429, 500, 599)} == {TryError.STATUS}


def test_endpoint_is_disabled_by_410_and_by_five_days() -> None:
    def why(status: int | None, failed_for: timedelta) -> Disabled | None:
        return must_disable(status=status, failing_since=NOW - failed_for, now=NOW)

    assert why(410, timedelta(0)) is Disabled.GONE
    assert why(500, timedelta(days=5) - timedelta(seconds=1)) is None
    assert why(500, timedelta(days=5)) is Disabled.FAILING
    assert why(None, timedelta(days=6)) is Disabled.FAILING


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("aminah@example.com", "no user aminah@example.com here"),
        ("4111111111111111", "card 4111111111111111 declined"),
        ("4111 1111 1111 1111", "card 4111 1111 1111 1111"),
        ("4111-1111-1111-1111", "card=4111-1111-1111-1111"),
        ("60123456789", "phone 60123456789"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "bad signature of whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("kit_12345678_abcdefgh", "key kit_12345678_abcdefgh"),
        ("abc.def-ghi", "Authorization: Bearer abc.def-ghi"),
        ("hunter2", '{"password": "hunter2"}'),
        ("hunter2", "api_key=hunter2&x=1"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0", "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"),
        ("x" * 60, f"token {'x' * 60}"),
    ],
)
def test_secret_is_not_kept_of_an_answer(secret: str, text: str) -> None:
    assert secret not in kept(text.encode())
    assert secret not in kept(("y " * 500 + text).encode()), "also where it is cut"


def test_short_readable_answer_is_kept_as_it_is() -> None:
    assert kept(b"no such route: POST /hooks (404)\n") == "no such route: POST /hooks (404)\n"


@given(st.binary(max_size=6000))
def test_whatever_comes_at_most_one_kibibyte_is_kept(answer: bytes) -> None:
    text = kept(answer)
    assert len(text.encode()) <= 1024
    assert "\x00" not in text
