"""The benchmark runs, and what it charges is charged once. It says nothing about speed here."""

import json
import subprocess
import sys

import pytest

from tests.bench.worker import ROOT


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_quick_run_prints_ratios_and_charges_all_exactly_once() -> None:
    command = [sys.executable, "-m", "tests.bench", "--quick", "--latencies", "0"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=220, check=False)

    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout.splitlines()[-1])
    assert said["exactly_once"] is True  # a count that differs ends the run with an error
    assert set(said["ratios"]) == {"0"}
    assert all(ratio > 0 for ratios in said["ratios"].values() for ratio in ratios)
    assert "engine / limit" in run.stdout
