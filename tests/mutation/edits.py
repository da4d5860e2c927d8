"""What is changed: a place in the source and what becomes of it, such as `never("refusal", "facts.card_held")`."""

import ast
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal, TypeVar

from tests.mutation import sql
from tests.mutation.patterns import Found, Module, Pattern, PlaceError, Scope, Seen, bound, fill, parse, search

# In place of `durable`, whose own end commits: a transaction that may be part of another one.
ANY_TRANSACTION = '__import__("django.db").db.transaction.atomic'
parsed = lru_cache(maxsize=None)(Module)  # each file is parsed once
T = TypeVar("T")


@dataclass(frozen=True)
class Change:
    """In the function, class or constant `scope`, what fits `old` (exactly once) is changed. With `of` only what stands
    within that other pattern counts, and names stand for the same in both; in SQL, only strings that have `of`."""

    how: Literal["drop", "never", "always", "swap"]
    scope: str
    old: str
    new: str = ""
    of: str = ""
    is_sql: bool = False

    def apply(self, text: str) -> str:
        """The text of the file, changed. All other functions keep their lines. Raises PlaceError."""
        module = parsed(text)
        scope = module.scope(self.scope)
        old, new = self._sql(scope) if self.is_sql else self._python(scope, module)
        changed = copy.deepcopy(scope, {id(old): new})
        if ast.dump(changed) == ast.dump(scope):
            raise PlaceError(f"{self.old!r} in {self.scope} is not changed by it")
        return _spliced(text, scope, changed)

    def _only(self, found: Sequence[T], what: str) -> T:
        if len(found) != 1:
            within = f"{self.of!r} of {self.scope}" if self.of not in ("", what) else self.scope
            raise PlaceError(f"{what!r} is {len(found)} times in {within}, not once")
        return found[0]

    def _sql(self, scope: Scope) -> tuple[Any, Any]:
        found = sql.search(self.old, scope)
        place = self._only([one for one in found if not self.of or sql.search(self.of, one.node)], self.old)
        match self.how:
            case "always":
                return place.node, place.put(f"({place.words} OR true)")
            case "never":
                return place.node, place.put(f"({place.words} AND false)")
        return place.node, place.put(self.new)

    def _python(self, scope: Scope, module: Module) -> tuple[Any, Any]:
        local = bound([scope])
        around: list[ast.AST] = [scope]
        seen = Seen()
        if self.of:
            within = self._only(search(_kinds("never", self.of)[0], around, module.names, local, seen), self.of)
            around, seen = within.nodes, Seen(within.seen.names)
        old, new = _kinds(self.how, self.old, self.new)
        found = search(old, around, module.names, local, seen)
        only = self._only([one for one in found if self.how != "drop" or one.start is not None], self.old)
        match self.how:
            case "drop":
                return _dropped(only)
            case "swap":
                return _put(only, _known(fill(new[only.kind], only.seen), module.names | local))
        value = ast.Constant(self.how == "always")
        if only.kind == "expr":
            return _put(only, [value])
        if isinstance(only.nodes[0], ast.If | ast.While):
            return only.nodes[0].test, value
        raise PlaceError(f"{self.old!r} is no condition")


def _kinds(how: str, old: str, new: str = "") -> tuple[Pattern, Pattern]:
    """What `old` may be, and what `new` may be in its place: an expression rather than a statement."""
    found, put = parse(old), parse(new) if how == "swap" else {}
    kinds = found.keys() & put.keys() if how == "swap" else found.keys()
    if not kinds:
        raise PlaceError(f"{new!r} cannot stand in place of {old!r}")
    if how != "drop" and "expr" in kinds:
        kinds = {"expr"}
    return {kind: found[kind] for kind in kinds}, put


# Without a statement, an argument, an element, an operand of `and` or `or`, a condition of a comprehension.
drop = partial(Change, "drop")
drop_sql = partial(Change, "drop", is_sql=True)
# False, or true, in place of a condition: of a pattern that is an `if` in place of its own. SQL keeps its parameters.
never = partial(Change, "never")
never_sql = partial(Change, "never", is_sql=True)
always = partial(Change, "always")
always_sql = partial(Change, "always", is_sql=True)
# What the names and the `...` of `old` stand for stands in `new` too.
swap = partial(Change, "swap")
swap_sql = partial(Change, "swap", is_sql=True)


def _dropped(found: Found) -> tuple[Any, Any]:
    old, new = _put(found, [])
    if isinstance(found.parent, ast.BoolOp) and len(new) == 1:
        return found.parent, new[0]
    return old, [ast.Pass()] if found.field == "body" and not new else new


def _put(found: Found, new: list[Any]) -> tuple[Any, Any]:
    before = getattr(found.parent, found.field)
    if found.start is None:
        return before, new[0]
    if isinstance(found.parent, ast.Dict) and found.kind == "item":
        keys, values = [key for one in new for key in one.keys], [value for one in new for value in one.values]
        return found.parent, ast.Dict(_replaced(found.parent.keys, found, keys), _replaced(before, found, values))
    return before, _replaced(before, found, new)


def _replaced(before: list[Any], found: Found, new: list[Any]) -> list[Any]:
    return [*before[: found.start], *new, *before[found.stop :]]


def _known(nodes: list[ast.AST], names: set[str]) -> list[ast.AST]:
    """What is put in place reads only names that are there, or that a lambda or comprehension in it binds."""
    parts = [part for node in nodes for part in ast.walk(node)]
    read = {part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)}
    own = bound([part for part in parts if isinstance(part, ast.arg | ast.comprehension)])
    if unknown := read - names - own:
        raise PlaceError(f"{', '.join(sorted(unknown))} is not known there")
    return nodes


def _spliced(text: str, scope: Scope, changed: Scope) -> str:
    """The lines of the scope written anew from its syntax, in as many lines as before, if they are enough."""
    lines = text.split("\n")
    first = min([scope.lineno, *(one.lineno for one in getattr(scope, "decorator_list", []))]) - 1
    last = scope.end_lineno or scope.lineno
    depth = scope.col_offset // 4
    block: Any = changed
    for _ in range(depth):
        block = ast.If(ast.Constant(1), [block], [])
    new = "\n".join(ast.unparse(block).split("\n")[depth:]).lstrip("\n").split("\n")
    return "\n".join([*lines[:first], *new, *[""] * (last - first - len(new)), *lines[last:]])
