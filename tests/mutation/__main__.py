"""All mutations, each tried once; what came of them is written as JSON."""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from tests import throwaway_stack  # noqa: F401  (starts the database server that all runs share)
from tests.house.source import ROOT
from tests.mutation.harness import Outcome, check, copy_of_the_tree, run_pytest, try_out
from tests.mutation.mutations import MUTATIONS
from tests.mutation.promises import attack_without, missed

RESULTS = Path(__file__).with_name("results") / "latest.json"


def main(names: list[str]) -> int:
    chosen = [mutation for mutation in MUTATIONS if not names or mutation.name in names]
    for mutation in MUTATIONS:
        check(mutation)
    begun = time.monotonic()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="kitaran-mutation-") as folder, copy_of_the_tree(Path(folder)) as tree:
        for mutation in chosen:
            outcome = try_out(mutation, tree)
            outcomes.append(outcome)
            print(f"{outcome.seconds:6.1f} s  {mutation.name}: {outcome.killed_by or 'SURVIVED'}", flush=True)
        killers = sorted({outcome.killed_by for outcome in outcomes if "::" in (outcome.killed_by or "")})
        whole = run_pytest(tree, killers)  # each of them passes where nothing is taken away
        if whole.returncode:
            print(whole.stdout[-4000:], "\nA test that noticed something fails without that too.")
            return 2
        promises = {} if names else attack_without(tree)
    survived = [outcome.name for outcome in outcomes if outcome.killed_by is None]
    if not names:
        _write(outcomes, promises, time.monotonic() - begun)
    print(f"{len(outcomes)} mutations, {len(survived)} survived; {len(promises)} constraints and triggers")
    for name, said in missed(promises).items():
        print(f"{name} is not missed: {said}")
    return 1 if survived or missed(promises) else 0


def _write(outcomes: list[Outcome], promises: dict[str, str], seconds: float) -> None:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    RESULTS.parent.mkdir(exist_ok=True)
    result = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "seconds": round(seconds),
        "mutations": [
            {"name": outcome.name, "killed_by": outcome.killed_by, "seconds": outcome.seconds} for outcome in outcomes
        ],
        "constraints_and_triggers": promises,
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
