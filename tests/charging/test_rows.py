"""Rows become objects by the names of their columns."""

from dataclasses import dataclass

import pytest

from billing.models.bulk.sql import objects

pytestmark = pytest.mark.django_db


@dataclass(frozen=True, slots=True)
class Pair:
    left: int
    right: int


def test_a_column_fills_the_field_of_its_name_wherever_it_stands() -> None:
    assert objects(Pair, "SELECT 2 AS right, 1 AS left", []) == [Pair(left=1, right=2)]


@pytest.mark.parametrize("columns", ["1 AS left", "1 AS left, 2 AS wrong", "1 AS left, 2 AS right, 3 AS more"])
def test_columns_that_are_not_the_fields_are_refused(columns: str) -> None:
    with pytest.raises(TypeError, match="Pair: the columns must be left, right; got left"):
        objects(Pair, f"SELECT {columns}", [])
