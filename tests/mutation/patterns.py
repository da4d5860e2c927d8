"""Patterns of Python, found in a function, class or constant by its syntax.

A pattern is Python text: an expression, statements, an argument (`now=now`), an item of a dict (`"id": one.id`), or the
head of a block (`if found:`, `except OSError:`, `case None:`), whose body is whatever it is. `...` stands for anything:
an expression, any number of arguments, elements or statements. A name that the module does not know, such as that of a
local variable, stands for any local name, the same one each time. Layout, quotes and comments do not matter."""

import ast
import builtins
import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

HEADS = ("if", "for", "while", "with", "try")
IGNORED = {"ctx", "kind", "type_comment"}
Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign
Pattern = dict[str, list[ast.AST]]  # by what it may be: stmt, expr, keyword, item, handler, case


class PlaceError(Exception):
    """A place is not in the source, or not once."""


@dataclass(frozen=True)
class Seen:
    """What the names and the `...` of a pattern stand for."""

    names: dict[str, str] = field(default_factory=dict)
    anything: tuple[list[ast.AST], ...] = ()

    def name(self, pattern: str, name: str) -> "Seen | None":
        known = self.names.get(pattern)
        if known is None and name not in self.names.values():
            return Seen({**self.names, pattern: name}, self.anything)
        return self if known == name else None

    def and_anything(self, nodes: list[ast.AST]) -> "Seen":
        return Seen(self.names, (*self.anything, nodes))


@dataclass(frozen=True)
class Found:
    """Nodes `start` to `stop` of the list in `field` of `parent`; or, without a start, the node in that field."""

    kind: str
    parent: ast.AST
    field: str
    start: int | None
    stop: int
    seen: Seen

    @property
    def nodes(self) -> list[ast.AST]:
        value = getattr(self.parent, self.field)
        return [value] if self.start is None else value[self.start : self.stop]


@dataclass(frozen=True)
class Module:
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def names(self) -> set[str]:
        """What is known everywhere in the module."""
        return {*dir(builtins), *(name for statement in self.tree.body for name in _bound(statement, inside=False))}

    @cached_property
    def _scopes(self) -> list[tuple[str, Scope]]:
        return list(_scopes(self.tree, ""))

    def scope(self, name: str) -> Scope:
        """The function, class or constant of that name, such as `Settlement.apply`; the last part is enough if it is
        the only one."""
        found = [one for known, one in self._scopes if known == name]
        found = found or [one for known, one in self._scopes if known.endswith(f".{name}")]
        if len(found) != 1:
            raise PlaceError(f"there are {len(found)} of {name}, not one")
        return found[0]


def parse(text: str) -> Pattern:
    """Raises PlaceError for what is no pattern."""
    try:
        return _head(text) if text.endswith(":") else _body(text)
    except SyntaxError:
        try:
            return _item(text)
        except SyntaxError as error:
            raise PlaceError(f"{text!r} is not Python: {error.msg}") from error


def _head(text: str) -> Pattern:
    if text.startswith("except"):
        return {"handler": [ast.parse(f"try: ...\n{text} ...").body[0].handlers[0]]}  # type: ignore[attr-defined]
    if text.startswith("case"):
        return {"case": [ast.parse(f"match _:\n {text} ...").body[0].cases[0]]}  # type: ignore[attr-defined]
    node: Any = ast.parse(f"{text} ...").body[0]
    if "orelse" in node._fields:
        node.orelse = copy.deepcopy(node.body)
    return {"stmt": [node]}


def _body(text: str) -> Pattern:
    statements = ast.parse(text).body
    match statements:
        case [ast.Expr(value)]:
            return {"stmt": [*statements], "expr": [value]}
        case [ast.Assign([ast.Name(name)], value)]:
            return {"stmt": [*statements], "keyword": [ast.keyword(name, value)]}
        case [ast.AnnAssign(ast.Name() | ast.Attribute(), value=None)]:
            return {"stmt": [*statements], **_item(text)}
    return {"stmt": [*statements]}


def _item(text: str) -> Pattern:
    match ast.parse(f"{{{text}}}", mode="eval").body:
        case ast.Dict() as items:
            return {"item": [items]}
        case ast.Set(elements):
            return {"expr": [*elements]}
        case _:
            raise SyntaxError("neither statement nor expression, argument or item")


def search(pattern: Pattern, around: list[ast.AST], known: set[str], local: set[str], seen: Seen) -> list[Found]:
    """Every place within `around` that fits one of what the pattern may be, where the module knows the names `known`
    and the scope binds the names `local`."""
    matcher = _Matcher(known, local)
    return [
        found for kind, nodes in pattern.items() for node in around for found in matcher.find(kind, nodes, node, seen)
    ]


def fill(pattern: list[ast.AST], seen: Seen) -> list[ast.AST]:
    """The pattern with what its names and its `...` were found to stand for."""
    return _Filler(seen).fill(pattern)  # type: ignore[no-any-return]


def bound(nodes: list[ast.AST]) -> set[str]:
    """The names that the nodes bind, in functions inside them too."""
    return {name for node in nodes for name in _bound(node, inside=True)}


