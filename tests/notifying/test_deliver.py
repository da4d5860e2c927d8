"""From a published event to a receiver: handed out once, in order within an object, retried, and at least once."""

import itertools
import json
import time
from concurrent import futures
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from standardwebhooks.webhooks import Webhook

from billing.domain.webhooks import MOST_TRIES, TEST_KIND, Tried, TryError
from billing.models import AccountTrouble, WebhookDelivery, WebhookEndpoint, WebhookTry
from billing.models.bulk import delivering
from billing.models.clock import database_now
from billing.notifying import deliver as deliver_module
from billing.notifying.deliver import Delivering, deliver_due, hand_out
from billing.notifying.endpoints import (
    create_endpoint,
    end_old_secret,
    rotate_secret,
    send_test,
    update_endpoint,
)
from billing.notifying.publish import publish_account
from billing.notifying.record_try import record_try
from tests.factories import NOW, make_account
from tests.notifying.receiver import ReceiverProcess
from tests.notifying.rows import make_endpoint, publish, record
from tests.notifying.running import HOW, ids, run, states

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("private_endpoints")]

# --- handing out -------------------------------------------------------------------------------------------


def test_each_endpoint_gets_its_kinds_once() -> None:
    account = make_account()
    every, some = make_endpoint(account), make_endpoint(account, kinds=["refund.orphan_answer"])
    stranger = make_endpoint()
    publish(account, 1, 2)
    publish(account, 3, kind="refund.orphan_answer")
    assert hand_out(now=NOW) == 6
    assert hand_out(now=NOW) == 0
    assert [len(states(one)) for one in (every, some, stranger)] == [3, 1, 0]
    assert list(WebhookEndpoint.objects.filter(account=account).values_list("sequence", flat=True)) == [3, 3]


def test_nothing_is_forgotten_when_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "HANDED_OUT_AT_ONCE", 3)
    endpoint = make_endpoint()
    publish(endpoint.account, *range(1, 11))
    assert hand_out(now=NOW) == 10
    assert list(WebhookDelivery.objects.order_by("pk").values_list("sequence", flat=True)) == list(range(1, 11))


def test_new_endpoint_gets_what_happens_from_now_on(receiver: ReceiverProcess) -> None:
    account = make_account()
    publish(account, 1)
    create_endpoint(account=account, url=receiver.url(), now=NOW, actor="test")
    (later,) = publish(account, 2)
    run()
    assert receiver.ids() == [later.public_id]


def test_event_that_nobody_published_is_not_handed_out() -> None:
    endpoint = make_endpoint()
    record(endpoint.account)
    assert hand_out(now=NOW) == 0


# --- one delivery ------------------------------------------------------------------------------------------


def test_receiver_verifies_what_it_gets(receiver: ReceiverProcess) -> None:
    endpoint, secret = create_endpoint(account=make_account(), url=receiver.url(), now=NOW, actor="test")
    (event,) = publish(endpoint.account, 1)
    run(database_now)
    (one,) = receiver.seen()
    body = Webhook(secret).verify(one["body"], one["headers"])
    assert body["id"] == one["headers"]["webhook-id"] == event.public_id
    assert body == event.body
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.tries) == ("delivered", 1)
    tried = WebhookTry.objects.get()
    assert (tried.status, tried.error, tried.answer, tried.number) == (200, "", "thanks", 1)


def test_both_secrets_sign_for_a_day_after_rotation(receiver: ReceiverProcess) -> None:
    account = make_account()
    endpoint, old = create_endpoint(account=account, url=receiver.url(), now=NOW, actor="test")
    _, new = rotate_secret(endpoint=endpoint, actor="test", now=NOW)
    assert old != new

    def signed_by(now: datetime) -> set[str]:
        publish(account, 1, now=now)
        run(now)
        one = receiver.seen()[-1]
        at = datetime.fromtimestamp(int(one["headers"]["webhook-timestamp"]), tz=now.tzinfo)
        by = {secret: Webhook(secret).sign(one["headers"]["webhook-id"], at, one["body"]) for secret in (old, new)}
        found = one["headers"]["webhook-signature"].split()
        return {secret for secret, signature in by.items() if signature in found}

    assert signed_by(NOW + timedelta(hours=23)) == {old, new}
    assert signed_by(NOW + timedelta(hours=24)) == {new}
    _, newer = rotate_secret(endpoint=endpoint, actor="test", now=NOW)
    end_old_secret(endpoint=endpoint, actor="test", now=NOW)
    assert signed_by(NOW) == set()
    rotate_secret(endpoint=endpoint, actor="test", now=NOW, end_old_at_once=True)
    endpoint.refresh_from_db()
    assert (endpoint.old_secret_encrypted, endpoint.old_secret_ends_at) == ("", None)
    assert secret_is_nowhere(newer)


