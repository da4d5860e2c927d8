"""Mutations hold through renames and other layouts; a place that is not there exactly once is refused."""

import ast
import re
import subprocess
import sys
from functools import cache

import pytest

from tests.house.source import ROOT
from tests.mutation.edits import Change, always, always_sql, drop, drop_sql, never, never_sql, swap, swap_sql
from tests.mutation.mutations import MUTATIONS
from tests.mutation.patterns import Module, PlaceError, bound

SQL = re.compile(r"\b(SELECT|UPDATE|WHERE|AND|LIMIT)\b")
SOURCE = """LONGEST = 3


def charge(card, now, *, limit=LONGEST):
    found = lookup(card)  # where it is
    if found is None or card.held:
        return None
    try:
        rows(
            "SELECT id FROM card WHERE id = %s AND held_at IS NULL"
            f" FOR {limit}",
            [card.id],
        )
    except OSError as error:
        raise ValueError("no card") from error
    record(card=card.id, at=now, words={"id": card.id, "limit": limit})
    return found


class Desk:
    def serve(self, one):
        return [charge(each, one.now) for each in one.cards if each.ready]
"""


class _Elsewhere(ast.NodeTransformer):
    """Gives parameters and local variables other names, and SQL other lines."""

    def __init__(self, local: set[str]) -> None:
        self._local = local

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for name in ("id", "arg", "name"):
            if getattr(node, name, None) in self._local and not isinstance(node, ast.keyword | ast.alias):
                setattr(node, name, f"new_{getattr(node, name)}")
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value):
            node.value = re.sub(r"\s+", "\n  ", node.value)
        return super().generic_visit(node)


def _written_otherwise(text: str, *, width: int = 60) -> str:
    """The same program with other names of all parameters and locals, other SQL and another layout."""
    tree = ast.parse(text)
    known = {*Module(text).names, "self"}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            others = _Elsewhere({name for name in bound([node]) - known - {node.name} if not name.startswith("new_")})
            for part in (node.args, *node.body):
                others.visit(part)
    command = [sys.executable, "-m", "ruff", "format", "--isolated", f"--line-length={width}", "-"]
    return subprocess.run(command, input=ast.unparse(tree), capture_output=True, text=True, check=True).stdout


def _diff(change: Change, text: str = SOURCE) -> tuple[list[str], list[str]]:
    """The lines that go and come, with the rest of each file as it was."""
    before, after = (ast.unparse(ast.parse(one)).split("\n") for one in (text, change.apply(text)))
    return [line.strip() for line in before if line not in after], [
        line.strip() for line in after if line not in before
    ]


@pytest.mark.slow
def test_every_mutation_fits_a_source_that_is_written_otherwise() -> None:
    otherwise = cache(lambda file: _written_otherwise((ROOT / file).read_text(encoding="utf-8")))
    lost = []
    for mutation in MUTATIONS:
        for edit in mutation.edits:
            try:
                edit.change.apply(otherwise(edit.file))
            except PlaceError as error:
                lost.append(f"{mutation.name}: {error}")
    assert lost == []


