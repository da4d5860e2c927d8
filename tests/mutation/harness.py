"""Takes one guard away in a copy of the tree, runs the tests that should notice, and says which one did."""

import ast
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
from difflib import unified_diff
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tests.house.source import ROOT
from tests.mutation.edits import Change
from tests.mutation.patterns import PlaceError

COPIED = ("billing", "config", "rm_gateway", "tests", "docs", "docker", "manage.py", "pyproject.toml", ".env.example")
FAILED = re.compile(r"^FAILED (.+?)(?: - .*)?$", re.MULTILINE)
LONGEST_SECONDS = 400
# Without what tries values at random: that notices a mutation on one day and not on another.
ALWAYS = ("-q", "-x", "-p", "pytest_django.plugin", "-p", "pytest_timeout", "-p", "_hypothesis_pytestplugin",
          "-m", "not hypothesis", "--reuse-db", "-p", "no:cacheprovider", "--timeout", "90")  # fmt: skip
# Of what these import, whatever is not the project's own is imported once.
TYPICAL = ("--collect-only", "tests/charging/test_resolve.py", "tests/domain/test_attempts.py")
ATTACKS_SAY = "attacks.json"  # where the plugin that drops promises writes what it saw


@dataclass(frozen=True)
class Edit:
    file: str
    change: Change


@dataclass(frozen=True)
class Mutation:
    """A guard that is taken away. The tests of the file `tests` notice it; with `words` those that fit that expression.

    With more than one edit, the guards are two for one promise: each alone is not missed, for the reason in `why`."""

    name: str
    edits: tuple[Edit, ...]
    tests: str
    words: str = ""
    why: str = ""


def one(name: str, file: str, change: Change, tests: str, words: str = "") -> Mutation:
    return Mutation(name, (Edit(file, change),), tests, words)


def each(name: str, file: str, changes: Mapping[str, Change], tests: str, words: str = "") -> list[Mutation]:
    """Several guards of one file that the same tests notice; each has its own name after the common one."""
    return [one(f"{name}: {which}", file, change, tests, words) for which, change in changes.items()]


@dataclass(frozen=True)
class Outcome:
    name: str
    killed_by: str | None
    seconds: float


class NotTriedError(Exception):
    """The tests of a mutation could not be run."""


class StaleMutationError(Exception):
    """A mutation does not fit the source any more."""


def mutated(mutation: Mutation, root: Path = ROOT) -> dict[str, str]:
    """The changed files, by path. Raises StaleMutationError unless the place of each edit is there exactly once."""
    texts: dict[str, str] = {}
    for edit in mutation.edits:
        text = texts.get(edit.file) or (root / edit.file).read_text(encoding="utf-8")
        try:
            texts[edit.file] = edit.change.apply(text)
        except PlaceError as error:
            raise StaleMutationError(f"{mutation.name}: in {edit.file}, {error}") from error
    return texts


def check(mutation: Mutation, root: Path = ROOT) -> None:
    """Raises StaleMutationError unless the mutation fits the source and the file of its tests exists."""
    mutated(mutation, root)
    if not (root / mutation.tests.partition("::")[0]).exists():
        raise StaleMutationError(f"{mutation.name}: there is no {mutation.tests}")


def shown(mutation: Mutation) -> str:
    """The changed lines of a mutation, as a patch of the source without its layout."""
    lines: list[str] = []
    for file, text in mutated(mutation).items():
        before, after = (ast.unparse(ast.parse(one)).split("\n") for one in ((ROOT / file).read_text("utf-8"), text))
        lines += unified_diff(before, after, file, "", n=2, lineterm="")
    return "\n".join(lines)


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
        for file, text in mutated(mutation, tree.path).items():
            path = tree.path / file
            before[path] = (path.read_text(encoding="utf-8"), path.stat().st_mtime)
            path.write_text(text, encoding="utf-8")
        killed_by = _killed_by(tree, [mutation.tests, *(["-k", mutation.words] if mutation.words else [])])
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