def secret_is_nowhere(secret: str) -> bool:
    return not WebhookEndpoint.objects.filter(secret_encrypted__contains=secret).exists()


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/status/500", 500, "status"),
        ("/after/30", 429, "status"),
        ("/redirect?to=http://127.0.0.1:1/", 302, "redirect"),
        ("/hang", None, "timeout"),
        ("/trickle", None, "timeout"),
        ("/garbage", None, "bad_answer"),
    ],
)
def test_try_is_on_record_and_repeated_when_it_fails(
    receiver: ReceiverProcess, path: str, status: int | None, error: str
) -> None:
    endpoint = make_endpoint(url=receiver.url(path))
    publish(endpoint.account, 1)
    run()
    tried = WebhookTry.objects.get()
    assert (tried.status, tried.error) == (status, error)
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.tries) == ("pending", 1)
    assert delivery.next_try_at is not None
    wait = delivery.next_try_at - NOW
    assert wait == timedelta(seconds=30) if path == "/after/30" else timedelta(seconds=4) < wait < timedelta(seconds=6)
    endpoint.refresh_from_db()
    assert endpoint.failing_since == NOW


def test_private_address_is_not_reached_without_the_setting(receiver: ReceiverProcess) -> None:
    endpoint = make_endpoint(url=receiver.url().replace("http:", "https:"))
    publish(endpoint.account, 1)
    run(how=Delivering(timedelta(seconds=2), 4, 4, allow_private=False))
    assert WebhookTry.objects.get().error == "forbidden_address"
    assert receiver.seen() == []


def test_ten_tries_in_three_days_carry_one_id(receiver: ReceiverProcess) -> None:
    endpoint = make_endpoint(url=receiver.url("/status/500"))
    (event,) = publish(endpoint.account, 1)
    now = _run_until_nothing_is_pending(NOW)
    assert receiver.ids() == [event.public_id] * MOST_TRIES
    assert states(endpoint) == ["failed"]
    assert timedelta(days=2) < now - NOW <= timedelta(days=3)
    stamps = [one["headers"]["webhook-timestamp"] for one in receiver.seen()]
    assert len(set(stamps)) == MOST_TRIES, "each try is signed for its own time"
    assert len({one["body"] for one in receiver.seen()}) == 1


def test_success_ends_the_tries_and_the_failing(receiver: ReceiverProcess) -> None:
    endpoint = make_endpoint(url=receiver.url("/flaky/3"))
    (event,) = publish(endpoint.account, 1)
    _run_until_nothing_is_pending(NOW)
    assert receiver.ids() == [event.public_id] * 3
    endpoint.refresh_from_db()
    assert (states(endpoint), endpoint.failing_since) == (["delivered"], None)


def _run_until_nothing_is_pending(now: datetime) -> datetime:
    """Days go by as fast as there is nothing to do; the instant of the last try."""
    pending = WebhookDelivery.objects.filter(state="pending", endpoint__state="active")
    for _ in range(50):
        run(now)
        if not pending.exists():
            return now
        upcoming = pending.filter(next_try_at__gt=now).order_by("next_try_at").first()
        now = (upcoming.next_try_at if upcoming else None) or now
    raise AssertionError("deliveries stay pending")


# --- order and room ----------------------------------------------------------------------------------------


