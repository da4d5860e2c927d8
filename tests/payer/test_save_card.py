"""Saving another card from the customer page: on the gateway's page, and back."""

from typing import Any

import pytest
from django.test import Client

from billing.models import Customer, Invoice, PaymentMethod
from billing.models.clock import database_now
from billing.subscriptions.cards import confirm_binding
from billing.subscriptions.payment_links import CAME_FROM, end_links
from tests.conftest import Shop
from tests.factories import make_customer, make_invoice, make_plan, make_subscription
from tests.payer.parts import forms, note_of, page, press

pytestmark = pytest.mark.django_db


def button(client: Client, customer: Customer) -> Any:
    found = forms(page(client, customer))
    return press(client, customer, found.get("Use another card") or found["Save a card"])


def test_a_gateway_that_is_away_changes_nothing(client: Client) -> None:
    customer = make_customer()
    response = button(client, customer)
    assert note_of(response) == "bank_away"
    assert "We could not reach the bank just now." in client.get(response["Location"]).content.decode()
    assert not PaymentMethod.objects.exists()
    assert not client.cookies


@pytest.mark.django_db(transaction=True)
def test_the_saved_card_takes_over_and_pays(shop: Shop, client: Client) -> None:
    old = shop.card()
    plan = make_plan(shop.account)
    pinned = make_subscription(old, plan, payment_method=old)
    ended = make_subscription(old, plan, payment_method=old, state="canceled", next_due_at=None)
    one_off = make_invoice(old)
    paid = make_invoice(old, state="paid", closed_at=database_now(), next_attempt_at=None)

    responses = [button(client, old.customer) for _ in range(2)]
    assert {response.status_code for response in responses} == {303}
    card = PaymentMethod.objects.exclude(pk=old.pk).get()
    assert {response["Location"] for response in responses} == {card.payment_url}
    assert {response["Referrer-Policy"] for response in responses} == {"no-referrer"}
    assert card.takes_over

    shop.simulator.bind(card.payment_url, card="4111111111111111")
    assert confirm_binding(card=card, now=database_now())
    for row in (old, card, pinned, ended, one_off, paid):
        row.refresh_from_db()
    assert (old.is_default, card.is_default, card.state) == (False, True, "active")
    assert (pinned.payment_method, ended.payment_method) == (None, old)
    assert (one_off.payment_method, paid.payment_method) == (None, old)
    shop.collect()
    assert Invoice.objects.get(pk=one_off.pk).state == "paid"


@pytest.mark.django_db(transaction=True)
def test_a_card_that_comes_back_takes_nothing_over(shop: Shop, client: Client) -> None:
    old = shop.card()
    button(client, old.customer)
    card = PaymentMethod.objects.exclude(pk=old.pk).get()
    shop.simulator.bind(card.payment_url, card="4111111111111111")
    confirm_binding(card=card, now=database_now())
    PaymentMethod.objects.filter(pk=card.pk).update(state="inactive", is_default=False)
    PaymentMethod.objects.filter(pk=old.pk).update(is_default=True)
    card.refresh_from_db()
    confirm_binding(card=card, now=database_now())
    old.refresh_from_db()
    assert old.is_default


@pytest.mark.django_db(transaction=True)
def test_the_browser_comes_back_to_the_page(shop: Shop, client: Client) -> None:
    customer = make_customer(shop.account)
    button(client, customer)
    cookie = client.cookies[CAME_FROM]
    assert (cookie["path"], cookie["httponly"], cookie["samesite"]) == ("/bind/", True, "Lax")
    card = PaymentMethod.objects.get()
    assert not card.merchant_return_url
    back = f"/bind/{card.return_token}/"
    response = client.get(back)
    assert response["Location"].endswith("/?note=card_pending")
    shop.simulator.bind(card.payment_url, card="4111111111111111")
    response = client.get(back)
    assert (response.status_code, response["Referrer-Policy"]) == (303, "no-referrer")
    assert response["Location"].endswith("/?note=card_active")
    assert "Your card is saved." in client.get(response["Location"]).content.decode()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("other", ["no cookie", "another customer", "an ended link"])
def test_other_browsers_see_the_page_of_the_card(other: str, shop: Shop, client: Client) -> None:
    customer = make_customer(shop.account)
    button(client, customer)
    card = PaymentMethod.objects.get()
    match other:
        case "no cookie":
            client.cookies.clear()
        case "another customer":
            button(client, make_customer(shop.account))
        case _:
            end_links(customer=customer, reason="x", actor="mei", now=database_now())
    response = client.get(f"/bind/{card.return_token}/")
    assert response.status_code == 200
    assert "Your card was not saved" in response.content.decode()
