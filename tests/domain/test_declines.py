"""Codes of declines: their kinds, and words that can be shown."""

import pytest

from billing.domain.declines import DeclineKind, decline_of, known_codes
from billing.domain.messages import Language
from billing.domain.reason_words import reason_words
from tests.house import declines_page

NEVER_AGAIN = {"04", "07", "12", "14", "15", "41", "43", "46", "54", "57", "R0", "R1", "R3"}


def test_codes_that_a_bank_never_approves_are_hard() -> None:
    assert {code for code, one in known_codes().items() if one.kind is DeclineKind.HARD} == NEVER_AGAIN


@pytest.mark.parametrize("code", ["51", "05", "61", "91"])
def test_codes_that_another_day_may_change_are_soft(code: str) -> None:
    assert decline_of(code).kind is DeclineKind.SOFT


@pytest.mark.parametrize("code", ["9010", "", "declined", "TRANSACTION_NOT_FOUND", "5", "511"])
def test_code_without_a_published_meaning_is_unknown(code: str) -> None:
    found = decline_of(code)
    assert (found.kind, found.staff) == (DeclineKind.UNKNOWN, "")
    assert "ask your bank" in found.payer[Language.ENGLISH]


@pytest.mark.parametrize("code", [" r1", "R1 "])
def test_code_is_found_however_it_is_written(code: str) -> None:
    assert decline_of(code) == decline_of("R1")


@pytest.mark.parametrize("code", [*known_codes(), "9010"])
def test_customer_is_told_what_to_do_and_nothing_that_hurts(code: str) -> None:
    for language in Language:
        sentence = decline_of(code).payer[language]
        assert sentence.endswith(".")
        assert not any(word in sentence.lower() for word in ("stolen", "lost", "fraud", "curi", "hilang", "penipuan"))
    assert decline_of(code).payer[Language.ENGLISH] != decline_of(code).payer[Language.MALAY]


def test_staff_read_the_meaning_with_the_code() -> None:
    assert reason_words("51") == "not enough money, code 51"
    assert reason_words("9010") == "code 9010"


def test_page_has_the_codes_of_the_code() -> None:
    text = declines_page.PAGE.read_text(encoding="utf-8")
    assert declines_page.with_table(text) == text, "run python -m tests.house.declines_page"
