"""The short version: every mutation still fits the source, and a handful of them is tried, other ones each day.

With the faults every constraint and trigger is taken away once; `make mutation` does all of it."""

import json
import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.mutation.harness import Edit, Mutation, StaleMutationError, Tree, check, copy_of_the_tree, try_out
from tests.mutation.mutations import MUTATIONS
from tests.mutation.promises import SECOND_GUARDS, attack_without, missed
from tests.promises import catalogue

HANDFUL = 3
RESULTS = Path(__file__).with_name("results") / "latest.json"
# KITARAN_MUTATION_SEED tries the handful of another day once more.
SEED = int(os.environ.get("KITARAN_MUTATION_SEED") or datetime.now(UTC).toordinal())
TODAY = random.Random(SEED).sample(MUTATIONS, HANDFUL)

pytestmark = [pytest.mark.timeout(400), pytest.mark.processes]


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


def test_a_mutation_of_several_guards_says_why_one_is_not_enough() -> None:
    assert [one.name for one in MUTATIONS if (len(one.edits) > 1) != bool(one.why)] == []


def test_each_mutation_has_a_name_of_its_own() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= 500


def test_a_mutation_whose_text_is_gone_is_an_error() -> None:
    gone = Mutation("gone", (Edit("billing/charging/arm.py", "no such text", ""),), ("tests/charging/test_arm.py",))
    with pytest.raises(StaleMutationError, match="0 times"):
        check(gone)


def test_some_test_notices_each_of_todays_mutations(tree: Tree) -> None:
    outcomes = [try_out(mutation, tree) for mutation in TODAY]
    assert [outcome.name for outcome in outcomes if outcome.killed_by is None] == [], f"KITARAN_MUTATION_SEED={SEED}"


def test_a_mutation_that_changes_nothing_survives(tree: Tree) -> None:
    edit = Edit(
        "billing/domain/arming.py",
        "PREFLIGHT_FRESH = timedelta(seconds=60)",
        "PREFLIGHT_FRESH = timedelta(0, 60)",
    )
    harmless = Mutation("another spelling", (edit,), ("tests/domain/test_arming.py",))
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


@pytest.mark.django_db
def test_the_last_long_run_tried_all_and_left_no_survivor() -> None:
    result = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert [one["name"] for one in result["mutations"] if one["killed_by"] is None] == []
    assert {one["name"] for one in result["mutations"]} == {mutation.name for mutation in MUTATIONS}
    assert set(result["constraints_and_triggers"]) == catalogue.promises()
