"""What people do: a confirmation first, then one act, with a reason and a name; and never by who may only look."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from billing.admin.toolkit.base import RecordAdmin
from billing.charging.attempts.settle import AttemptFinding, settle
from billing.domain.attempts import Finding, Source, Verdict
from billing.gateway.proving import DisprovedError, NotProvedError
from billing.models import (
    AccountPace,
    ApiKey,
    Customer,
    DeclineRuling,
    GatewayAccount,
    IdempotencyRecord,
    Installation,
    Invoice,
    PaymentAttempt,
    PaymentMethod,
    Plan,
    Refund,
    RefundEvidence,
    Subscription,
    Transition,
)
from billing.models.clock import database_now
from billing.models.encryption import decrypt
from tests.admin.conftest import World
from tests.admin.test_pages import url
from tests.conftest import SHORT, Shop
from tests.factories import (
    NOW,
    make_account,
    make_attempt,
    make_card,
    make_customer,
    make_invoice,
    make_plan,
    make_refund,
    make_subscription,
    move_attempt,
    move_refund,
)

pytestmark = pytest.mark.django_db
WHY = "asked by phone"


def token(client: Client, address: str) -> str:
    """The token of the form, which a person's browser sends back."""
    response = client.get(address)
    assert response.status_code == 200
    return str(response.context["form"].initial["token"])


def send(client: Client, address: str, data: dict[str, Any] | None = None) -> Any:
    """Opens the form and sends it."""
    sent = {"token": token(client, address), "reason": WHY, **(data or {})}
    return client.post(address, sent)


def action(row: Model, name: str) -> str:
    return f"{url(type(row), 'change', row.pk)}{name}/"


def message_of(response: Any) -> str:
    return str(response.content.decode())


def last_change(subject_type: str, row: Model) -> Transition:
    return Transition.objects.filter(subject_type=subject_type, subject_id=row.pk).latest("id")


def held_invoice() -> Invoice:
    return make_invoice(next_attempt_at=None, hold="catch_up")


def attempt_in_review() -> PaymentAttempt:
    return move_attempt(make_attempt(), "needs_review")


def paused() -> Subscription:
    return make_subscription(state="paused", next_due_at=None)


def the_installation() -> Installation:
    return Installation.objects.get(pk=1)


def uncollectible() -> Invoice:
    return make_invoice(state="uncollectible", next_attempt_at=None, closed_at=NOW)


def stopped_account() -> GatewayAccount:
    return make_account(stopped_at=NOW, stopped_reason="test", stopped_by="test")


def held_account() -> GatewayAccount:
    account = make_account()
    AccountPace.objects.create(account=account, state="held", kind="size", reason="1001 charges are due", since=NOW)
    return account


def money_with_an_order() -> PaymentAttempt:
    now = database_now()
    attempt = make_attempt(gateway_order_id="1001", armed_at=now, window_ends_at=now, deadline_at=now)
    return move_attempt(attempt, "succeeded")


def surplus() -> PaymentAttempt:
    return move_attempt(make_attempt(), "surplus")


def refund_with_a_person() -> Refund:
    """The gateway has not shown its transaction for days: a person knows better."""
    return move_refund(make_refund(), "sending", "unknown", "needs_review", state_reason="reads_keep_failing")


Case = tuple[str, Callable[[], Any], dict[str, Any], str, str]
# name of the action, the row, what is filled in, the subject of the change, and the state it leads to
ACTS: list[Case] = [
    ("pause", make_subscription, {}, "subscription", "paused"),
    ("resume", paused, {}, "subscription", "active"),
    ("cancel", make_subscription, {}, "subscription", "canceled"),
    ("retry-now", make_invoice, {}, "invoice", "open"),
    ("retry-now", uncollectible, {}, "invoice", "open"),
    ("collect", held_invoice, {}, "invoice", "open"),
    ("resolve", refund_with_a_person, {"resolution": "refunded"}, "refund", "succeeded"),
    ("resolve", refund_with_a_person, {"resolution": "not_refunded"}, "refund", "not_refunded"),
    ("withdraw", make_refund, {}, "refund", "not_sent"),
    ("stop", make_account, {}, "account", "stopped"),
    ("start", stopped_account, {}, "account", "running"),
    ("settings", make_account, {"name": "Kedai Teh"}, "account", "running"),
    ("let-run", held_account, {}, "pace", "closed"),
    ("stop", the_installation, {}, "installation", "stopped"),
    ("revoke", make_card, {}, "card", "revoked"),
    ("free", lambda: make_card(held_at=NOW, held_reason="unexplained_order"), {}, "card", "free"),
    ("go-on-without", lambda: make_card(unread_since=NOW, unreadable_at=NOW), {}, "card", "given up"),
]


