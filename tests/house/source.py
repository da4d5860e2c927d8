"""The project's own source, parsed, for the tests that hold the house to its rules."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """A file, read and parsed when a test first asks for it: parsing all takes seconds, and each worker collects."""

    path: str  # from the root, with slashes

    @cached_property
    def text(self) -> str:
        return (ROOT / self.path).read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    def where(self, node: ast.AST) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 0)}"

    def functions(self) -> Iterator[tuple[str, Function]]:
        """Every function with its name inside the module, such as `Settlement.apply`."""
        yield from _functions(self.tree, "")

    def inside(self, node: ast.AST) -> str:
        """`path` and the name of the innermost function or class around `node`; the path alone at module level."""
        line = getattr(node, "lineno", 0)
        around = [
            (item.lineno, name)
            for name, item in _named(self.tree, "")
            if item.lineno <= line <= (item.end_lineno or item.lineno)
        ]
        return f"{self.path}:{max(around)[1]}" if around else self.path


@cache
def sources(*folders: str) -> tuple[Source, ...]:
    """The Python files below the folders (or the files themselves), without migrations."""
    found: list[Source] = []
    for folder in folders:
        path = ROOT / folder
        assert path.exists(), f"{folder} is not there any more"
        files = [path] if path.is_file() else sorted(path.rglob("*.py"))
        for file in files:
            relative = file.relative_to(ROOT).as_posix()
            if "/migrations/" not in relative:
                found.append(_source(relative))
    return tuple(found)


@cache
def _source(path: str) -> Source:
    return Source(path)


def dotted(node: ast.AST) -> str:
    """`os.environ` for the expression of that shape, else an empty string."""
    match node:
        case ast.Name(name):
            return name
        case ast.Attribute(value, name):
            before = dotted(value)
            return f"{before}.{name}" if before else ""
        case _:
            return ""


def calls(source: Source) -> Iterator[tuple[str, ast.Call]]:
    """Every call by its full name, whatever the module imported it as."""
    known = imported_names(source.tree)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and (name := dotted(node.func)):
            yield full_name(name, known), node


def uses(source: Source) -> Iterator[tuple[str, ast.AST]]:
    """Every name and attribute by its full name, whatever the module imported it as."""
    known = imported_names(source.tree)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name | ast.Attribute) and (name := dotted(node)):
            yield full_name(name, known), node


def full_name(name: str, known: dict[str, str]) -> str:
    first, _, rest = name.partition(".")
    start = known.get(first, first)
    return f"{start}.{rest}" if rest else start


def imported_names(tree: ast.AST) -> dict[str, str]:
    """What each imported name stands for."""
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                known[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return known


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    for name, item in _named(node, prefix):
        if isinstance(item, Function):
            yield name, item


def _named(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function | ast.ClassDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function | ast.ClassDef):
            name = f"{prefix}{child.name}"
            yield name, child
            yield from _named(child, f"{name}.")
        else:
            yield from _named(child, prefix)
