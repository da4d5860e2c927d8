"""The link in a message: signed, worthless after a month, and harmless until the button is pressed."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from billing.mailing.links import VALID, card_link
from billing.models import Customer, PaymentMethod
from billing.models.clock import database_now
from billing.subscriptions.cards import confirm_binding
from tests.conftest import Shop
from tests.factories import make_card, make_customer, make_invoice, make_mail, make_plan, make_subscription

pytestmark = pytest.mark.django_db


def path_of(customer: Customer) -> str:
    return card_link(customer).removeprefix("http://127.0.0.1:8000")


def test_link_names_the_customer_by_the_public_id_alone() -> None:
    customer = make_customer(phone_number="198765432", reference="secret-reference")
    link = card_link(customer)
    assert customer.public_id in link
    for word in (customer.email, customer.name, customer.phone_number, customer.reference):
        assert word not in link


@pytest.mark.parametrize("language", ["en", "ms"])
def test_opening_the_link_does_nothing(language: str, client: Client, django_assert_num_queries: Any) -> None:
    customer = make_customer(language=language)
    make_mail(customer.account)
    for method in (client.get, client.head):
        response = method(path_of(customer))
        assert response.status_code == 200
    response = client.get(path_of(customer))
    page = response.content.decode()
    assert f"<h1>{'Simpan kad' if language == 'ms' else 'Save a card'}</h1>" in page
    assert '<p class="merchant">Kedai Kopi</p>' in page
    assert "background: #0f766e" in page
    assert response["Referrer-Policy"] == "no-referrer"
    assert "form-action 'self' https:" in response["Content-Security-Policy"]
    assert not PaymentMethod.objects.exists()


@pytest.mark.parametrize(("state", "title"), [("active", "Save another card"), ("inactive", "Save a card")])
def test_the_title_says_whether_it_is_another_card(client: Client, state: str, title: str) -> None:
    customer = make_card(state=state, is_default=False).customer
    make_mail(customer.account)
    assert f"<h1>{title}</h1>" in client.get(path_of(customer)).content.decode()


@pytest.mark.parametrize(
    ("columns", "trial_days", "at_once"),
    [
        ({"state": "incomplete", "charge_at_start": True}, 0, True),
        ({"state": "incomplete", "charge_at_start": True}, 14, False),
        ({"state": "incomplete", "charge_at_start": False}, 0, False),
        ({"state": "active", "charge_at_start": True}, 0, False),
    ],
)
def test_the_page_says_when_the_card_is_charged_at_once(
    client: Client, columns: dict[str, Any], trial_days: int, at_once: bool
) -> None:
    card = make_card()
    make_mail(card.account)
    due = {} if columns["state"] == "active" else {"next_due_at": None}
    make_subscription(card, make_plan(card.account, trial_days=trial_days), **columns, **due)
    page = client.get(path_of(card.customer)).content.decode()
    assert ("is charged to it at once" in page) is at_once
    assert ("Nothing is charged when you save it" in page) is not at_once


@pytest.mark.parametrize("change", ["x", "cus_", ""])
def test_a_forged_link_leads_nowhere(change: str, client: Client) -> None:
    customer = make_customer()
    signed = path_of(customer).split("/")[2]
    forged = change + signed[len(change) :] if change else signed[:-1] + ("A" if signed[-1] != "A" else "B")
    forged = forged if forged != signed else f"{signed}A"
    for method in (client.get, client.post):
        response = method(f"/card/{forged}/")
        assert response.status_code == 404
        assert "expired" in response.content.decode()
    assert not PaymentMethod.objects.exists()


def test_an_old_link_leads_nowhere(client: Client, monkeypatch: Any) -> None:
    customer = make_customer()
    path = path_of(customer)
    monkeypatch.setattr("billing.mailing.links.VALID", VALID - VALID - timedelta(seconds=1))
    assert client.post(path).status_code == 404
    assert not PaymentMethod.objects.exists()


def test_the_button_needs_the_token_of_its_page() -> None:
    customer = make_customer()
    assert Client(enforce_csrf_checks=True).post(path_of(customer)).status_code == 403
    assert not PaymentMethod.objects.exists()


def test_a_gateway_that_is_away_changes_nothing(client: Client) -> None:
    customer = make_customer()
    response = client.post(path_of(customer))
    assert response.status_code == 200
    assert "could not reach the bank" in response.content.decode()
    assert not PaymentMethod.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_saved_card_takes_over(shop: Shop, client: Client) -> None:
    old = shop.card()
    plan = make_plan(shop.account)
    pinned = make_subscription(old, plan, payment_method=old)
    ended = make_subscription(old, plan, payment_method=old, state="canceled", next_due_at=None)
    one_off = make_invoice(old)
    paid = make_invoice(old, state="paid", closed_at=database_now(), next_attempt_at=None)

    responses = [client.post(path_of(old.customer)) for _ in range(2)]
    assert {response.status_code for response in responses} == {303}
    card = PaymentMethod.objects.exclude(pk=old.pk).get()
    assert {response["Location"] for response in responses} == {card.payment_url}
    assert card.takes_over

    shop.simulator.bind(card.payment_url, card="4111111111111111")
    assert confirm_binding(card=card, now=database_now())
    for row in (old, card, pinned, ended, one_off, paid):
        row.refresh_from_db()
    assert (old.is_default, card.is_default, card.state) == (False, True, "active")
    assert (pinned.payment_method, ended.payment_method) == (None, old)
    assert (one_off.payment_method, paid.payment_method) == (None, old)


@pytest.mark.django_db(transaction=True)
def test_a_card_that_comes_back_takes_nothing_over(shop: Shop, client: Client) -> None:
    old = shop.card()
    client.post(path_of(old.customer))
    card = PaymentMethod.objects.exclude(pk=old.pk).get()
    shop.simulator.bind(card.payment_url, card="4111111111111111")
    confirm_binding(card=card, now=database_now())
    PaymentMethod.objects.filter(pk=card.pk).update(state="inactive", is_default=False)
    PaymentMethod.objects.filter(pk=old.pk).update(is_default=True)
    card.refresh_from_db()
    confirm_binding(card=card, now=database_now())
    old.refresh_from_db()
    assert old.is_default
