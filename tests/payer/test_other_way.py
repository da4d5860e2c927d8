"""Paying another way, on the gateway's page, and back: the card is left alone meanwhile, and the money is kept once."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from billing.charging.cases.pay_now import page_to_pay_on
from billing.charging.cases.retry_now import RetryError
from billing.models import Checkout, GatewayAccount, Invoice, PaymentAttempt, PaymentMethod
from billing.models.clock import database_now
from billing.subscriptions.payment_links import CAME_FROM, end_links
from tests.conftest import Shop
from tests.factories import NOW, make_attempt, make_card, make_checkout, make_invoice, move_checkout
from tests.payer.parts import forms, note_of, page, path_of, press

pytestmark = pytest.mark.django_db
OTHER, PAY = "Pay another way", "Pay RM 19.90 now"


def waiting(card: PaymentMethod | None = None, **columns: Any) -> Invoice:
    return make_invoice(card, **{"next_attempt_at": database_now() + timedelta(days=7), **columns})


def test_it_is_offered_beside_the_card_and_where_the_card_cannot_pay(client: Client) -> None:
    good, without = waiting(), waiting(make_card(state="inactive", is_default=False))
    assert {OTHER, PAY} <= set(forms(page(client, good.customer)))
    found = set(forms(page(client, without.customer)))
    assert OTHER in found
    assert PAY not in found


@pytest.mark.parametrize("columns", [{"hold": "reversed", "next_attempt_at": None}, {"next_attempt_at": NOW}])
def test_it_is_not_offered_while_something_else_comes_first(columns: dict[str, Any], client: Client) -> None:
    invoice = waiting(**columns)
    assert OTHER not in forms(page(client, invoice.customer))
    with pytest.raises(RetryError):
        page_to_pay_on(invoice=invoice, now=database_now())
    assert not Checkout.objects.exists()


@pytest.mark.parametrize("columns", [{"state": "paid"}, {"state": "uncollectible", "state_reason": "written_off"}])
def test_what_is_not_asked_for_has_no_page(columns: dict[str, Any]) -> None:
    invoice = waiting(closed_at=NOW, **{**columns, "next_attempt_at": None})
    with pytest.raises(RetryError, match="not owed"):
        page_to_pay_on(invoice=invoice, now=database_now())


def test_while_a_page_is_open_the_card_is_not_offered(client: Client) -> None:
    invoice = waiting()
    now = database_now()
    ends = {"expires_at": now + timedelta(minutes=10), "excludes_until": now + timedelta(hours=24)}
    move_checkout(make_checkout(invoice, created_at=now, **ends), "open")
    text = page(client, invoice.customer)
    assert "You opened a page to pay this. Your card is not charged meanwhile." in text
    assert 'http-equiv="refresh"' in text
    assert "Continue the payment" in forms(text)
    assert PAY not in forms(text)


def test_a_gateway_that_is_away_changes_nothing(client: Client) -> None:
    invoice = waiting()
    assert note_of(press(client, invoice.customer, forms(page(client, invoice.customer))[OTHER])) == "bank_away"
    assert not client.cookies


def test_what_cannot_be_paid_any_more_is_said(client: Client) -> None:
    invoice = waiting()
    form = forms(page(client, invoice.customer))[OTHER]
    make_attempt(invoice)
    assert note_of(press(client, invoice.customer, form)) == "not_possible"
    GatewayAccount.objects.update(stopped_at=NOW, stopped_reason="x")
    assert note_of(press(client, invoice.customer, form)) == "not_possible"
    assert not Checkout.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_payer_pays_there_and_comes_back(shop: Shop, client: Client) -> None:
    invoice = waiting(shop.card())
    form = forms(page(client, invoice.customer))[OTHER]
    answers = [press(client, invoice.customer, form) for _ in range(2)]
    checkout = Checkout.objects.get()
    assert {answer["Location"] for answer in answers} == {checkout.url}
    assert {answer["Referrer-Policy"] for answer in answers} == {"no-referrer"}
    assert checkout.requested_by == "payer"
    assert path_of(invoice.customer).split("/")[2] not in f"{checkout.url} {checkout.return_url} {checkout.description}"
    cookie = client.cookies[CAME_FROM]
    assert (cookie["path"], cookie["httponly"], cookie["samesite"]) == ("/checkout/", True, "Lax")
    shop.collect()
    assert not PaymentAttempt.objects.exists()

    shop.simulator.pay_checkout(checkout.order_id, method="FPX")
    back = client.get(f"/checkout/{checkout.public_id}/")
    assert (back.status_code, back["Referrer-Policy"]) == (303, "no-referrer")
    assert note_of(back) == "page_paid"
    text = client.get(back["Location"]).content.decode()
    assert "Thank you. We have received your payment." in text
    assert "You owe nothing." in text
    receipt = client.get(f"{path_of(invoice.customer)}receipts/{invoice.public_id}/").content.decode()
    assert "Online payment" in receipt
    assert PaymentAttempt.objects.filter(state="succeeded").count() == 1
    assert note_of(press(client, invoice.customer, form)) == "not_possible"


@pytest.mark.django_db(transaction=True)
def test_who_comes_back_without_a_good_link_sees_the_page_of_the_payment(shop: Shop, client: Client) -> None:
    invoice = waiting(shop.card())
    press(client, invoice.customer, forms(page(client, invoice.customer))[OTHER])
    address = f"/checkout/{Checkout.objects.get().public_id}/"
    assert note_of(client.get(address)) == "page_open"
    end_links(customer=invoice.customer, reason="x", actor="mei", now=database_now())
    for browser in (client, Client()):
        assert browser.get(address).status_code == 200
