"""Reading a body: JSON of a limited size, without what PostgreSQL or a careless reader could not keep."""

import json
import math
import re
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from billing.api.problems import Problem

MAX_BODY_BYTES = 64 * 1024
MAX_DEPTH = 20
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class StrictJSONParser(BaseParser):
    """UTF-8 JSON of at most `MAX_BODY_BYTES`, without doubled members, NaN, endless numbers or NUL."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,  # noqa: ARG002
        parser_context: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> Any:
        raw = stream.read(MAX_BODY_BYTES + 1)
        if len(raw) > MAX_BODY_BYTES:
            raise Problem("body_too_large", f"The request body must be at most {MAX_BODY_BYTES} bytes.")
        try:
            value = json.loads(
                raw.decode(), object_pairs_hook=_members, parse_float=_number, parse_constant=_refuse_constant
            )
        except (ValueError, RecursionError) as error:
            why = str(error) if isinstance(error, json.JSONDecodeError | _DoubledError) else "it could not be parsed"
            raise ParseError(f"The request body must be JSON: {why}") from None
        _check(value, "", 0)
        return value


class AlwaysJSON(BaseContentNegotiation):
    """The API answers in JSON, whatever the Accept header says."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        wanted = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == wanted), None)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:  # noqa: ARG002
        renderer: BaseRenderer = renderers[0]
        return renderer, renderer.media_type


class _DoubledError(ValueError):
    pass


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _DoubledError("duplicate member in one object")
    return members


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _check(value: Any, path: str, depth: int) -> None:
    """Refuses characters that cannot be stored, wherever they are, and nesting without end."""
    if depth > MAX_DEPTH:
        raise ValidationError({path.partition(".")[0]: ValidationError("nested too deeply", "too_deep").detail})
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            message = "must not contain NUL or half of a surrogate pair"
            raise ValidationError({path or "non_field_errors": ValidationError(message, "characters").detail})
    elif isinstance(value, dict):
        for name, member in value.items():
            _check(name, path, depth)
            _check(member, f"{path}.{name}" if path else name, depth + 1)
    elif isinstance(value, list):
        for number, member in enumerate(value):
            _check(member, f"{path}.{number}", depth + 1)
