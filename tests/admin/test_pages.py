"""Every noun has a list and a page; history is read-only, and nothing that concerns money is deleted."""

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse

from billing.admin.toolkit.base import HistoryAdmin, RecordAdmin
from billing.models import (
    AccountDay,
    AccountPace,
    AccountTrouble,
    ApiKey,
    Customer,
    DeclineRuling,
    DunningAssignment,
    DunningPolicy,
    GatewayAccount,
    GatewayClock,
    Host,
    Installation,
    Invoice,
    MailSettings,
    OutsidePayment,
    PaymentAttempt,
    PaymentMethod,
    Plan,
    RunManifest,
    Subscription,
    VisitCount,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookTry,
)
from tests.admin.conftest import World
from tests.audit.books import Books
from tests.factories import make_account, make_card, make_customer, make_subscription, move_attempt

pytestmark = pytest.mark.django_db

# Rows that are shown on the page of what they are about, and have none of their own, or that nobody looks at.
SHOWN_ELSEWHERE = {
    AccountDay,
    AccountPace,
    AccountTrouble,
    DunningAssignment,
    GatewayClock,
    Host,
    MailSettings,
    OutsidePayment,
    RunManifest,
    VisitCount,
    WebhookTry,
}
NOUNS = sorted(set(apps.get_app_config("billing").get_models()) - SHOWN_ELSEWHERE, key=lambda model: model.__name__)
CREATED = {ApiKey, Customer, DeclineRuling, DunningPolicy, GatewayAccount, Plan, Subscription, WebhookEndpoint}
HISTORY = {name for name in NOUNS if isinstance(admin.site._registry.get(name), HistoryAdmin)}


def url(model: type[Model], page: str, *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def text(response: HttpResponse) -> str:
    assert response.status_code == 200, response.status_code
    return response.content.decode()


def named(model: type[Model]) -> str:
    return model.__name__


def test_every_noun_is_registered_and_is_a_record() -> None:
    assert {model for model in NOUNS if not isinstance(admin.site._registry.get(model), RecordAdmin)} == set()


def test_the_list_and_the_page_of_every_noun_answer(boss: Client, world: World) -> None:
    for model in NOUNS:
        listed = boss.get(url(model, "changelist"), follow=True)
        assert "Traceback" not in text(listed), model
        assert text(boss.get(url(model, "change", world.rows[model].pk))), model


def test_an_empty_list_answers_too(boss: Client) -> None:
    answered = {model: boss.get(url(model, "changelist"), follow=True).status_code for model in NOUNS}
    assert answered == dict.fromkeys(NOUNS, 200)


def test_only_what_people_make_has_an_add_page(boss: Client, world: World) -> None:
    answered = {model: boss.get(url(model, "add")).status_code for model in NOUNS}
    assert answered == {model: 200 if model in CREATED else 403 for model in NOUNS}


def test_who_has_no_permission_sees_nothing(stranger: Client, world: World) -> None:
    for model in NOUNS:
        for page in (url(model, "change", world.rows[model].pk), url(model, "add")):
            assert stranger.get(page).status_code == 403, page
        assert stranger.get(url(model, "changelist"), follow=True).status_code == 403, model


def test_who_is_not_logged_in_is_sent_to_the_log_in_page(world: World) -> None:
    for model in NOUNS:
        for page in (url(model, "changelist"), url(model, "change", world.rows[model].pk), url(model, "add")):
            response = Client().get(page)
            assert response.status_code == 302, page
            assert response["Location"].startswith(reverse("admin:login")), page


def test_a_viewer_sees_every_page_and_no_button(viewer: Client, world: World) -> None:
    for model in NOUNS:
        page = text(viewer.get(url(model, "change", world.rows[model].pk)))
        assert 'aria-label="Actions"' not in page, model
        assert viewer.get(url(model, "add")).status_code == 403, model


def test_nothing_is_deleted_or_edited_in_place(boss: Client, world: World) -> None:
    request = RequestFactory().get("/")
    request.user = boss_user(boss)
    several = {PaymentAttempt: {"resolve_several", "release_several"}, WebhookDelivery: {"resend_several"}}
    for model in NOUNS:
        row = world.rows[model]
        noun = admin.site._registry[model]
        assert not noun.has_delete_permission(request, row), model
        assert not noun.has_change_permission(request, row), model
        assert set(noun.get_actions(request)) == several.get(model, set()), model
        assert boss.get(url(model, "delete", row.pk)).status_code == 403, model
        assert boss.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403, model
        assert boss.post(url(model, "change", row.pk), {"state": "paid"}).status_code == 405, model
        assert model._default_manager.filter(pk=row.pk).exists(), model


def boss_user(client: Client) -> User:
    return User.objects.get(pk=client.session["_auth_user_id"])


def test_delete_selected_is_offered_only_where_harmless(boss: Client) -> None:
    request = RequestFactory().get("/")
    request.user = boss_user(boss)
    offered = {model for model, noun in admin.site._registry.items() if "delete_selected" in noun.get_actions(request)}
    assert offered == set()
    deletable = {model for model, noun in admin.site._registry.items() if noun.has_delete_permission(request)}
    assert {model.__name__ for model in deletable} == {Group.__name__, "AccessAttempt"}


@pytest.mark.parametrize("model", sorted(HISTORY, key=named), ids=named)
def test_history_has_no_actions_at_all(model: type[Model]) -> None:
    noun = admin.site._registry[model]
    assert isinstance(noun, RecordAdmin)
    assert noun.person_actions == ()
    assert noun.creation is None


def test_history_is_what_happened() -> None:
    assert {model.__name__ for model in HISTORY} == {
        "ChargeRun",
        "Event",
        "Evidence",
        "GatewayOrder",
        "GatewayTransaction",
        "Heartbeat",
        "IdempotencyRecord",
        "RefundEvidence",
        "ReportDay",
        "Proposal",
        "Transition",
    }


@pytest.mark.parametrize("key", ["0", "999999", "99999999999999999999999", "abc", "1%00"])
def test_a_row_that_is_not_there_leads_back_to_the_list(key: str, boss: Client, world: World) -> None:
    response = boss.get(f"/admin/billing/customer/{key}/change/")
    assert response.status_code in (302, 404)


def test_secrets_are_on_no_page(boss: Client, world: World) -> None:
    secrets = [world.account.client_secret_encrypted, world.account.private_key_encrypted, "PRIVATE KEY-----"]
    secrets.append(world.rows[ApiKey].key_hash)
    account = world.account.pk
    pages = [url(GatewayAccount, "changelist"), url(GatewayAccount, "change", account)]
    pages += [f"{url(GatewayAccount, 'change', account)}settings/", url(ApiKey, "change", world.rows[ApiKey].pk)]
    pages += [url(ApiKey, "changelist"), url(PaymentAttempt, "change", world.rows[PaymentAttempt].pk)]
    for page in pages:
        assert [secret for secret in secrets if secret in text(boss.get(page))] == [], page


def test_subscription_page_shows_its_whole_story(boss: Client, world: World) -> None:
    subscription = world.rows[Subscription]
    page = text(boss.get(url(Subscription, "change", subscription.pk)))
    for said in (
        "Coffee club for Aminah binti Ali",
        "RM 19.90 every day at 09:00, Kuala Lumpur",
        "2 Mar 2026, 09:00",
        "6 Mar 2026, 09:00",  # the fifth date
        "Visa •••• 1111",
        "Attempt 1",
        "being sent",
        "Subscription: waiting for a card → active",
    ):
        assert said in page, said
    assert "7 Mar 2026" not in page


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"interval": "MONTHLY", "target": -1}, "every month on the last day at 09:00, Kuala Lumpur"),
        ({"interval": "MONTHLY", "target": 15, "every": 3}, "every 3 months on day 15 at 09:00, Kuala Lumpur"),
        ({"interval": "WEEKLY", "target": 0, "time_zone": "Europe/London"}, "every week on Sunday at 09:00, London"),
    ],
)
def test_schedule_is_described_in_words(columns: dict[str, object], said: str, boss: Client) -> None:
    subscription = make_subscription(**columns, next_due_at=None, occurrence=None)
    assert said in text(boss.get(url(Subscription, "change", subscription.pk)))


