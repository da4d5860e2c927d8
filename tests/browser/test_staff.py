"""A day of the staff, in a real browser: bind a card, sell, see it charged, pause, stop."""

import re

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Browser, Page, expect

from billing.domain.money import Price
from billing.domain.recurrence import Recurrence
from billing.domain.schedules import Interval
from billing.domain.subscriptions import ActivatesOn
from billing.models import (
    AccountPace,
    Customer,
    GatewayAccount,
    Installation,
    Invoice,
    PaymentAttempt,
    PaymentMethod,
    Plan,
    Subscription,
)
from billing.subscriptions.plans import create_plan
from tests.browser.conftest import PASSWORD, Watch, log_in, open_page, scrolls_sideways
from tests.charging.test_resolve import a_case
from tests.conftest import Shop
from tests.factories import (
    NOW,
    make_account,
    make_attempt,
    make_card,
    make_evidence,
    make_found_payment,
    make_invoice,
    make_proposal,
    make_refund,
    make_subscription,
    move_attempt,
)
from tests.promises.attacks import make_gateway_order, make_orphan_answer

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.django_db(transaction=True),
]


def confirm(page: Page, action: str, reason: str = "asked by phone") -> None:
    """Presses an action's button, gives a reason, and carries it out."""
    page.get_by_role("link", name=action, exact=False).first.click()
    page.locator("form.k-form").wait_for()
    if page.get_by_label("Reason").count():
        page.get_by_label("Reason").fill(reason)
    page.locator("form.k-form button[type=submit]").click()


def choose(page: Page, field: str, typed: str) -> None:
    """Looks a row up by typing, as people do, and takes the first that is found."""
    page.locator(f"select[name={field}] + .select2").click()
    page.locator(".select2-search__field").fill(typed)
    page.locator(".select2-results__option--highlighted", has_text=re.compile(typed, re.IGNORECASE)).click()


def bind(page: Page, customer: Customer) -> None:
    """Gets the address in the admin, binds a card on the gateway's page, and comes back to ours."""
    page.goto(reverse("admin:billing_customer_change", args=[customer.pk]))
    confirm(page, "Save a card")
    address = page.locator(".k-once code").inner_text()
    page.goto(address)
    page.get_by_label("Card number").fill("4111 1111 1111 1111")
    page.get_by_label("Name on the card").fill(customer.name)
    page.get_by_label("Expiry").fill("12/39")
    page.get_by_role("button", name="Bind").click()
    expect(page.get_by_role("heading", name="Your card is saved")).to_be_visible()


def test_staff_bind_sell_see_it_charged_pause_and_stop(
    browser: Browser, site: str, people: User, shop: Shop, watch: Watch
) -> None:
    customer = shop.customer()
    plan = create_plan(
        account=shop.account,
        code="coffee",
        name="Coffee club",
        price=Price(1990),
        recurrence=Recurrence(Interval.DAILY, None),
        activates_on=ActivatesOn.CARD,
        now=NOW,
    )
    page = open_page(browser, site, watch)
    log_in(page)
    expect(page.get_by_role("link", name="Paid today")).to_contain_text("RM 0.00")

    bind(page, customer)
    assert PaymentMethod.objects.get().state == "active"

    page.goto(reverse("admin:billing_subscription_add"))
    choose(page, "customer", customer.name[:6])
    choose(page, "plan", plan.name[:6])
    page.get_by_label("Reference").fill("web-1")
    page.get_by_label("Charge once at the start").check()
    page.get_by_role("button", name="Start subscription").click()
    expect(page.get_by_role("heading", level=2, name="Coffee club for Aminah binti Ali")).to_contain_text("active")
    expect(page.get_by_text("RM 19.90 every day at 09:00, Kuala Lumpur").first).to_be_visible()

    assert shop.open() == 1
    assert shop.collect().states == {"succeeded": 1}
    page.reload()
    expect(page.get_by_role("row", name="Coffee club")).to_contain_text("paid")
    page.get_by_role("link", name="Attempt 1").click()
    expect(page.get_by_role("heading", level=2, name="Attempt 1, RM 19.90")).to_contain_text("paid")
    expect(page.get_by_role("heading", name="Evidence")).to_be_visible()
    page.goto(reverse("admin:index"))
    expect(page.get_by_role("link", name="Paid today")).to_contain_text("RM 19.90")

    subscription = Subscription.objects.get()
    page.goto(reverse("admin:billing_subscription_change", args=[subscription.pk]))
    confirm(page, "Pause", "moves house")
    expect(page.get_by_role("heading", level=2, name="Coffee club for")).to_contain_text("paused")
    expect(page.get_by_text("moves house")).to_be_visible()
    subscription.refresh_from_db()
    assert subscription.state == "paused"

    page.goto(reverse("admin:index"))
    confirm(page, "Stop everything", "the bank called")
    page.goto(reverse("admin:index"))
    expect(page.get_by_text("Everything was stopped on")).to_contain_text("by aisyah: the bank called")
    assert Installation.objects.get(pk=1).stopped_at is not None
    assert len(shop.taken(Invoice.objects.get())) == 1
    assert watch.seen > 50


