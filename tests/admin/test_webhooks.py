"""Webhook endpoints and deliveries in the admin: a secret that is shown once, and sending again."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from billing.models import Event, IdempotencyRecord, Transition, WebhookDelivery, WebhookEndpoint
from billing.models.clock import database_now
from billing.models.encryption import decrypt
from tests.admin.conftest import World
from tests.admin.test_actions import token
from tests.admin.test_pages import url
from tests.factories import NOW, make_account
from tests.notifying.rows import make_delivery, make_endpoint, make_try, publish

pytestmark = pytest.mark.django_db
WHY = "the server moves"


@pytest.fixture
def endpoint(world: World) -> WebhookEndpoint:
    found: WebhookEndpoint = world.rows[WebhookEndpoint]
    return found


def act(client: Client, row: Any, action: str, **data: Any) -> Any:
    address = f"{url(type(row), 'change', row.pk)}{action}/"
    return client.post(address, {"token": token(client, address), **data})


def test_endpoint_is_added_and_its_secret_shown_once(boss: Client, world: World) -> None:
    address = url(WebhookEndpoint, "add")
    sent = {
        "token": token(boss, address),
        "account": world.account.pk,
        "url": "https://shop.example/hooks",
        "kinds": "invoice.paid\nrefund.failed",
        "description": "shop",
        "email": "ops@shop.example",
    }
    shown = boss.post(address, sent)
    assert shown.status_code == 200
    assert "no-store" in shown["Cache-Control"]
    added = WebhookEndpoint.objects.get(url=sent["url"])
    assert added.kinds == ["invoice.paid", "refund.failed"]
    secret = decrypt(added.secret_encrypted)
    assert secret in shown.content.decode()
    assert secret not in boss.get(url(WebhookEndpoint, "change", added.pk)).content.decode()
    assert secret not in str(list(IdempotencyRecord.objects.values()))
    twice = boss.post(address, sent)
    assert twice.status_code == 302
    assert WebhookEndpoint.objects.filter(url=sent["url"]).count() == 1


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"url": "http://shop.example/"}, "Must begin with https://"),
        ({"url": "https://10.0.0.1/"}, "Must be an address of the public internet"),
        ({"kinds": "invoice.payed"}, "Must be types of events"),
        ({"email": "nobody"}, "Enter a valid email address"),
    ],
)
def test_form_says_what_is_wrong_when_a_rule_is_broken(
    boss: Client, endpoint: WebhookEndpoint, change: dict[str, str], text: str
) -> None:
    refused = act(boss, endpoint, "change", **{"url": "https://shop.example/", **change})
    assert refused.status_code == 422
    assert text in refused.content.decode()
    endpoint.refresh_from_db()
    assert endpoint.url == "http://127.0.0.1:9/"


def test_change_is_in_the_history_of_the_page(boss: Client, endpoint: WebhookEndpoint) -> None:
    act(boss, endpoint, "change", url="https://shop.example/new", kinds="", description="", email="")
    line = Transition.objects.get(subject_type="webhook_endpoint", subject_id=endpoint.pk)
    assert (line.actor, "https://shop.example/new" in line.reason) == ("aisyah", True)
    assert "→ https://shop.example/new" in boss.get(url(WebhookEndpoint, "change", endpoint.pk)).content.decode()


def test_person_pauses_resumes_rotates_tests_and_deletes(boss: Client, endpoint: WebhookEndpoint) -> None:
    def state() -> str:
        endpoint.refresh_from_db()
        return endpoint.state

    act(boss, endpoint, "pause", reason=WHY)
    assert state() == "paused"
    act(boss, endpoint, "resume", reason=WHY)
    assert state() == "active"
    before = decrypt(endpoint.secret_encrypted)
    rotated = act(boss, endpoint, "rotate")
    assert state() == "active"
    assert decrypt(endpoint.old_secret_encrypted) == before
    assert decrypt(endpoint.secret_encrypted) in rotated.content.decode()
    act(boss, endpoint, "end-old")
    assert (state(), endpoint.old_secret_encrypted) == ("active", "")
    act(boss, endpoint, "test")
    assert Event.objects.filter(kind="webhook_endpoint.test", subject_id=endpoint.pk).count() == 1
    act(boss, endpoint, "remove", reason=WHY)
    assert (state(), endpoint.secret_encrypted) == ("deleted", "")
    page = boss.get(url(WebhookEndpoint, "change", endpoint.pk)).content.decode()
    assert 'aria-label="Actions"' not in page
    moves = Transition.objects.filter(subject_type="webhook_endpoint", subject_id=endpoint.pk)
    assert {move.actor for move in moves} == {"aisyah"}


def test_span_is_resent_from_the_endpoint(boss: Client) -> None:
    endpoint = make_endpoint(sequence=100)
    publish(endpoint.account, 1, 2)
    act(boss, endpoint, "resend", created_from="2026-03-02T00:00", created_before="2026-03-03T00:00", kinds="")
    assert WebhookDelivery.objects.filter(endpoint=endpoint, state="pending").count() == 2
    refused = act(
        boss, endpoint, "resend", created_from="2026-03-03T00:00", created_before="2026-03-02T00:00", kinds=""
    )
    assert "Must be later than the beginning of the span" in refused.content.decode()


def test_delivery_shows_why_it_waits_and_what_was_answered(boss: Client) -> None:
    endpoint = make_endpoint(description="shop")
    first, second = publish(endpoint.account, 1, 1)
    make_try(make_delivery(endpoint, first), answer="no <b>route</b>")
    later = make_delivery(endpoint, second)
    page = boss.get(url(WebhookDelivery, "change", WebhookDelivery.objects.get(event_id=first.pk).pk))
    text = page.content.decode()
    assert "HTTP 500: answered with an error" in text
    assert "no &lt;b&gt;route&lt;/b&gt;" in text
    assert "waits for an earlier event" in boss.get(url(WebhookDelivery, "change", later.pk)).content.decode()
    WebhookEndpoint.objects.update(state="paused")
    assert "The endpoint is paused" in boss.get(url(WebhookDelivery, "change", later.pk)).content.decode()


def test_one_delivery_is_resent_once_it_has_ended(boss: Client) -> None:
    delivery = make_delivery(state="failed", next_try_at=None, closed_at=NOW, tries=10)
    act(boss, delivery, "resend")
    delivery.refresh_from_db()
    assert (delivery.state, delivery.tries) == ("pending", 0)
    assert act(boss, delivery, "resend").status_code == 422


def test_several_deliveries_are_resent_and_each_has_its_outcome(boss: Client) -> None:
    endpoint = make_endpoint()
    ended = [make_delivery(endpoint, state="failed", next_try_at=None, closed_at=NOW) for _ in range(2)]
    pending = make_delivery(endpoint)
    ids = [row.pk for row in (*ended, pending)]
    chosen = boss.post(url(WebhookDelivery, "changelist"), {"action": "resend_several", "_selected_action": ids})
    assert chosen.status_code == 302
    asked = boss.get(chosen["Location"])
    assert "Chosen: 3" in asked.content.decode()
    sent = {"token": asked.context["form"].initial["token"], "ids": "-".join(map(str, ids))}
    told = boss.post(reverse("admin:billing_webhookdelivery_several"), sent).content.decode()
    assert "2 of 3 resent" in told
    assert WebhookDelivery.objects.filter(state="pending").count() == 3


def test_who_may_only_look_does_nothing(viewer: Client, endpoint: WebhookEndpoint, world: World) -> None:
    delivery = world.rows[WebhookDelivery]
    for row, actions in (
        (endpoint, ("pause", "rotate", "test", "remove", "change", "resend")),
        (delivery, ("resend",)),
    ):
        for action in actions:
            assert viewer.get(f"{url(type(row), 'change', row.pk)}{action}/").status_code == 403
            assert viewer.post(f"{url(type(row), 'change', row.pk)}{action}/", {}).status_code == 403
    assert viewer.post(reverse("admin:billing_webhookdelivery_several"), {"ids": str(delivery.pk)}).status_code == 403


def test_permission_for_deliveries_alone_touches_no_endpoint(endpoint: WebhookEndpoint, world: World) -> None:
    user = User.objects.create(username="mei", is_staff=True, password="!")
    user.user_permissions.set(Permission.objects.filter(codename__endswith="webhookdelivery"))
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get(url(WebhookDelivery, "changelist")).status_code == 200
    assert client.get(f"{url(WebhookEndpoint, 'change', endpoint.pk)}rotate/").status_code == 403


def test_dashboard_names_a_disabled_endpoint(boss: Client, world: World) -> None:
    row = make_endpoint(make_account(), state="disabled", disabled_reason="failing", description="old shop")
    page = boss.get(reverse("admin:index")).content.decode()
    assert url(WebhookEndpoint, "change", row.pk) in page
    assert "No request to it has succeeded for 5 days" in page


def test_lists_ask_few_queries(boss: Client, django_assert_max_num_queries: Any) -> None:
    endpoint = make_endpoint()
    for _ in range(12):
        make_delivery(endpoint, created_at=database_now() + timedelta(seconds=1))
    with django_assert_max_num_queries(14):
        boss.get(url(WebhookDelivery, "changelist"))
