"""SQL in the strings of a function or constant, found by its words: spaces, lines and capitals do not matter."""

import ast
import re
from dataclasses import dataclass

from tests.mutation.patterns import PlaceError

HOLE = "\x00"  # around the number of what an f-string puts in
WORD = re.compile(r"'(?:[^']|'')*'|\x00\d+\x00|\{.*?\}|%\(\w+\)s|%s|%%|::|[<>!]=|<>|\w+|\S")


@dataclass(frozen=True)
class Place:
    node: ast.Constant | ast.JoinedStr
    text: str
    start: int
    stop: int

    @property
    def words(self) -> str:
        return self.text[self.start : self.stop]

    def put(self, new: str) -> ast.expr:
        """The string with `new` in that place."""
        text = self.text[: self.start] + new + self.text[self.stop :]
        if isinstance(self.node, ast.Constant):
            return ast.Constant(text)
        if "{" in new:
            raise PlaceError(f"{new!r} puts a value into an f-string; only what stays may be one")
        parts = text.split(HOLE)  # every second one is the number of a hole
        return ast.JoinedStr(
            [self.node.values[int(part)] if at % 2 else ast.Constant(part) for at, part in enumerate(parts) if part]
        )


def search(pattern: str, around: ast.AST) -> list[Place]:
    wanted = [word for word, *_ in _words(pattern)]
    if not wanted:
        raise PlaceError("the SQL to be found is empty")
    found = []
    for node in _strings(around):
        text = _text(node)
        words = _words(text)
        for first in range(len(words) - len(wanted) + 1):
            some = words[first : first + len(wanted)]
            if all(_fits(one, word) for one, (word, *_) in zip(wanted, some, strict=True)):
                found.append(Place(node, text, some[0][1], some[-1][2]))
    return found


def _fits(pattern: str, word: str) -> bool:
    return pattern == word or (pattern[0] == "{" and word[0] == HOLE)


def _strings(node: ast.AST) -> list[ast.Constant | ast.JoinedStr]:
    """Its strings, without docstrings."""
    match node:
        case ast.Expr(ast.Constant()):
            return []
        case ast.JoinedStr() | ast.Constant(str()):
            return [node]
    return [string for child in ast.iter_child_nodes(node) for string in _strings(child)]


def _text(node: ast.Constant | ast.JoinedStr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    return "".join(
        str(part.value) if isinstance(part, ast.Constant) else f"{HOLE}{number}{HOLE}"
        for number, part in enumerate(node.values)
    )


def _words(text: str) -> list[tuple[str, int, int]]:
    found = WORD.finditer(text)
    return [(word if (word := one.group())[0] == "'" else word.lower(), one.start(), one.end()) for one in found]
