"""Writers of events hold their object's row until they commit, so that the ids of its events are in the order of its
changes: a test for each family, with a second session that asks PostgreSQL for the lock."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections

from billing.accounts.change_account import change_account
from billing.accounts.gateway_accounts import start_account, stop_account
from billing.charging.attempts.charge_now import charge_now
from billing.charging.attempts.pace import let_run
from billing.charging.cases import approvals
from billing.charging.cases.holds import collect_held
from billing.charging.cases.remind import remind
from billing.charging.cases.retry_now import retry_now
from billing.charging.cases.ways_out import void, write_off
from billing.charging.reading.report_days import _list
from billing.charging.refunds.ask import request_refund, withdraw
from billing.domain.catch_up import CatchUp
from billing.domain.decisions import Decision
from billing.domain.doubts import Doubt
from billing.domain.resolution import ProposalKind
from billing.models import AccountPace, PaymentAttempt, PaymentMethod
from billing.models.bulk import settling, watching
from billing.models.bulk.history import NewEvent, record_history
from billing.models.bulk.sql import durable
from billing.models.clock import database_now
from billing.operating import quarantine
from billing.subscriptions.cards import make_default, record_claim, revoke_card
from billing.subscriptions.customers import create_customer, update_customer
from billing.subscriptions.lifecycle import cancel, pause, resume
from billing.subscriptions.start import start_subscription
from billing.subscriptions.update import update_subscription
from tests.charging.test_resolve import give_back
from tests.charging.test_ways_out import lost
from tests.conftest import Shop
from tests.factories import (
    NOW,
    make_account,
    make_attempt,
    make_card,
    make_customer,
    make_invoice,
    make_plan,
    make_subscription,
    move_attempt,
)
from tests.hostile.test_recorded_payments import read, recorded
from tests.notifying.locks import watching_locks

pytestmark = pytest.mark.django_db(transaction=True)
BY: dict[str, Any] = {"actor": "siti", "now": NOW}
WHY: dict[str, Any] = {"reason": "asked for", **BY}
DECISION = Decision("siti", "r", 1)
DECIDED: dict[str, Any] = {"decision": DECISION, "now": NOW}


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The kinds that the test recorded, each with its object locked."""
    with watching_locks(monkeypatch) as recorded:
        yield recorded


def test_an_unlocked_writer_is_noticed(kinds: set[str]) -> None:
    invoice = make_invoice()
    event = NewEvent(
        account_id=invoice.account_id, kind="invoice.paid", subject_type="invoice", subject_id=invoice.pk, payload={}
    )
    with pytest.raises(AssertionError, match="is not locked by its writer"):
        record_history([event], actor="test", now=NOW)


def test_charges_hold_attempt_invoice_and_subscription(shop: Shop, kinds: set[str]) -> None:
    card = shop.card()
    make_subscription(card, make_plan(shop.account), next_due_at=database_now())
    shop.open()
    for amount in (1990, 101, 102):  # taken; declined; taken and lost
        charge_now(
            customer=card.customer, amount_minor=amount, currency="MYR", description="x", actor="siti",
            now=database_now(),
        )  # fmt: skip
        shop.collect()
        shop.sweep()
        shop.reconcile(database_now() + timedelta(minutes=10))
    assert kinds >= {
        "payment_method.created", "payment_method.saved", "invoice.opened", "attempt.succeeded", "invoice.paid",
        "attempt.declined", "invoice.payment_failed", "attempt.unknown",
    }  # fmt: skip


def test_refunds_hold_their_refund(shop: Shop, kinds: set[str]) -> None:
    card = shop.card()
    charge_now(
        customer=card.customer, amount_minor=1990, currency="MYR", description="x", actor="siti", now=database_now()
    )
    shop.collect()
    attempt = PaymentAttempt.objects.get()
    asked: dict[str, Any] = {"attempt": attempt, "amount_minor": 500, "decision": DECISION}
    withdrawn = request_refund(**asked, now=database_now())
    withdraw(refund=withdrawn, decision=DECISION, tuning=shop.tuning, now=database_now())
    request_refund(**asked, now=database_now())
    shop.refund()
    assert kinds >= {"refund.requested", "refund.failed", "refund.sending", "refund.succeeded"}


