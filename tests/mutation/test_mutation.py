"""The short version: every mutation still fits the source, and a handful of them is tried, other ones each day.

With the faults every constraint and trigger is taken away once; `make mutation` does all of it."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.mutation.edits import swap
from tests.mutation.harness import StaleMutationError, Tree, check, copy_of_the_tree, mutated, one, try_out
from tests.mutation.mutations import MUTATIONS
from tests.mutation.promises import SECOND_GUARDS, attack_without, missed
from tests.promises import catalogue

HANDFUL = 3
# KITARAN_MUTATION_SEED tries the handful of another day once more.
SEED = int(os.environ.get("KITARAN_MUTATION_SEED") or datetime.now(UTC).toordinal())
TODAY = random.Random(SEED).sample(MUTATIONS, HANDFUL)

pytestmark = [pytest.mark.timeout(400), pytest.mark.slow]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    with copy_of_the_tree(tmp_path_factory.mktemp("mutation")) as copied:
        yield copied


def test_every_mutation_fits_the_source() -> None:
    stale = []
    for mutation in MUTATIONS:
        try:
            check(mutation)
        except StaleMutationError as error:
            stale.append(str(error))
    assert stale == []


def test_no_mutation_names_what_is_not_there(tmp_path: Path) -> None:
    """An undefined name is an error of its own, which a test would notice, or something would catch, instead."""
    for number, mutation in enumerate(MUTATIONS):
        for file, text in mutated(mutation).items():
            (tmp_path / f"{number}-{Path(file).stem}.py").write_text(f"{text}\n# {mutation.name}\n", encoding="utf-8")
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_mutation_of_several_guards_explains_why() -> None:
    assert [each.name for each in MUTATIONS if (len(each.edits) > 1) != bool(each.why)] == []


def test_each_mutation_has_a_name_of_its_own() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= 500


def test_some_test_notices_each_of_todays_mutations(tree: Tree) -> None:
    outcomes = [try_out(mutation, tree) for mutation in TODAY]
    assert [outcome.name for outcome in outcomes if outcome.killed_by is None] == [], f"KITARAN_MUTATION_SEED={SEED}"


def test_a_mutation_that_changes_nothing_survives(tree: Tree) -> None:
    change = swap("PREFLIGHT_FRESH", "seconds=60", "minutes=1")
    harmless = one("another spelling", "billing/domain/arming.py", change, "tests/domain/test_arming.py")
    assert try_out(harmless, tree).killed_by is None


@pytest.mark.faults
@pytest.mark.django_db(transaction=True)
def test_every_constraint_and_trigger_is_missed_when_it_is_gone(tree: Tree) -> None:
    outcomes = attack_without(tree)
    assert set(outcomes) == catalogue.promises()
    assert missed(outcomes) == {}
    assert {name: f"refused by {guard}" for name, guard in SECOND_GUARDS.items()} == {
        name: outcomes[name] for name in SECOND_GUARDS
    }
