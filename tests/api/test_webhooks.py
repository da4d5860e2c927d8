"""`/webhook-endpoints/` and `/webhook-deliveries/`: a secret that is shown once, and sending again."""

from typing import Any

import pytest

from billing.models import Event, IdempotencyRecord, Transition, WebhookDelivery, WebhookEndpoint
from billing.models.encryption import decrypt
from billing.notifying.endpoints import MOST_ENDPOINTS
from tests.api.calls import api_for, problem, snapshot
from tests.api.conftest import Merchant
from tests.factories import make_account
from tests.notifying.rows import make_delivery, make_endpoint, publish

pytestmark = pytest.mark.django_db
BODY = {
    "url": "https://shop.example/hooks",
    "types": ["invoice.paid"],
    "description": "shop",
    "email": "a@shop.example",
}
SPAN = {"created_from": "2026-03-02T00:00:00Z", "created_before": "2026-03-03T00:00:00Z"}


def test_secret_is_shown_once_and_kept_nowhere_in_clear(merchant: Merchant) -> None:
    first = merchant.api.post("/webhook-endpoints/", BODY, Idempotency_Key="k")
    assert first.status_code == 201, first.content
    secret = first.json()["secret"]
    endpoint = WebhookEndpoint.objects.get(public_id=first.json()["endpoint"]["id"])
    assert decrypt(endpoint.secret_encrypted) == secret
    assert (endpoint.url, endpoint.kinds, endpoint.email) == (BODY["url"], BODY["types"], BODY["email"])
    assert secret not in str(snapshot())

    again = merchant.api.post("/webhook-endpoints/", BODY, Idempotency_Key="k")
    assert again.json() == {**first.json(), "secret": None}
    assert WebhookEndpoint.objects.filter(url=BODY["url"]).count() == 1
    read = merchant.api.get(f"/webhook-endpoints/{endpoint.public_id}/").json()
    assert read == first.json()["endpoint"]

    rotated = merchant.api.post(f"/webhook-endpoints/{endpoint.public_id}/rotate-secret/", {}, Idempotency_Key="r")
    assert rotated.json()["secret"] not in (None, secret)
    assert rotated.json()["endpoint"]["old_secret_ends_at"] is not None
    assert rotated.json()["secret"] not in str(list(IdempotencyRecord.objects.values()))
    ended = merchant.api.post(f"/webhook-endpoints/{endpoint.public_id}/end-old-secret/", {})
    assert ended.json()["old_secret_ends_at"] is None
    assert problem(merchant.api.post(f"/webhook-endpoints/{endpoint.public_id}/end-old-secret/", {}))[0] == 409


@pytest.mark.parametrize(
    ("change", "field", "rule"),
    [
        ({"url": "http://shop.example/"}, "url", "https"),
        ({"url": "https://127.0.0.1/"}, "url", "private_address"),
        ({"url": "https://[::ffff:10.0.0.1]/"}, "url", "private_address"),
        ({"url": "https://2130706433/"}, "url", "private_address"),
        ({"url": "https://u:p@shop.example/"}, "url", "user_name"),
        ({"url": "https://shop.example/#x"}, "url", "fragment"),
        ({"url": f"https://shop.example/{'x' * 2000}"}, "url", "max_length"),
        ({"url": None}, "url", "null"),
        ({"types": ["invoice.payed"]}, "types", "unknown_kind"),
        ({"types": "invoice.paid"}, "types", "not_a_list"),
        ({"types": [""]}, "types.0", "blank"),
        ({"email": "nobody"}, "email", "email"),
        ({"secret": "whsec_mine"}, "secret", "unknown"),
    ],
)
def test_endpoint_is_refused_when_it_breaks_a_rule(
    merchant: Merchant, change: dict[str, Any], field: str, rule: str
) -> None:
    before = snapshot()
    assert problem(merchant.api.post("/webhook-endpoints/", BODY | change)) == (
        400,
        "invalid_request",
        [(field, rule)],
    )
    path = f"/webhook-endpoints/{merchant.endpoint.public_id}/"
    assert problem(merchant.api.patch(path, change)) == (400, "invalid_request", [(field, rule)])
    assert snapshot() == before


def test_seventeenth_endpoint_is_refused_and_deletion_makes_room(merchant: Merchant) -> None:
    for _ in range(MOST_ENDPOINTS - 1):
        assert merchant.api.post("/webhook-endpoints/", BODY).status_code == 201
    refused = merchant.api.post("/webhook-endpoints/", BODY)
    assert problem(refused) == (400, "invalid_request", [("url", "too_many")])
    gone = merchant.api.post(f"/webhook-endpoints/{merchant.endpoint.public_id}/delete/", {}).json()
    assert gone["state"] == "deleted"
    assert merchant.api.post("/webhook-endpoints/", BODY).status_code == 201
    states = {one["state"] for one in merchant.api.get("/webhook-endpoints/?state=deleted").json()["data"]}
    assert states == {"deleted"}
    for action in ("pause", "resume", "delete", "rotate-secret", "test"):
        path = f"/webhook-endpoints/{merchant.endpoint.public_id}/{action}/"
        assert problem(merchant.api.post(path, {}))[0] == 409
    path = f"/webhook-endpoints/{merchant.endpoint.public_id}/"
    assert problem(merchant.api.patch(path, {"description": "x"}))[0] == 409
    assert problem(merchant.api.post(f"{path}resend/", SPAN))[0] == 409


