"""The customer page in a phone's browser, in both languages, without JavaScript."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Browser, Page, expect

from billing.models import Customer, Invoice, PaymentAttempt, Subscription
from billing.models.clock import database_now
from billing.subscriptions.payment_links import payment_link
from tests.browser.conftest import WAIT_MILLISECONDS, Watch, log_in, open_page, scrolls_sideways
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


WORDS = {
    "en": {
        "pay": "Pay RM 19.90 now",
        "paying": "Thank you. Your card is charged once, in a moment.",
        "processing": "This payment is being processed.",
        "again": "Check again",
        "declined": "Your bank declined the payment.",
        "other": "Use another card",
        "saved": "Your card is saved.",
        "nothing": "You owe nothing. Thank you.",
        "receipt": "Receipt",
        "back": "Back",
        "cancel": "Cancel subscription",
        "keep": "Keep it",
        "yes": "Yes, cancel it",
        "canceled": "Your subscription is cancelled.",
    },
    "ms": {
        "pay": "Bayar RM 19.90 sekarang",
        "paying": "Terima kasih. Kad anda akan dicaj sekali, sebentar lagi.",
        "processing": "Bayaran ini sedang diproses.",
        "again": "Semak semula",
        "declined": "Bank anda menolak bayaran ini.",
        "other": "Guna kad lain",
        "saved": "Kad anda telah disimpan.",
        "nothing": "Anda tiada bayaran tertunggak. Terima kasih.",
        "receipt": "Resit",
        "back": "Kembali",
        "cancel": "Batalkan langganan",
        "keep": "Kekalkan",
        "yes": "Ya, batalkan",
        "canceled": "Langganan anda telah dibatalkan.",
    },
}


@pytest.mark.parametrize("language", ["en", "ms"])
def test_customer_pays_with_another_card_and_cancels(
    browser: Browser, site: str, watch: Watch, shop: Shop, picture: Any, language: str
) -> None:
    words = WORDS[language]
    customer = make_customer(shop.account, language=language)
    make_mail(shop.account)
    card = shop.card("4000000000000002", customer)  # declined, whatever it is asked for
    now = database_now()
    make_subscription(card, make_plan(shop.account), next_due_at=now, anchor_date=now.date())
    shop.open()
    shop.collect()

    page = open_phone(browser, watch)
    page.goto(link(customer))
    expect(page.get_by_text(words["declined"])).to_be_visible()
    page.get_by_role("button", name=words["pay"]).click()
    expect(page.get_by_text(words["paying"])).to_be_visible()
    expect(page.get_by_text(words["processing"])).to_be_visible()
    expect(page.get_by_role("button", name=words["pay"])).to_have_count(0)
    picture(page, f"processing-{language}")
    shop.collect()
    page.get_by_role("link", name=words["again"]).click()
    expect(page.get_by_role("button", name=words["pay"])).to_be_visible()
    assert PaymentAttempt.objects.count() == 2

    page.get_by_role("button", name=words["other"]).click()
    page.get_by_label("Card number").fill("4111 1111 1111 1111")
    page.get_by_label("Name on the card").fill("A B")
    page.get_by_label("Expiry").fill("12/39")
    page.get_by_role("button", name="Bind").click()
    expect(page.get_by_text(words["saved"])).to_be_visible()
    picture(page, f"saved-{language}")
    shop.collect()
    page.get_by_role("link", name=words["again"]).click()
    expect(page.get_by_text(words["nothing"])).to_be_visible()
    picture(page, f"paid-{language}")
    page.get_by_role("link", name=words["receipt"]).click()
    expect(page.get_by_text("RM 19.90").first).to_be_visible()
    page.get_by_role("link", name=words["back"]).click()

    page.get_by_role("link", name=words["cancel"]).click()
    picture(page, f"cancel-{language}")
    page.get_by_role("link", name=words["keep"]).click()
    assert Subscription.objects.get().state == "active"
    page.get_by_role("link", name=words["cancel"]).click()
    page.get_by_role("button", name=words["yes"]).click()
    expect(page.get_by_text(words["canceled"])).to_be_visible()
    picture(page, f"canceled-{language}")
    assert Subscription.objects.get().state == "canceled"
    assert not scrolls_sideways(page)


def test_closed_page_is_in_both_languages(browser: Browser, site: str, picture: Any) -> None:
    page = open_phone(browser, Watch())
    page.goto(f"{site}/pay/nobody/")
    expect(page.get_by_role("heading", name="This link no longer works")).to_be_visible()
    expect(page.get_by_role("heading", name="Pautan ini tidak lagi berfungsi")).to_be_visible()
    picture(page, "gone")


def test_staff_copy_and_share_a_link(browser: Browser, site: str, people: User, watch: Watch, picture: Any) -> None:
    invoice = make_invoice()
    make_mail(invoice.account)
    page = open_page(browser, site, watch)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    log_in(page)
    page.goto(reverse("admin:billing_invoice_change", args=[invoice.pk]))
    page.get_by_role("link", name="Payment link").click()
    picture(page, "admin-ask")
    page.get_by_role("button", name="Make the link").click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    picture(page, "admin-link")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator(".k-once code").inner_text()
    assert copied.startswith(f"{site}/pay/")
    assert "wa.me" in (page.get_by_role("link", name="Share by WhatsApp").get_attribute("href") or "")
    assert not scrolls_sideways(page)


@pytest.mark.parametrize("language", ["en", "ms"])
def test_customer_pays_another_way(
    browser: Browser, site: str, watch: Watch, shop: Shop, picture: Any, language: str
) -> None:
    button, received = {
        "en": ("Pay another way", "We have received your payment."),
        "ms": ("Bayar dengan cara lain", "Kami telah menerima bayaran anda."),
    }[language]
    customer = make_customer(shop.account, language=language)
    make_mail(shop.account)
    make_invoice(shop.card(customer=customer), next_attempt_at=database_now() + timedelta(days=3))
    page = open_phone(browser, watch)
    page.goto(link(customer))
    picture(page, f"two-ways-{language}")
    page.get_by_role("button", name=button).click()
    page.get_by_role("button", name="Pay now").click()
    expect(page.get_by_text(received)).to_be_visible()
    picture(page, f"received-{language}")
    shop.collect()
    assert PaymentAttempt.objects.count() == 1
    assert Invoice.objects.get().state == "paid"
