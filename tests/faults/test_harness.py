"""A short run of the harness: a few dozen kills at every point, whole workers, and every fault of the servers."""

import json
import os
import subprocess
import sys

import pytest

from tests.faults.harness.figures import ROOT

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(960)]

# Each group is a run of its own, with servers of its own.
GROUPS = {
    "kills": ["forked", "random"],
    "whole": ["whole"],
    "checkouts": ["checkouts"],
    "sleepers": ["zombies", "commits"],
    "servers": ["postgres", "terms"],
    "broker": ["broker"],
}


@pytest.mark.parametrize("group", GROUPS)
def test_nobody_is_charged_twice_and_nothing_is_lost(group: str) -> None:
    only = [word for section in GROUPS[group] for word in ("--only", section)]
    run = subprocess.run(
        [sys.executable, "-m", "tests.faults.harness", *only],
        cwd=ROOT,
        env=_outside_of_the_tests(),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )

    assert run.returncode == 0, run.stderr[-4000:]
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["failures"] == 0
    assert {name.partition(":")[0] for name in found["sections"]} == set(GROUPS[group])
    for name, section in found["sections"].items():
        assert section["attempts"] > 0, name
        if group == "checkouts":  # its own oracle counts problems alone
            assert (section["problems"], section["kills"] > 0) == (0, True), name
            continue
        assert section["most_posts_per_marker"] <= 1, name
        assert (section["double"], section["missed"], section["open_ended"], section["violations"]) == (0, 0, 0, 0), (
            name
        )


def _outside_of_the_tests() -> dict[str, str]:
    own = ("DATABASE_URL", "REDIS_URL", "KITARAN_DATA_DIR", "KITARAN_GATEWAY_TOTAL_SECONDS")
    return {name: value for name, value in os.environ.items() if name not in own}
