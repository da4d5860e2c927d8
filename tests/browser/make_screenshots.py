"""Makes the pictures of docs/img from a seeded database (`make screenshots`). Collected only when it is named."""

import random
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Browser, Page

from billing.charging.refunds.ask import request_refund
from billing.charging.refunds.worker import refund_due
from billing.domain.decisions import Decision
from billing.domain.money import Price
from billing.domain.recurrence import Recurrence
from billing.domain.schedules import Interval, Schedule, occurrences
from billing.ids import new_id
from billing.models import (
    Customer,
    GatewayAccount,
    GatewayOrder,
    Heartbeat,
    Invoice,
    PaymentAttempt,
    PaymentMethod,
    Subscription,
)
from billing.models.bulk.history import record_transition
from billing.models.clock import database_now
from billing.subscriptions.cards import start_binding
from billing.subscriptions.customers import create_customer
from billing.subscriptions.lifecycle import pause
from billing.subscriptions.plans import create_plan
from billing.subscriptions.start import start_subscription
from tests.browser.conftest import Watch, log_in, open_page
from tests.conftest import Shop
from tests.factories import make_attempt, make_card, make_evidence, make_invoice, make_proposal, move_attempt

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.django_db(transaction=True),
]
IMAGES = Path(__file__).resolve().parents[2] / "docs" / "img"
MOST_BYTES = 200_000
PEOPLE = (
    "Aminah Ali",
    "Tan Wei Ming",
    "Kavitha Nair",
    "Lim Mei Ling",
    "Ravi Kumar",
    "Nurul Huda",
    "Wong Jia Hui",
    "Hafiz Rahman",
    "Siti Mariam",
    "Jason Lee",
)
# code, name, sen, interval, target, day of the story
PLANS = (
    ("coffee-club", "Coffee club", 4990, "MONTHLY", -1),
    ("gym", "Gym", 14900, "MONTHLY", 0),
    ("fruit-box", "Fruit box", 4500, "WEEKLY", 1),
    ("newspaper", "Newspaper", 350, "DAILY", None),
)


def seed(shop: Shop, site: str) -> dict[str, object]:
    """A merchant some months old: real cards and charges of today, and a past that is written in."""
    now = database_now()
    account = shop.account
    GatewayAccount.objects.filter(pk=account.pk).update(name="Kedai Kitaran")
    account.refresh_from_db()
    plans = [
        create_plan(
            account=account,
            code=code,
            name=name,
            price=Price(minor),
            recurrence=Recurrence(Interval(interval), target),
            now=now,
        )
        for code, name, minor, interval, target in PLANS
    ]
    began = now - timedelta(days=100)
    customers = [customer(account, name, number, began) for number, name in enumerate(PEOPLE, 1)]
    numbers = {"Nurul Huda": "4000000000000002", "Wong Jia Hui": "4000000000000119"}
    cards = {one.name: shop.card(numbers.get(one.name, "4111111111111111"), one) for one in customers}
    PaymentMethod.objects.filter(customer__in=customers).update(activated_at=began)
    started = {}
    for index, one in enumerate(customers):
        plan = plans[index % len(plans)]
        started[one.name] = start_subscription(
            customer=one, plan=plan, reference=f"web-{1000 + index}", now=began, charge_at_start=False, actor="shop"
        )
    for name, subscription in started.items():
        past(subscription, cards[name], now)
    for name in ("Tan Wei Ming", "Kavitha Nair", "Nurul Huda", "Wong Jia Hui", "Ravi Kumar"):
        charge_today(started[name], now)
    shop.collect()
    shop.sweep(now + timedelta(minutes=5))
    person = PaymentAttempt.objects.filter(state="unknown").first()
    pause(subscription=started["Jason Lee"], reason="Travels until next month", actor="farid", now=now)
    paid = PaymentAttempt.objects.filter(state="succeeded", gateway_transaction_id__startswith="2").latest("pk")
    for sen, why in ((1000, "One parcel was damaged"), (500, "Delivered a day late")):
        refund = request_refund(attempt=paid, amount_minor=sen, decision=Decision("aisyah", why), now=database_now())
        refund_due(tuning=shop.tuning, clock=database_now, should_stop=lambda: False)
    waiting = undecided(cards["Lim Mei Ling"], now)
    for queue in ("charge", "housekeeping", "mail", "notify", "reconcile"):
        Heartbeat.objects.update_or_create(queue=queue, defaults={"worker": "worker-1:12", "beat_at": database_now()})
    newcomer = customer(account, "Farah Zain", 11, now)
    pending = start_binding(customer=newcomer, return_url=f"{site}/bind", now=now)
    story = started["Aminah Ali"]
    return {
        "subscription": story,
        "invoice": Invoice.objects.filter(subscription=story).order_by("-period_index")[1],
        "customer": story.customer,
        "attempt": waiting,
        "unknown": person,
        "paid": paid,
        "refund": refund,
        "pending": pending,
        "extra": make_card(story.customer, is_default=False, label="555555******4444", activated_at=now),
    }


