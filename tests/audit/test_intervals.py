"""Intervals of shares, against published examples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.explaining.intervals import LEAST, Share, difference, is_clear, wilson

# Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17 (1998), table I.
SINGLE = [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
# Newcombe, "Interval estimation for the difference between independent proportions" (1998), table II, method 10.
TWO = [
    (56, 70, 48, 80, 0.0524, 0.3339),
    (9, 10, 3, 10, 0.1705, 0.8090),
    (6, 7, 2, 7, 0.0582, 0.8062),
    (5, 56, 0, 29, -0.0381, 0.1926),
    (0, 10, 0, 20, -0.1611, 0.2775),
    (0, 10, 0, 10, -0.2775, 0.2775),
    (10, 10, 0, 20, 0.6791, 1.0000),
    (10, 10, 0, 10, 0.6075, 1.0000),
]
shares = st.integers(0, 500).flatmap(lambda n: st.integers(0, n).map(lambda part: Share(part, n)))


@pytest.mark.parametrize(("part", "whole", "low", "high"), SINGLE)
def test_the_interval_of_a_share_is_as_published(part: int, whole: int, low: float, high: float) -> None:
    found = wilson(Share(part, whole))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.00005)


@pytest.mark.parametrize(("a", "m", "b", "n", "low", "high"), TWO)
def test_the_interval_of_a_difference_is_as_published(a: int, m: int, b: int, n: int, low: float, high: float) -> None:
    found = difference(Share(a, m), Share(b, n))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.00005)


@given(first=shares, second=shares)
def test_an_interval_holds_what_it_is_about_and_turns_with_it(first: Share, second: Share) -> None:
    one, between, turned = wilson(first), difference(first, second), difference(second, first)
    assert 0 <= one.low <= one.high <= 1
    if first.whole:
        assert one.low - 1e-9 <= first.value <= one.high + 1e-9
    if first.whole and second.whole:
        assert between.low - 1e-9 <= first.value - second.value <= between.high + 1e-9
    assert (turned.low, turned.high) == pytest.approx((-between.high, -between.low))


def test_a_difference_is_called_one_only_with_enough_of_both() -> None:
    assert is_clear(Share(30, LEAST), Share(0, LEAST))
    assert not is_clear(Share(30, LEAST), Share(0, LEAST - 1))
    assert not is_clear(Share(29, LEAST - 1), Share(0, LEAST))
    assert not is_clear(Share(20, 40), Share(18, 40)), "the interval holds zero"
    assert is_clear(Share(0, LEAST), Share(30, LEAST))


def test_a_part_is_no_more_than_the_whole() -> None:
    with pytest.raises(ValueError, match="must be from 0 to 3"):
        Share(4, 3)
