"""The worker of refunds beside an account whose reads hang, and when the database stays away."""

import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError

from billing.charging.collecting import collect as collecting
from billing.charging.refunds import worker
from billing.gateway.connection import Gateway, GatewayUnavailableError
from billing.models import AccountTrouble, GatewayAccount, Refund
from billing.models.bulk.sql import HeldError
from billing.models.clock import database_now
from tests.charging.refunding import ask, paid, posts
from tests.conftest import SHORT, Shop
from tests.factories import (
    make_account,
    make_attempt,
    make_card,
    make_customer,
    make_invoice,
    make_refund,
    move_attempt,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("_patience"), pytest.mark.timeout(120)]


@pytest.fixture
def _patience(settings: Any) -> None:
    settings.KITARAN_GATEWAY_TOTAL_SECONDS = 100


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def refunds_that_hang(many: int) -> GatewayAccount:
    """Asked for before everything else, of an account whose transactions cannot be read to the end."""
    account = make_account(name="hangs")
    for number in range(many):
        card = make_card(make_customer(account))
        attempt = move_attempt(
            make_attempt(make_invoice(card), card), "succeeded", gateway_transaction_id=f"hangs-{number}"
        )
        make_refund(attempt, next_check_at=database_now() - timedelta(hours=1))
    return account


def test_reads_that_hang_hold_up_nobody_elses_refunds(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, let_go: threading.Event
) -> None:
    refund = ask(paid(shop))
    sick = refunds_that_hang(worker.SENDERS + 1)
    read = Gateway.read_transaction
    hanging: list[str] = []

    def hangs(self: Gateway, transaction_id: str) -> Any:
        if not transaction_id.startswith("hangs"):
            return read(self, transaction_id)
        hanging.append(transaction_id)
        let_go.wait(60)
        raise GatewayUnavailableError("no answer")

    monkeypatch.setattr(Gateway, "ensure_token", lambda _: None)
    monkeypatch.setattr(Gateway, "has_token", lambda _: True)
    monkeypatch.setattr(Gateway, "read_transaction", hangs)
    at_first: list[int] = []

    def carried_out() -> bool:
        if not let_go.is_set() and Refund.objects.get(pk=refund.pk).state != "requested":
            at_first.append(len(hanging))
            let_go.set()
        return False

    instant = database_now()
    worker.refund_due(tuning=SHORT, clock=lambda: instant, should_stop=carried_out)
    assert at_first == [worker.OF_ONE_ACCOUNT]
    assert Refund.objects.get(pk=refund.pk).state == "succeeded"
    waits = Refund.objects.filter(account=sick, state_reason="gateway_unavailable").count()
    assert waits == worker.SENDERS + 1, "each of them had its turn"


def test_unsettleable_answer_is_a_trouble_of_its_account(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(paid(shop))

    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(worker, "settle_refund_answer", broken)
    shop.refund()
    trouble = AccountTrouble.objects.get()
    assert (trouble.account_id, trouble.work) == (shop.account.pk, worker.WORK_ON_ONE)


def test_answer_for_a_locked_payment_waits_and_blocks_no_other(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = ask(paid(shop)), ask(paid(shop))
    settle, settled = worker.settle_refund_answer, []

    def held_at_first(asked: Any, *rest: Any, **more: Any) -> Any:
        settled.append(asked.public_id)
        if settled.count(first.public_id) == 1 and asked.public_id == first.public_id:
            raise HeldError("canceling statement due to lock timeout")
        return settle(asked, *rest, **more)

    monkeypatch.setattr(worker, "settle_refund_answer", held_at_first)
    shop.refund()
    assert set(Refund.objects.values_list("state", flat=True)) == {"succeeded"}
    assert settled.count(first.public_id) == 2
    assert not AccountTrouble.objects.exists()


def test_refund_that_could_not_be_settled_by_the_end_is_logged(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refund, before = ask(paid(shop)), posts(shop)

    def away(*_: Any, **__: Any) -> None:
        for name in ("_has_unfinished", "_may_begin"):  # its time is over
            monkeypatch.setattr(worker._Refunder, name, lambda _: False)
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(worker, "settle_refund_answer", away)
    with caplog.at_level(logging.ERROR):
        shop.refund()
    assert posts(shop) == before + 1
    assert f"leaving without having settled refunds {refund.pk}" in caplog.messages[-1]


def test_charge_that_could_not_be_settled_by_the_end_is_logged(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    invoice = make_invoice(shop.card(), next_attempt_at=database_now())

    def away(told: Any, **_: Any) -> dict[str, int]:
        monkeypatch.setattr(collecting._Collector, "_in_time", lambda _: False)
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(collecting, "settle", away)
    with caplog.at_level(logging.ERROR):
        shop.collect()
    (attempt,) = invoice.attempts.all()
    assert attempt.state == "sending"
    assert caplog.messages[-1] == f"collect: leaving without having settled {attempt.marker}"