def case_id(case: Case) -> str:
    return f"{case[3]}-{case[0]}-{case[4]}"


def filled(client: Client, address: str, data: dict[str, Any]) -> dict[str, Any]:
    """The form as it is shown, with what a person changes."""
    form = client.get(address).context["form"]
    values = {name: form[name].value() for name in form.fields}
    shown = {name: value for name, value in values.items() if value is not None and value is not False}
    return {**shown, "reason": WHY, **data}


@pytest.mark.parametrize("case", ACTS, ids=case_id)
def test_action_is_confirmed_applied_and_logged_with_its_reason(case: Case, boss: Client) -> None:
    name, make, data, subject_type, state = case
    row = make()
    address = action(row, name)
    changes = Transition.objects.count()
    before = type(row).objects.values().get(pk=row.pk)
    page = boss.get(address)
    assert 'name="reason"' in message_of(page)
    assert type(row).objects.values().get(pk=row.pk) == before, "looking changes nothing"
    assert Transition.objects.count() == changes

    response = boss.post(address, filled(boss, address, data))
    assert response.status_code == 302, response.context["form"].errors
    assert response["Location"] == url(type(row), "change", row.pk)
    change = last_change(subject_type, row)
    assert change.to_state == state
    assert change.actor == "aisyah"
    of_refund = RefundEvidence.objects.filter(pk=change.evidence_id) if subject_type == "refund" else ()
    assert WHY in (of_refund[0].content["detail"]["reason"] if of_refund else change.reason)
    after = message_of(boss.get(response["Location"]))
    assert f"aisyah: {WHY}" in after if of_refund else "aisyah" in after


@pytest.mark.parametrize("case", ACTS, ids=case_id)
def test_viewer_can_neither_open_nor_submit_an_action(case: Case, viewer: Client) -> None:
    name, make, data, _, _ = case
    row = make()
    changes = Transition.objects.count()
    assert viewer.get(action(row, name)).status_code == 403
    assert viewer.post(action(row, name), {"reason": WHY, "token": "x", **data}).status_code == 403
    assert Transition.objects.count() == changes


@pytest.mark.parametrize("case", ACTS, ids=case_id)
def test_nothing_happens_without_a_reason(case: Case, boss: Client) -> None:
    name, make, data, _, _ = case
    row = make()
    changes = Transition.objects.count()
    address = action(row, name)
    response = boss.post(address, {**filled(boss, address, data), "reason": "   "})
    assert response.status_code == 422
    assert response.context["form"].errors["reason"]
    assert Transition.objects.count() == changes


def test_who_is_not_logged_in_is_sent_away() -> None:
    row = make_subscription()
    for method in ("get", "post"):
        response = getattr(Client(), method)(action(row, "pause"))
        assert response["Location"].startswith(reverse("admin:login"))


def test_actions_require_a_permission_and_posts_a_csrf_token(boss: Client) -> None:
    boss.handler.enforce_csrf_checks = True
    row = make_subscription()
    assert boss.post(action(row, "pause"), {"reason": WHY, "token": "x"}).status_code == 403
    row.refresh_from_db()
    assert row.state == "active"
    for noun in admin.site._registry.values():
        for one in noun.person_actions if isinstance(noun, RecordAdmin) else ():
            known = one.permission.partition(".")[2]
            assert Permission.objects.filter(codename=known).exists(), one.name


def test_a_permission_opens_its_own_action_only(db: None) -> None:
    user = User.objects.create(username="mei", is_staff=True, password="!")
    user.user_permissions.set(
        Permission.objects.filter(codename__in=["view_subscription", "change_subscription", "view_invoice"])
    )
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    row = make_subscription()
    page = message_of(client.get(url(Subscription, "change", row.pk)))
    assert "/pause/" in page
    assert "/charge-now/" not in page
    assert client.get(action(row, "charge-now")).status_code == 403
    assert send(client, action(row, "pause")).status_code == 302