class _Matcher:
    def __init__(self, known: set[str], local: set[str]) -> None:
        self._known = known
        self._local = local

    def find(self, kind: str, pattern: list[ast.AST], around: ast.AST, seen: Seen) -> Iterator[Found]:
        for parent in ast.walk(around):
            if kind == "item":
                yield from self._items(pattern[0], parent, seen)
                continue
            for name, value in ast.iter_fields(parent):
                if isinstance(value, list):
                    for start, stop in _runs(pattern, len(value)):
                        if fits := self._list(pattern, value[start:stop], seen):
                            yield Found(kind, parent, name, start, stop, fits)
                elif isinstance(value, ast.AST) and (fits := self._list(pattern, [value], seen)):
                    yield Found(kind, parent, name, None, 0, fits)

    def _items(self, pattern: Any, parent: ast.AST, seen: Seen) -> Iterator[Found]:
        if isinstance(parent, ast.Dict):
            for start, item in enumerate(zip(parent.keys, parent.values, strict=True)):
                if fits := self._list([*pattern.keys, *pattern.values], [*item], seen):
                    yield Found("item", parent, "values", start, start + 1, fits)

    def _fits(self, pattern: Any, node: Any, seen: Seen) -> Seen | None:
        if _is_anything(pattern) and isinstance(node, ast.AST):
            return seen.and_anything([node])
        if type(pattern) is not type(node):
            return None
        if isinstance(pattern, list):
            return self._list(pattern, node, seen)
        if isinstance(pattern, ast.Call) and any(_is_anything(one) for one in pattern.args):
            return self._call(pattern, node, seen)
        if isinstance(pattern, ast.AST):
            return self._node(pattern, node, seen)
        return seen if pattern == node else None

    def _node(self, pattern: ast.AST, node: ast.AST, seen: Seen | None) -> Seen | None:
        local = _name_field(pattern)
        for name in pattern._fields:
            if seen is None:
                break
            if name not in IGNORED:
                one, other = getattr(pattern, name, None), getattr(node, name, None)
                seen = self._name(one, other, seen) if name == local else self._fits(one, other, seen)
        return seen

    def _name(self, pattern: str | None, name: str | None, seen: Seen) -> Seen | None:
        if pattern and name and name in self._local and (pattern not in self._known or pattern == name):
            return seen.name(pattern, name)
        return seen if pattern == name else None

    def _list(self, patterns: list[Any], nodes: list[Any], seen: Seen) -> Seen | None:
        if not patterns:
            return None if nodes else seen
        if _is_anything(patterns[0]):
            for length in range(len(nodes) + 1):
                if fits := self._list(patterns[1:], nodes[length:], seen.and_anything(nodes[:length])):
                    return fits
            return None
        fits = self._fits(patterns[0], nodes[0], seen) if nodes else None
        return self._list(patterns[1:], nodes[1:], fits) if fits else None

    def _call(self, pattern: ast.Call, node: ast.Call, seen: Seen) -> Seen | None:
        """With `...` among its arguments: any others by position there, and any others by name."""
        wanted = {one.arg for one in pattern.keywords}
        given = [one for one in node.keywords if one.arg in wanted]
        others = [one for one in node.keywords if one.arg not in wanted]
        fits = self._fits(pattern.func, node.func, seen)
        fits = self._list([*pattern.args], [*node.args, *others], fits) if fits else None
        return self._list([*pattern.keywords], [*given], fits) if fits else None


class _Filler:
    def __init__(self, seen: Seen) -> None:
        self._names = seen.names
        self._anything = iter(seen.anything)

    def fill(self, node: Any) -> Any:
        if isinstance(node, list):
            return [one for item in node for one in (self._next() if _is_anything(item) else [self.fill(item)])]
        if not isinstance(node, ast.AST):
            return node
        if _is_anything(node):
            return self._next()[0]
        filled = copy.copy(node)
        for name, value in ast.iter_fields(node):
            local = name == _name_field(node)
            setattr(filled, name, self._names.get(value, value) if local else self.fill(value))
        if isinstance(filled, ast.Call):
            filled.keywords = [*(one for one in filled.args if isinstance(one, ast.keyword)), *filled.keywords]
            filled.args = [one for one in filled.args if not isinstance(one, ast.keyword)]
        return filled

    def _next(self) -> list[ast.AST]:
        try:
            return next(self._anything)
        except StopIteration:
            raise PlaceError("there are more `...` to put than were found") from None


def _runs(pattern: list[ast.AST], length: int) -> Iterator[tuple[int, int]]:
    """Where the pattern may begin and end in a list: with `...` as its last part, only at the end of that."""
    for start in range(length):
        if len(pattern) > 1 and _is_anything(pattern[-1]):
            yield start, length
        elif any(_is_anything(one) for one in pattern[1:]):
            yield from ((start, stop) for stop in range(start + 1, length + 1))
        elif start + len(pattern) <= length:
            yield start, start + len(pattern)


def _is_anything(node: Any) -> bool:
    if isinstance(node, ast.Expr):
        node = node.value
    return isinstance(node, ast.Constant) and node.value is ...


def _name_field(node: ast.AST) -> str | None:
    """The field that holds the name of a local, if the node has one."""
    match node:
        case ast.Name():
            return "id"
        case ast.arg():
            return "arg"
        case ast.ExceptHandler() | ast.MatchAs() | ast.MatchStar():
            return "name"
        case _:
            return None


def _bound(node: ast.AST, *, inside: bool) -> Iterator[str]:
    """Names that the node binds: in the functions inside it, or in its own block."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() if not inside:
            yield node.name
            return
        case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
            yield name
        case ast.Name(name, ast.Store()):
            yield name
        case ast.alias(name, other):
            yield other or name.partition(".")[0]
        case ast.arg() | ast.ExceptHandler() | ast.MatchAs() | ast.MatchStar():
            if local := getattr(node, _name_field(node) or "", None):
                yield local
    for child in ast.iter_child_nodes(node):
        yield from _bound(child, inside=inside)


def _scopes(node: ast.AST, prefix: str) -> Iterator[tuple[str, Scope]]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield f"{prefix}{child.name}", child
            case ast.ClassDef():
                yield f"{prefix}{child.name}", child
                yield from _scopes(child, f"{prefix}{child.name}.")
            case ast.Assign([ast.Name(name)]) | ast.AnnAssign(ast.Name(name)):
                yield f"{prefix}{name}", child
