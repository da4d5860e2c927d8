"""What staff see of declined payments: policies with their preview, the list to work through, and the figures."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Browser, expect

from billing.domain.dunning import Scope
from billing.models import DunningAssignment, DunningPolicy, GatewayAccount, Invoice
from billing.models.clock import database_now
from tests.browser.conftest import Watch, log_in, open_page, scrolls_sideways
from tests.factories import (
    make_account,
    make_attempt,
    make_card,
    make_customer,
    make_invoice,
    make_mail,
    make_plan,
    make_policy,
    make_subscription,
    move_attempt,
)

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
DAY = timedelta(days=1)
PEOPLE = ("Aminah binti Ali", "Tan Wei Ming", "Kavitha Nair", "Nurul Huda", "Ravi Kumar", "Lim Mei Ling")


def seed() -> tuple[GatewayAccount, DunningPolicy]:
    account = make_account(name="Kedai Kitaran")
    make_mail(account)
    plan = make_plan(account, code="coffee-club", name="Coffee club", interval="MONTHLY", target=1, amount_minor=4990)
    default = account.dunning_policies.get(code="default")
    pay_days = make_policy(
        account, code="pay-days", name="Around pay days", retry_days=[3, 10, 20], retry_hour=9, grace_days=5,
        prefer_days=[*range(1, 8), *range(25, 32)], quiet_tries=[1], final_action="pause",
    )  # fmt: skip
    now = database_now()
    DunningAssignment.objects.create(
        account=account, scope=Scope.PLAN, plan_code="coffee-club", policy=default, second_policy=pay_days,
        second_percent=40, assigned_at=now - 200 * DAY,
    )  # fmt: skip
    codes = ("51", "9010", "54", "51", "43", "51")
    for number, (name, code) in enumerate(zip(PEOPLE, codes, strict=True)):
        card = make_card(make_customer(account, name=name, email=f"c{number}@example.com"), activated_at=now)
        subscription = make_subscription(card, plan, state="past_due", next_due_at=now + 20 * DAY)
        first = now - (number + 1) * DAY
        invoice = make_invoice(card, subscription, amount_minor=4990, due_at=first)
        move_attempt(make_attempt(invoice, card, armed_at=first), "declined", state_reason=code)
        policy = pay_days if number % 2 else default
        ends: list[dict[str, Any]] = [
            {"next_attempt_at": first + 3 * DAY},
            {"next_attempt_at": first + 3 * DAY},
            {"state": "uncollectible", "closed_at": now, "next_attempt_at": None, "state_reason": "tries_exhausted"},
            {"next_attempt_at": None, "grace_ends_at": now + 2 * DAY},
            {"next_attempt_at": first + 7 * DAY, "tries": 2, "tries_avoided": 1},
            {"state": "paid", "closed_at": now - DAY, "next_attempt_at": None},
        ]
        columns: dict[str, Any] = {
            "tries": 1,
            "first_tried_at": first,
            "decline_code": code,
            "dunning_policy": policy,
            **ends[number],
        }
        Invoice.objects.filter(pk=invoice.pk).update(**columns)
    return account, pay_days


@pytest.mark.parametrize("width", [1400, 390])
def test_staff_read_what_follows_a_decline(
    width: int, browser: Browser, site: str, people: User, watch: Watch, tmp_path: Path
) -> None:
    account, policy = seed()
    page = open_page(browser, site, watch, width=width)
    log_in(page)
    owed = Invoice.objects.filter(decline_code="51", state="open").earliest("pk")
    pages = {
        "policies": (reverse("admin:billing_dunningpolicy_changelist"), "Around pay days"),
        "policy": (reverse("admin:billing_dunningpolicy_change", args=[policy.pk]), "Try 1 is declined"),
        "change": (
            reverse("admin:billing_dunningpolicy_change_policy", args=[policy.pk]),
            "Days of the month to prefer",
        ),
        "failed": (reverse("admin:billing_failedpayment_changelist"), "not enough money"),
        "invoice": (reverse("admin:billing_invoice_change", args=[owed.pk]), "Declined 1 of 4 tries"),
        "subscription": (
            reverse("admin:billing_subscription_change", args=[owed.subscription_id]),
            "the subscription is cancelled",
        ),
        "recovery": (reverse("admin:billing_dunningpolicy_recovery"), "too few to tell"),
        "account": (reverse("admin:billing_gatewayaccount_change", args=[account.pk]), "All subscriptions"),
    }
    for name, (address, text) in pages.items():
        page.goto(address)
        expect(page.get_by_text(text).first).to_be_visible()
        assert not scrolls_sideways(page), name
        page.screenshot(path=tmp_path / f"{name}-{width}.png", full_page=True)
