"""Amounts that may be charged, and how they are shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.money import LEAST_CHARGE_MINOR, MOST_CHARGE_MINOR, MoneyError, check_charge, display


@given(amount=st.integers(LEAST_CHARGE_MINOR, MOST_CHARGE_MINOR))
def test_a_whole_number_of_sen_between_the_limits_may_be_charged(amount: int) -> None:
    check_charge(amount, "MYR")


@pytest.mark.parametrize(
    ("amount", "field"),
    [
        (LEAST_CHARGE_MINOR - 1, "amount_minor"),
        (0, "amount_minor"),
        (-1990, "amount_minor"),
        (MOST_CHARGE_MINOR + 1, "amount_minor"),
        (19.9, "amount_minor"),
        (1990.0, "amount_minor"),
        (True, "amount_minor"),
        ("1990", "amount_minor"),
    ],
)
def test_any_other_amount_is_refused_and_the_field_is_named(amount: int, field: str) -> None:
    with pytest.raises(MoneyError) as refused:
        check_charge(amount, "MYR")
    assert refused.value.field == field
    assert str(refused.value).startswith(f"{field}: must be")


@pytest.mark.parametrize("currency", ["SGD", "myr", "", "RM"])
def test_any_other_currency_is_refused(currency: str) -> None:
    with pytest.raises(MoneyError) as refused:
        check_charge(1990, currency)
    assert refused.value.field == "currency"


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (1230, "MYR", "RM 12.30"),
        (5, "MYR", "RM 0.05"),
        (0, "MYR", "RM 0.00"),
        (123_456_789, "MYR", "RM 1,234,567.89"),
        (-1230, "MYR", "-RM 12.30"),
        (1230, "SGD", "SGD 12.30"),
    ],
)
def test_money_is_shown_with_its_currency_and_two_places(minor: int, currency: str, shown: str) -> None:
    assert display(minor, currency) == shown


@given(minor=st.integers())
def test_what_is_shown_is_exactly_what_it_is(minor: int) -> None:
    shown = display(minor, "MYR")
    digits = shown.replace("RM ", "").replace(",", "").replace(".", "")
    assert int(digits) == minor