def test_change_writes_what_is_sent_and_nothing_else(merchant: Merchant) -> None:
    path = f"/webhook-endpoints/{merchant.endpoint.public_id}/"
    before = merchant.api.get(path).json()
    changed = merchant.api.patch(path, {"types": ["refund.failed"], "description": "new"}).json()
    assert changed == {**before, "types": ["refund.failed"], "description": "new"}
    line = Transition.objects.get(subject_type="webhook_endpoint", subject_id=merchant.endpoint.pk)
    assert line.reason == 'description:  → new; kinds: [] → ["refund.failed"]'
    assert line.actor.startswith("api:key_")


def test_pause_and_resume_move_the_state(merchant: Merchant) -> None:
    path = f"/webhook-endpoints/{merchant.endpoint.public_id}"
    assert merchant.api.post(f"{path}/pause/", {"reason": "moving"}).json()["state"] == "paused"
    assert problem(merchant.api.post(f"{path}/pause/", {}))[0] == 409
    assert problem(merchant.api.post(f"{path}/test/", {}))[0] == 409
    assert merchant.api.post(f"{path}/resume/", {"skip_missed": True}).json()["state"] == "active"
    merchant.delivery.refresh_from_db()
    assert merchant.delivery.state == "canceled"


def test_test_event_names_itself(merchant: Merchant) -> None:
    sent = merchant.api.post(f"/webhook-endpoints/{merchant.endpoint.public_id}/test/", {}).json()
    event = Event.objects.get(public_id=sent["event"])
    assert (event.kind, event.payload["test"]) == ("webhook_endpoint.test", True)


def test_delivery_shows_its_tries_and_is_sent_again(merchant: Merchant) -> None:
    path = f"/webhook-deliveries/{merchant.delivery.public_id}/"
    shown = merchant.api.get(path).json()
    assert (shown["state"], shown["event"]) == ("pending", merchant.delivery.event_public_id)
    (tried,) = shown["tries"]
    assert (tried["status"], tried["error"], tried["answer"]) == (500, "status", "no")
    assert problem(merchant.api.post(f"{path}resend/", {}))[0] == 409

    WebhookDelivery.objects.update(state="failed", next_try_at=None, closed_at=merchant.delivery.created_at, tries=10)
    again = merchant.api.post(f"{path}resend/", {}).json()
    assert (again["state"], again["try_count"], len(again["tries"])) == ("pending", 0, 1)


def test_deliveries_are_found_by_what_they_are(merchant: Merchant) -> None:
    one = merchant.delivery
    for query in (
        f"endpoint={merchant.endpoint.public_id}",
        f"event={one.event_public_id}",
        f"type={one.kind}",
        "state=pending",
        "created_from=2026-01-01T00:00:00Z",
    ):
        found = merchant.api.get(f"/webhook-deliveries/?{query}").json()["data"]
        assert [row["id"] for row in found] == [one.public_id], query
    for query in ("endpoint=whe_0", "event=evt_0", "type=plan.created", "state=failed"):
        assert merchant.api.get(f"/webhook-deliveries/?{query}").json()["data"] == [], query


def test_span_is_sent_again_with_what_was_never_sent() -> None:
    account = make_account()
    endpoint = make_endpoint(account, kinds=["refund.orphan_answer"], sequence=100)
    events = publish(account, 1, 2, 3)
    delivered = make_delivery(endpoint, events[0], state="delivered", next_try_at=None, closed_at=events[0].created_at)
    api = api_for(account)
    path = f"/webhook-endpoints/{endpoint.public_id}/resend/"
    assert api.post(path, SPAN).json() == {"count": 3}
    assert WebhookDelivery.objects.filter(state="pending").count() == 3
    delivered.refresh_from_db()
    assert delivered.state == "pending"
    assert api.post(path, SPAN | {"types": ["refund.orphan_answer"]}).json() == {"count": 0}
    assert api.post(path, SPAN | {"created_before": "2026-03-02T00:30:00Z"}).json() == {"count": 0}


@pytest.mark.parametrize(
    ("change", "field", "rule"),
    [
        ({"created_from": "2026-03-04T00:00:00Z"}, "created_before", "order"),
        ({"created_from": "yesterday"}, "created_from", "instant"),
        ({"created_from": 7}, "created_from", "instant"),
        ({"created_before": None}, "created_before", "null"),
    ],
)
def test_span_is_refused_when_it_is_none(merchant: Merchant, change: dict[str, Any], field: str, rule: str) -> None:
    path = f"/webhook-endpoints/{merchant.endpoint.public_id}/resend/"
    assert problem(merchant.api.post(path, SPAN | change)) == (400, "invalid_request", [(field, rule)])


def test_span_is_refused_when_it_has_too_many(merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.notifying.resend.MOST_EVENTS", 1)
    publish(merchant.account, 1, 2)
    refused = merchant.api.post(f"/webhook-endpoints/{merchant.endpoint.public_id}/resend/", SPAN)
    assert problem(refused) == (400, "invalid_request", [("created_from", "too_many")])
