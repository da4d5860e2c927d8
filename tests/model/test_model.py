"""Nothing the model can do charges twice or forgets; and without any one guard something does."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from tests.house.source import ROOT
from tests.model.explore import Explored, explore
from tests.model.guards import ASSUMED, GUARDS, SAFE, SAFE_FULL, Guard
from tests.model.names import STEPS
from tests.model.state import World

PAGE = ROOT / "docs" / "money-safety.md"
WORLDS = SAFE + (SAFE_FULL if os.environ.get("FULL") else [])
Note = Callable[[str, object], None]


@cache
def found_without(guard: Guard) -> Explored:
    return explore(guard.without(), liveness=guard.forgets)


def note(found: Explored, record_property: Note) -> None:
    record_property("states", found.states)
    record_property("seconds", round(found.seconds, 2))
    print(f"{found.states:,} states in {found.seconds:.1f} s")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("world", WORLDS, ids=[world.name for world in WORLDS])
def test_nobody_is_charged_twice_and_nothing_is_forgotten(world: World, record_property: Note) -> None:
    found = explore(world)
    note(found, record_property)
    assert found.harm is None, found.story()


@pytest.mark.parametrize("guard", GUARDS, ids=[guard.name for guard in GUARDS])
def test_without_a_guard_harm_is_done(guard: Guard, record_property: Note) -> None:
    found = found_without(guard)
    note(found, record_property)
    print(found.story())
    assert guard.harm in (found.harm or "no harm")


@pytest.mark.slow
@pytest.mark.parametrize("guard", GUARDS, ids=[guard.name for guard in GUARDS])
def test_guarded_world_is_unharmed_as_far_as_the_harm_reached(guard: Guard) -> None:
    """The harm comes of the missing guard and not of the world: with it, no state is harmed that is as near."""
    without = found_without(guard)
    found = explore(guard.world, liveness=False, as_far_as=len(without.trace))
    assert found.harm is None, found.story()


@pytest.mark.parametrize("guard", ASSUMED, ids=[guard.name for guard in ASSUMED])
def test_what_is_taken_to_be_so_is_needed(guard: Guard) -> None:
    found = explore(guard.without(), liveness=False)
    print(found.story())
    assert guard.harm in (found.harm or "no harm")


@pytest.mark.slow
def test_every_step_of_the_model_is_taken_somewhere() -> None:
    used: set[str] = set()
    for world in SAFE:
        small = replace(world, attempts=1, invoices=1) if not (world.releases or world.reversals) else world
        used |= explore(small, liveness=False, as_far_as=14).used
    assert used == set(STEPS)


def test_the_page_walks_through_every_step_of_the_model() -> None:
    chapter = PAGE.read_text(encoding="utf-8").partition("## One charge, step by step")[2].partition("\n## ")[0]
    assert re.findall(r"^\| \*\*([a-z_]+)\*\* \|", chapter, re.MULTILINE) == list(STEPS)
    rows = [line for line in chapter.splitlines() if line.startswith("| **")]
    assert all(cell.strip() for row in rows for cell in row.strip("|").split("|"))


def test_every_guard_that_the_page_names_is_one_of_the_model() -> None:
    chapter = PAGE.read_text(encoding="utf-8").partition("### What each guard is for")[2].partition("\n#")[0]
    assert re.findall(r"^\| (.+?) \|", chapter, re.MULTILINE)[1:] == [guard.what for guard in GUARDS]
