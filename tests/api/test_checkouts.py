"""Payment pages over the API."""

import pytest

from billing.api.access import rows_of
from billing.charging.checkouts.look import look_now
from billing.models import Checkout, Invoice, PaymentAttempt
from billing.models.clock import database_now
from tests.api.calls import api_for, problem
from tests.api.conftest import Merchant
from tests.conftest import Shop
from tests.factories import make_attempt, make_checkout, make_invoice, move_attempt, move_checkout

pytestmark = pytest.mark.django_db(transaction=True)


def test_page_is_opened_paid_and_read(shop: Shop) -> None:
    shop.simulator.set(order_query_limit=0)
    api = api_for(shop.account)
    invoice = make_invoice(shop.card(), next_attempt_at=database_now())
    path = f"/invoices/{invoice.public_id}/checkout/"
    made = api.post(path, {"return_url": "https://shop.example/done"})
    assert made.status_code == 201
    body = made.json()
    assert (body["state"], body["invoice"], body["amount_minor"]) == ("open", invoice.public_id, 1990)
    assert body["url"].startswith("http")
    assert api.post(path, {}).json()["id"] == body["id"], "the same page while it can be used"
    shop.simulator.use_checkout(body["url"])
    api.get(f"/checkouts/{body['id']}/")
    assert Invoice.objects.get().state == "open", "reading asks nobody"
    shop.simulator.set(timestamp_window=0)

    look_now(Checkout.objects.get(), tuning=shop.tuning, now=database_now())
    read = api.get(f"/checkouts/{body['id']}/").json()
    attempt = PaymentAttempt.objects.get()
    assert (read["state"], read["url"], read["attempts"]) == ("paid", None, [attempt.public_id])
    shown = api.get(f"/attempts/{attempt.public_id}/").json()
    assert (shown["payment_method"], shown["checkout"], shown["state"]) == (None, body["id"], "succeeded")


def test_page_of_what_is_not_owed_is_refused(shop: Shop) -> None:
    api = api_for(shop.account)
    invoice = make_invoice(shop.card())
    move_attempt(make_attempt(invoice), "unknown")
    answer = api.post(f"/invoices/{invoice.public_id}/checkout/", {})
    assert problem(answer)[:2] == (409, "state_conflict")
    assert "may have taken the money" in answer.json()["detail"]


def test_gateway_that_makes_no_page_is_a_502(shop: Shop) -> None:
    shop.simulator.set(checkout_outcome="system_error_before")
    invoice = make_invoice(shop.card())
    answer = api_for(shop.account).post(f"/invoices/{invoice.public_id}/checkout/", {})
    assert problem(answer)[:2] == (502, "gateway_unavailable")


def test_pages_of_another_account_are_out_of_reach(merchant: Merchant, stranger: Merchant) -> None:
    for path in (f"/checkouts/{stranger.checkout.public_id}/", f"/invoices/{stranger.invoice.public_id}/checkout/"):
        call = merchant.api.get if "checkouts" in path else merchant.api.post
        assert problem(call(path))[:2] == (404, "not_found")
    assert list(rows_of(merchant.account, Checkout)) == [merchant.checkout]


def test_address_of_a_page_is_shown_while_it_is_open(merchant: Merchant) -> None:
    page = make_checkout(make_invoice(merchant.card))
    move_checkout(page, "open")
    path = f"/checkouts/{page.public_id}/"
    assert merchant.api.get(path).json()["url"] == "http://127.0.0.1:1/v4/checkout?checkoutId=1"
    move_checkout(page, "closed")
    assert merchant.api.get(path).json()["url"] is None
