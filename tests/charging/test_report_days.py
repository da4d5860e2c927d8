"""Whose a payment of a daily report is, and what becomes of one that is nobody's; the gateway is a table."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing.charging.reading import report_days
from billing.charging.reading.late_money import LEASE
from billing.domain.late_money import starts_at
from billing.gateway.connection import (
    GatewayUnavailableError,
    ReadTransaction,
    ReportedPayment,
    TransactionNotKnownError,
)
from billing.models import (
    Event,
    FoundPayment,
    GatewayAccount,
    GatewayTransaction,
    Invoice,
    PaymentAttempt,
    PaymentMethod,
    ReportDay,
)
from billing.models.bulk.sql import HeldError
from rm_gateway.models import Transaction
from tests.conftest import SHORT
from tests.factories import make_account, make_attempt, make_card, make_customer, make_invoice, move_attempt
from tests.promises.attacks import make_gateway_order

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)  # after midnight in Malaysia
PAYMENT = ReportedPayment("2001", 1990, "MYR", NOW)


def seen(transaction_id: str, words: str, *, order: str = "1001", status: str = "SUCCESS") -> ReadTransaction:
    told = {
        "transactionId": transaction_id,
        "status": status,
        "currencyType": "MYR",
        "order": {"id": f"{order}R0", "title": words, "additionalData": order, "currencyType": "MYR", "amount": 1990},
    }
    return ReadTransaction(Transaction.parse(told), words, {})


class Gateway:
    """Answers with what it was given: a report that is always the same, and transactions or errors."""

    def __init__(self, *answers: ReadTransaction | tuple[str, Exception]) -> None:
        self.answers: dict[str, ReadTransaction | Exception] = {}
        for one in answers:
            name, answer = one if isinstance(one, tuple) else (one.transaction.transaction_id, one)
            self.answers[name] = answer
        self.asked: list[str] = []

    def read_report(self, _: Any) -> Sequence[ReportedPayment]:
        return [replace(PAYMENT, transaction_id=name) for name in self.answers]

    def read_transaction(self, name: str) -> ReadTransaction:
        self.asked.append(name)
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer


def read_day(account: GatewayAccount, gateway: Gateway, *, now: datetime = NOW) -> ReportDay:
    """Reads the report of 2 March as a run does."""
    ReportDay.objects.get_or_create(account=account, day="2026-03-02", defaults={"next_read_at": now})
    ReportDay.objects.exclude(day="2026-03-02").delete()
    ReportDay.objects.update(next_read_at=now)
    days = [one for one in report_days.claim(account, now=now, lease=LEASE) if str(one.day) == "2026-03-02"]
    lists = report_days.read(gateway, days)  # type: ignore[arg-type]
    names = {day.id: report_days.not_known_yet(day, lists[day.id]) for day in days}
    answers = report_days.Asking(gateway, names)()  # type: ignore[arg-type]
    for day in days:
        report_days.finish(day, lists[day.id], answers, read_at=now, tuning=SHORT, now=now)
    return ReportDay.objects.get(account=account, day="2026-03-02")


@pytest.fixture
def account() -> GatewayAccount:
    return make_account(created_at=NOW)


def declined(account: GatewayAccount, **columns: Any) -> PaymentAttempt:
    card = make_card(make_customer(account))
    return move_attempt(make_attempt(make_invoice(card), card, **columns), "declined")


def test_a_payment_with_our_marker_is_settled_on_its_attempt(account: GatewayAccount) -> None:
    attempt = declined(account)
    day = read_day(account, Gateway(seen("2001", f"Coffee {attempt.marker}")))
    attempt.refresh_from_db()
    assert (attempt.state, attempt.gateway_transaction_id) == ("succeeded", "2001")
    assert Invoice.objects.get().state == "paid"
    assert (day.payments, day.explained, day.unexplained, day.failure) == (1, 1, 0, "")
    assert day.complete_at == NOW


@pytest.mark.parametrize("state", ["not_sent", "unknown", "needs_review", "succeeded"])
def test_it_is_settled_whatever_became_of_the_attempt(account: GatewayAccount, state: str) -> None:
    card = make_card(make_customer(account))
    attempt = make_attempt(make_invoice(card), card)
    move_attempt(attempt, *(["unknown"] if state == "needs_review" else []), state)
    read_day(account, Gateway(seen("2001", f"Coffee {attempt.marker}")))
    attempt.refresh_from_db()
    alarms = Event.objects.filter(kind="attempt.alarm").count()
    expected = {"needs_review": ("needs_review", 1), "succeeded": ("succeeded", 1)}
    assert (attempt.state, alarms) == expected.get(state, ("succeeded", 0))


def test_a_payment_without_a_marker_is_its_orders(account: GatewayAccount) -> None:
    attempt = declined(account, gateway_order_id="1001", gateway_transaction_id="2000")
    read_day(account, Gateway(seen("2001", "Coffee", order="1001")))
    attempt.refresh_from_db()
    assert attempt.state == "succeeded"


def test_a_payment_with_anothers_marker_is_not_its_orders(account: GatewayAccount) -> None:
    attempt = declined(account, gateway_order_id="1001", gateway_transaction_id="2000")
    read_day(account, Gateway(seen("2001", "Coffee 7K3M9QX2B5TD", order="1001")))
    attempt.refresh_from_db()
    assert attempt.state == "declined"
    assert FoundPayment.objects.get().kind == "unknown_marker"


def test_another_accounts_attempt_explains_nothing_here(account: GatewayAccount) -> None:
    attempt = declined(make_account())
    read_day(account, Gateway(seen("2001", f"Coffee {attempt.marker}")))
    attempt.refresh_from_db()
    assert attempt.state == "declined"
    assert FoundPayment.objects.get().account == account


def test_unmarked_payment_on_our_card_is_listed_and_card_is_read(account: GatewayAccount) -> None:
    attempt = declined(account)
    make_gateway_order(attempt, gateway_order_id="1009", attempt=None, status="FAILED")
    day = read_day(account, Gateway(seen("2001", "Coffee", order="1009"), seen("2002", "Tea", order="1010")))
    assert (day.payments, day.explained, day.unexplained) == (2, 0, 1)
    assert FoundPayment.objects.get().kind == "without_marker"
    assert Event.objects.get(kind="payment.unexplained").payload["transaction"] == "2001"
    assert PaymentMethod.objects.get(pk=attempt.payment_method_id).next_watch_at == NOW


def test_order_from_before_the_card_was_ours_is_not_listed(account: GatewayAccount) -> None:
    make_gateway_order(declined(account), gateway_order_id="1009", attempt=None, in_baseline=True)
    read_day(account, Gateway(seen("2001", "Coffee", order="1009")))
    assert FoundPayment.objects.count() == 0


def test_a_payment_is_asked_about_once(account: GatewayAccount) -> None:
    declined(account)
    gateway = Gateway(seen("2001", "Tea", order="1010"))
    read_day(account, gateway)
    read_day(account, gateway, now=NOW + timedelta(days=1))
    assert gateway.asked == ["2001"]
    GatewayTransaction.objects.update(status="FAILED")  # it had not taken money yet when it was read
    read_day(account, gateway, now=NOW + timedelta(days=2))
    assert gateway.asked == ["2001", "2001"]


def test_what_an_attempt_explains_is_not_asked_about(account: GatewayAccount) -> None:
    card = make_card(make_customer(account))
    move_attempt(make_attempt(make_invoice(card), card), "succeeded", gateway_transaction_id="2001")
    gateway = Gateway(seen("2001", "Coffee"))
    assert read_day(account, gateway).explained == 1
    assert gateway.asked == []


def test_one_payment_that_cannot_be_read_keeps_no_other_back(account: GatewayAccount) -> None:
    attempt = declined(account)
    odd = ("2000", TransactionNotKnownError("no such transaction"))
    day = read_day(account, Gateway(odd, seen("2001", f"Coffee {attempt.marker}")))
    attempt.refresh_from_db()
    assert attempt.state == "succeeded"
    assert day.failure.startswith("1 payments could not be read")
    assert (day.complete_at, day.failures, day.next_read_at) == (None, 1, NOW + timedelta(minutes=10))


def test_a_gateway_that_does_not_answer_is_not_asked_on_and_on(account: GatewayAccount) -> None:
    declined(account)
    gateway = Gateway(*((str(number), GatewayUnavailableError("no answer")) for number in range(2000, 2050)))
    day = read_day(account, gateway)
    assert len(gateway.asked) == report_days.FAILURES_IN_A_ROW
    assert day.failures == 1


def test_one_payment_that_cannot_be_recorded_keeps_no_other_back(
    account: GatewayAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = declined(account), declined(account)
    settle = report_days.settle_in_transaction

    def refuse(told: Any, **known: Any) -> dict[str, int]:
        if told[0].marker == bad.marker:
            raise ValueError("cannot be written")
        return settle(told, **known)

    monkeypatch.setattr(report_days, "settle_in_transaction", refuse)
    answers = seen("2001", f"Coffee {bad.marker}", order="1001"), seen("2002", f"Coffee {good.marker}", order="1002")
    day = read_day(account, Gateway(*answers))
    good.refresh_from_db()
    assert good.state == "succeeded"
    assert day.failure == "payment 2001 could not be recorded: ValueError"
    assert not GatewayTransaction.objects.filter(gateway_transaction_id="2001").exists()


def test_payment_whose_row_is_held_does_not_make_the_day_fail(
    account: GatewayAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = declined(account)

    def held(*_: Any, **__: Any) -> dict[str, int]:
        raise HeldError("canceling statement due to lock timeout")

    gateway = Gateway(seen("2001", f"Coffee {attempt.marker}"))
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(report_days, "settle_in_transaction", held)
        with pytest.raises(HeldError):
            read_day(account, gateway)
    day = ReportDay.objects.get(account=account, day="2026-03-02")
    assert (day.failures, day.next_read_at) == (0, NOW + LEASE)


def test_a_read_before_the_day_is_over_does_not_make_it_complete(account: GatewayAccount) -> None:
    declined(account)
    before = starts_at(NOW.date()) + timedelta(hours=20)
    assert read_day(account, Gateway(), now=before).complete_at is None


def test_an_account_that_never_charged_has_no_reports_to_read(account: GatewayAccount) -> None:
    assert report_days.claim(account, now=NOW, lease=LEASE) == []
    assert ReportDay.objects.count() == 0


def test_more_payments_than_one_run_asks_about_go_on_in_the_next(
    account: GatewayAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    declined(account)
    monkeypatch.setattr(report_days, "ASKED_AT_MOST", 2)
    gateway = Gateway(*(seen(str(number), "Tea", order=str(number)) for number in range(2000, 2005)))
    for run in range(3):
        day = read_day(account, gateway)
        assert (day.complete_at is None) == (run < 2)
    assert len(gateway.asked) == len(set(gateway.asked)) == 5
