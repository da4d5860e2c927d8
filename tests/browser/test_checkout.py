"""A payment page from the button in the admin to the payer's thank-you, on a phone and in both languages."""

import os
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Browser, expect

from billing.models import Checkout, Customer, Invoice
from billing.models.clock import database_now
from tests.browser.conftest import Watch, log_in, open_page, scrolls_sideways
from tests.conftest import Shop
from tests.factories import make_invoice

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.django_db(transaction=True),
]


@pytest.mark.parametrize(("language", "thanks"), [("en", "Thank you"), ("ms", "Terima kasih")])
def test_customer_pays_by_the_link_that_staff_sent(
    browser: Browser, site: str, people: User, watch: Watch, shop: Shop, settings: Any, language: str, thanks: str
) -> None:
    settings.KITARAN_PUBLIC_URL = site
    shop.simulator.set(order_query_limit=0)
    invoice = make_invoice(shop.card(), next_attempt_at=database_now())
    Customer.objects.update(language=language)
    staff = open_page(browser, site, watch, width=1280)
    log_in(staff)
    staff.goto(f"{reverse('admin:billing_invoice_change', args=[invoice.pk])}payment-page/")
    expect(staff.get_by_text("by FPX, DuitNow, a wallet or a card with 3D Secure")).to_be_visible()
    shot(staff, f"admin-form-{language}")
    staff.get_by_role("button", name="Get the link").click()
    expect(staff.get_by_text("Link to the payment page")).to_be_visible()
    shot(staff, f"admin-link-{language}")
    url = Checkout.objects.get().url

    payer = open_page(browser, site, watch, width=360)
    payer.goto(url)
    payer.get_by_label("Touch n Go eWallet").check()
    payer.get_by_role("button", name="Pay now").click()
    expect(payer.get_by_role("heading", name=thanks)).to_be_visible()
    assert not scrolls_sideways(payer)
    shot(payer, f"payer-paid-{language}")
    assert Invoice.objects.get().state == "paid"
    staff.goto(reverse("admin:billing_invoice_change", args=[invoice.pk]))
    expect(staff.locator("#explanation")).to_contain_text("was paid on a payment page")
    shot(staff, f"admin-paid-{language}")


def shot(page: Any, name: str) -> None:
    """A picture for whoever wants to look: SHOTS names the folder."""
    if folder := os.environ.get("SHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
