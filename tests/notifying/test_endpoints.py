"""What becomes of events while an endpoint is paused, disabled or deleted, and who is told."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail

from billing.models import Event, Transition, WebhookEndpoint
from billing.notifying.deliver import hand_out
from billing.notifying.endpoints import (
    delete_endpoint,
    pause_endpoint,
    resume_endpoint,
    update_endpoint,
)
from billing.notifying.notices import send_notices
from billing.notifying.publish import publish_account
from tests.factories import NOW, make_account
from tests.notifying.receiver import ReceiverProcess
from tests.notifying.rows import make_endpoint, publish
from tests.notifying.running import ids, run, states

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("private_endpoints")]
BY: dict[str, Any] = {"reason": "test", "actor": "test", "now": NOW}


def test_events_wait_while_paused_and_come_after_resume(receiver: ReceiverProcess) -> None:
    endpoint = make_endpoint(url=receiver.url())
    first = publish(endpoint.account, 1)
    hand_out(now=NOW)
    pause_endpoint(endpoint=endpoint, **BY)
    later = publish(endpoint.account, 2)
    run()
    assert receiver.ids() == []
    resume_endpoint(endpoint=endpoint, **BY)
    run()
    assert sorted(receiver.ids()) == sorted(ids([*first, *later])), "of two objects, side by side"


def test_nothing_missed_comes_when_resume_skips_it(receiver: ReceiverProcess) -> None:
    endpoint = make_endpoint(url=receiver.url())
    publish(endpoint.account, 1)
    hand_out(now=NOW)
    pause_endpoint(endpoint=endpoint, **BY)
    publish(endpoint.account, 2)
    resume_endpoint(endpoint=endpoint, skip_missed=True, **BY)
    later = publish(endpoint.account, 3)
    run()
    assert receiver.ids() == ids(later)
    assert states(endpoint) == ["canceled", "delivered"]


def test_nothing_leaves_after_deletion(receiver: ReceiverProcess) -> None:
    endpoint = make_endpoint(url=receiver.url(), email="aminah@example.com")
    publish(endpoint.account, 1)
    hand_out(now=NOW)
    delete_endpoint(endpoint=endpoint, **BY)
    publish(endpoint.account, 2)
    run()
    assert receiver.ids() == []
    assert states(endpoint) == ["canceled"]
    endpoint.refresh_from_db()
    assert (endpoint.secret_encrypted, endpoint.email) == ("", "")


def test_gone_endpoint_is_disabled_and_its_owner_told(receiver: ReceiverProcess, settings: Any) -> None:
    settings.KITARAN_SENDS_MAIL = True
    account = make_account()
    endpoint = make_endpoint(account, url=receiver.url("/status/410"), email="ops@shop.example")
    other = make_endpoint(account, url=receiver.url("/ok"))
    publish(account, 1, 2, 3)
    run()
    endpoint.refresh_from_db()
    assert (endpoint.state, endpoint.disabled_reason) == ("disabled", "gone")
    assert mail.outbox == [], "the worker sends it, not the transaction"
    assert send_notices(clock=lambda: NOW) == 1
    assert send_notices(clock=lambda: NOW) == 0
    (letter,) = mail.outbox
    assert letter.to == ["ops@shop.example"]
    assert endpoint.public_id in letter.body

    publish_account(account.pk, now=NOW)
    event = Event.objects.get(kind="webhook_endpoint.disabled")
    run()
    assert event.public_id in receiver.ids("/ok")
    assert event.body is not None
    assert event.body["data"]["details"] == {"webhook_endpoint": endpoint.public_id, "reason": "gone"}
    assert (event.body["data"]["object_id"], event.body["data"]["object"]["state"]) == (endpoint.public_id, "disabled")
    for secret in (endpoint.url, endpoint.email, other.public_id):
        assert secret not in json.dumps(event.body)

    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(url=receiver.url("/back"))
    resume_endpoint(endpoint=endpoint, **BY)
    run()
    assert len(receiver.ids("/back")) == 4, "what was missed comes after all"


@pytest.mark.parametrize("sends", [True, False])
def test_notice_stays_due_when_it_cannot_be_sent(
    settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, sends: bool
) -> None:
    settings.KITARAN_SENDS_MAIL = sends
    make_endpoint(state="disabled", disabled_reason="gone", email="ops@shop.example", notice_due_at=NOW)

    def fail(*_: object) -> None:
        raise OSError("550 ops@shop.example unknown")

    monkeypatch.setattr("django.core.mail.EmailMessage.send", fail)
    assert send_notices(clock=lambda: NOW) == 0
    due = WebhookEndpoint.objects.get().notice_due_at
    assert due == (NOW + timedelta(minutes=15) if sends else NOW)
    assert "ops@" not in caplog.text


def test_endpoint_is_disabled_after_five_days_without_success(receiver: ReceiverProcess) -> None:
    account = make_account()
    endpoint = make_endpoint(account, url=receiver.url("/status/500"))
    for day in range(7):
        now = NOW + timedelta(days=day)
        publish(account, 100 + day, now=now)
        run(now)
        endpoint.refresh_from_db()
        assert endpoint.state == ("disabled" if day >= 5 else "active"), day
    assert endpoint.disabled_reason == "failing"
    assert endpoint.notice_due_at is None, "nobody to tell"


def history(endpoint: WebhookEndpoint) -> list[tuple[str, str, str, str]]:
    lines = Transition.objects.filter(subject_type="webhook_endpoint", subject_id=endpoint.pk).order_by("pk")
    return [(line.from_state, line.to_state, line.reason, line.actor) for line in lines]


def change(endpoint: WebhookEndpoint, **changes: Any) -> None:
    update_endpoint(endpoint=endpoint, changes=changes, actor="siti", now=NOW)


def test_change_leaves_a_line_with_the_values_before_and_after() -> None:
    endpoint = make_endpoint(url="https://shop.example/old", kinds=["invoice.paid"], description="shop")
    change(endpoint, url="https://shop.example/new", kinds=["refund.failed", "invoice.paid"], description="shop")
    words = (
        'kinds: ["invoice.paid"] → ["invoice.paid", "refund.failed"]; '
        "url: https://shop.example/old → https://shop.example/new"
    )
    assert history(endpoint) == [("active", "active", words, "siti")]
    endpoint.refresh_from_db()
    assert (endpoint.url, endpoint.kinds) == ("https://shop.example/new", ["invoice.paid", "refund.failed"])
    assert not Event.objects.exists(), "other endpoints are not told the address"


def test_change_shows_no_address_and_no_query_in_history() -> None:
    endpoint = make_endpoint(url="https://shop.example/hooks?token=one", email="old@shop.example")
    change(endpoint, url="https://shop.example/hooks?token=two", email="new@shop.example")
    words = "email changed; url: https://shop.example/hooks?… → https://shop.example/hooks?…"
    assert history(endpoint) == [("active", "active", words, "siti")]


def test_change_to_what_it_is_leaves_no_line() -> None:
    endpoint = make_endpoint(url="https://shop.example/", kinds=["invoice.paid"])
    change(endpoint, url="https://shop.example/", kinds=["invoice.paid"])
    change(endpoint)
    assert history(endpoint) == []


def test_pause_and_resume_leave_lines() -> None:
    endpoint = make_endpoint()
    pause_endpoint(endpoint=endpoint, reason="moving", actor="siti", now=NOW)
    resume_endpoint(endpoint=endpoint, reason="moved", actor="siti", now=NOW)
    assert history(endpoint) == [("active", "paused", "moving", "siti"), ("paused", "active", "moved", "siti")]
