"""Takes one guard away in a copy of the tree, runs the tests that should notice, and says which one did."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tests.house.source import ROOT

COPIED = ("billing", "config", "rm_gateway", "tests", "docs", "docker", "manage.py", "pyproject.toml", ".env.example")
FAILED = re.compile(r"^FAILED (.+?)(?: - .*)?$", re.MULTILINE)
LONGEST_SECONDS = 400


@dataclass(frozen=True)
class Edit:
    """In `file`, `old` (found exactly once) becomes `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutation:
    """A guard that is taken away. `tests` are the arguments of pytest by which that is noticed.

    With more than one edit, the guards are two for one promise: each alone is not missed, for the reason in `why`."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    why: str = ""


def one(name: str, file: str, old: str, new: str, *tests: str) -> Mutation:
    return Mutation(name, (Edit(file, old, new),), tests)


def each(name: str, file: str, edits: Mapping[str, tuple[str, str]], *tests: str) -> list[Mutation]:
    """Several guards of one file that the same tests notice; each has its own name after the common one."""
    return [one(f"{name}: {which}", file, old, new, *tests) for which, (old, new) in edits.items()]


def named(file: str, words: str) -> tuple[str, ...]:
    """The tests of the file whose names fit pytest's expression `words`."""
    return (file, "-k", words)


@dataclass(frozen=True)
class Outcome:
    name: str
    killed_by: str | None
    seconds: float


class NotTriedError(Exception):
    """The tests of a mutation could not be run."""


class StaleMutationError(Exception):
    """A mutation does not fit the source any more."""


def check(mutation: Mutation, root: Path = ROOT) -> None:
    """Raises StaleMutationError unless each edit's text is in its file exactly once and its tests' files exist."""
    for edit in mutation.edits:
        count = (root / edit.file).read_text(encoding="utf-8").count(edit.old)
        if count != 1:
            raise StaleMutationError(f"{mutation.name}: its text is {count} times in {edit.file}")
        if edit.old == edit.new:
            raise StaleMutationError(f"{mutation.name}: changes nothing")
    for test in mutation.tests:
        file = test.partition("::")[0]
        if file.startswith("tests/") and not (root / file).exists():
            raise StaleMutationError(f"{mutation.name}: there is no {file}")


@contextmanager
def copy_of_the_tree(to: Path) -> Iterator[Path]:
    """The project without its history, to be spoilt."""
    tree = to / "tree"
    tree.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name)  # with its compiled files, whose times still agree
        elif source.exists():
            shutil.copy2(source, tree / name)
    try:
        yield tree
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def run_pytest(
    tree: Path, arguments: Sequence[str], *, seconds: int = LONGEST_SECONDS
) -> subprocess.CompletedProcess[str]:
    """Pytest in the copy, on the database server that this process started, without the plugins that are not needed.

    Without the one that shuffles too: what is tried and in which order is the same each time."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {
        "KITARAN_TESTS_STACK": "given",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "DATABASE_URL": _own_database(os.environ["DATABASE_URL"], tree),
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "pytest_django.plugin", "-p", "pytest_timeout",
         "--reuse-db", "-p", "no:cacheprovider", "--timeout", "90", *arguments],
        cwd=tree, env=environment, capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip


def _own_database(url: str, tree: Path) -> str:
    """The same server with a database of this copy's own, which its runs use one after the other."""
    parts = urlsplit(url)
    own = hashlib.sha256(str(tree).encode()).hexdigest()[:12]
    return urlunsplit(parts._replace(path=f"{parts.path}_{own}"))


def try_out(mutation: Mutation, tree: Path) -> Outcome:
    """Spoils the copy, runs the tests, and puts it right again. Raises NotTriedError when they did not run."""
    check(mutation, tree)
    begun = time.monotonic()
    before: dict[Path, tuple[str, float]] = {}
    try:
        for edit in mutation.edits:
            path = tree / edit.file
            text = path.read_text(encoding="utf-8")
            before.setdefault(path, (text, path.stat().st_mtime))
            path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")
        killed_by = _killed_by(tree, mutation.tests)
    finally:
        for path, (text, changed_at) in before.items():
            path.write_text(text, encoding="utf-8")
            os.utime(path, (changed_at, changed_at))
    return Outcome(mutation.name, killed_by, round(time.monotonic() - begun, 1))


def _killed_by(tree: Path, tests: Sequence[str]) -> str | None:
    try:
        done = run_pytest(tree, tests)
    except subprocess.TimeoutExpired:
        return "the time limit"
    if done.returncode == 0:
        return None
    failed = FAILED.search(done.stdout)
    if done.returncode == 1 and failed:
        return failed.group(1)
    if "Timeout" in done.stdout + done.stderr:
        return "the time limit of a test"
    raise NotTriedError(f"the tests did not run:\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}")
