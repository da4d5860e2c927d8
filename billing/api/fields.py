"""Fields of bodies that take what they say and nothing else: no numbers as text, no text as numbers."""

import json
import re
from datetime import UTC, date, datetime, time
from typing import Any
from urllib.parse import urlsplit

from django.core.validators import EmailValidator, RegexValidator
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.domain.schedule_rules import ScheduleError, read_charge_time

MOST_METADATA_MEMBERS = 50
MOST_METADATA_NAME = 64
MOST_METADATA_DEPTH = 4
MOST_METADATA_BYTES = 8192
MOST_URL = 2000
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_IN_URL = re.compile(r"[\x21-\x5b\x5d-\x7e]+", re.ASCII)  # visible ASCII without the backslash


class Text(serializers.CharField):
    """Text, trimmed, without control characters."""

    default_error_messages = {"characters": "must not contain control characters"}  # noqa: RUF012

    def __init__(self, *, pattern: str = "", rule: str = "", **options: Any) -> None:
        super().__init__(**options)
        if pattern:
            self.validators.append(RegexValidator(f"^({pattern})$", rule, code="pattern"))

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        if _CONTROL.search(data):
            self.fail("characters")
        return super().to_internal_value(data)


@extend_schema_field({"type": "string", "format": "email", "maxLength": 254})
class Email(Text):
    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=254, **options)
        self.validators.append(EmailValidator("must be an e-mail address", code="email"))


class WholeNumber(serializers.IntegerField):
    """A JSON integer; neither 1.0 nor "1" nor true."""

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return data


class Flag(serializers.BooleanField):
    """JSON's true or false."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Choice(serializers.ChoiceField):
    """One of some words."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str) or data not in self.choices:
            self.fail("invalid_choice", input=str(data)[:50])
        return data


@extend_schema_field(
    {
        "oneOf": [
            {"type": "integer", "minimum": -1, "maximum": 28},
            {"type": "string", "pattern": "^(-1|[0-9]{0,2})$"},
        ],
        "nullable": True,
    }
)
class Target(serializers.Field[Any, Any, Any, Any]):
    """The day of a schedule, as Revenue Monster writes it "1" or as a number; `Schedule.parse` is its judge."""

    default_error_messages = {"invalid": 'must be a whole number, such as 1 or "1"'}  # noqa: RUF012

    def to_internal_value(self, data: Any) -> Any:
        if type(data) is not int and not isinstance(data, str):
            self.fail("invalid")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field({"type": "string", "pattern": "^[0-9]{2}:[0-9]{2}(:[0-9]{2})?$"})
class LocalTime(serializers.Field[Any, Any, Any, Any]):
    """A local time of day: "09:00" or "09:00:30"."""

    def to_internal_value(self, data: Any) -> time:
        try:
            return read_charge_time(data if isinstance(data, str) else None)
        except ScheduleError as error:
            raise serializers.ValidationError(error.message, error.rule) from error

    def to_representation(self, value: time) -> str:
        return value.isoformat("seconds" if value.second else "minutes")


@extend_schema_field({"type": "string", "format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"})
class Day(serializers.Field[Any, Any, Any, Any]):
    """A calendar day: "2026-03-02"."""

    default_error_messages = {"invalid": 'must be a day, such as "2026-03-02"'}  # noqa: RUF012

    def to_internal_value(self, data: Any) -> date:
        if not isinstance(data, str) or not _DAY.fullmatch(data):
            self.fail("invalid")
        try:
            return date.fromisoformat(data)
        except ValueError:
            self.fail("invalid")

    def to_representation(self, value: date) -> str:
        return value.isoformat()


_RFC3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})")


def read_instant(text: str) -> datetime | None:
    """An RFC 3339 instant with its offset, between the years 1970 and 9000, in UTC; None for anything else."""
    try:
        moment = datetime.fromisoformat(text) if _RFC3339.fullmatch(text) else None
        return moment.astimezone(UTC) if moment is not None and 1970 <= moment.year <= 9000 else None
    except (ValueError, OverflowError):
        return None


@extend_schema_field({"type": "string", "format": "date-time"})
class Instant(serializers.Field[Any, Any, Any, Any]):
    """An instant in UTC, RFC 3339 with a Z. Only ever answered, never taken."""

    def __init__(self, **options: Any) -> None:
        super().__init__(read_only=True, **options)

    def to_representation(self, value: datetime) -> str:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


@extend_schema_field({"type": "string", "format": "date-time"})
class GivenInstant(serializers.Field[Any, Any, Any, Any]):
    """An instant in a body, with its offset."""

    default_error_messages = {  # noqa: RUF012
        "instant": "must be a date and time with an offset, such as 2026-01-31T00:00:00Z"
    }

    def to_internal_value(self, data: Any) -> datetime:
        moment = read_instant(data) if isinstance(data, str) else None
        if moment is None:
            self.fail("instant")
        return moment

    def to_representation(self, value: datetime) -> str:
        return value.isoformat()


@extend_schema_field(
    {"type": "object", "additionalProperties": {}, "maxProperties": MOST_METADATA_MEMBERS, "example": {"tier": "gold"}}
)
class Metadata(serializers.Field[Any, Any, Any, Any]):
    """Anything the merchant wants to keep beside an object: a JSON object of limited size and depth."""

    default_error_messages = {  # noqa: RUF012
        "invalid": "must be a JSON object",
        "too_many": f"must have at most {MOST_METADATA_MEMBERS} members",
        "name": f"must have names of 1 to {MOST_METADATA_NAME} characters",
        "too_deep": f"must be nested at most {MOST_METADATA_DEPTH} levels deep",
        "too_large": f"must be at most {MOST_METADATA_BYTES} bytes of JSON",
    }

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("invalid")
        if len(data) > MOST_METADATA_MEMBERS:
            self.fail("too_many")
        if any(not 0 < len(name) <= MOST_METADATA_NAME for name in data):
            self.fail("name")
        if _depth(data) > MOST_METADATA_DEPTH:
            self.fail("too_deep")
        if len(json.dumps(data, ensure_ascii=False).encode()) > MOST_METADATA_BYTES:
            self.fail("too_large")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


@extend_schema_field({"type": "string", "format": "uri", "pattern": "^https?://", "maxLength": MOST_URL})
class WebAddress(serializers.Field[Any, Any, Any, Any]):
    """An absolute http or https address of at most 2000 characters."""

    default_error_messages = {  # noqa: RUF012
        "web_address": "must be an absolute http:// or https:// URL without a user name or spaces"
    }

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or len(data) > MOST_URL or not _IN_URL.fullmatch(data):
            self.fail("web_address")
        try:
            parts = urlsplit(data)
            whole = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            self.fail("web_address")
        if not whole or "@" in parts.netloc:
            self.fail("web_address")
        return data

    def to_representation(self, value: str) -> str:
        return value


# Docstrings of bodies are shown in the documentation; this one is for readers of the code.
class Body(serializers.Serializer[Any]):
    # The body of a request: members that it does not know are refused, so that a slip is not overlooked.

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                message = "unknown member; not part of this request"
                raise serializers.ValidationError(
                    {name[:100]: serializers.ValidationError(message, "unknown").detail for name in unknown}
                )
        return super().to_internal_value(data)


class NoBody(Body):
    """Nothing: no body at all, or `{}`."""
