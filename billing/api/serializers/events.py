"""Events, as they are published."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.api import examples
from billing.api.fields import Instant
from billing.api.serializers.common import Output, string, whole, word
from billing.domain.events import ObjectType


@extend_schema_field({"type": "object", "additionalProperties": {}})
class Members(serializers.DictField):
    """An object whose members depend on the type of the event."""


class EventDataSerializer(Output):
    object_type = word(ObjectType, "What the event is about.", read_only=True)
    object_id = string("The object's id. Null for an object that has none.", allow_null=True)
    object_sequence = whole("Place among the events of the object: 1, 2, 3, …")
    object = Members(
        read_only=True,
        allow_null=True,
        help_text="The object as the API showed it when the event was published: its state then, not before.",
    )
    changes = Members(
        read_only=True, help_text='What this event changed: `{"state": {"from": "open", "to": "paid"}}`. May be empty.'
    )
    details = Members(read_only=True, help_text="The reason, and what else belongs to this type of event.")


_data = EventDataSerializer()


def _names(serializer: Output) -> list[str]:
    return [str(name) for name in serializer.fields]


@examples.output_example(examples.AN_EVENT)
class EventSerializer(Output):
    """The same body is delivered to your endpoints."""

    id = string("`evt_…`")
    type = string("What happened. docs/events.md lists all types.")
    timestamp = Instant(help_text="When it happened.")
    sequence = whole("Place in the feed of the account: 1, 2, 3, … without gaps.")
    data = EventDataSerializer(read_only=True, help_text="What it is about.")  # type: ignore[assignment]

    def to_representation(self, instance: Any) -> dict[str, Any]:
        """The body as it was frozen, with its members in this order."""
        body = instance.body
        return {**{name: body[name] for name in _names(self)}, "data": {n: body["data"][n] for n in _names(_data)}}