@pytest.mark.parametrize(
    ("change", "gone", "come"),
    [
        (drop("charge", "record(...)"), ["record(card=card.id, at=now, words={'id': card.id, 'limit': limit})"], []),
        (drop("charge", "card.held"), ["if found is None or card.held:"], ["if found is None:"]),
        (drop("charge", "at=now"), ["record(card=card.id, at=now, words={'id': card.id, 'limit': limit})"],
         ["record(card=card.id, words={'id': card.id, 'limit': limit})"]),
        (drop("charge", '"id": card.id'), ["record(card=card.id, at=now, words={'id': card.id, 'limit': limit})"],
         ["record(card=card.id, at=now, words={'limit': limit})"]),
        (drop("charge", "if found is None or ...:"), ["if found is None or card.held:", "return None"], []),
        (drop("serve", "each.ready"), ["return [charge(each, one.now) for each in one.cards if each.ready]"],
         ["return [charge(each, one.now) for each in one.cards]"]),
        (never("charge", "card.held"), ["if found is None or card.held:"], ["if found is None or False:"]),
        (always("charge", "if found is None or ...:"), ["if found is None or card.held:"], ["if True:"]),
        (swap("charge", "except OSError as error:", "except KeyError as error:"), ["except OSError as error:"],
         ["except KeyError as error:"]),
        (swap("Desk.serve", "charge(each, ...)", "charge(None, ..., each)"),
         ["return [charge(each, one.now) for each in one.cards if each.ready]"],
         ["return [charge(None, one.now, each) for each in one.cards if each.ready]"]),
        (swap("LONGEST", "3", "4"), ["LONGEST = 3"], ["LONGEST = 4"]),
        (never("charge", "found is None", of="if found is None or ...:"), ["if found is None or card.held:"],
         ["if False or card.held:"]),
    ],
    ids=lambda value: f"{value.how} {value.old}" if isinstance(value, Change) else "",
)  # fmt: skip
def test_each_way_of_changing_changes_only_its_place(change: Change, gone: list[str], come: list[str]) -> None:
    assert _diff(change) == (gone, come)


@pytest.mark.parametrize(
    ("change", "sql"),
    [
        (drop_sql("charge", "and held_at  is null"), "WHERE id = %s  FOR {limit}"),
        (always_sql("charge", "id = %s"), "WHERE (id = %s OR true) AND held_at IS NULL FOR {limit}"),
        (never_sql("charge", "held_at\nIS NULL"), "WHERE id = %s AND (held_at IS NULL AND false) FOR {limit}"),
        (swap_sql("charge", "id = %s", "id > %s", of="FROM card"), "WHERE id > %s AND held_at IS NULL FOR {limit}"),
        (drop_sql("charge", "FOR {limit}"), "WHERE id = %s AND held_at IS NULL "),
    ],
)
def test_sql_is_changed_within_its_string(change: Change, sql: str) -> None:
    assert _diff(change)[1][0].endswith(f"{sql}', [card.id])")


def test_other_functions_keep_their_lines() -> None:
    changed = drop("charge", "record(...)").apply(SOURCE).split("\n")
    assert (changed[-4:], len(changed)) == (SOURCE.split("\n")[-4:], SOURCE.count("\n") + 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("charge", "record(now)"), r"^'record\(now\)' is 0 times in charge, not once$"),
        (swap("charge", "card.id", "None"), r"^'card.id' is 3 times in charge, not once$"),
        (never("charge", "card.id", of="if found is None or ...:"), "0 times in 'if found is None or ...:' of charge"),
        (drop("pay", "record(...)"), "^there are 0 of pay, not one$"),
        (swap("charge", "card.held", "card.gone or last"), "^last is not known there$"),
        (swap("charge", "return found", "last = last or now; return last"), "^last is not known there$"),
        (swap("LONGEST", "3", "3"), "^'3' in LONGEST is not changed by it$"),
        (drop("charge", "if if"), "^'if if' is not Python"),
        (never("charge", "found = lookup(card)"), "^'found = lookup\\(card\\)' is no condition$"),
        (swap("charge", "except OSError as error:", "pass"), "^'pass' cannot stand in place of 'except"),
        (swap_sql("charge", "id = %s", "id = {card}"), "^'id = {card}' puts a value into an f-string"),
        (drop("charge", "found is None and card.held"), "0 times in charge"),
        (drop_sql("charge", "id = %s OR"), "'id = %s OR' is 0 times in charge, not once"),
        (always_sql("charge", "id"), "'id' is 3 times in charge, not once"),
    ],
)  # fmt: skip
def test_a_place_that_is_not_there_once_is_refused(change: Change, message: str) -> None:
    with pytest.raises(PlaceError, match=message):
        change.apply(SOURCE)
