"""`make faults` looks only where the faults are: it does not load every test there is."""

import re

from tests.house.source import ROOT


def test_what_is_marked_faults_is_where_make_faults_looks() -> None:
    (folders,) = re.findall(r"-m pytest (.*) -n 3 .* -m faults", (ROOT / "Makefile").read_text())
    looked_at = tuple(ROOT / folder for folder in folders.split())
    marked = [path for path in (ROOT / "tests").rglob("test_*.py") if "pytest.mark." + "faults" in path.read_text()]

    assert marked
    assert [path for path in marked if not any(path.is_relative_to(folder) for folder in looked_at)] == []
