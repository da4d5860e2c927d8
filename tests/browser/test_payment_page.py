"""The payment page in a phone's browser, in both languages, without JavaScript."""

from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from billing.models import Customer, Invoice
from billing.models.clock import database_now
from billing.subscriptions.payment_links import payment_link
from tests.browser.conftest import WAIT_MILLISECONDS, Watch, scrolls_sideways
from tests.conftest import Shop
from tests.factories import (
    make_attempt,
    make_card,
    make_customer,
    make_invoice,
    make_mail,
    make_plan,
    make_subscription,
    move_attempt,
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.django_db(transaction=True),
]
WIDTH = 360


def open_phone(browser: Browser, watch: Watch, *, dark: bool = False) -> Page:
    """A page of a small phone whose owner has switched JavaScript off."""
    context = browser.new_context(
        viewport={"width": WIDTH, "height": 740},
        java_script_enabled=False,
        color_scheme="dark" if dark else "light",
        device_scale_factor=2,
    )
    context.set_default_timeout(WAIT_MILLISECONDS)
    page = context.new_page()
    watch.over(page)
    return page


def link(customer: Customer) -> str:
    return payment_link(customer, now=database_now()).url


def a_customer_with_everything(account: Any, language: str) -> Customer:
    """One declined invoice, one that is being checked, a subscription, and two that are paid, one of them refunded."""
    now = database_now()
    customer = make_customer(account, language=language)
    card = make_card(customer)
    for number in range(2):
        paid = make_invoice(card, description="Coffee club", due_at=now - timedelta(days=30 + 30 * number))
        move_attempt(make_attempt(paid, card), "succeeded", settled_at=now)
        refunded = {"amount_refunded_minor": 500} if number else {}
        Invoice.objects.filter(pk=paid.pk).update(state="paid", closed_at=now, next_attempt_at=None, **refunded)
    club = make_subscription(
        card, make_plan(account, interval="MONTHLY", target=2), next_due_at=now + timedelta(days=9)
    )
    owed = make_invoice(card, subscription=club, due_at=now - timedelta(days=2), tries=1, first_tried_at=now)
    move_attempt(make_attempt(owed, card, armed_at=now), "declined", state_reason="51", settled_at=now)
    Invoice.objects.filter(pk=owed.pk).update(next_attempt_at=now + timedelta(days=3))
    other = make_card(customer, is_default=False, label="522222******2222")
    unclear = make_invoice(other, description="Coffee grinder, delivery and set-up at the office", amount_minor=123450)
    move_attempt(make_attempt(unclear, other, armed_at=now), "unknown")
    return customer


@pytest.fixture
def picture(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("pictures", numbered=True)
    return lambda page, name: page.screenshot(path=str(folder / f"{name}.png"), full_page=True)


@pytest.mark.parametrize(
    ("language", "pay", "title"), [("en", "Pay", "Your payments"), ("ms", "Bayar", "Bayaran anda")]
)
def test_page_fits_a_phone(
    browser: Browser, site: str, watch: Watch, shop: Shop, picture: Any, language: str, pay: str, title: str
) -> None:
    make_mail(shop.account)
    customer = a_customer_with_everything(shop.account, language)
    page = open_phone(browser, watch, dark=language == "ms")
    page.goto(link(customer))
    picture(page, f"page-{language}")
    expect(page.get_by_role("heading", name=title)).to_be_visible()
    expect(page.get_by_role("button", name=f"{pay} RM 19.90")).to_be_visible()
    assert page.viewport_size == {"width": WIDTH, "height": 740}
    page.get_by_role("link", name="Resit" if language == "ms" else "Receipt").first.click()
    picture(page, f"receipt-{language}")
    assert not scrolls_sideways(page)