REFUSED: list[tuple[str, Callable[[], Any], dict[str, Any], str]] = [
    ("pause", paused, {}, "Must be a running subscription"),
    ("resume", make_subscription, {}, "Must be a paused subscription"),
    ("cancel", lambda: make_subscription(state="canceled", next_due_at=None, ended_at=NOW), {}, "must not have ended"),
    ("retry-now", held_invoice, {}, "Must not need a decision"),
    ("retry-now", lambda: make_attempt().invoice, {}, "An attempt is under way"),
    (
        "retry-now",
        lambda: make_invoice(state="paid", next_attempt_at=None, closed_at=NOW),
        {},
        "Must be owed; it is paid",
    ),
    (
        "retry-now",
        lambda: make_invoice(state="uncollectible", next_attempt_at=None, closed_at=NOW, amount_refunded_minor=10),
        {},
        "Must not be refunded",
    ),
    ("collect", make_invoice, {}, "Must need review"),
    ("resolve", make_attempt, {"resolution": "declined"}, "Must need review; it is sending"),
    ("resolve", attempt_in_review, {"resolution": "charged"}, "Must be given with charged"),
    ("release", make_attempt, {}, "Must need review; it is sending"),
    ("refund", make_attempt, {}, "must have money to refund"),
    ("refund", surplus, {"amount": "19.91"}, "Must be at most 1990"),
    ("refund", lambda: make_refund().attempt, {}, "Has an open refund"),
    ("reverse", surplus, {}, "Must have a known order"),
    ("withdraw", refund_with_a_person, {}, "Must be requested"),
    ("resolve", make_refund, {"resolution": "refunded"}, "Must need review"),
    ("make-default", lambda: make_card(state="inactive", is_default=False), {}, "Must be an active card"),
    ("free", make_card, {}, "Must be on hold"),
    ("go-on-without", lambda: make_card(unread_since=NOW), {}, "its orders can be read"),
    ("settings", make_account, {"list_lag_seconds": "172801"}, "must be from 0 to 172800"),
    ("settings", make_account, {"retry_days": "3, 2"}, "Each day must be later than the one before"),
    ("settings", make_account, {"time_zone": "Mars/Olympus"}, "must be a known iana time zone"),
    (
        "charge-now",
        make_customer,
        {"amount": "10", "description": "Delivery"},
        "must be an active card of the customer",
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case[0]}-{case[3]}")
def test_engine_refusal_is_shown_on_the_form_and_changes_nothing(
    case: tuple[str, Callable[[], Any], dict[str, Any], str], boss: Client
) -> None:
    name, make, data, rule = case
    row = make()
    before = type(row).objects.values().get(pk=row.pk)
    changes = Transition.objects.count()
    address = action(row, name)
    response = boss.post(address, filled(boss, address, data))
    assert response.status_code == 422
    assert rule.lower() in message_of(response).lower().replace("&#x27;", "'")
    assert type(row).objects.values().get(pk=row.pk) == before
    assert Transition.objects.count() == changes


def test_charge_now_opens_one_invoice_when_submitted_twice(boss: Client) -> None:
    card = make_card()
    address = action(card.customer, "charge-now")
    data = {"token": token(boss, address), "reason": WHY, "amount": "12.30", "description": "Delivery"}
    first, second = boss.post(address, data), boss.post(address, data)
    assert first.status_code == second.status_code == 302
    invoice = Invoice.objects.get()
    assert (invoice.amount_minor, invoice.description, invoice.state) == (1230, "Delivery", "open")
    assert first["Location"] == url(Invoice, "change", invoice.pk)
    assert second["Location"] == url(Customer, "change", card.customer_id)
    assert "The action ran once" in message_of(boss.get(second["Location"]))
    change = last_change("invoice", invoice)
    assert (change.actor, change.reason) == ("aisyah", WHY)


def test_a_form_that_was_refused_can_be_corrected_and_sent_again(boss: Client) -> None:
    card = make_card()
    address = action(card.customer, "charge-now")
    data = {"token": token(boss, address), "reason": WHY, "amount": "12.30", "description": " "}
    refused = boss.post(address, data)
    assert refused.status_code == 422
    again = refused.context["form"]["token"].value()
    assert again != data["token"]
    assert boss.post(address, {**data, "token": again, "description": "Delivery"}).status_code == 302
    assert Invoice.objects.count() == 1


@pytest.mark.parametrize("amount", ["0", "0.09", "-5", "1.234", "abc", "NaN", "10000000.01", ""])
def test_unchargeable_amount_is_refused_at_its_field(amount: str, boss: Client) -> None:
    card = make_card()
    response = send(boss, action(card.customer, "charge-now"), {"amount": amount, "description": "Delivery"})
    assert response.status_code == 422
    assert response.context["form"].errors["amount"]
    assert not Invoice.objects.exists()


def test_charge_now_of_a_subscription_charges_its_customer(boss: Client) -> None:
    subscription = make_subscription()
    response = send(boss, action(subscription, "charge-now"), {"amount": "5.00", "description": "Extra beans"})
    invoice = Invoice.objects.get()
    assert response["Location"] == url(Invoice, "change", invoice.pk)
    assert (invoice.customer_id, invoice.subscription_id) == (subscription.customer_id, None)


def test_charge_now_takes_only_the_customers_own_cards(boss: Client) -> None:
    card, other = make_card(), make_card()
    data = {"amount": "5.00", "description": "Beans", "card": other.pk}
    assert send(boss, action(card.customer, "charge-now"), data).status_code == 422
    assert not Invoice.objects.exists()


def test_retry_now_brings_the_try_forward(boss: Client) -> None:
    invoice = make_invoice(next_attempt_at=NOW + timedelta(days=400 * 10))
    assert send(boss, action(invoice, "retry-now")).status_code == 302
    before = invoice.next_attempt_at
    invoice.refresh_from_db()
    assert invoice.next_attempt_at is not None
    assert before is not None
    assert invoice.next_attempt_at < before


def test_attempt_still_needs_review_when_its_card_is_released(boss: Client) -> None:
    attempt = attempt_in_review()
    response = send(boss, action(attempt, "release"))
    assert response.status_code == 302
    attempt.refresh_from_db()
    assert (attempt.state, attempt.released_by, attempt.released_reason) == ("needs_review", "aisyah", WHY)
    assert Transition.objects.get(to_state="released").actor == "aisyah"


def test_the_evidence_stands_beside_the_decision(boss: Client) -> None:
    attempt = attempt_in_review()
    page = message_of(boss.get(action(attempt, "resolve")))
    assert "Evidence" in page
    assert "answer" in page


def test_the_stop_switch_of_everything_is_thrown_and_taken_back(boss: Client) -> None:
    installation = the_installation()
    assert send(boss, action(installation, "stop")).status_code == 302
    assert "Everything was stopped on" in message_of(boss.get(reverse("admin:index")))
    again = send(boss, action(installation, "stop"))
    assert "already" in message_of(boss.get(again["Location"]))
    assert send(boss, action(installation, "start")).status_code == 302
    changes = Transition.objects.filter(subject_type="installation").order_by("id").values_list("to_state", "actor")
    assert list(changes) == [("stopped", "aisyah"), ("running", "aisyah")]


# --- making new rows ---------------------------------------------------------------------------------------


def add(client: Client, model: type[Model], data: dict[str, Any]) -> Any:
    address = url(model, "add")
    return client.post(address, {"token": token(client, address), **data})


def customer_form(account: GatewayAccount, **changes: Any) -> dict[str, Any]:
    return {
        "account": account.pk,
        "reference": "c-1",
        "name": "Tan Wei Ming",
        "email": "tan@example.com",
        "country_code": "60",
        "phone_number": "123456789",
        **changes,
    }


def test_a_customer_is_added_once_and_changed(boss: Client) -> None:
    account = make_account()
    response = add(boss, Customer, customer_form(account))
    customer = Customer.objects.get()
    assert response["Location"] == url(Customer, "change", customer.pk)
    refused = add(boss, Customer, customer_form(account))
    assert "another customer" in str(refused.context["form"].errors["reference"])
    address = action(customer, "edit")
    assert boss.post(address, {**filled(boss, address, {}), "email": "wei@example.com"}).status_code == 302
    customer.refresh_from_db()
    assert (customer.email, customer.name) == ("wei@example.com", "Tan Wei Ming")


def plan_form(account: GatewayAccount, **changes: Any) -> dict[str, Any]:
    return {
        "account": account.pk,
        "code": "coffee",
        "name": "Coffee club",
        "amount": "19.90",
        "interval": "MONTHLY",
        "weekday": "1",
        "month_day": "-1",
        "every": "1",
        "charge_time": "09:00",
        "trial_days": "0",
        "repetitions": "",
        "activates_on": "payment",
        **changes,
    }


def test_a_plan_is_added_and_the_same_code_makes_a_new_version(boss: Client) -> None:
    account = make_account()
    assert add(boss, Plan, plan_form(account)).status_code == 302
    assert add(boss, Plan, plan_form(account, interval="WEEKLY", weekday="0", amount="5")).status_code == 302
    found = Plan.objects.order_by("version").values_list("version", "interval", "target", "amount_minor")
    assert list(found) == [(1, "MONTHLY", -1, 1990), (2, "WEEKLY", 0, 500)]
    assert add(boss, Plan, plan_form(account, activates_on="card")).status_code == 302
    assert list(Plan.objects.order_by("version").values_list("activates_on", flat=True)) == ["payment"] * 2 + ["card"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"charge_time": "25:00"}, "charge_time"),
        ({"every": "0"}, "every"),
        ({"amount": "0.05"}, "amount"),
        ({"interval": "YEARLY"}, "interval"),
        ({"repetitions": "0"}, "repetitions"),
    ],
)
def test_invalid_plan_is_refused_at_its_field(changes: dict[str, Any], field: str, boss: Client) -> None:
    response = add(boss, Plan, plan_form(make_account(), **changes))
    assert response.status_code == 422
    assert field in response.context["form"].errors
    assert not Plan.objects.exists()


