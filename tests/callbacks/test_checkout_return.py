"""The browser that comes back from a payment page: it is told what the gateway says, and its query decides nothing."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from billing.callbacks.hints import Hint, check_sooner
from billing.charging.checkouts.open import open_checkout
from billing.models import Checkout, Customer, Invoice
from billing.models.clock import database_now
from tests.conftest import Shop
from tests.factories import NOW, make_checkout, make_invoice, move_checkout

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _prompt(simulator: Any) -> None:
    simulator.set(order_query_limit=0)


def opened(shop: Shop, return_url: str = "") -> Checkout:
    invoice = make_invoice(shop.card(), next_attempt_at=database_now())
    return open_checkout(invoice=invoice, actor="siti", now=database_now(), return_url=return_url)


def come_back(client: Client, checkout: Checkout, query: str = "status=SUCCESS") -> Any:
    return client.get(f"/checkout/{checkout.public_id}/?{query}&orderId={checkout.order_id}")


@pytest.mark.parametrize(("language", "title"), [("en", "Thank you"), ("ms", "Terima kasih")])
def test_paid_page_says_thank_you(shop: Shop, client: Client, language: str, title: str) -> None:
    checkout = opened(shop)
    Customer.objects.update(language=language)
    shop.simulator.use_checkout(checkout.url)
    response = come_back(client, checkout)
    page = response.content.decode()
    assert response.status_code == 200
    assert f"<h1>{title}</h1>" in page
    assert "RM 19.90" in page
    assert "Aminah" not in page
    assert "aminah" not in page
    assert response["Referrer-Policy"] == "no-referrer"
    assert Invoice.objects.get().state == "paid"


def test_claim_of_success_is_not_believed(shop: Shop, client: Client) -> None:
    checkout = opened(shop)
    page = come_back(client, checkout).content.decode()
    assert "<h1>We are checking your payment</h1>" in page
    assert checkout.url.replace("&", "&amp;") in page
    assert Invoice.objects.get().state == "open"


def test_claim_that_it_was_cancelled_is_not_believed_where_it_was_paid(shop: Shop, client: Client) -> None:
    checkout = opened(shop)
    shop.simulator.use_checkout(checkout.url)
    come_back(client, checkout, "status=CANCELLED")
    assert Invoice.objects.get().state == "paid"


def test_cancelled_page_says_that_nothing_was_paid(shop: Shop, client: Client) -> None:
    checkout = opened(shop)
    shop.simulator.use_checkout(checkout.url, action="cancel")
    page = come_back(client, checkout, "status=CANCELLED").content.decode()
    assert "<h1>Nothing was paid</h1>" in page
    assert "<a " not in page


def test_browser_is_led_on_to_the_merchant(shop: Shop, client: Client) -> None:
    checkout = opened(shop, "https://shop.example/done?a=1&status=mine")
    shop.simulator.use_checkout(checkout.url)
    response = come_back(client, checkout)
    assert response.status_code == 303
    assert response["Location"] == f"https://shop.example/done?a=1&checkout={checkout.public_id}&status=paid"


def test_gateway_is_asked_once_in_ten_seconds(shop: Shop, client: Client) -> None:
    checkout = opened(shop)
    route = "GET /v3/payment/transaction/order/{id}"
    before = shop.simulator.requests()["since_start"].get(route, 0)
    for _ in range(4):
        come_back(client, checkout)
    assert shop.simulator.requests()["since_start"][route] == before + 1


def test_unknown_page_is_not_found(client: Client) -> None:
    assert client.get("/checkout/chk_01kjp0y9m0y2jj46jmn8x5pp1w/").status_code == 404
    assert client.get("/checkout/a%00b/").status_code == 404


@pytest.mark.parametrize("state", ["open", "closed", "paid"])
def test_notify_brings_the_look_forward_and_nothing_else(state: str) -> None:
    checkout = make_checkout()
    if state != "paid":
        move_checkout(checkout, state, next_check_at=NOW + timedelta(hours=1))
    else:
        Checkout.objects.update(next_check_at=NOW + timedelta(hours=1))
    hint = Hint(gateway_customer_id=None, gateway_order_id=None, our_order_id=checkout.order_id)
    before = Checkout.objects.values().get()
    assert check_sooner(hint=hint, now=NOW) == 1
    assert Checkout.objects.values().get() == before | {"next_check_at": NOW}
    assert check_sooner(hint=hint, now=NOW) == 0


def test_hints_make_one_look_in_half_a_minute() -> None:
    checkout = make_checkout(next_check_at=NOW + timedelta(hours=1), looked_at=NOW - timedelta(seconds=10))
    hint = Hint(gateway_customer_id=None, gateway_order_id=None, our_order_id=checkout.order_id)
    check_sooner(hint=hint, now=NOW)
    assert Checkout.objects.get().next_check_at == NOW + timedelta(seconds=20)


def test_published_notify_of_a_payment_brings_its_look_forward(shop: Shop, client: Client) -> None:
    checkout = opened(shop)
    body = {"eventType": "PAYMENT_WEB_ONLINE", "data": {"order": {"id": checkout.order_id}, "status": "SUCCESS"}}
    response = client.post("/callbacks/rm/notify/", body, content_type="application/json")
    assert response.status_code == 200
    row = Checkout.objects.get()
    assert row.next_check_at is not None
    assert row.next_check_at <= database_now()
    assert Invoice.objects.get().state == "open"
