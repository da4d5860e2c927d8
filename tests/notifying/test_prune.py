"""Deliveries that ended are deleted after a while with their tries; what is pending, and every event, stays."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connections, transaction

from billing.models import Event, WebhookDelivery, WebhookTry
from billing.notifying import prune as pruning
from billing.notifying.deliver import hand_out
from billing.notifying.endpoints import WebhookError
from billing.notifying.prune import prune
from billing.notifying.resend import resend_delivery, resend_span
from billing.tasks import prune as prune_task
from tests.factories import NOW
from tests.notifying.rows import make_delivery, make_endpoint, make_try, publish

pytestmark = pytest.mark.django_db
KEEP = timedelta(days=30)
LONG_AGO = NOW - timedelta(days=31)


def ended(closed_at: datetime = LONG_AGO, **columns: Any) -> WebhookDelivery:
    columns = {"state": "delivered", "next_try_at": None, **columns}
    delivery = make_delivery(closed_at=closed_at, **columns)
    make_try(delivery)
    return delivery


def prune_now() -> int:
    return prune(keep=KEEP, now=NOW, should_stop=lambda: False)


@pytest.mark.parametrize("state", ["delivered", "failed", "canceled"])
def test_what_ended_is_deleted_with_its_tries(state: str) -> None:
    ended(state=state)
    kept = ended(NOW - KEEP, state=state)
    assert prune_now() == 1
    assert list(WebhookDelivery.objects.all()) == [kept]
    assert [one.delivery_id for one in WebhookTry.objects.all()] == [kept.pk]
    assert Event.objects.count() == 2, "events stay"


@pytest.mark.parametrize("state", ["active", "paused", "disabled"])
def test_what_is_pending_stays_however_old(state: str) -> None:
    endpoint = make_endpoint(state=state, disabled_reason="gone" if state == "disabled" else "")
    make_try(make_delivery(endpoint, created_at=NOW - timedelta(days=400), next_try_at=NOW - timedelta(days=400)))
    assert prune_now() == 0
    assert WebhookTry.objects.count() == 1


def test_many_are_deleted_in_small_batches(monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any) -> None:
    monkeypatch.setattr(pruning, "BATCH", 2)
    monkeypatch.setattr(pruning, "MOST_BATCHES", 2)
    oldest = [ended(LONG_AGO - timedelta(days=day)) for day in range(5)]
    with django_assert_num_queries(2):
        assert prune_now() == 4
    assert list(WebhookDelivery.objects.all()) == oldest[:1], "the oldest first; the rest with the next run"
    assert prune_now() == 1


def test_a_worker_that_stops_deletes_no_more() -> None:
    ended()
    assert prune(keep=KEEP, now=NOW, should_stop=lambda: True) == 0
    assert WebhookDelivery.objects.count() == 1


def test_deleted_delivery_is_not_handed_out_again_and_its_event_can_be_resent() -> None:
    endpoint = make_endpoint()
    (event,) = publish(endpoint.account, 1)
    hand_out(now=NOW)
    WebhookDelivery.objects.update(state="failed", next_try_at=None, closed_at=LONG_AGO)
    gone = WebhookDelivery.objects.get()
    assert prune_now() == 1
    assert hand_out(now=NOW) == 0
    with pytest.raises(WebhookError, match="resend a span of time"):
        resend_delivery(delivery=gone, now=NOW)
    day = timedelta(days=1)
    assert resend_span(endpoint=endpoint, since=NOW - day, before=NOW + day, now=NOW) == 1
    again = WebhookDelivery.objects.get()
    assert (again.event_public_id, again.state) == (event.public_id, "pending")
    assert again.public_id != gone.public_id


def test_a_delivery_that_is_resent_is_pending_and_stays() -> None:
    delivery = ended()
    resend_delivery(delivery=delivery, now=NOW)
    assert prune_now() == 0


@pytest.mark.django_db(transaction=True)
def test_what_somebody_resends_just_now_is_left_alone() -> None:
    delivery = ended()
    other = connections.create_connection("default")
    try:
        with transaction.atomic():
            WebhookDelivery.objects.select_for_update(no_key=True).get(pk=delivery.pk)
            with other.cursor() as cursor:
                cursor.execute("SET lock_timeout = '1s'")
            connections["default"], mine = other, connections["default"]
            try:
                assert prune_now() == 0
            finally:
                connections["default"] = mine
    finally:
        other.close()
    assert prune_now() == 1


@pytest.mark.parametrize(("days", "left"), [(30, 1), (3650, 2)])
def test_the_setting_says_how_long(settings: Any, days: int, left: int) -> None:
    from billing.models.clock import database_now

    settings.KITARAN_WEBHOOK_RETENTION_DAYS = days
    ended(database_now() - timedelta(days=31))
    ended(database_now() - timedelta(days=29))
    prune_task()
    assert WebhookDelivery.objects.count() == left