def test_events_of_one_object_leave_in_order_and_of_others_meanwhile(receiver: ReceiverProcess) -> None:
    """The first event of object 1 fails twice: its next ones wait for it, those of object 2 do not."""
    account = make_account()
    endpoint = make_endpoint(account, url=receiver.url("/flaky/3"))
    one = publish(account, 1, 1, 1)
    _run_until_nothing_is_pending(NOW)
    came = receiver.ids()
    assert came == [event.public_id for event in one for _ in range(3)], "each three times, one after the other"
    assert states(endpoint) == ["delivered"] * 3

    receiver.journal.write_text("")
    WebhookEndpoint.objects.update(url=receiver.url("/status/500"))
    stuck = publish(account, 1, 1)
    run()
    WebhookEndpoint.objects.update(url=receiver.url("/ok"), failing_since=None)
    free = publish(account, 2, 2)
    run()
    assert receiver.ids() == [stuck[0].public_id, *ids(free)]


def test_next_event_leaves_when_the_one_before_failed_for_good(receiver: ReceiverProcess) -> None:
    account = make_account()
    endpoint = make_endpoint(account, url=receiver.url("/status/500"))
    first, second = publish(account, 1, 1)
    hand_out(now=NOW)
    WebhookDelivery.objects.filter(event_id=first.pk).update(tries=MOST_TRIES - 1)
    run()
    assert receiver.ids() == ids([first, second])
    assert states(endpoint) == ["failed", "pending"]


def test_few_leave_at_once_for_one_endpoint_and_one_while_it_fails(receiver: ReceiverProcess) -> None:
    account = make_account()
    endpoint = make_endpoint(account)
    publish(account, *range(1, 11))
    hand_out(now=NOW)

    def claimed(*, failing: bool, of_one: int) -> int:
        until = NOW + timedelta(seconds=40)
        return len(delivering.claim(now=NOW, lease_until=until, limit=50, of_one_endpoint=of_one, failing=failing))

    assert [claimed(failing=False, of_one=4), claimed(failing=False, of_one=4)] == [4, 0]
    WebhookDelivery.objects.update(lease_until=None)
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(failing_since=NOW)
    assert [claimed(failing=False, of_one=4), claimed(failing=True, of_one=1), claimed(failing=True, of_one=1)] == [
        0,
        1,
        0,
    ]


def test_limit_is_shared_among_endpoints() -> None:
    account = make_account()
    endpoints = [make_endpoint(account) for _ in range(3)]
    publish(account, *range(1, 6))
    hand_out(now=NOW)
    claimed = delivering.claim(
        now=NOW, lease_until=NOW + timedelta(seconds=40), limit=4, of_one_endpoint=4, failing=False
    )
    counts = [sum(one.endpoint_id == endpoint.pk for one in claimed) for endpoint in endpoints]
    assert sorted(counts) == [1, 1, 2]


@pytest.mark.parametrize("path", ["/hang", "/trickle", "/headers", "/large"])
def test_bad_endpoint_delays_no_other(receiver: ReceiverProcess, path: str) -> None:
    account = make_account()
    make_endpoint(account, url=receiver.url(path))
    make_endpoint(make_account(), url=receiver.url(path))
    good = make_endpoint(account, url=receiver.url("/ok"))
    publish(account, *range(1, 31))
    started = time.time()
    run(database_now, how=replace(HOW, run_for=timedelta(seconds=3)))
    assert len(receiver.seen("/ok")) == 30
    assert max(one["at"] for one in receiver.seen("/ok")) - started < HOW.total.total_seconds() + 0.5
    assert states(good) == ["delivered"] * 30