def undecided(card: PaymentMethod, now: datetime) -> PaymentAttempt:
    """An attempt of six hours ago whose answer was lost, and for which two orders could be meant."""
    begun = now - timedelta(hours=6)
    invoice = make_invoice(
        card,
        description="Tuition",
        amount_minor=12000,
        due_at=begun,
        created_at=begun,
        next_attempt_at=None,
        public_id=new_id("inv", begun),
    )
    times = {"armed_at": begun, "window_ends_at": begun, "deadline_at": begun}
    attempt = make_attempt(invoice, card, public_id=new_id("att", begun), **times)
    told = (
        ("answer", "unclear", "timeout", "unknown", timedelta(seconds=90)),
        ("order_list", "absent", "absent", None, timedelta(minutes=2)),
        ("order_list", "contradiction", "two_candidate_orders", "needs_review", timedelta(minutes=5)),
    )
    for source, verdict, reason, state, later in told:
        at = begun + later
        evidence = make_evidence(attempt, source=source, verdict=verdict, reason=reason, recorded_at=at)
        if state:
            before = PaymentAttempt.objects.get(pk=attempt.pk).state
            PaymentAttempt.objects.filter(pk=attempt.pk).update(
                state=state, state_reason=reason, last_evidence_id=evidence.pk
            )
            record_transition(
                account_id=attempt.account_id,
                subject_type="attempt",
                subject_id=attempt.pk,
                from_state=before,
                to_state=state,
                reason=reason,
                evidence_id=evidence.pk,
                actor="engine",
                now=at,
            )
    seen_at_the_gateway(attempt, now)
    return attempt


def seen_at_the_gateway(attempt: PaymentAttempt, now: datetime) -> None:
    """An order from before, two that could be the attempt's, and an invoice that waits behind the card."""
    card = attempt.payment_method
    orders = ((-90 * 24 * 60, True), (1, False), (3, False))
    for number, (minutes, before) in enumerate(orders):
        at = attempt.armed_at + timedelta(minutes=minutes)
        GatewayOrder.objects.create(
            account=attempt.account,
            payment_method=card,
            gateway_order_id=f"176370240931007700{number}",
            gateway_transaction_id=f"26112109000432930002083{number}",
            status="SUCCESS",
            amount_minor=attempt.amount_minor,
            currency="MYR",
            ordered_at=at,
            in_baseline=before,
            first_seen_at=now,
            last_seen_at=now,
        )
    due_at = now - timedelta(hours=4)
    make_invoice(
        card,
        description="Fruit box",
        amount_minor=4500,
        due_at=due_at,
        created_at=due_at,
        next_attempt_at=now + timedelta(minutes=10),
        refusal="card_held",
        public_id=new_id("inv", due_at),
    )
    PaymentMethod.objects.filter(pk=card.pk).update(held_at=now, held_reason="two_candidate_orders")
    GatewayAccount.objects.filter(pk=attempt.account_id).update(second_person_above_minor=10_000)
    User.objects.create(username="farid", is_staff=True, is_superuser=True, password="!")


def customer(account: GatewayAccount, name: str, number: int, now: datetime) -> Customer:
    slug = name.lower().replace(" ", "-")
    return create_customer(
        account=account,
        reference=slug,
        name=name,
        email=f"{slug}@example.com",
        phone_number=f"1234567{number:02}",
        now=now,
    )


def past(subscription: Subscription, card: PaymentMethod, now: datetime) -> None:
    """Paid invoices for every period until today; once a card declined and was charged three days later."""
    subscription.refresh_from_db()
    assert subscription.anchor_date is not None
    schedule = Schedule(
        Interval(subscription.interval),
        subscription.target,
        subscription.anchor_date,
        subscription.every,
        subscription.charge_time,
        subscription.time_zone,
    )
    dates = occurrences_until(schedule, subscription.activated_at, now)[-8:]
    for index, due_at in enumerate(dates):
        invoice = make_invoice(
            card,
            subscription,
            period_index=index,
            public_id=new_id("inv", due_at),
            description=subscription.plan.name,
            amount_minor=subscription.amount_minor,
            lines=[{"description": subscription.plan.name, "quantity": 1, "amount_minor": subscription.amount_minor}],
            due_at=due_at,
            created_at=due_at,
            next_attempt_at=None,
        )
        declines = subscription.customer.name == "Aminah Ali" and index == len(dates) - 2
        paid_at = due_at + timedelta(seconds=random.Random(index).randint(2, 9))
        if declines:
            tried(invoice, card, paid_at, "declined", "INSUFFICIENT_FUNDS".lower())
            paid_at += timedelta(days=3)
        tried(invoice, card, paid_at, "succeeded", "paid")
        Invoice.objects.filter(pk=invoice.pk).update(
            state="paid", state_reason="paid", closed_at=paid_at, tries=int(declines), attempt_count=1 + declines
        )
        moves = [("invoice", invoice.pk, "", "open", "period_due"), ("invoice", invoice.pk, "open", "paid", "paid")]
        for (kind, key, before, after, why), at in zip(moves, (due_at, paid_at), strict=True):
            record_transition(
                account_id=invoice.account_id,
                subject_type=kind,
                subject_id=key,
                from_state=before,
                to_state=after,
                reason=why,
                actor="engine",
                now=at,
            )
    following = next(occurrences(schedule, now))
    count = sum(1 for _ in occurrences_until(schedule, subscription.activated_at, following)) - 1
    Subscription.objects.filter(pk=subscription.pk).update(
        next_due_at=following, occurrence=count, period_index=len(dates), periods_charged=len(dates)
    )


