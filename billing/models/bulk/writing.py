"""Writes many rows of one table with one statement. Columns go by name, and the model knows their types.

A column's values are a list with one value for each row, or one value for all rows.
"""

from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import Any

from django.db import connection
from django.db.models import Model

from billing.models.bulk.sql import rows, run

Names = tuple[str, ...]


def by_name(items: Sequence[Any], *names: str) -> dict[str, Any]:
    """Columns of rows: the fields `names` of the items, or all fields of their dataclass."""
    if not items:
        return {}
    names = names or tuple(field.name for field in fields(items[0]))
    values = zip(*map(attrgetter(*names), items), strict=True)
    return dict(zip(names, map(list, values), strict=True))


def insert(
    model: type[Model], columns: dict[str, Any], *, conflict: str = "", returning: Names = ("id",)
) -> list[tuple[Any, ...]]:
    """Inserts rows; the columns `returning` of those that were inserted. `conflict` is the clause ON CONFLICT."""
    lists = _lists(columns)
    return rows(_insert(model, tuple(columns), lists, conflict, returning), columns) if lists else []


def update(model: type[Model], columns: dict[str, Any], *, where: str = "true") -> int:
    """Updates the rows that the column `id` names, each only if `where` is true of its row `t`. How many were."""
    lists = _lists(columns)
    return run(_update(model, tuple(columns), lists, where), columns) if lists else 0


def _lists(columns: dict[str, Any]) -> Names:
    """The columns with one value for each row; none of them for no rows."""
    return tuple(name for name, value in columns.items() if isinstance(value, list) and value)


@cache
def _insert(model: type[Model], names: Names, lists: Names, conflict: str, returning: Names) -> str:
    into = ", ".join(names)
    return f"""INSERT INTO {model._meta.db_table} ({into}) SELECT {into} FROM {_rows(model, names, lists)}
               {conflict} RETURNING {", ".join(returning)}"""  # noqa: S608  (names that stand in our code)


@cache
def _update(model: type[Model], names: Names, lists: Names, where: str) -> str:
    changes = ", ".join(f"{name} = n.{name}" for name in names if name != "id")
    return f"""UPDATE {model._meta.db_table} t SET {changes} FROM {_rows(model, names, lists)}
               WHERE t.id = n.id AND {where}"""  # noqa: S608  (names that stand in our code)


def _rows(model: type[Model], names: Names, lists: Names) -> str:
    """The columns as a table `n`."""
    # Without a length: a value that is too long must be refused, and a cast to varchar(10) would shorten it.
    types = {field.column: str(field.db_type(connection)).partition("(")[0] for field in model._meta.concrete_fields}
    arrays = ", ".join(f"%({name})s::{types[name]}[]" for name in lists)
    same = "".join(f", %({name})s::{types[name]} AS {name}" for name in names if name not in lists)
    return f"(SELECT l.*{same} FROM unnest({arrays}) AS l({', '.join(lists)})) AS n"  # noqa: S608
