"""With every guard nothing is taken twice, lost or forgotten; without any one of them there is a way."""

import pytest

from tests.model.pages import GUARDS, count, shortest_harm


def test_with_every_guard_there_is_no_way_to_harm() -> None:
    assert count() > 100
    assert shortest_harm() is None


@pytest.mark.parametrize("guard", GUARDS)
def test_without_any_one_guard_there_is_a_way(guard: str) -> None:
    found = shortest_harm(frozenset({guard}))
    assert found is not None
    assert found[0] == GUARDS[guard], found