def main_pages(shop: Shop) -> list[str]:
    """The main pages, with something to show on each."""
    card = make_card(shop.customer())
    attempt = move_attempt(make_attempt(card=card), "needs_review")
    make_evidence(attempt, content={"words": "x" * 300})
    proposed = make_proposal(move_attempt(make_attempt(card=make_card(shop.customer())), "needs_review"))
    make_invoice(card, next_attempt_at=NOW, description="Another month")
    for number in range(3):
        make_gateway_order(
            attempt,
            attempt=None,
            gateway_order_id=f"17637024093100770{number}",
            gateway_transaction_id=f"2611210900043293000{number}",
        )
    plan = create_plan(
        account=shop.account,
        code="gym",
        name="Gym",
        price=Price(9900),
        recurrence=Recurrence(Interval.MONTHLY, -1),
        now=NOW,
    )
    subscription = make_subscription(card, plan)
    refund = make_refund(move_attempt(make_attempt(card=make_card(shop.customer())), "surplus"))
    paid = move_attempt(make_attempt(card=make_card(shop.customer())), "succeeded")
    rows = [card.customer, card, subscription, plan, attempt, attempt.invoice, shop.account, refund, refund.attempt]
    pages = [reverse("admin:index"), reverse("admin:billing_installation_change", args=[1])]
    for row in rows:
        name = f"admin:billing_{row._meta.model_name}"
        pages += [reverse(f"{name}_changelist"), reverse(f"{name}_change", args=[row.pk])]
    pages += [reverse(f"admin:billing_{one._meta.model_name}_add") for one in (Customer, Plan, Subscription)]
    pages.append(f"{reverse('admin:billing_subscription_change', args=[subscription.pk])}pause/")
    pages.append(f"{reverse('admin:billing_paymentattempt_change', args=[attempt.pk])}resolve/")
    pages.append(f"{reverse('admin:billing_paymentattempt_change', args=[proposed.attempt_id])}confirm/")
    pages.append(f"{reverse('admin:billing_paymentattempt_change', args=[paid.pk])}refund/")
    pages.append(f"{reverse('admin:billing_paymentattempt_several', args=['resolve'])}?ids={attempt.pk}")
    owed = make_invoice(make_card(shop.customer()), next_attempt_at=NOW)
    pages.append(f"{reverse('admin:billing_invoice_change', args=[owed.pk])}paid-elsewhere/")
    for row in (make_found_payment(shop.account), make_orphan_answer(account_id=shop.account.pk), make_quarantine()):
        name = f"admin:billing_{row._meta.model_name}"
        pages += [reverse(f"{name}_changelist"), reverse(f"{name}_change", args=[row.pk])]
    pages.append(f"{pages[-1]}quarantine/")
    pages += [reverse(f"admin:billing_{name}_changelist") for name in ("transition", "evidence", "apikey", "chargerun")]
    return pages


