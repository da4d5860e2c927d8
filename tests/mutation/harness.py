"""Takes one guard away in a copy of the tree, runs the tests that should notice, and says which one did."""

import hashlib
import json
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
# Without what tries values at random: that notices a mutation on one day and not on another.
ALWAYS = ("-q", "-x", "-p", "pytest_django.plugin", "-p", "pytest_timeout", "-p", "_hypothesis_pytestplugin",
          "-m", "not hypothesis", "--reuse-db", "-p", "no:cacheprovider", "--timeout", "90")  # fmt: skip
# Of what these import, whatever is not the project's own is imported once.
TYPICAL = ("--collect-only", "tests/charging/test_resolve.py", "tests/domain/test_attempts.py")
ATTACKS_SAY = "attacks.json"  # where the plugin that drops promises writes what it saw


# A transaction that may be part of another one, in place of one that is committed by its own end.
ANY_TRANSACTION = 'with __import__("django.db").db.transaction.atomic():'


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


@dataclass(frozen=True)
class Said:
    """What came of a run of pytest; `code` is None when its time was over."""

    code: int | None
    words: str


class Tree:
    """A copy of the project to be spoilt, with a database of its own on the server that this process started."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._process: subprocess.Popen[str] | None = None

    def run_pytest(self, arguments: Sequence[str], *, seconds: int = LONGEST_SECONDS) -> Said:
        """Pytest in the copy, without the plugins that are not needed, such as the one that shuffles: what is tried and
        in which order is the same each time."""
        process = self._process = self._process or self._start()
        output = self.path / "pytest.txt"
        told = {"arguments": [*ALWAYS, *arguments], "output": str(output), "seconds": seconds}
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(told) + "\n")
        process.stdin.flush()
        code = json.loads(process.stdout.readline())
        return Said(code, output.read_text(encoding="utf-8", errors="replace"))

    def _start(self) -> "subprocess.Popen[str]":
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        environment |= {
            "KITARAN_TESTS_STACK": "given",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "KITARAN_ATTACKS_SAY": str(self.path / ATTACKS_SAY),
            "DATABASE_URL": _own_database(os.environ["DATABASE_URL"], self.path),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "tests.mutation.warm", str(self.path / "modules.json"), *ALWAYS, *TYPICAL],
            cwd=self.path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def close(self) -> None:
        if self._process:
            assert self._process.stdin
            self._process.stdin.close()
            self._process.wait()
            assert self._process.stdout
            self._process.stdout.close()


@contextmanager
def copy_of_the_tree(to: Path) -> Iterator[Tree]:
    """The project without its history, to be spoilt."""
    path = to / "tree"
    path.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, path / name)  # with its compiled files, whose times still agree
        elif source.exists():
            shutil.copy2(source, path / name)
    tree = Tree(path)
    try:
        yield tree
    finally:
        tree.close()
        shutil.rmtree(path, ignore_errors=True)


def _own_database(url: str, path: Path) -> str:
    """The same server with a database of this copy's own, which its runs use one after the other."""
    parts = urlsplit(url)
    own = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    return urlunsplit(parts._replace(path=f"{parts.path}_{own}"))


def try_out(mutation: Mutation, tree: Tree) -> Outcome:
    """Spoils the copy, runs the tests, and puts it right again. Raises NotTriedError when they did not run."""
    check(mutation, tree.path)
    begun = time.monotonic()
    before: dict[Path, tuple[str, float]] = {}
    try:
        for edit in mutation.edits:
            path = tree.path / edit.file
            text = path.read_text(encoding="utf-8")
            before.setdefault(path, (text, path.stat().st_mtime))
            path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")
        killed_by = _killed_by(tree, mutation.tests)
    finally:
        for path, (text, changed_at) in before.items():
            path.write_text(text, encoding="utf-8")
            os.utime(path, (changed_at, changed_at))
    return Outcome(mutation.name, killed_by, round(time.monotonic() - begun, 1))


def _killed_by(tree: Tree, tests: Sequence[str]) -> str | None:
    done = tree.run_pytest(tests)
    if done.code is None:
        return "the time limit"
    if done.code == 0:
        return None
    failed = FAILED.search(done.words)
    if done.code == 1 and failed:
        return failed.group(1)
    if "Timeout" in done.words:
        return "the time limit of a test"
    raise NotTriedError(f"the tests did not run ({done.code}):\n{done.words[-3000:]}")
