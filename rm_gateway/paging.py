"""Lists that come in pages: read to the end, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rm_gateway.errors import GatewayError, IncompleteRead
from rm_gateway.parsing import JSONObject

MAX_PAGES: Final = 1_000
MAX_CURSOR_LENGTH: Final = 4_096


def all_pages(page: Callable[[str | None], JSONObject]) -> list[list[object]]:
    """The records of every page. ``page`` fetches the envelope at a cursor, the first at None.

    An error of the first page is raised as it is; any later one, a cursor that repeats, and more than ``MAX_PAGES``
    pages are IncompleteRead.
    """
    pages: list[list[object]] = []
    seen: set[str] = set()
    cursor = None
    while len(pages) < MAX_PAGES:
        try:
            envelope = page(cursor)
        except GatewayError as error:
            if not pages:
                raise
            raise _incomplete(error) from error
        pages.append(items_of(envelope))
        cursor = cursor_of(envelope)
        if cursor is None:
            return pages
        if cursor in seen:
            raise IncompleteRead("the list's cursor repeats", kind="answer")
        seen.add(cursor)
    raise IncompleteRead(f"the list has more than {MAX_PAGES} pages", kind="answer")


def items_of(envelope: JSONObject) -> list[object]:
    """A page's records. Go writes an empty list as null. Raises IncompleteRead."""
    items = envelope.get("items", "missing")
    if items is None:
        return []
    if not isinstance(items, list):
        raise IncompleteRead("a page holds no list of items", kind="answer")
    return items


def cursor_of(envelope: JSONObject) -> str | None:
    """The cursor of the next page, in ``meta`` or (an older table of RM's [D]) beside it; None at the end."""
    meta = envelope.get("meta")
    if meta is not None and not isinstance(meta, dict):
        raise IncompleteRead("a page's meta is not understood", kind="answer")
    cursor = (meta or {}).get("cursor")
    if cursor is None or cursor == "":
        cursor = envelope.get("cursor")
    if cursor is None or cursor == "":
        return None
    if not isinstance(cursor, str) or len(cursor) > MAX_CURSOR_LENGTH or not cursor.isprintable():
        raise IncompleteRead("a page's cursor is not understood", kind="answer")
    return cursor


def _incomplete(error: GatewayError) -> IncompleteRead:
    return IncompleteRead(
        f"a later page failed: {error.message}", kind=error.kind, code=error.code, http_status=error.http_status
    )
