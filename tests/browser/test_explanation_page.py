"""The explanation on an invoice's page: the answer at once, the whole story behind one click."""

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Browser, expect

from billing.domain.attempts import Source
from tests.audit.books import Books
from tests.browser.conftest import Watch, log_in, open_page, scrolls_sideways

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.django_db(transaction=True),
]


@pytest.mark.parametrize("width", [1280, 390])
def test_overpayment_is_explained_on_the_invoice_page(
    browser: Browser, site: str, people: User, watch: Watch, width: int
) -> None:
    books = Books()
    first = books.decline(books.armed())
    books.wait(days=3)
    (second,) = books.arm()
    books.wait(seconds=31)
    books.pay(second)
    books.wait(days=1)
    books.pay(first, Source.ORDER_LIST)
    page = open_page(browser, site, watch, width=width)
    log_in(page)
    page.goto(reverse("admin:billing_invoice_change", args=[first.invoice_id]))
    told = page.locator("#explanation")
    expect(told).to_contain_text("The card was charged RM 19.90 twice for period 1 of Coffee club.")
    expect(told.get_by_text("it is an overpayment, to be refunded")).to_be_hidden()
    told.get_by_text("Full history").click()
    expect(told.get_by_text("it is an overpayment, to be refunded")).to_be_visible()
    assert not scrolls_sideways(page)