def make_quarantine() -> GatewayAccount:
    """An account whose charging is held, and which is in quarantine, with a report of a payment."""
    account = make_account(quarantined_at=NOW, quarantine_reason="attempts_forgotten", quarantine_point_at=NOW)
    found = {"day": "2026-03-01", "transaction": "2001", "amount_minor": 1990, "currency": "MYR", "name": "Ali"}
    reports = {"days": 1, "found": [found], "not_read": [], "not_asked": 0}
    GatewayAccount.objects.filter(pk=account.pk).update(quarantine_reports=reports)
    AccountPace.objects.create(account=account, state="held", kind="size", reason="1001 charges are due", since=NOW)
    return account


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_main_pages_fit_a_phone_in_the_light_and_in_the_dark(
    dark: bool, browser: Browser, site: str, people: User, shop: Shop, watch: Watch
) -> None:
    page = open_page(browser, site, watch, width=390, dark=dark)
    log_in(page)
    wide = []
    for address in main_pages(shop):
        page.goto(address)
        if scrolls_sideways(page):
            wide.append(address)
        background = page.evaluate("getComputedStyle(document.querySelector('#main')).backgroundColor")
        assert is_dark(page, background) is dark, f"{address}: {background}"
    assert wide == []
    assert PaymentAttempt.objects.filter(state="needs_review").count() == 2


def is_dark(page: Page, colour: str) -> bool:
    """Whether a colour, in whatever notation, is one of the dark half when it is painted."""
    painted = page.evaluate(
        """colour => {
            const canvas = document.createElement('canvas').getContext('2d');
            canvas.fillStyle = colour;
            canvas.fillRect(0, 0, 1, 1);
            return Array.from(canvas.getImageData(0, 0, 1, 1).data);
        }""",
        colour,
    )
    return sum(painted[:3]) < 3 * 128


def test_the_wide_pages_need_no_scrolling_either(
    browser: Browser, site: str, people: User, shop: Shop, watch: Watch
) -> None:
    page = open_page(browser, site, watch)
    log_in(page)
    wide = []
    for address in main_pages(shop):
        page.goto(address)
        if scrolls_sideways(page):
            wide.append(address)
    assert wide == []


def test_a_case_is_read_proposed_and_confirmed(
    browser: Browser, site: str, people: User, shop: Shop, watch: Watch
) -> None:
    """Two people and one case: the card is read, one proposes, the other confirms."""
    User.objects.create_superuser("farid", password=PASSWORD)
    GatewayAccount.objects.update(second_person_above_minor=100)
    attempt = a_case(shop, "lost_after")
    address = f"{reverse('admin:billing_paymentattempt_change', args=[attempt.pk])}resolve/"
    first, second = open_page(browser, site, watch), open_page(browser, site, watch, width=390, dark=True)
    log_in(first)
    log_in(second, "farid")

    first.goto(address)
    first.get_by_role("button", name="Read the card at the gateway now").click()
    expect(first.get_by_text("The gateway shows 1 order of this card")).to_be_visible()
    first.get_by_label("What happened").select_option("charged")
    first.get_by_label("Transaction id").fill(str(shop.taken(attempt.invoice)[0]["transaction_id"]))
    first.get_by_label("Reason").fill("seen in the portal")
    first.get_by_role("button", name="Resolve").click()
    expect(first.get_by_text("Sent for approval.")).to_be_visible()

    second.goto(first.url)
    expect(second.get_by_text("aisyah proposed on")).to_be_visible()
    confirm(second, "Confirm", "seen too")
    expect(second.get_by_text("Confirmed. The decision took effect.")).to_be_visible()
    attempt.refresh_from_db()
    assert (attempt.state, attempt.invoice.state) == ("succeeded", "paid")