def test_slow_try_holds_no_transaction(receiver: ReceiverProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = make_endpoint(url=receiver.url("/hang"))
    publish(endpoint.account, 1)
    inside = []
    wait = futures.wait
    monkeypatch.setattr(
        deliver_module, "wait", lambda *words: inside.append(connection.in_atomic_block) or wait(*words)
    )
    run()
    assert inside
    assert not any(inside)


# --- leases --------------------------------------------------------------------------------------------------


def test_delivery_is_sent_again_when_its_worker_is_gone(receiver: ReceiverProcess) -> None:
    endpoint = make_endpoint(url=receiver.url())
    (event,) = publish(endpoint.account, 1)
    hand_out(now=NOW)
    until = NOW + HOW.lease
    (lost,) = delivering.claim(now=NOW, lease_until=until, limit=9, of_one_endpoint=4, failing=False)
    run(until - timedelta(seconds=1))
    assert receiver.ids() == []
    run(until)
    assert receiver.ids() == [event.public_id]

    late = Tried(500, TryError.STATUS, "late")
    record_try(lost, late, started_at=NOW, duration_ms=5, now=until + timedelta(minutes=1))
    assert states(endpoint) == ["delivered"], "whoever holds the lease decides; the other is on record"
    assert list(WebhookTry.objects.order_by("number").values_list("number", "status")) == [(1, 500), (2, 200)]


def test_late_answer_decides_nothing_when_its_lease_was_taken_over() -> None:
    endpoint = make_endpoint()
    publish(endpoint.account, 1)
    hand_out(now=NOW)
    room: dict[str, Any] = {"limit": 9, "of_one_endpoint": 4, "failing": False}
    (lost,) = delivering.claim(now=NOW, lease_until=NOW + HOW.lease, **room)
    (taken,) = delivering.claim(now=NOW + HOW.lease, lease_until=NOW + 2 * HOW.lease, **room)
    record_try(lost, Tried(200, None), started_at=NOW, duration_ms=5, now=NOW + HOW.lease)
    assert states(endpoint) == ["pending"]
    record_try(taken, Tried(204, None), started_at=NOW, duration_ms=5, now=NOW + HOW.lease)
    assert states(endpoint) == ["delivered"]


def test_stop_is_obeyed_and_what_was_sent_is_recorded(receiver: ReceiverProcess) -> None:
    endpoint = make_endpoint(url=receiver.url())
    publish(endpoint.account, *range(1, 9))
    asked = itertools.count()
    deliver_due(how=HOW, clock=lambda: NOW, should_stop=lambda: next(asked) > 0)
    assert len(receiver.ids()) == WebhookTry.objects.count() == 4


def test_other_endpoints_are_served_when_a_secret_is_unreadable(receiver: ReceiverProcess) -> None:
    account = make_account()
    broken = make_endpoint(account, url=receiver.url("/broken"), secret_encrypted="nonsense")
    good = make_endpoint(account, url=receiver.url("/ok"))
    publish(account, 1)
    run()
    assert (states(broken), states(good)) == (["pending"], ["delivered"])
    assert AccountTrouble.objects.get().work == deliver_module.SEND


def test_test_event_reaches_its_endpoint_alone(receiver: ReceiverProcess) -> None:
    account = make_account()
    tested = make_endpoint(account, url=receiver.url("/tested"), kinds=["invoice.paid"])
    make_endpoint(account, url=receiver.url("/other"))
    send_test(endpoint=tested, now=NOW)
    publish_account(account.pk, now=NOW)
    run()
    (one,) = receiver.seen()
    body = json.loads(one["body"])
    assert (one["path"], body["type"], body["data"]["details"]["test"]) == ("/tested", TEST_KIND, True)


def test_change_of_kinds_counts_from_then_on(receiver: ReceiverProcess) -> None:
    endpoint = make_endpoint(url=receiver.url(), kinds=["refund.orphan_answer"])
    publish(endpoint.account, 1)
    hand_out(now=NOW)
    update_endpoint(endpoint=endpoint, changes={"kinds": []}, actor="test", now=NOW)
    later = publish(endpoint.account, 2)
    run()
    assert receiver.ids() == ids(later)


def test_what_was_sent_is_recorded_when_the_run_fails(
    receiver: ReceiverProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = make_endpoint(url=receiver.url())
    publish(endpoint.account, 1)
    runs = itertools.count()

    def fail_later(**_: Any) -> int:
        if next(runs):
            raise RuntimeError("broken")
        return 0

    monkeypatch.setattr(deliver_module, "publish", fail_later)
    run()
    assert states(endpoint) == ["delivered"]
    assert AccountTrouble.objects.get(work="deliver").error == "RuntimeError"
