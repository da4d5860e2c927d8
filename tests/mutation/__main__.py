"""All mutations, each tried once; a whole run adds its line to docs/mutation.md, and says the rest on its output.

Arguments are beginnings of names: then only those are tried, and nothing is written."""

import os
import platform
import queue
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from tests import throwaway_stack  # noqa: F401  (starts the database server that all runs share)
from tests.house.source import ROOT
from tests.mutation.harness import Mutation, NotTriedError, Outcome, Tree, check, copy_of_the_tree, shown, try_out
from tests.mutation.mutations import MUTATIONS
from tests.mutation.promises import attack_without, missed

AT_ONCE = 2
LONGEST_SECONDS = 1800  # of all tests that noticed something, one after the other
PAGE = ROOT / "docs" / "mutation.md"


def main(names: list[str]) -> int:
    chosen = [mutation for mutation in MUTATIONS if not names or mutation.name.startswith(tuple(names))]
    for mutation in MUTATIONS:
        check(mutation)
    begun, commit = time.monotonic(), _commit()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="kitaran-mutation-") as folder, ExitStack() as stack:
        trees = [stack.enter_context(copy_of_the_tree(Path(folder) / str(number))) for number in range(AT_ONCE)]
        tree = trees[0]
        for outcome in _tried(chosen, trees):
            outcomes.append(outcome)
            print(f"{outcome.seconds:6.1f} s  {outcome.name}: {outcome.killed_by or 'SURVIVED'}", flush=True)
        killers = sorted({killer for outcome in outcomes if "::" in (killer := outcome.killed_by or "")})
        if killers:  # each of them passes where nothing is taken away; without a name pytest would run everything
            intact = tree.run_pytest(killers, seconds=LONGEST_SECONDS)
            if intact.code != 0:
                print(intact.words[-4000:], "\nA test that noticed something fails without that too.")
                return 2
        promises = {} if names else attack_without(tree)
    survived = {outcome.name for outcome in outcomes if outcome.killed_by is None}
    for mutation in chosen:
        if mutation.name in survived:
            print(f"{mutation.name} is not missed:\n{shown(mutation)}")
    print(f"{len(outcomes)} mutations, {len(survived)} survived; {len(promises)} constraints and triggers")
    for name, said in missed(promises).items():
        print(f"{name} is not missed: {said}")
    wrong = bool(survived or missed(promises))
    if not names and not wrong:
        _write(len(outcomes), len(promises), commit, time.monotonic() - begun)
    return 1 if wrong else 0


def _tried(chosen: list[Mutation], trees: list[Tree]) -> Iterator[Outcome]:
    """Some at once, each in a copy of its own."""
    free: queue.SimpleQueue[Tree] = queue.SimpleQueue()
    for tree in trees:
        free.put(tree)

    def try_one(mutation: Mutation) -> Outcome:
        tree = free.get()
        try:
            return try_out(mutation, tree)
        except NotTriedError as error:
            print(f"{mutation.name}: {error}", flush=True)
            return Outcome(mutation.name, None, 0)
        finally:
            free.put(tree)

    with ThreadPoolExecutor(len(trees)) as pool:
        yield from pool.map(try_one, chosen)


def _commit() -> str:
    """What is tried: the commit, and whether the files differ from it."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=, changed"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def _write(mutations: int, promises: int, commit: str, seconds: float) -> None:
    """A line for a run that nothing survived; the newest stands last."""
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    day = datetime.now(UTC).date()
    line = f"| {day} | `{commit[:7]}`{commit[40:]} | {mutations} | {promises} | {round(seconds)} | {machine} |\n"
    PAGE.write_text(PAGE.read_text(encoding="utf-8") + line, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
