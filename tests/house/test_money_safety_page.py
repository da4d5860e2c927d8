"""docs/money-safety.md lists every promise that the database keeps, and none that it does not."""

import re

import pytest

from tests.house.source import ROOT
from tests.promises import catalogue

PAGE = ROOT / "docs" / "money-safety.md"
ROW = re.compile(r"^\| `([a-z_]+)` \| (.+) \|$", re.MULTILINE)


def test_every_promise_has_a_sentence_of_its_own() -> None:
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    names, sentences = [name for name, _ in rows], [sentence for _, sentence in rows]
    assert sorted(set(names)) == sorted(names)
    assert sorted(set(sentences)) == sorted(sentences)
    assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in sentences)


@pytest.mark.django_db
def test_the_page_and_the_catalogue_list_the_same_promises() -> None:
    assert {name for name, _ in ROW.findall(PAGE.read_text(encoding="utf-8"))} == catalogue.promises()
