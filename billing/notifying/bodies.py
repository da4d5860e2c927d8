"""The body of an event: what happened, and its object as the API shows it.

The API knows how its objects look and stands above this room, so it hands its renderer in (`show_objects_with`)."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from billing.domain.events import object_type
from billing.models.bulk.publishing import Unpublished

# Shows an account's objects of one type, by their row ids. A type that the API does not show is left out, and so is a
# row that is not the account's.
Show = Callable[[int, str, Sequence[int]], Mapping[int, dict[str, Any]]]
Objects = Mapping[tuple[str, int], dict[str, Any]]
_shown_with: list[Show] = []


def show_objects_with(show: Show) -> None:
    """Sets how objects are shown, for this process."""
    _shown_with[:] = [show]


def objects_of(account_id: int, events: Sequence[Unpublished]) -> Objects:
    """The objects of these events of the account as the API shows them now: read set by set, one for each type."""
    ids: dict[str, set[int]] = {}
    for event in events:
        ids.setdefault(event.subject_type, set()).add(event.subject_id)
    (show,) = _shown_with
    return {
        (subject, number): shown
        for subject, numbers in ids.items()
        for number, shown in show(account_id, object_type(subject), sorted(numbers)).items()
    }


def body(event: Unpublished, *, sequence: int, object_sequence: int, shown: dict[str, Any] | None) -> dict[str, Any]:
    """`changes` and `details` say what this event was; `object` is how its object stands when it is published."""
    details = json.loads(event.payload)
    changes = details.pop("changes", {})
    return {
        "id": event.public_id,
        "type": event.kind,
        "timestamp": event.created_at.isoformat().replace("+00:00", "Z"),
        "sequence": sequence,
        "data": {
            "object_type": object_type(event.subject_type),
            "object_id": shown["id"] if shown else None,
            "object_sequence": object_sequence,
            "object": shown,
            "changes": changes,
            "details": details,
        },
    }
