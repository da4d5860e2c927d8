"""Staff hand out a payment page, and see what became of it."""

import pytest
from django.test import Client

from billing.charging.checkouts.look import look_now
from billing.models import Checkout, Invoice
from billing.models.clock import database_now
from tests.admin.test_actions import action, send, token
from tests.admin.test_pages import text, url
from tests.conftest import Shop
from tests.factories import make_attempt, make_invoice, move_attempt

pytestmark = pytest.mark.django_db(transaction=True)


def owed(shop: Shop) -> Invoice:
    shop.simulator.set(order_query_limit=0)
    return make_invoice(shop.card(), next_attempt_at=database_now())


def test_person_gets_the_link(boss: Client, shop: Shop) -> None:
    invoice = owed(shop)
    address = action(invoice, "payment-page")
    shown = text(boss.get(address))
    assert "by FPX, DuitNow, a wallet or a card with 3D Secure" in shown
    assert "RM 19.90" in shown
    boss.post(address, {"token": token(boss, address)})
    checkout = Checkout.objects.get()
    assert checkout.requested_by == "aisyah"
    page = text(boss.get(url(Invoice, "change", invoice.pk)))
    assert checkout.url.replace("&", "&amp;") in page
    assert "asked" not in page.lower()
    assert "The payment page was handed out until" in page


def test_paid_page_is_explained_on_the_invoice(boss: Client, shop: Shop) -> None:
    invoice = owed(shop)
    boss.post(action(invoice, "payment-page"), {"token": token(boss, action(invoice, "payment-page"))})
    checkout = Checkout.objects.get()
    shop.simulator.use_checkout(checkout.url)
    look_now(checkout, tuning=shop.tuning, now=database_now())
    page = text(boss.get(url(Invoice, "change", invoice.pk)))
    assert "RM 19.90 was paid on a payment page" in page
    assert "payment page" in page
    shown = text(boss.get(url(Checkout, "change", checkout.pk)))
    assert "paid" in shown


def test_page_is_checked_now(boss: Client, shop: Shop) -> None:
    invoice = owed(shop)
    boss.post(action(invoice, "payment-page"), {"token": token(boss, action(invoice, "payment-page"))})
    checkout = Checkout.objects.get()
    shop.simulator.use_checkout(checkout.url, action="cancel")
    send(boss, action(checkout, "check"))
    assert Checkout.objects.get().state == "closed"


def test_no_page_is_offered_while_a_charge_is_open(boss: Client) -> None:
    invoice = make_invoice()
    move_attempt(make_attempt(invoice), "unknown")
    assert "payment-page/" not in text(boss.get(url(Invoice, "change", invoice.pk)))
