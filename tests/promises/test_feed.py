"""The feed: an event is published once, whole, in a place of its own, and otherwise stays as it was written."""

from importlib import import_module
from typing import Any

import pytest
from psycopg.types.json import Json

from billing.models import Event
from tests.factories import NOW
from tests.promises.attacks import (
    attacks,
    columns,
    delete,
    insert_another,
    make_event,
    other_value,
    refused,
    update,
)

pytestmark = pytest.mark.django_db
feed = import_module("billing.migrations.0020_feed")


def published(**changes: Any) -> dict[str, Any]:
    return {"sequence": 1, "object_sequence": 1, "published_at": NOW, "body": Json({}), **changes}


def other(event: Event, column: str) -> Any:
    return Json({"other": 1}) if column in ("payload", "body") else other_value(getattr(event, column))


def test_every_column_of_an_event_is_listed() -> None:
    assert {*feed.WRITTEN, *feed.PUBLISHED} == {"id", *columns(Event)}


@pytest.mark.parametrize("column", feed.WRITTEN)
def test_publishing_changes_nothing_else_of_an_event(column: str) -> None:
    event = make_event()
    with refused("event_is_append_only"):
        update(event, **published(**{column: other(event, column)}))


@pytest.mark.parametrize("column", feed.PUBLISHED)
def test_an_event_is_published_once(column: str) -> None:
    event = make_event()
    update(event, **published())
    event.refresh_from_db()
    for new in (None, other(event, column), getattr(event, column) if column != "body" else Json({})):
        with refused("event_is_append_only"):
            update(event, **{column: new})
    with refused("event_is_append_only"):
        delete(event)


@attacks("events_are_born_unpublished")
def test_an_event_is_never_written_with_its_place() -> None:
    event = make_event()
    with refused("events_are_born_unpublished"):
        insert_another(event, **published())


@attacks("a_published_event_is_whole")
@pytest.mark.parametrize(
    "wrong",
    [{"sequence": 0}, {"object_sequence": 0}, {"object_sequence": None}, {"published_at": None}, {"body": None}],
)
def test_a_half_published_event_is_refused(wrong: dict[str, Any]) -> None:
    event = make_event()
    with refused("a_published_event_is_whole"):
        update(event, **published(**wrong))


@attacks("one_event_per_place_in_the_feed", "one_event_per_place_of_its_object")
def test_a_place_is_taken_by_one_event() -> None:
    event = make_event()
    second = Event.objects.get(pk=insert_another(event))
    update(event, **published())
    with refused("one_event_per_place_in_the_feed"):
        update(second, **published(object_sequence=2))
    with refused("one_event_per_place_of_its_object"):
        update(second, **published(sequence=2))
    update(second, **published(sequence=2, object_sequence=2))


def test_accounts_and_objects_count_for_themselves() -> None:
    event = make_event()
    elsewhere = Event.objects.get(pk=insert_another(event, account_id=event.account_id + 1, subject_id=2))
    for one in (event, elsewhere):
        update(one, **published())