def test_a_subscription_is_started_in_the_name_of_who_did_it(boss: Client) -> None:
    card = make_card()
    plan = make_plan(card.account)
    response = add(boss, Subscription, {"customer": card.customer_id, "plan": plan.pk, "reference": "s-1"})
    subscription = Subscription.objects.get()
    assert response["Location"] == url(Subscription, "change", subscription.pk)
    assert subscription.state == "active"
    assert last_change("subscription", subscription).actor == "aisyah"
    foreign = add(boss, Subscription, {"customer": card.customer_id, "plan": make_plan().pk, "reference": "s-2"})
    assert "Must be one of this account" in str(foreign.context["form"].errors["plan"])


def test_an_api_key_is_shown_once_and_stored_as_a_hash(boss: Client) -> None:
    account = make_account()
    data = {"account": account.pk, "name": "shop", "scopes": ["read", "charge"]}
    response = add(boss, ApiKey, data)
    row = ApiKey.objects.get()
    key = response.context["done"].show[1]
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    assert key.startswith(row.prefix)
    assert key in message_of(response)
    assert row.scopes == ["charge", "read"]
    for page in (url(ApiKey, "change", row.pk), url(ApiKey, "changelist"), reverse("admin:index")):
        assert key not in message_of(boss.get(page))
    assert send(boss, action(row, "revoke")).status_code == 302
    row.refresh_from_db()
    assert row.revoked_at is not None


