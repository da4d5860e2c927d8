"""publish: what has committed gets its place and its body, once."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from billing import tasks
from billing.management.commands.tick import _Round
from billing.models import AccountTrouble, Event
from billing.models.bulk.history import NewEvent, record_events
from billing.models.bulk.publishing import FEED
from billing.notifying import bodies
from billing.notifying.publish import publish, publish_account
from billing.operating.timings import Limits
from tests.factories import NOW, make_account, make_card, make_invoice

pytestmark = pytest.mark.django_db


def paid(invoice: Any, occasion: str = "1", **payload: Any) -> NewEvent:
    return NewEvent(
        account_id=invoice.account_id,
        kind="invoice.paid",
        subject_type="invoice",
        subject_id=invoice.pk,
        occasion=occasion,
        payload=payload,
    )


def places(account_id: int) -> list[tuple[Any, ...]]:
    found = Event.objects.filter(account_id=account_id).order_by("pk")
    return [(one.subject_id, one.sequence, one.object_sequence) for one in found]


def test_accounts_and_objects_are_numbered_from_one() -> None:
    first, second, other = make_invoice(), make_invoice(), make_invoice()
    second_of_first = make_invoice(first.payment_method)
    record_events([paid(first), paid(second_of_first), paid(first, "2"), paid(second)], now=NOW)
    assert publish(now=NOW) == 4
    record_events([paid(first, "3"), paid(other)], now=NOW)
    assert publish(now=NOW + timedelta(seconds=1)) == 2
    assert places(first.account_id) == [
        (first.pk, 1, 1), (second_of_first.pk, 2, 1), (first.pk, 3, 2), (first.pk, 4, 3),
    ]  # fmt: skip
    assert places(second.account_id) == [(second.pk, 1, 1)]
    assert publish(now=NOW) == 0


def test_a_batch_leaves_the_rest_for_the_next() -> None:
    invoice = make_invoice()
    record_events([paid(invoice, str(number)) for number in range(5)], now=NOW)
    assert [publish(now=NOW, limit=2) for _ in range(4)] == [2, 2, 1, 0]
    assert [sequence for _, sequence, _ in places(invoice.account_id)] == [1, 2, 3, 4, 5]


def test_the_body_shows_what_happened_and_the_object() -> None:
    invoice = make_invoice()
    record_events([paid(invoice, changes={"state": {"from": "open", "to": "paid"}}, reason="paid")], now=NOW)
    publish(now=NOW + timedelta(seconds=3))
    event = Event.objects.get()
    assert event.body is not None
    assert event.published_at == NOW + timedelta(seconds=3)
    shown = event.body["data"].pop("object")
    assert (shown["id"], shown["state"], shown["amount_minor"]) == (invoice.public_id, "open", 1990)
    assert event.body == {
        "id": event.public_id,
        "type": "invoice.paid",
        "timestamp": "2026-03-02T01:00:00Z",
        "sequence": 1,
        "data": {
            "object_type": "invoice",
            "object_id": invoice.public_id,
            "object_sequence": 1,
            "changes": {"state": {"from": "open", "to": "paid"}},
            "details": {"reason": "paid"},
        },
    }


def test_a_batch_takes_as_many_queries_as_one_event() -> None:
    def queries(count: int) -> int:
        card = make_card()
        record_events([paid(make_invoice(card)) for _ in range(count)], now=NOW)
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert publish_account(card.account_id, now=NOW) == count
        return len(captured)

    assert queries(1) == queries(40)


def test_an_account_that_cannot_be_published_waits_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    broken, well = make_invoice(), make_invoice()
    record_events([paid(broken), paid(well)], now=NOW)
    objects_of = bodies.objects_of

    def failing(account_id: int, events: Any) -> Any:
        if events[0].subject_id == broken.pk:
            raise RuntimeError("cannot be shown")
        return objects_of(account_id, events)

    monkeypatch.setattr("billing.notifying.publish.objects_of", failing)
    assert publish(now=NOW) == 1
    assert places(well.account_id) == [(well.pk, 1, 1)]
    assert places(broken.account_id) == [(broken.pk, None, None)]
    assert AccountTrouble.objects.get().account_id == broken.account_id
    monkeypatch.undo()
    assert publish(now=NOW) == 1
    assert not AccountTrouble.objects.exists()


def test_an_event_shows_no_object_of_another_account() -> None:
    invoice, stranger = make_invoice(), make_account()
    record_events([replace(paid(invoice), account_id=stranger.pk)], now=NOW)
    publish(now=NOW)
    body = Event.objects.get().body
    assert body is not None
    assert (body["data"]["object"], body["data"]["object_id"]) == (None, None)


def test_an_account_without_events_has_nothing_to_publish() -> None:
    assert publish_account(make_account().pk, now=NOW, wait=True) == 0


@pytest.mark.parametrize(
    "work", [tasks.publish, lambda: dict(_Round(Limits.from_settings()).parts())["publish"]()], ids=["celery", "tick"]
)
def test_workers_publish_all_that_waits(work: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(publish.__kwdefaults__, "limit", 2)
    invoice = make_invoice()
    record_events([paid(invoice, str(number)) for number in range(5)], now=NOW)
    work()
    assert [sequence for _, sequence, _ in places(invoice.account_id)] == [1, 2, 3, 4, 5]


@pytest.mark.django_db(transaction=True)
def test_a_feed_that_somebody_publishes_is_left_to_them() -> None:
    invoice = make_invoice()
    record_events([paid(invoice)], now=NOW)
    other, key = connections.create_connection("default"), [f"{FEED} {invoice.account_id}"]
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", key)
            assert publish(now=NOW) == 0
            assert not AccountTrouble.objects.exists()
            cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", key)
    finally:
        other.close()
    assert publish(now=NOW) == 1
