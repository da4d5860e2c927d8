"""What the pages for developers name is there, and a newcomer's questions end in three files."""

import re

import pytest

from tests.house.source import ROOT

PAGES = ("CONTRIBUTING.md", "docs/architecture.md")
_ROW = re.compile(r"^\| (?P<question>[^|]+\?[^|]*) \| (?P<files>[^|]+) \|$", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = {found.rstrip("/") for found in re.findall(r"`([\w.]+/[\w/.-]+)`", text)}
    assert len(named) > 10
    # Paths below `billing` are named without it where a step is told.
    assert sorted(one for one in named if not (ROOT / one).exists() and not (ROOT / "billing" / one).exists()) == []


@pytest.mark.parametrize("page", PAGES)
def test_a_question_is_answered_in_three_files_at_most(page: str) -> None:
    rows = _ROW.findall((ROOT / page).read_text(encoding="utf-8"))
    assert len(rows) >= 10
    for question, files in rows:
        assert 1 <= files.count("`") // 2 <= 3, question


def test_commands_that_run_one_test_name_tests_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    commands = re.findall(r"-m pytest (\S+)(?: -k (\w+))?", text)
    assert len(commands) == 3
    for file, word in commands:
        assert word in (ROOT / file).read_text(encoding="utf-8"), file
