"""Which tests are run where: `make faults` looks only where the faults are, and no test is left out of `.ci/run`."""

import re

from tests.house.source import ROOT


def test_tests_marked_faults_are_where_make_faults_runs() -> None:
    (folders,) = re.findall(r"-m pytest (.*) -n 3 .* -m faults", (ROOT / "Makefile").read_text())
    looked_at = tuple(ROOT / folder for folder in folders.split())
    marked = [path for path in (ROOT / "tests").rglob("test_*.py") if "pytest.mark." + "faults" in path.read_text()]

    assert marked
    assert [path for path in marked if not any(path.is_relative_to(folder) for folder in looked_at)] == []


def test_every_test_is_in_a_target_that_must_pass_to_land() -> None:
    """`make test` takes what has no mark, each other target the tests of its own mark, and `.ci/run` runs them all."""
    makefile, landing = (ROOT / "Makefile").read_text(), (ROOT / ".ci/run").read_text()
    chosen = dict(re.findall(r'^(test[\w-]*): .*\n\t.*-m "(.*?)"', makefile, re.MULTILINE))

    assert chosen == {
        "test": "not slow and not browser and not faults",
        "test-slow": "slow and not browser and not faults",
    }
    for target in ("test", "test-slow", "faults", "browser"):
        assert re.search(rf"^make {target}$", landing, re.MULTILINE), target