def test_subscriptions_are_locked_through_their_life(kinds: set[str]) -> None:
    card = make_card()
    plan = make_plan(card.account)
    given: dict[str, Any] = {"subscription": None, **WHY}
    given["subscription"] = start_subscription(customer=card.customer, plan=plan, reference="r", **BY)
    update_subscription(subscription=given["subscription"], catch_up=CatchUp.SKIP, payment_method=card, **BY)
    pause(**given)
    resume(**given)
    cancel(**given)
    assert kinds == {
        "subscription.created", "subscription.active", "subscription.updated", "subscription.paused",
        "subscription.canceled",
    }  # fmt: skip


def test_ways_out_hold_their_invoice(kinds: set[str]) -> None:
    card = make_card()
    void(invoice=make_invoice(card), **DECIDED)
    given_up = make_invoice(card)
    write_off(invoice=given_up, **DECIDED)
    retry_now(invoice=given_up, **DECIDED)
    collect_held(invoice=make_invoice(card, hold="price_jumped", next_attempt_at=None), **DECIDED)
    assert kinds == {"invoice.voided", "invoice.uncollectible", "invoice.reopened", "invoice.released"}


def test_reminders_hold_their_case_and_proposal(kinds: set[str]) -> None:
    move_attempt(make_attempt(), "needs_review")
    invoice = make_invoice(hold="proposal", next_attempt_at=None)
    with durable():
        approvals.propose(invoice, ProposalKind.VOID, DECISION, now=NOW)
    assert remind(now=NOW + timedelta(days=1)) == 2
    assert kinds == {"proposal.created", "attempt.still_needs_review", "proposal.still_waiting"}


def test_what_somebody_decides_just_now_is_reminded_of_later() -> None:
    move_attempt(make_attempt(), "needs_review")
    other = connections.create_connection("default")
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT id FROM billing_paymentattempt FOR NO KEY UPDATE")
        assert remind(now=NOW + timedelta(days=1)) == 0
    finally:
        other.rollback()
        other.close()
    assert remind(now=NOW + timedelta(days=1)) == 1


def test_cards_are_locked_in_all_that_happens_to_them(kinds: set[str]) -> None:
    card = make_card()
    pending = make_card(card.customer, state="pending", is_default=False)
    second = make_card(card.customer, is_default=False)
    record_claim(card=pending, outcome="failed", reason="", now=NOW)
    make_default(card=second, **BY)
    with durable():
        settling.hold_cards([(card.pk, "unexplained_order")], now=NOW)
    revoke_card(card=second, **WHY)
    assert kinds == {
        "payment_method.failed", "payment_method.default_changed", "payment_method.held", "payment_method.revoked",
    }  # fmt: skip
    assert PaymentMethod.objects.get(pk=card.pk).held_reason == "unexplained_order"


def test_an_account_is_locked_whoever_records_its_event(kinds: set[str]) -> None:
    account = make_account()
    change_account(account=account, changes={"name": "Kedai Teh"}, **WHY)
    stop_account(account=account, **WHY)
    start_account(account=account, **WHY)
    AccountPace.objects.create(account=account, state="held", reason="size", shares={})
    let_run(account=account, **WHY)
    with durable():
        quarantine.enter([account.pk], Doubt.ORDER_OF_ANOTHER, "order 1", now=NOW)
        found = watching.NewFound(account.pk, "2001", "1001", "unknown_marker", 1990, "MYR", "7K3M9QX2B5TD")
        _list(found, NOW)
    assert kinds == {
        "account.updated", "account.stopped", "account.started", "account.resumed", "account.quarantined",
        "payment.unexplained",
    }  # fmt: skip


def test_customers_are_locked_while_they_are_edited(kinds: set[str]) -> None:
    customer = create_customer(
        account=make_account(), reference="r", name="A", email="a@example.com", phone_number="123456789", **BY
    )
    update_customer(customer=make_customer(customer.account), changes={"name": "B"}, **BY)
    assert kinds == {"customer.created", "customer.updated"}


def test_reads_hold_the_card_and_the_invoice(kinds: set[str], shop: Shop) -> None:
    _, transaction_id = recorded(shop)
    give_back(shop, transaction_id, 1990)
    read(shop)
    assert kinds >= {"payment_method.released", "invoice.paid", "payment.went_back"}


def test_an_unexplained_order_holds_its_card(kinds: set[str], shop: Shop) -> None:
    lost(shop)
    read(shop)
    assert kinds >= {"payment_method.held", "payment_method.unexplained_order"}
