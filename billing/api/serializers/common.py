"""Members that many objects share."""

from enum import StrEnum
from typing import Any

from rest_framework import serializers

from billing.api.fields import Choice, Text
from billing.domain.money import CURRENCIES

Output = serializers.Serializer[Any]
AMOUNT = "Whole minor units of the currency: 1990 is RM 19.90."


def string(words: str, **options: Any) -> serializers.CharField:
    return serializers.CharField(read_only=True, help_text=words, **options)


def identifier(words: str) -> serializers.CharField:
    return string(words, source="public_id")


def link(source: str, words: str, *, nullable: bool = False) -> serializers.CharField:
    """The public id of another object."""
    return serializers.CharField(source=f"{source}.public_id", read_only=True, help_text=words, allow_null=nullable)


def word(enum: type[StrEnum], words: str, **options: Any) -> Choice:
    return Choice(choices=[(m.value, m.value) for m in enum], help_text=words, **options)


def whole(words: str, **options: Any) -> serializers.IntegerField:
    return serializers.IntegerField(read_only=True, help_text=words, **options)


def currency() -> Choice:
    return Choice(choices=[(code, code) for code in sorted(CURRENCIES)], help_text="ISO 4217 code.")


def id_of(prefix: str, words: str, **options: Any) -> Text:
    """A public id in a body."""
    return Text(max_length=40, help_text=f"{words} (`{prefix}_…`)", **options)


class ProblemErrorSerializer(Output):
    field = string("A path such as `amount_minor` or `metadata.color`; empty for the whole body.")
    rule = string("A stable code for the rule, such as `required` or `min_value`.")
    message = string("The rule in words.")


class ProblemSerializer(Output):
    """Problem details, RFC 9457."""

    type = string("A URN of the code.")
    title = string("A title for the code; the same for every problem with it.")
    status = whole("The HTTP status.")
    code = string("A stable code for programs.")
    detail = string("What went wrong in this request.")
    errors = ProblemErrorSerializer(  # type: ignore[assignment]
        many=True, read_only=True, help_text="One entry per broken rule."
    )
    # Not read-only, which would make them required in the document.
    existing = serializers.CharField(
        required=False, help_text="With `reference_taken`: the object that uses the reference."
    )
    scope = serializers.CharField(required=False, help_text="With `scope_missing`: the required scope.")
