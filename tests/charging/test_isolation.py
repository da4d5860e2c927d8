"""What fails, or is locked, keeps nobody else's charge and nobody else's response."""

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, OperationalError, connection

from billing.charging.attempts.pace import Paced
from billing.charging.attempts.settle import AttemptFinding, settle
from billing.charging.collecting import permits as permits_module
from billing.charging.reading import reconcile as reconciling
from billing.domain.attempts import Finding, Source, Verdict
from billing.models import AccountTrouble, GatewayAccount, Invoice, PaymentAttempt
from billing.models.bulk import arming
from billing.models.bulk.sql import HeldError
from billing.models.clock import database_now
from tests.charging.held_rows import somebody_holds
from tests.conftest import SHORT, Shop
from tests.factories import make_account, make_attempt, make_card, make_customer, make_invoice


@pytest.mark.django_db
def test_attempt_armed_singly_is_sent_although_a_later_one_fails(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        make_invoice(shop.card(), next_attempt_at=database_now())
    insert, lock, inserts, locks = arming.insert_attempts, arming.lock_account, iter((True,)), iter((0, 0, 1))

    def refused_at_first(attempts: Any, **more: Any) -> dict[str, int]:
        if next(inserts, False):
            raise IntegrityError("a constraint refuses the batch")
        return insert(attempts, **more)

    def held_at_the_second_alone(account_id: int) -> arming.LockedAccount:
        if next(locks, 0):
            raise OperationalError("canceling statement due to lock timeout")
        return lock(account_id)

    monkeypatch.setattr(arming, "insert_attempts", refused_at_first)
    monkeypatch.setattr(arming, "lock_account", held_at_the_second_alone)
    assert shop.collect().states == {"succeeded": 3}


@pytest.mark.django_db(transaction=True)
def test_account_with_unreportable_outcomes_blocks_no_other(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    sick = make_account(name="sick", oauth_url="http://127.0.0.1:1/v1", api_url="http://127.0.0.1:1/v3")
    make_invoice(make_card(make_customer(sick)), next_attempt_at=database_now())
    exchange = permits_module.exchange

    def failing(*, account: GatewayAccount, outcomes: Any, **more: Any) -> Paced:
        if account.pk == sick.pk and outcomes.any:
            raise ValueError("a bug in one row")
        return exchange(account=account, outcomes=outcomes, **more)

    monkeypatch.setattr(permits_module, "exchange", failing)
    shop.simulator.set(latency=[0.2, 0.2])
    for _ in range(20):
        make_invoice(shop.card(), next_attempt_at=database_now())
    shop.collect()
    assert Invoice.objects.filter(account=shop.account, state="paid").count() == 20
    assert AccountTrouble.objects.get().account_id == sick.pk


@pytest.mark.django_db(transaction=True)
def test_card_that_somebody_holds_blocks_no_other_cards_answer(settings: Any) -> None:
    settings.KITARAN_TRANSACTION_SETTINGS = {**settings.KITARAN_TRANSACTION_SETTINGS, "lock_timeout": "300ms"}
    held, other = make_attempt(), make_attempt()
    told = [
        AttemptFinding(
            one.marker, Finding(Verdict.DECLINED, Source.ANSWER, reason="9010", transaction_id=f"20{one.pk}")
        )
        for one in (held, other)
    ]
    known = ("host", "port", "user", "password", "dbname")
    parameters = {name: value for name, value in connection.get_connection_params().items() if name in known}
    with psycopg.connect(**parameters) as somebody:
        somebody.execute("SELECT 1 FROM billing_paymentmethod WHERE id = %s FOR UPDATE", [held.payment_method_id])
        with pytest.raises(HeldError, match="lock timeout"):
            settle(told, tuning=SHORT, now=database_now())
        states = [PaymentAttempt.objects.get(pk=one.pk).state for one in (held, other)]
        assert states == ["sending", "declined"]
        somebody.rollback()
    assert settle(told, tuning=SHORT, now=database_now()) == {"declined": 1}


@pytest.mark.django_db(transaction=True)
def test_row_that_somebody_holds_blocks_no_other_cards_check(shop: Shop, settings: Any) -> None:
    settings.KITARAN_TRANSACTION_SETTINGS = {**settings.KITARAN_TRANSACTION_SETTINGS, "lock_timeout": "300ms"}
    shop.simulator.set(orders_visible_after=0)
    for _ in range(2):
        card = shop.card()
        shop.simulator.set_customer(str(card.gateway_customer_id), outcome=["lost_after"])
        make_invoice(card, next_attempt_at=database_now())
    shop.collect()
    first, other = PaymentAttempt.objects.order_by("pk")
    assert {first.state, other.state} == {"unknown"}
    with somebody_holds("paymentmethod", first.payment_method_id):
        shop.reconcile(database_now() + SHORT.ladder[-1])
        states = list(PaymentAttempt.objects.order_by("pk").values_list("state", flat=True))
    assert states == ["unknown", "succeeded"]
    assert AccountTrouble.objects.get().work == "reconcile a card"


@pytest.mark.django_db(transaction=True)
def test_old_attempt_is_not_given_up_for_a_held_row(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.simulator.set(orders_visible_after=0)
    card = shop.card()
    shop.simulator.set_customer(str(card.gateway_customer_id), outcome=["lost_after"])
    make_invoice(card, next_attempt_at=database_now())
    shop.collect()

    def held(*_: Any, **__: Any) -> None:
        raise HeldError("canceling statement due to lock timeout")

    monkeypatch.setattr(reconciling, "PATIENCE", timedelta(0))
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(reconciling, "record", held)
        shop.reconcile(database_now() + SHORT.ladder[-1])
    assert PaymentAttempt.objects.get().state == "unknown"
    PaymentAttempt.objects.update(next_check_at=database_now())  # its lease is over
    shop.reconcile()
    assert PaymentAttempt.objects.get().state == "succeeded"


@pytest.mark.django_db(transaction=True)
def test_account_that_somebody_holds_is_charged_by_the_next_run(shop: Shop, settings: Any) -> None:
    settings.KITARAN_TRANSACTION_SETTINGS = {**settings.KITARAN_TRANSACTION_SETTINGS, "lock_timeout": "300ms"}
    invoice = make_invoice(shop.card(), next_attempt_at=database_now())
    with somebody_holds("gatewayaccount", lock="NO KEY UPDATE"):
        assert shop.collect().armed == 0
    assert AccountTrouble.objects.get().work == "collect"
    invoice.refresh_from_db()
    assert invoice.next_attempt_at is not None
    assert shop.collect().states == {"succeeded": 1}
    assert not AccountTrouble.objects.exists()
