"""Reading members of RM's JSON objects strictly: a value of a wrong type is never made into a right one."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

JSONObject: TypeAlias = dict[str, Any]

MAX_AMOUNT_MINOR: Final = 2**53 - 1
GO_ZERO_TIME: Final = "0001-01-01T00:00:00"

_RFC3339: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})", re.ASCII)


class ParseError(ValueError):
    """An answer or a message does not have the documented form. The text names the member, not its value."""


def obj(parent: JSONObject, name: str) -> JSONObject:
    """A member that must be an object."""
    value = parent.get(name)
    if not isinstance(value, dict):
        raise ParseError(f"{name} is no object")
    return value


def text(parent: JSONObject, name: str) -> str:
    """A member that must be a string and not empty."""
    value = parent.get(name)
    if not isinstance(value, str) or not value:
        raise ParseError(f"{name} is no text")
    return value


def text_or_empty(parent: JSONObject, name: str) -> str:
    """A string, "" when the member is missing or null."""
    value = parent.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ParseError(f"{name} is no text")
    return value


def amount(parent: JSONObject, name: str) -> int:
    """Whole sen: a JSON integer, not negative. Floats, booleans and strings are refused."""
    value = parent.get(name)
    if type(value) is not int or not 0 <= value <= MAX_AMOUNT_MINOR:
        raise ParseError(f"{name} is no amount in whole sen")
    return value


def optional_amount(parent: JSONObject, name: str) -> int | None:
    """Whole sen, None when the member is missing or null."""
    return None if parent.get(name) is None else amount(parent, name)


def flag(parent: JSONObject, name: str) -> bool:
    """True or False; the words are accepted as well, because RM's table calls the type a string [D]."""
    value = parent.get(name)
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    raise ParseError(f"{name} is neither true nor false")


def moment(parent: JSONObject, name: str) -> datetime:
    """A time in UTC from RFC 3339, cut to microseconds."""
    value = parent.get(name)
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ParseError(f"{name} is no RFC 3339 time")
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ParseError(f"{name} is no possible time") from None


def optional_moment(parent: JSONObject, name: str) -> datetime | None:
    """A time in UTC; None for Go's zero time (RM's word for never [D]) and for what cannot be read."""
    value = parent.get(name)
    if not isinstance(value, str) or value.startswith(GO_ZERO_TIME):
        return None
    try:
        return moment(parent, name)
    except ParseError:
        return None