def test_times_are_in_the_accounts_zone(boss: Client) -> None:
    card = make_card(make_customer(make_account(time_zone="America/New_York")), activated_at=None)
    page = text(boss.get(url(PaymentMethod, "change", card.pk)))
    assert "New_York; 2026-03-02" not in page  # nothing has happened to it at a time
    listed = text(boss.get(url(PaymentMethod, "changelist")))
    assert "1 Mar 2026, 20:00" in listed
    assert "America/New_York; 2026-03-02 01:00:00 UTC" in listed


def test_attempt_page_offers_the_decision_when_it_needs_review(boss: Client) -> None:
    attempt = world_attempt()
    page = text(boss.get(url(PaymentAttempt, "change", attempt.pk)))
    assert "It needs review" in page
    assert f"{attempt.pk}/change/resolve/" in page
    assert f"{attempt.pk}/change/release/" in page


def world_attempt() -> PaymentAttempt:
    from tests.factories import make_attempt

    return move_attempt(make_attempt(), "needs_review")


def test_the_stop_switch_is_one_page(boss: Client) -> None:
    response = boss.get(url(Installation, "changelist"))
    assert response["Location"] == url(Installation, "change", 1)


def test_names_from_outside_are_escaped(boss: Client) -> None:
    card = make_card(make_customer(name="<script>alert(1)</script>"))
    subscription = make_subscription(card)
    for model, key in ((Customer, card.customer_id), (Subscription, subscription.pk), (PaymentMethod, card.pk)):
        for page in (url(model, "changelist"), url(model, "change", key)):
            assert "<script>alert(1)" not in text(boss.get(page))
    assert "<script>alert(1)" not in text(boss.get(reverse("admin:index")))


def test_the_page_of_an_invoice_answers_why_it_was_charged(viewer: Client) -> None:
    books = Books()
    attempt = books.pay(books.armed())
    html = viewer.get(url(Invoice, "change", attempt.invoice_id)).content.decode()
    assert "The card was charged RM 19.90 once for period 1 of Coffee club" in html
    assert "the gateway answered that the money was taken" in html
    assert f"transaction {attempt.gateway_transaction_id}" in html
    assert "Nothing more will be charged for this invoice automatically." in html
