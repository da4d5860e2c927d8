"""L8, and that payments on pages are in order for every other invariant."""

from datetime import timedelta

import pytest
from django.db import connection

from billing.accounts.gateway_accounts import stop_account
from billing.audit.invariants import Violation, gateway_violations, ledger_violations, violations
from billing.charging.checkouts.look import look_now
from billing.charging.checkouts.open import CheckoutError, open_checkout
from billing.charging.checkouts.work import look_at_due
from billing.charging.reading.report_days import record
from billing.domain.doubts import Doubt
from billing.gateway.connection import gateway_for
from billing.models import Checkout, PaymentAttempt
from billing.models.clock import database_now
from billing.operating import quarantine
from tests.audit.test_violations import asleep, breaks
from tests.conftest import Shop
from tests.factories import NOW, make_attempt, make_checkout, make_invoice, move_attempt, move_checkout

pytestmark = pytest.mark.django_db(transaction=True)


def opened(shop: Shop) -> Checkout:
    shop.simulator.set(order_query_limit=0)
    invoice = make_invoice(shop.card(), next_attempt_at=database_now())
    return open_checkout(invoice=invoice, actor="siti", now=database_now())


def audit(shop: Shop, *, ahead: timedelta = timedelta(0)) -> list[Violation]:
    now = database_now() + ahead
    mine = set(Checkout.objects.values_list("order_id", flat=True))
    charges = [
        charge for charge in shop.simulator.charges() if charge["order_id"] in mine or charge["path"] != "checkout"
    ]
    posts = dict.fromkeys(PaymentAttempt.objects.filter(checkout=None).values_list("marker", flat=True), 1)
    found = [*violations(now=now), *ledger_violations(account_id=shop.account.pk, charges=charges, posts=posts)]
    return [*found, *gateway_violations(now=now, account_id=shop.account.pk)]


def test_paid_page_breaks_nothing(shop: Shop) -> None:
    checkout = opened(shop)
    assert audit(shop) == []
    shop.simulator.use_checkout(checkout.url)
    look_now(checkout, tuning=shop.tuning, now=database_now())
    assert audit(shop) == []


def test_payment_that_nobody_recorded_is_seen_in_the_ledger(shop: Shop) -> None:
    checkout = opened(shop)
    shop.simulator.use_checkout(checkout.url)
    assert [one.invariant for one in audit(shop)] == ["S10"]


def test_overpayment_breaks_s1_until_it_is_refunded(shop: Shop) -> None:
    checkout = opened(shop)
    shop.simulator.use_checkout(checkout.url)
    look_now(checkout, tuning=shop.tuning, now=database_now())
    second = shop.simulator.pay_checkout(checkout.order_id)
    record(shop.account.pk, [gateway_for(shop.account).read_transaction(second)], shop.tuning, database_now())
    assert {(one.invariant, one.subject) for one in audit(shop)} == {("S1", checkout.invoice.public_id)}


@pytest.mark.parametrize("how", ["stopped", "quarantined"])
def test_money_is_written_down_while_nothing_may_be_charged(shop: Shop, how: str) -> None:
    checkout = opened(shop)
    shop.simulator.use_checkout(checkout.url)
    now = database_now()
    if how == "stopped":
        stop_account(account=shop.account, reason="test", actor="siti", now=now)
    else:
        quarantine.enter([shop.account.pk], Doubt.DATABASE_DIFFERS, "a restore", now=now)
    with pytest.raises(CheckoutError, match="stopped or in quarantine"):
        open_checkout(invoice=make_invoice(shop.card()), actor="siti", now=now)
    look_now(checkout, tuning=shop.tuning, now=now)
    assert PaymentAttempt.objects.get().state == "succeeded"
    assert [one for one in audit(shop) if one.invariant in ("S3", "S4", "S8", "S9")] == []


def test_page_that_nobody_looks_at_is_late(shop: Shop) -> None:
    checkout = opened(shop)
    found = [one for one in audit(shop, ahead=timedelta(minutes=20)) if one.invariant == "L8"]
    assert [(one.subject, one.text) for one in found] == [(checkout.public_id, "is open, and its check is late.")]
    shop.simulator.set(timestamp_window=0)
    later = database_now() + timedelta(minutes=16)
    look_at_due(tuning=shop.tuning, clock=lambda: later, should_stop=lambda: False)
    assert [one for one in audit(shop, ahead=timedelta(minutes=20)) if one.invariant == "L8"] == []


def only_l8() -> list[str]:
    return [one.text for one in violations(now=NOW) if one.invariant == "L8"]


@breaks("L8")
@pytest.mark.django_db(transaction=False)
def test_page_without_a_next_check_is_found() -> None:
    make_checkout()
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE billing_checkout DROP CONSTRAINT an_open_checkout_is_looked_at")
    Checkout.objects.update(next_check_at=None)
    assert only_l8() == ["is creating, and no check is planned."]


@pytest.mark.django_db(transaction=False)
def test_page_that_keeps_a_card_waiting_for_days_is_found() -> None:
    make_checkout(
        created_at=NOW - timedelta(days=2),
        expires_at=NOW - timedelta(days=2) + timedelta(minutes=10),
        excludes_until=NOW - timedelta(days=1),
    )
    assert only_l8() == ["is creating, and has kept a card from being charged for more than a day."]


@pytest.mark.django_db(transaction=False)
def test_charge_beside_an_open_page_is_found() -> None:
    checkout = make_checkout()
    asleep("ALTER TABLE billing_paymentattempt DISABLE TRIGGER no_card_is_charged_while_a_checkout_is_open")
    attempt = make_attempt(checkout.invoice)
    assert only_l8() == [f"may be being paid, and {attempt.public_id} is sending."]


@pytest.mark.django_db(transaction=False)
def test_paid_page_without_its_attempt_is_found() -> None:
    make_checkout()
    asleep("UPDATE billing_checkout SET state = 'paid', closed_at = now()")
    assert only_l8() == ["is paid, and no attempt took its money."]


@pytest.mark.django_db(transaction=False)
def test_payment_of_a_page_that_is_not_paid_is_found() -> None:
    checkout = move_checkout(make_checkout(), "closed")
    attempt = make_attempt(checkout.invoice, checkout=checkout)
    assert only_l8() == [
        f"was paid on {checkout.public_id}, and is sending.",
        f"was paid on {checkout.public_id}, which is closed.",
    ]
    move_attempt(attempt, "succeeded")
    assert only_l8() == [f"was paid on {checkout.public_id}, which is closed."]