def open_form(**changes: Any) -> dict[str, Any]:
    return {
        "name": "Kedai Baru",
        "environment": "sandbox",
        "client_id": "client-9",
        "client_secret": "s3cret-canary",
        "private_key_pem": "-----BEGIN canary",
        "gateway_public_key": "",
        "store_id": "1",
        "time_zone": "Asia/Kuala_Lumpur",
        "oauth_url": "",
        "api_url": "",
        **changes,
    }


def test_secrets_are_never_shown_after_opening_an_account(boss: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_credentials(monkeypatch, None)
    refused = add(boss, GatewayAccount, open_form(oauth_url="https://evil.example/"))
    assert refused.status_code == 422
    assert "canary" not in message_of(refused)
    assert add(boss, GatewayAccount, open_form()).status_code == 302
    account = GatewayAccount.objects.get()
    assert decrypt(account.client_secret_encrypted) == "s3cret-canary"
    settings = action(account, "settings")
    assert "canary" not in message_of(boss.get(settings))
    assert boss.post(settings, filled(boss, settings, {"store_id": "2"})).status_code == 302
    account.refresh_from_db()
    assert (account.store_id, decrypt(account.client_secret_encrypted)) == ("2", "s3cret-canary")
    assert boss.post(settings, filled(boss, settings, {"client_secret": "new-canary"})).status_code == 302
    account.refresh_from_db()
    assert decrypt(account.client_secret_encrypted) == "new-canary"
    change = last_change("account", account)
    assert change.reason == f"client_secret changed: {WHY}"


def refuse_credentials(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    """What the gateway says of credentials: nothing against them, or this."""

    def prove(*_: Any, **__: Any) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr("billing.accounts.credentials.prove", prove)


def test_credentials_the_gateway_refuses_are_not_saved(boss: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    account = make_account()
    before = account.private_key_encrypted
    settings = action(account, "settings")
    for tick in ({}, {"may_be_unproved": "on"}):
        refuse_credentials(
            monkeypatch, DisprovedError("private_key_pem", "disproved", "must be the key of this client id")
        )
        answer = boss.post(settings, filled(boss, settings, {"private_key_pem": "-----BEGIN canary", **tick}))
        assert answer.status_code == 422
        assert "Must be the key of this client id" in message_of(answer)
        assert "canary" not in message_of(answer)
    account.refresh_from_db()
    assert (account.private_key_encrypted, account.stopped_at) == (before, None)


def test_unproved_credentials_need_a_tick_and_stop_the_account(boss: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    account = make_account()
    settings = action(account, "settings")
    refuse_credentials(monkeypatch, NotProvedError("no connection"))
    answer = boss.post(settings, filled(boss, settings, {"client_secret": "new-canary"}))
    assert answer.status_code == 422
    assert "save them unchecked" in message_of(answer)
    ticked = {"client_secret": "new-canary", "may_be_unproved": "on"}
    assert boss.post(settings, filled(boss, settings, ticked)).status_code == 302
    account.refresh_from_db()
    assert account.stopped_at is not None
    assert "unchecked" in last_change("account", account).reason
    page = message_of(boss.get(url(GatewayAccount, "change", account.pk)))
    assert "Check credentials" in page
    assert "Charge again" not in page
    assert send(boss, action(account, "start")).status_code == 422
    assert send(boss, action(account, "prove")).status_code == 422
    refuse_credentials(monkeypatch, None)
    assert send(boss, action(account, "prove")).status_code == 302
    assert send(boss, action(account, "start")).status_code == 302
    account.refresh_from_db()
    assert (account.stopped_at, account.credentials_unproved_at) == (None, None)  # type: ignore[comparison-overlap]


def test_the_forms_of_the_world_open(boss: Client, world: World) -> None:
    for model, row in world.rows.items():
        noun = admin.site._registry[model]
        assert isinstance(noun, RecordAdmin)
        for one in noun.person_actions:
            assert boss.get(action(row, one.name)).status_code == 200, one.name


# --- with a gateway ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_binding_is_started_and_checked_from_here(shop: Shop, boss: Client) -> None:
    customer = shop.customer()
    response = send(boss, action(customer, "bind-card"))
    card = PaymentMethod.objects.get()
    assert response.context["done"].show == ("Link to the card page", card.payment_url)
    assert card.payment_url in message_of(response)
    assert last_change("card", card).actor == "aisyah"
    early = send(boss, action(card, "check"))
    assert "has not saved the card" in message_of(boss.get(early["Location"]))
    shop.simulator.bind(card.payment_url, card="4111111111111111")
    assert send(boss, action(card, "check")).status_code == 302
    card.refresh_from_db()
    assert card.state == "active"


def test_nothing_is_kept_when_the_gateway_does_not_answer(boss: Client) -> None:
    customer = make_customer()  # of an account that speaks to a closed port
    response = send(boss, action(customer, "bind-card"))
    assert response.status_code == 422
    assert "The gateway did not answer" in message_of(response)
    assert not PaymentMethod.objects.exists()
    assert IdempotencyRecord.objects.count() == 1  # the token is used up, and a new one is on the page


@pytest.mark.django_db(transaction=True)
def test_staff_decide_about_a_decline_code(boss: Client) -> None:
    account = make_account()
    card = make_card(make_customer(account))
    attempt = make_attempt(make_invoice(card), armed_at=database_now())
    finding = Finding(Verdict.DECLINED, Source.ANSWER, reason="9010")
    settle([AttemptFinding(attempt.marker, finding)], tuning=SHORT, now=database_now())
    rested = boss.get(url(PaymentMethod, "change", card.pk)).content.decode()
    assert "It is not charged automatically before" in rested
    data = {"account": account.pk, "code": "9010", "kind": "hard", "reason": "the bank says so"}
    response = add(boss, DeclineRuling, data)
    row = DeclineRuling.objects.get()
    assert response["Location"] == url(DeclineRuling, "change", row.pk)
    page = boss.get(url(DeclineRuling, "change", row.pk)).content.decode()
    assert "the bank says so" in page
    assert "Declines of 180 days, by code" in page
    frozen = boss.get(url(PaymentMethod, "change", card.pk)).content.decode()
    assert "Declined for good" in frozen
    assert send(boss, action(row, "change"), {"kind": "soft", "reason": "it was wrong"}).status_code == 302
    card.refresh_from_db()
    assert card.frozen_at is None
