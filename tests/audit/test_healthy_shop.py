"""A well-used shop: nothing in it breaks any invariant, in the database, in the ledger, or at the gateway."""

import time
from datetime import timedelta

import pytest

from billing.accounts.gateway_accounts import start_account, stop_account
from billing.audit.invariants import gateway_violations, ledger_violations, violations
from billing.charging.cases.resolve import Resolution, collect_held, release_card, resolve
from billing.domain.attempts import Source
from billing.domain.decisions import Decision
from billing.models import Invoice, PaymentAttempt, Subscription
from billing.models.clock import database_now
from billing.subscriptions.lifecycle import cancel, pause, resume
from tests.audit.books import Books
from tests.conftest import SHORT, Shop
from tests.factories import NOTHING_TO_SEE, make_invoice


@pytest.mark.django_db
def test_whatever_happens_to_a_shop_in_two_weeks_breaks_nothing(books: Books) -> None:
    """Paid, declined, unknown, surplus, reversed, paused, resumed, cancelled, stopped, caught up, released."""

    def day(**time: int) -> None:
        books.wait(**time)
        books.open()
        while armed := books.arm():
            for attempt in armed:
                books.pay(attempt)

    paused, canceled = books.subscribe(), books.subscribe()
    books.subscribe(trial_days=2, repetitions=2)
    books.subscribe(at_start=False, interval="WEEKLY", target=5)
    day()
    declined, unknown = books.armed(), books.armed()
    books.decline(declined)
    books.lose(unknown)
    books.absent(unknown, 1)
    assert violations(now=books.now, tuning=SHORT) == []

    books.give_to_a_person(unknown)
    release_card(attempt=unknown, decision=Decision("siti", "the customer waits"), now=books.wait(minutes=5))
    pause(subscription=paused, reason="holiday", actor="siti", now=books.now)
    cancel(subscription=canceled, reason="moved", actor="siti", now=books.now)
    day(days=1)
    assert violations(now=books.now, tuning=SHORT) == []

    resolve(
        attempt=unknown,
        resolution=Resolution.NOT_CHARGED,
        decision=Decision("siti", "nothing in the portal"),
        tuning=SHORT,
        now=books.wait(hours=1),
        **NOTHING_TO_SEE,
    )
    (again,) = [attempt for attempt in books.arm() if attempt.invoice_id == unknown.invoice_id]
    books.pay(unknown, Source.ORDER_LIST)
    assert unknown.state == "surplus"
    assert violations(now=books.now, tuning=SHORT) == [], "money was taken once, and another attempt may still take it"
    books.decline(again)
    unknown.refresh_from_db()
    assert unknown.state == "succeeded"
    resume(subscription=paused, reason="back", actor="siti", now=books.wait(days=2))
    books.reverse(unknown)
    collect_held(invoice=unknown.invoice, decision=Decision("siti", "still owed"), now=books.wait(minutes=1))
    day(minutes=1)
    assert violations(now=books.now, tuning=SHORT) == []

    stop_account(account=books.account, reason="a drill", actor="siti", now=books.wait(minutes=1))
    assert books.arm() == []
    start_account(account=books.account, reason="the drill is over", actor="siti", now=books.wait(days=6))
    day()
    assert Invoice.objects.filter(hold="catch_up").exists(), "the outage was long"
    assert violations(now=books.now, tuning=SHORT) == []
    assert set(PaymentAttempt.objects.values_list("state", flat=True)) == {"succeeded", "declined", "reversed"}
    assert set(Subscription.objects.values_list("state", flat=True)) >= {"active", "canceled", "completed"}


def ledger(shop: Shop, before: dict[str, int]) -> list[object]:
    posts = shop.simulator.requests()["by_marker"]
    since = {marker: count - before.get(marker, 0) for marker, count in posts.items() if count > before.get(marker, 0)}
    return list(ledger_violations(account_id=shop.account.pk, charges=shop.simulator.charges(), posts=since))


@pytest.fixture
def posts_before(shop: Shop) -> dict[str, int]:
    return dict(shop.simulator.requests()["by_marker"])


@pytest.mark.django_db(transaction=True)
def test_a_shop_at_the_simulator_agrees_with_its_ledger(shop: Shop, profile: str, posts_before: dict[str, int]) -> None:
    cards = ("4111111111111111", "4000000000000002", "4000000000000119", "4000000000000259")
    for number in cards:
        make_invoice(shop.card(number), next_attempt_at=database_now(), due_at=database_now())
    shop.collect()
    for _ in range(3):
        time.sleep(0.4)
        shop.reconcile()
    now = database_now()
    assert violations(now=now, tuning=shop.tuning) == []
    assert violations(now=now, tuning=shop.tuning, account_id=shop.account.pk) == []
    assert gateway_violations(now=now) == []
    assert ledger(shop, posts_before) == []
    states = set(PaymentAttempt.objects.values_list("state", flat=True))
    assert {"succeeded", "declined", "needs_review"} <= states
    later = now + timedelta(days=4)
    assert {one.invariant for one in violations(now=later, tuning=shop.tuning)} == {"L6"}, "a retry is overdue"
