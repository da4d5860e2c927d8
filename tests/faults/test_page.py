"""The figures of the page are those of the long runs' files, and the files are of runs that found nothing wrong."""

import json

import pytest

from tests.faults.harness import page
from tests.faults.harness.figures import RESULTS

FILES = sorted(RESULTS.glob("*.json"))


def test_page_matches_the_files() -> None:
    _, begun, rest = page.PAGE.read_text().partition(page.BEGIN)
    written, ended, _ = rest.partition(page.END)

    assert begun
    assert ended
    assert written.strip() == page.figures().strip(), "python -m tests.faults.harness.page writes it again"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_kept_run_found_nothing_wrong(path) -> None:
    content = json.loads(path.read_text())
    assert content["failures"] == []
    assert {"cores", "python", "postgresql"} <= set(content["machine"])
    for name, section in content["sections"].items():
        if section["batches"]:
            assert section["most_posts_per_marker"] <= 1, name
            wrong = [section[what] for what in ("double", "missed", "open_ended", "unexplained_posts", "problems")]
            assert not any(wrong), name
