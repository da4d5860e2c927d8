"""What people read uses the words of docs/glossary.md, and none of those that they replace."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.source import ROOT, sources

# Each with the word that takes its place.
GONE = {
    r"with a person": "needs review",
    r"(needs?|waits? for|wait for|asks) a (person|human)": "needs review",
    r"(waits?|waiting|waited) for another person": "awaiting approval",
    r"somebody (who|else)": "who is billed; another person",
    r"(has|have|had|was) begun|begun": "started",
    r"surplus money|money that was not owed": "overpayment",
    r"g(?:ive|ives|ave|iven|iving) (?:\w+ )?back": "refund",
    r"(is|be|was|been) bound|not bound|binds? a card|bind one": "save a card",
    r"look(s|ed|ing)? at the gateway|a look at": "check with Revenue Monster; read",
    r"looked at|next look|last look": "reviewed, checked; next check",
    r"held up by": "other invoices waiting",
    r"absent at last": "not found at RM",
    r"nothing explains|explained by nothing": "unexplained",
    r"asked? for(?! approval)": "requested, collected",
    r"(is|are|was|were|be|been) (told|heard|said)\b": "recorded, shown",
    r"(nothing|what|everything) (that )?was (heard|said|told)": "evidence",
    r"it is said": "decide",
    r"who told us|your system (is told|hears)": "the source; events are recorded",
    r"came of|comes of": "the outcome",
    r"what (it|each|they) causes?": "the effect",
    r"is no (JSON|day|time|person|transaction|attempt)": "must be",
    r"comes (more than once|twice)": "must appear only once",
    r"before one's eyes|no riddle|one by one": "plain words",
    r"by itself": "automatically",
    r"brought money|all the same|after all": "anyway",
    r"in doubt|dubious": "unknown, unresolved",
    r"written down|writes? (it |them )?down": "recorded",
    r"went back|goes back already": "was refunded",
    r"holds? (nobody|no other|none|it|them|others) up|held up": "blocks",
    r"start page": "dashboard",
    r"no pulse|a pulse": "heartbeat",
    r"proved at the gateway|without proof": "checked with the gateway; unchecked",
    r"there is no (account|attempt|such)": "no such",
    r"(is|was) thrown|throws the": "turned on",
    r"by the clocks of|by the account's clocks": "in the account's time zone",
}
PATTERNS = [(re.compile(rf"\b(?:{words})\b", re.IGNORECASE), instead) for words, instead in GONE.items()]
CODE = (
    "billing/accounts",
    "billing/admin",
    "billing/api",
    "billing/audit",
    "billing/charging",
    "billing/demo",
    "billing/domain",
    "billing/explaining",
    "billing/management",
    "billing/operating",
    "billing/subscriptions",
    "config",
)
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/*.md",
    "docs/openapi.yaml",
    "billing/templates/**/*.html",
)
# The glossary names the words that are gone; the tables of faults.md are written by its tool.
NOT_YET = frozenset({"docs/glossary.md", "docs/faults.md"})


# No part of a name in these folders. The columns of the database keep theirs.
GONE_FROM_NAMES = frozenset({"told", "said", "heard", "begun", "riddle", "riddles", "stranger", "strangers"})
NAMED = (
    *CODE,
    "billing/callbacks",
    "billing/gateway",
    "billing/models",
    "rm_gateway",
    "tests/model",
    "tests/stateful",
)


def complaints(text: str, where: str) -> Iterator[str]:
    for pattern, instead in PATTERNS:
        for found in pattern.finditer(text):
            around = text[max(found.start() - 30, 0) : found.end() + 30].replace("\n", " ")
            yield f"{where}: …{around}… (write: {instead})"


def read_by_people(tree: ast.Module) -> Iterator[ast.Constant]:
    """The string constants that are text or a label (a space, a capital), without docstrings."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            skipped.update(id(first.value) for first in node.body[:1] if isinstance(first, ast.Expr))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield from [node] if " " in node.value.strip() or node.value[:1].isupper() else []


def names_in(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """What the module names: its functions and classes, their arguments, and everything that is assigned to."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node, name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node, name


def words_of(name: str) -> set[str]:
    return set(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_"))


def files_of(glob: str) -> list[Path]:
    return [path for path in sorted(ROOT.glob(glob)) if path.relative_to(ROOT).as_posix() not in NOT_YET]


def test_strings_use_the_glossary() -> None:
    found = [
        complaint
        for source in sources(*CODE)
        for node in read_by_people(source.tree)
        for complaint in complaints(str(node.value), source.where(node))
    ]
    assert not found, "\n".join(found)


def test_names_use_the_glossary() -> None:
    found = [
        f"{source.where(node)}: {name}"
        for source in sources(*NAMED)
        for node, name in names_in(source.tree)
        if words_of(name) & GONE_FROM_NAMES
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "code", ["def _told(row): ...", "class OrderHeard: ...", "lambda said: 1", "self.begun = True"]
)
def test_a_name_that_is_gone_is_noticed(code: str) -> None:
    assert [name for _, name in names_in(ast.parse(code)) if words_of(name) & GONE_FROM_NAMES]


@pytest.mark.parametrize("glob", PAGES)
def test_pages_use_the_glossary(glob: str) -> None:
    files = files_of(glob)
    assert files, f"{glob} matches no file"
    found = [
        complaint
        for path in files
        for complaint in complaints(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    ["It waits for a person.", "What came of it", "the card is not bound yet", "Nothing was heard yet.", "begun"],
)
def test_a_word_that_is_gone_is_noticed(text: str) -> None:
    assert list(complaints(text, "here"))