def occurrences_until(schedule: Schedule, after: datetime | None, until: datetime) -> list[datetime]:
    found = []
    for at in occurrences(schedule, after or until):
        if at > until:
            break
        found.append(at)
    return found


def tried(invoice: Invoice, card: PaymentMethod, at: datetime, state: str, reason: str) -> None:
    attempt = make_attempt(invoice, card, public_id=new_id("att", at), armed_at=at, window_ends_at=at, deadline_at=at)
    transaction = f"{at:%y%m%d%H%M%S}00432930{attempt.pk:04}"
    move_attempt(
        attempt, state, state_reason=reason, settled_at=at + timedelta(seconds=2), gateway_transaction_id=transaction
    )


def charge_today(subscription: Subscription, now: datetime) -> None:
    subscription.refresh_from_db()
    make_invoice(
        PaymentMethod.objects.get(customer=subscription.customer),
        subscription,
        period_index=subscription.period_index,
        description=subscription.plan.name,
        amount_minor=subscription.amount_minor,
        due_at=now,
        next_attempt_at=now,
        created_at=now,
        public_id=new_id("inv", now),
    )
    Subscription.objects.filter(pk=subscription.pk).update(
        period_index=subscription.period_index + 1, periods_charged=subscription.periods_charged + 1
    )


def shoot(page: Page, name: str, address: str = "", *, whole: bool = False) -> None:
    if address:
        page.goto(address)
    page.wait_for_load_state("networkidle")
    page.evaluate("document.fonts.ready")
    path = IMAGES / f"{name}.png"
    page.screenshot(path=path, full_page=whole, animations="disabled")
    assert path.stat().st_size < MOST_BYTES, f"{path} has {path.stat().st_size} bytes"


def page_of(row: object) -> str:
    return reverse(f"admin:billing_{row._meta.model_name}_change", args=[row.pk])  # type: ignore[attr-defined]


def test_make_the_screenshots(browser: Browser, site: str, people: User, shop: Shop, watch: Watch) -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    random.seed(7)
    rows = seed(shop, site)
    stories = {name: page_of(rows[name]) for name in ("subscription", "invoice", "customer", "attempt", "refund")}
    wide = open_page(browser, site, watch)
    wide.goto("/admin/")
    shoot(wide, "login")
    log_in(wide)
    shoot(wide, "start")
    for name, address in stories.items():
        shoot(wide, name, address)
    shoot(wide, "invoices", reverse("admin:billing_invoice_changelist"))
    shoot(wide, "pause", f"{stories['subscription']}pause/")
    shoot(wide, "give-back", f"{page_of(rows['paid'])}refund/")
    shoot(wide, "resolve", f"{stories['attempt']}resolve/")
    for dark, suffix in ((False, "phone"), (True, "phone-dark")):
        phone = open_page(browser, site, watch, width=390, dark=dark)
        log_in(phone)
        shoot(phone, f"start-{suffix}")
        shoot(phone, f"subscription-{suffix}", stories["subscription"])
        shoot(phone, f"resolve-{suffix}", f"{stories['attempt']}resolve/")
    night = open_page(browser, site, watch, dark=True)
    log_in(night)
    shoot(night, "start-dark")
    shoot(night, "subscription-dark", stories["subscription"])
    shoot(night, "resolve-dark", f"{stories['attempt']}resolve/")
    proposed = rows["attempt"]
    assert isinstance(proposed, PaymentAttempt)
    make_proposal(proposed, proposed_by="farid", proposed_at=database_now(), public_id=new_id("prop", database_now()))
    shoot(wide, "confirm", f"{stories['attempt']}confirm/")
    pending = rows["pending"]
    assert isinstance(pending, PaymentMethod)
    guest = open_page(browser, site, watch, width=390)
    shoot(guest, "bind", pending.payment_url)
    shop.simulator.bind(pending.payment_url, card="4111111111111111")
    shoot(guest, "bind-return", f"/bind/{pending.return_token}/")
