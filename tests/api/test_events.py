"""Following the feed: every event once, in order, and the object as it stood when the event was published."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.api.serializers.invoices import InvoiceSerializer
from billing.domain.events import BY_NAME
from billing.models import Event, Invoice
from billing.models.bulk.history import NewEvent, record_events
from billing.models.bulk.sql import HeldError
from tests.api.calls import Api, api_for, problem
from tests.api.conftest import Merchant
from tests.factories import NOW, make_account, make_card, make_customer, make_invoice, make_published_event

pytestmark = pytest.mark.django_db


def record(invoice: Invoice, kind: str = "invoice.payment_failed", occasion: str = "2") -> None:
    event = NewEvent(
        account_id=invoice.account_id,
        kind=kind,
        subject_type="invoice",
        subject_id=invoice.pk,
        occasion=occasion,
        payload={},
    )
    record_events([event], now=NOW)


def follow(api: Api, limit: int) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    after = ""
    while True:
        page = api.get(f"/events/?limit={limit}{after}").json()
        seen += page["data"]
        assert len(page["data"]) <= limit
        if not page["has_more"]:
            return seen
        after = f"&after={page['last_id']}"


def test_a_reader_that_keeps_its_place_sees_each_event_once(merchant: Merchant) -> None:
    for number in range(6):
        record(merchant.invoice, occasion=str(number))
    seen = follow(merchant.api, 2)
    assert [event["sequence"] for event in seen] == [1, 2, 3, 4, 5, 6, 7]
    assert [event["data"]["object_sequence"] for event in seen] == [1, 2, 3, 4, 5, 6, 7]
    assert len({event["id"] for event in seen}) == 7
    assert follow(merchant.api, 100) == seen


def test_what_was_committed_before_the_request_is_in_the_feed(merchant: Merchant) -> None:
    last = merchant.event.public_id
    assert merchant.api.get(f"/events/?after={last}").json() == {"data": [], "last_id": last, "has_more": False}
    record(merchant.invoice)
    page = merchant.api.get(f"/events/?after={last}").json()
    assert [event["type"] for event in page["data"]] == ["invoice.payment_failed"]
    assert page["last_id"] == page["data"][0]["id"]


def test_a_feed_without_events_begins_with_nothing() -> None:
    api = api_for(make_account())
    assert api.get("/events/").json() == {"data": [], "last_id": None, "has_more": False}


def test_an_event_shows_its_object_as_the_api_does(merchant: Merchant) -> None:
    shown = merchant.api.get(f"/events/{merchant.event.public_id}/").json()
    assert shown == merchant.api.get("/events/").json()["data"][0]
    assert list(shown) == ["id", "type", "timestamp", "sequence", "data"]
    merchant.invoice.refresh_from_db()
    assert shown["data"]["object"] == dict(InvoiceSerializer(merchant.invoice).data)
    assert shown["data"]["object_id"] == merchant.invoice.public_id
    assert shown["data"]["changes"] == {"state": {"from": "open", "to": "paid"}}
    assert shown["data"]["details"] == {"reason": "paid"}


def test_a_published_body_stays_when_its_object_changes(merchant: Merchant) -> None:
    before = merchant.api.get(f"/events/{merchant.event.public_id}/").json()
    Invoice.objects.filter(pk=merchant.invoice.pk).update(description="Tea club")
    assert merchant.api.get(f"/events/{merchant.event.public_id}/").json() == before
    record(merchant.invoice)
    later = merchant.api.get(f"/events/?after={merchant.event.public_id}").json()["data"][0]
    assert later["data"]["object"]["description"] == "Tea club"


def test_filters_narrow_the_feed_and_keep_its_order(merchant: Merchant) -> None:
    other = make_invoice(make_card(make_customer(merchant.account)))
    make_published_event(other, "invoice.voided")
    make_published_event(merchant.invoice, "invoice.voided")
    for query, sequences in (
        ("type=invoice.voided", [2, 3]),
        (f"object={merchant.invoice.public_id}", [1, 3]),
        (f"object={other.public_id}&type=invoice.paid", []),
        (f"object={merchant.customer.public_id}", []),
        ("object=nothing", []),
        (f"type=invoice.voided&after={merchant.event.public_id}&limit=1", [2]),
    ):
        page = merchant.api.get(f"/events/?{query}").json()
        assert [event["sequence"] for event in page["data"]] == sequences, query


@pytest.mark.parametrize("bad", ["evt_00000000000000000000000000", "1", "evt", "a%00b"])
def test_a_place_that_is_none_is_refused(bad: str, merchant: Merchant) -> None:
    answer = merchant.api.get(f"/events/?after={bad}")
    assert problem(answer) == (400, "invalid_request", [("after", "unknown_cursor")])


def test_the_place_of_another_account_is_refused(merchant: Merchant, stranger: Merchant) -> None:
    answer = merchant.api.get(f"/events/?after={stranger.event.public_id}")
    assert problem(answer) == (400, "invalid_request", [("after", "unknown_cursor")])


def test_a_type_that_there_is_not_names_those_there_are(merchant: Merchant) -> None:
    answer = merchant.api.get("/events/?type=invoice.gone")
    assert problem(answer) == (400, "invalid_request", [("type", "invalid_choice")])
    message = answer.json()["errors"][0]["message"]
    assert all(name in message for name in BY_NAME)
    assert message.endswith("got invoice.gone")


def test_an_event_that_is_not_published_has_no_page(merchant: Merchant) -> None:
    record(merchant.invoice)
    event = Event.objects.get(sequence=None)
    assert problem(merchant.api.get(f"/events/{event.public_id}/")) == (404, "not_found", [])


@pytest.mark.parametrize("error", [RuntimeError("cannot be shown"), HeldError("somebody publishes")])
def test_the_feed_is_read_though_nothing_new_is_published(
    error: Exception, merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    record(merchant.invoice)
    monkeypatch.setattr("billing.notifying.publish.publish_account", fail)
    assert len(merchant.api.get("/events/").json()["data"]) == 1
    monkeypatch.undo()
    assert len(merchant.api.get("/events/").json()["data"]) == 2


def test_a_page_takes_the_same_few_queries_however_long_it_is(merchant: Merchant) -> None:
    merchant.api.get("/account/")
    for number in range(5):
        record(merchant.invoice, occasion=str(number))
    merchant.api.get("/events/")
    with CaptureQueriesContext(connection) as queries:
        merchant.api.get("/events/?limit=3")
    assert len(queries) == 4, "the key, the clock, whether something is to be published, the page"
