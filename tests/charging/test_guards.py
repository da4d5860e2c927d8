"""Each guard of arm and settle where another would usually step in before it."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.test import override_settings

from billing.accounts.gateway_accounts import stop_account, stop_installation
from billing.charging.attempts import arm as arming_module
from billing.charging.attempts.arm import Armed, ArmResult, _Batch, _still_the_card, arm
from billing.charging.attempts.settle import AttemptFinding, settle
from billing.charging.collecting.collect import collect
from billing.domain.attempts import Finding, Source, Verdict
from billing.gateway.connection import AlignedClock, Gateway, gateway_for
from billing.models import Invoice, PaymentAttempt, PaymentMethod
from billing.models.bulk.arming import LockedCard, LockedInvoice, LockedSubscription
from billing.models.clock import database_now
from billing.operating import recognise
from tests.charging.held_rows import somebody_holds
from tests.conftest import SHORT, Shop
from tests.factories import NOW, make_attempt, make_card, make_customer, make_invoice, make_subscription
from tests.promises.attacks import run

pytestmark = pytest.mark.django_db


def due(shop: Shop) -> Invoice:
    return make_invoice(make_card(make_customer(shop.account)), next_attempt_at=database_now())


def arm_now(shop: Shop) -> ArmResult:
    shop.account.refresh_from_db()
    return arm(
        account_id=shop.account.pk,
        gateway=gateway_for(shop.account),
        run_id=None,
        tuning=SHORT,
        now=database_now(),
        count=8,
    )


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("use_case", ["arm", "settle"])
def test_inside_another_transaction_nothing_is_armed_or_settled(shop: Shop, use_case: str) -> None:
    recognise.watch(now=database_now())  # else what recognises the database asks for a transaction of its own first
    invoice = due(shop)
    unclear = Finding(Verdict.UNCLEAR, Source.ANSWER)
    told = [] if use_case == "arm" else [AttemptFinding(make_attempt(invoice).marker, unclear)]
    with transaction.atomic():
        if use_case == "arm":
            with pytest.raises(RuntimeError, match="durable"):
                arm_now(shop)
        else:
            assert settle(told, tuning=SHORT, now=NOW) == {}
    assert not PaymentAttempt.objects.exclude(state="sending").exists()
    assert PaymentAttempt.objects.count() == len(told)


@pytest.mark.parametrize("which", ["installation", "account"])
def test_nothing_is_armed_when_stopped_before_the_locks(shop: Shop, which: str) -> None:
    due(shop)
    if which == "account":
        stop_account(account=shop.account, reason="drill", actor="siti", now=database_now())
    else:
        stop_installation(reason="drill", actor="siti", now=database_now())
    assert arm_now(shop) == ArmResult(stopped=True)
    assert not PaymentAttempt.objects.exists()


def test_live_account_is_not_armed_directly_until_it_is_allowed(shop: Shop) -> None:
    invoice = due(shop)
    type(shop.account).objects.filter(pk=shop.account.pk).update(environment="live")
    PaymentMethod.objects.filter(pk=invoice.payment_method_id).update(environment="live")
    assert arm_now(shop) == ArmResult(stopped=True)
    with override_settings(KITARAN_ALLOW_LIVE=True):
        assert arm_now(shop) == ArmResult(refused=1)


def test_two_invoices_of_one_card_are_never_chosen_side_by_side(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    first = due(shop)
    make_invoice(first.payment_method, next_attempt_at=database_now())
    with caplog.at_level(logging.WARNING):
        assert len(arm_now(shop).armed) == 1
    assert caplog.records == [], "no constraint had to refuse it"


def test_a_request_for_another_host_is_not_armed(shop: Shop) -> None:
    invoice = due(shop)
    gateway = gateway_for(shop.account)
    type(shop.account).objects.filter(pk=shop.account.pk).update(api_url="http://127.0.0.1:9/v3")
    result = arm(account_id=shop.account.pk, gateway=gateway, run_id=None, tuning=SHORT, now=database_now(), count=8)
    invoice.refresh_from_db()
    assert (result.armed, invoice.refusal) == ([], "environment_differs")


def test_invoice_no_longer_due_when_locked_is_left_alone(shop: Shop) -> None:
    invoice = due(shop)
    now = database_now()
    batch = _Batch(shop.account.pk, gateway_for(shop.account), None, SHORT, now, 8)
    Invoice.objects.filter(pk=invoice.pk).update(next_attempt_at=now + timedelta(days=1))
    assert batch.arm([(invoice.pk, None, invoice.payment_method_id)]) == ArmResult()
    assert not PaymentAttempt.objects.exists()


def test_what_is_armed_leaves_the_work_list_in_the_same_commit(shop: Shop) -> None:
    invoice = due(shop)
    assert len(arm_now(shop).armed) == 1
    invoice.refresh_from_db()
    assert (invoice.next_attempt_at, invoice.attempt_count) == (None, 1)


CARD = LockedCard(1, 1, "active", "tokenized", "simulator", False, False, True, "customer", False)
INVOICE = LockedInvoice(
    1, "inv_1", 1, None, None, "Coffee club", 1990, "MYR", 0, 0, None, None, False, False, None, False, False
)
SUBSCRIPTION = LockedSubscription(1, "active", "engine", None)


@pytest.mark.parametrize(
    ("invoice", "subscription", "card", "right"),
    [
        (INVOICE, None, CARD, True),
        (INVOICE, SUBSCRIPTION, None, True),
        (replace(INVOICE, payment_method_id=1), None, CARD, True),
        (replace(INVOICE, payment_method_id=2), None, CARD, False),
        (replace(INVOICE, payment_method_id=2), None, None, False),
        (INVOICE, replace(SUBSCRIPTION, payment_method_id=2), CARD, False),
        (INVOICE, replace(SUBSCRIPTION, payment_method_id=1), replace(CARD, is_default=False), True),
        (INVOICE, SUBSCRIPTION, replace(CARD, is_default=False), False),
        (INVOICE, SUBSCRIPTION, replace(CARD, customer_id=2), False),
    ],
)
def test_card_chosen_before_the_locks_is_still_the_one(
    invoice: LockedInvoice, subscription: LockedSubscription | None, card: LockedCard | None, right: bool
) -> None:
    assert _still_the_card(invoice, subscription, card) is right


def test_card_changed_before_the_locks_is_not_charged(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    invoice = due(shop)
    other = make_card(make_customer(shop.account))
    lock_cards = arming_module.arming.lock_cards

    def changed_meanwhile(cards: list[int]) -> dict[int, LockedCard]:
        Invoice.objects.filter(pk=invoice.pk).update(payment_method=other)
        return lock_cards(cards)

    monkeypatch.setattr(arming_module.arming, "lock_cards", changed_meanwhile)
    assert arm_now(shop) == ArmResult()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("table", ["paymentmethod", "subscription", "invoice"])
def test_what_somebody_else_holds_is_skipped_and_not_waited_for(shop: Shop, table: str) -> None:
    card = make_card(make_customer(shop.account))
    make_invoice(card, make_subscription(card, next_due_at=None), next_attempt_at=database_now())
    with somebody_holds(table):
        assert _within(5, lambda: arm_now(shop)) == ArmResult()
    assert len(arm_now(shop).armed) == 1


def _within(seconds: int, call: Callable[[], ArmResult]) -> ArmResult:
    run(f"SET statement_timeout = '{seconds}s'")
    try:
        return call()
    finally:
        run("SET statement_timeout = 0")


def test_nothing_more_is_armed_after_an_unacknowledged_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    permission = Armed(1, "M", None, None)  # type: ignore[arg-type]
    outcomes = iter([ArmResult(armed=[permission]), ArmResult(unacknowledged=["N"]), ArmResult(armed=[permission])])

    def batch(self: _Batch, candidates: list[tuple[int, int | None, int | None]] | None) -> ArmResult:
        if candidates is None:
            self.candidates = [(number, None, number) for number in range(3)]
            raise IntegrityError
        return next(outcomes)

    monkeypatch.setattr(_Batch, "arm", batch)
    result = arm(account_id=1, gateway=None, run_id=None, tuning=SHORT, now=NOW, count=3)  # type: ignore[arg-type]
    assert result == ArmResult(armed=[permission], unacknowledged=["N"])


@pytest.mark.parametrize(("tries", "always"), [(1, False), (0, True)])
def test_locked_invoice_is_refused_when_its_cards_were_not_read(shop: Shop, tries: int, always: bool) -> None:
    invoice = due(shop)
    Invoice.objects.filter(pk=invoice.pk).update(attempt_count=tries)
    type(shop.account).objects.filter(pk=shop.account.pk).update(preflight_always=always)
    batch = _Batch(shop.account.pk, gateway_for(shop.account), None, SHORT, database_now(), 8)
    assert batch.arm([(invoice.pk, None, invoice.payment_method_id)]) == ArmResult(refused=1)
    invoice.refresh_from_db()
    assert invoice.refusal == "preflight_missing"


@pytest.mark.parametrize(
    ("of_invoice", "of_card", "why"),
    [
        ({"attempt_count": 1, "preflight_at": -10, "look_from_at": -5}, {}, "preflight_missing"),
        ({}, {"unread_since": -9, "unreadable_at": -8, "given_up_at": -7}, "card_unreadable"),
    ],
    ids=["its look is older than what it must exclude", "a person went on without its card"],
)
def test_what_is_locked_is_refused_all_the_same_when(
    shop: Shop, of_invoice: dict[str, int], of_card: dict[str, int], why: str
) -> None:
    invoice, now = due(shop), database_now()

    def at(columns: dict[str, int]) -> dict[str, object]:
        return {
            name: now + timedelta(seconds=s) if name.endswith(("_at", "_since")) else s for name, s in columns.items()
        }

    Invoice.objects.filter(pk=invoice.pk).update(**at(of_invoice))
    PaymentMethod.objects.filter(pk=invoice.payment_method_id).update(**at(of_card))
    batch = _Batch(shop.account.pk, gateway_for(shop.account), None, SHORT, now, 8)
    assert batch.arm([(invoice.pk, None, invoice.payment_method_id)]) == ArmResult(refused=1)
    invoice.refresh_from_db()
    assert invoice.refusal == why


def test_live_account_is_not_even_contacted_until_it_is_allowed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    due(shop)
    type(shop.account).objects.filter(pk=shop.account.pk).update(environment="live")
    spoken_to: list[Gateway] = []
    monkeypatch.setattr(Gateway, "ensure_token", lambda gateway: spoken_to.append(gateway))
    assert shop.collect().armed == 0
    assert spoken_to == []


def test_stop_request_ends_arming(shop: Shop) -> None:
    due(shop)
    assert collect(tuning=SHORT, clock=database_now, should_stop=lambda: True, worker="test").armed == 0


def test_sender_that_fails_unexpectedly_leaves_it_unknown(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    invoice = due(shop)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(Gateway, "send", broken)
    assert shop.collect().states == {"unknown": 1}
    assert invoice.attempts.get().state_reason == "sender_failed"


def void(attempt: PaymentAttempt) -> None:
    Invoice.objects.filter(pk=attempt.invoice_id).update(state="void", closed_at=NOW, next_attempt_at=None)


def settle_verdict(attempt: PaymentAttempt, verdict: Verdict, **words: object) -> None:
    told = {"amount_minor": 1990, "currency": "MYR", "marker": attempt.marker, **words}
    settle([AttemptFinding(attempt.marker, Finding(verdict, Source.ORDER_LIST, **told))], tuning=SHORT, now=NOW)  # type: ignore[arg-type]
    attempt.refresh_from_db()
    attempt.invoice.refresh_from_db()


def test_money_for_a_void_invoice_is_an_overpayment() -> None:
    attempt = make_attempt()
    void(attempt)
    settle_verdict(attempt, Verdict.PAID, transaction_id="t-1")
    assert (attempt.state, attempt.invoice.state) == ("surplus", "void")


def test_a_decline_of_a_closed_invoice_asks_for_nothing_more() -> None:
    attempt = make_attempt()
    void(attempt)
    settle_verdict(attempt, Verdict.DECLINED, reason="51")
    assert (attempt.state, attempt.invoice.state, attempt.invoice.tries) == ("declined", "void", 0)


def test_a_contradiction_holds_the_card_by_itself() -> None:
    attempt = make_attempt()
    settle_verdict(attempt, Verdict.CONTRADICTION, reason="two_candidate_orders")
    attempt.payment_method.refresh_from_db()
    assert (attempt.state, attempt.payment_method.held_reason) == ("needs_review", "two_candidate_orders")


def test_stepped_wall_clock_moves_a_reader_and_no_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    sender, reader = AlignedClock(), AlignedClock()
    at = database_now()
    sender.align(at)
    monkeypatch.setattr(time, "time", lambda: at.timestamp() + 7200)
    assert 0 <= sender() - at.timestamp() < 60
    assert reader() == at.timestamp() + 7200
