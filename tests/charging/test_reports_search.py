"""What the daily reports say of an attempt, at a gateway that is a table; and what absence means then."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from billing.charging.reading import report_search
from billing.charging.reading.known import CardRead, KnownCard
from billing.charging.reading.reconcile import _absence
from billing.charging.reading.report_search import MOST_CANDIDATES, Searched, known_transactions, search
from billing.domain.attempts import AttemptState, Verdict
from billing.domain.matching import KnownAttempt, MarkerEcho, Wanted
from billing.gateway.connection import GatewayUnavailableError, ReadTransaction, ReportedPayment
from billing.models.bulk.checking import Check
from rm_gateway.models import Transaction
from tests.conftest import SHORT
from tests.factories import make_attempt, make_card, make_invoice, move_attempt

NOON = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)  # in Malaysia
LATER = NOON + timedelta(hours=50)
DAY, NEXT = date(2026, 3, 2), date(2026, 3, 3)
ATTEMPT = KnownAttempt(1, AttemptState.UNKNOWN, False, Wanted("MARKER000001", 1990, "MYR", NOON, None), None)
PAYMENT = ReportedPayment("2001", 1990, "MYR", NOON)
OF_OURS = ReportedPayment("1999", 1990, "MYR", NOON)
KNOWN = {"1999": True}


class Gateway:
    """Answers a transaction with the words that it is known by, and a day with its payments."""

    def __init__(self, words: dict[str, str] | None = None, **days: Sequence[ReportedPayment]) -> None:
        self.words, self.days = words or {}, days
        self.asked: list[str] = []

    def read_report(self, day: date) -> Sequence[ReportedPayment]:
        if f"of_{day.day}" not in self.days:
            raise GatewayUnavailableError("no answer")
        return self.days[f"of_{day.day}"]

    def read_transaction(self, transaction_id: str) -> ReadTransaction:
        self.asked.append(transaction_id)
        if transaction_id not in self.words:
            raise GatewayUnavailableError("no answer")
        words = self.words[transaction_id]
        order = {"id": "1", "title": words, "detail": "", "currencyType": "MYR", "amount": 1990}
        told = {"transactionId": transaction_id, "status": "SUCCESS", "currencyType": "MYR", "order": order}
        return ReadTransaction(Transaction.parse(told), words, {})


def searched(gateway: Gateway, *payments: ReportedPayment, next_day: Sequence[ReportedPayment] | None = ()) -> Searched:
    return search(gateway, ATTEMPT, {DAY: [OF_OURS, *payments], NEXT: next_day}, KNOWN, read_at=LATER)  # type: ignore[arg-type]


def test_absence_counts_when_both_days_are_read_and_one_proved() -> None:
    assert searched(Gateway()).counts
    assert not searched(Gateway(), next_day=None).counts
    assert not search(Gateway(), ATTEMPT, {DAY: [], NEXT: []}, KNOWN, read_at=LATER).counts  # type: ignore[arg-type]


def test_a_day_that_could_not_be_read_is_not_an_empty_one() -> None:
    read = report_search.read(Gateway(of_2=[OF_OURS]), [DAY, NEXT])  # type: ignore[arg-type]
    assert read == {DAY: [OF_OURS], NEXT: None}


@pytest.mark.parametrize("known", [{}, {"1999": False}])
def test_payment_not_known_as_a_success_proves_no_whole_report(
    known: dict[str, bool],
) -> None:
    gateway = Gateway({"1999": "Coffee MARKER000002"})
    assert not search(gateway, ATTEMPT, {DAY: [OF_OURS], NEXT: []}, known, read_at=LATER).counts  # type: ignore[arg-type]


def test_a_payment_with_our_marker_is_found() -> None:
    found = searched(Gateway({"2001": "Coffee MARKER000001"}), PAYMENT)
    assert found.found is not None
    assert not found.counts


def test_a_payment_with_anothers_marker_is_no_candidate() -> None:
    assert searched(Gateway({"2001": "Coffee MARKER000002"}), PAYMENT).counts


def test_a_payment_without_a_marker_may_be_the_attempts() -> None:
    found = searched(Gateway({"2001": "Coffee"}), PAYMENT)
    assert (found.nameless, found.counts) == (("2001",), False)


def test_only_unclaimed_payments_that_could_fit_are_queried() -> None:
    gateway = Gateway({"2001": "Coffee MARKER000002"})
    late = replace(PAYMENT, transaction_id="2002", transaction_at=NOON + timedelta(hours=5))
    searched(gateway, PAYMENT, replace(PAYMENT, transaction_id="2003", amount_minor=2990), late)
    assert gateway.asked == ["2001"]


def test_a_payment_that_cannot_be_read_settles_nothing() -> None:
    found = searched(Gateway(), PAYMENT)
    assert (found.counts, found.detail["not_read"]) == (False, "2001")


def test_too_many_candidates_settle_nothing() -> None:
    payments = [replace(PAYMENT, transaction_id=str(number)) for number in range(MOST_CANDIDATES + 1)]
    gateway = Gateway({payment.transaction_id: "Coffee MARKER000002" for payment in payments})
    assert not searched(gateway, *payments).counts
    assert gateway.asked == []
    assert searched(gateway, *payments[1:]).counts


@pytest.mark.django_db
def test_known_are_the_accounts_own_and_whether_they_have_money() -> None:
    paid = move_attempt(make_attempt(), "succeeded", gateway_transaction_id="1")
    card = make_card(paid.payment_method.customer, is_default=False)
    move_attempt(make_attempt(make_invoice(card), card), "declined", gateway_transaction_id="2")
    move_attempt(make_attempt(), "succeeded", gateway_transaction_id="3")  # another account's
    listed = {DAY: [replace(PAYMENT, transaction_id=name) for name in "1234"], NEXT: None}
    assert known_transactions(paid.account_id, listed) == {"1": True, "2": False}


LAST = len(SHORT.rungs) - 1  # looks before the last one
LONG = timedelta(hours=60)


@pytest.mark.parametrize(
    ("done", "permitted_after", "waited", "found", "verdict"),
    [
        (0, None, LONG, Searched(), Verdict.ABSENT),
        (LAST, None, LONG, Searched(), Verdict.ABSENT_AT_LAST),
        (0, None, LONG, Searched(counts=True), Verdict.ABSENT_AT_LAST),
        (0, None, LONG, Searched(nameless=("2001",)), Verdict.CONTRADICTION),
        (LAST, LONG, LONG, Searched(nameless=("2001",)), Verdict.CONTRADICTION),
        (LAST, LONG, LONG, Searched(), Verdict.ABSENT_FOR_LONG),
        (LAST, LONG, LONG - timedelta(seconds=1), Searched(), Verdict.ABSENT),
        (LAST - 1, LONG, LONG, Searched(), Verdict.ABSENT),
    ],
)
def test_what_absence_means(
    done: int, permitted_after: timedelta | None, waited: timedelta, found: Searched, verdict: Verdict
) -> None:
    card = KnownCard(1, "pm_1", 1, "customer", MarkerEcho.UNPROVEN, permitted_after, (ATTEMPT,), {})
    read = CardRead(card, [], absent=[ATTEMPT])
    check = Check(ATTEMPT.id, 1, 1, NOON, done, 0, ATTEMPT.wanted.marker, None, NOON + waited)
    assert _absence(read, check, found, SHORT).verdict is verdict
