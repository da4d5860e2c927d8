"""Whose order is it: where attempts of one amount meet on one card."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from django.db import transaction
from django.db.models import F

from billing.charging.attempts.settle import AttemptFinding
from billing.charging.reading import preflight
from billing.charging.reading.fetch import _says_nothing_new, fetch
from billing.charging.reading.known import CardRead, KnownCard
from billing.charging.reading.reconcile import PATIENCE, _findings, _postpone
from billing.charging.reading.record import record
from billing.domain.arming import PREFLIGHT_FRESH
from billing.domain.attempts import AttemptState, Finding, Source, Verdict
from billing.domain.matching import KnownAttempt, MarkerEcho, Wanted
from billing.gateway.connection import CardInfo, GatewayUnavailableError, ListedOrder, ReadTransaction, gateway_for
from billing.models import Event, Invoice
from billing.models.bulk import checking
from billing.models.bulk.checking import Check
from billing.models.clock import database_now
from rm_gateway.models import Transaction
from tests.conftest import SHORT, Shop
from tests.factories import NOW, make_attempt, make_card, make_customer, make_invoice, move_attempt


@pytest.mark.django_db
def test_attempt_armed_while_its_card_is_read_is_not_unexplained(shop: Shop, profile: str) -> None:
    """A declined invoice comes to its next try on the day on which the next one falls due."""
    shop.simulator.set(orders_visible_after=0)
    card = shop.card("4000000000000366")  # declines once, then succeeds
    tried = make_invoice(card, next_attempt_at=database_now())
    shop.collect()
    Invoice.objects.filter(pk=tried.pk).update(next_attempt_at=database_now())

    (reading,) = preflight.claim(shop.account, now=database_now(), limit=1)
    Invoice.objects.filter(pk=tried.pk).update(next_attempt_at=None)
    fresh = make_invoice(card, next_attempt_at=database_now(), asked_for=True)
    shop.collect()
    fresh.refresh_from_db()
    Invoice.objects.filter(pk=tried.pk).update(next_attempt_at=database_now())
    outcome = preflight.read(gateway_for(shop.account), reading)
    assert isinstance(outcome, list)
    assert [order.status for order in outcome[0].unexplained] == ["SUCCESS"]
    preflight.finish(reading, outcome, tuning=shop.tuning, now=database_now())

    card.refresh_from_db()
    tried.refresh_from_db()
    assert (fresh.state, card.held_reason, tried.refusal) == ("paid", "", None)
    assert tried.preflight_at == reading.started_at
    assert not Event.objects.filter(kind="payment_method.unexplained_order").exists()


DAYS, SECOND = timedelta(days=3), timedelta(seconds=1)
ORDER = ListedOrder("1001", "", "SUCCESS", 1990, "MYR", "", NOW)
WANTED = Wanted("MARKER000001", 1990, "MYR", NOW, None)
ASKED = KnownAttempt(1, AttemptState.UNKNOWN, answered_with_error=False, wanted=WANTED, order_id=None)
OTHER = replace(ASKED, id=2, wanted=replace(WANTED, marker="MARKER000002"))


class OneCard:
    """A gateway of one order and what is behind it."""

    def __init__(self, order: ListedOrder | None, transaction: Transaction | None = None) -> None:
        self.order, self.transaction = order, transaction

    def read_orders(self, _: str) -> list[ListedOrder]:
        return [self.order] if self.order else []

    def read_transaction(self, _: str) -> ReadTransaction:
        assert self.transaction is not None
        return ReadTransaction(self.transaction, "", {})

    def read_card(self, _: str) -> CardInfo:
        return CardInfo("customer", is_active=False, is_recurring=False, label="", payment_url="")


def read(gateway: OneCard, *attempts: KnownAttempt, explained: dict[str, tuple[str, int | None]]) -> CardRead:
    card = KnownCard(1, "pm_1", 1, "customer", MarkerEcho.PROVED_ABSENT, None, attempts, explained)
    return fetch(gateway, card)  # type: ignore[arg-type]


def test_an_order_from_before_the_card_was_ours_is_nobodys() -> None:
    found = read(OneCard(ORDER), ASKED, explained={"1001": ("SUCCESS", None)})
    assert (found.explained_by, found.unexplained, found.absent) == ({}, [], [ASKED])


def a_transaction(**changes: str) -> Transaction:
    told = {"transactionId": "2001", "status": "SUCCESS", "currencyType": "MYR"}
    order = {"id": "1", "title": "", "detail": "", "currencyType": "MYR", "amount": 1990, "additionalData": "1001"}
    return Transaction.parse({**told, "order": {**order, **changes}})


def test_order_and_transaction_that_disagree_are_a_contradiction() -> None:
    order = replace(ORDER, transaction_id="2001")
    known = replace(ASKED, wanted=replace(WANTED, transaction_id="2001"))
    agreed = read(OneCard(order, a_transaction()), known, explained={})
    disagreed = read(OneCard(order, a_transaction(additionalData="9009")), known, explained={})
    assert [told.finding.verdict for told in agreed.findings] == [Verdict.PAID]
    assert [told.finding.reason for told in disagreed.findings] == ["order_and_transaction_disagree"]


def test_unlisted_order_is_asked_about_by_its_transaction() -> None:
    known = replace(ASKED, wanted=replace(WANTED, transaction_id="2001"))
    found = read(OneCard(None, a_transaction()), known, explained={})
    assert [told.finding.verdict for told in found.findings] == [Verdict.PAID]
    assert found.absent == []


def test_inactive_card_declines_only_attempts_with_an_error() -> None:
    """A second attempt of the card, released by a person, that was never answered stays unknown."""
    refused = replace(OTHER, answered_with_error=True)
    found = read(OneCard(None), ASKED, refused, explained={})
    assert found.inactive
    checks = [check_of(attempt) for attempt in (ASKED, refused)]
    told = {one.marker: one.finding.verdict for one in _findings(found, checks, {}, SHORT)}
    assert told == {ASKED.wanted.marker: Verdict.ABSENT, refused.wanted.marker: Verdict.DECLINED}


def test_a_card_that_is_still_active_declines_nothing() -> None:
    refused = replace(ASKED, answered_with_error=True)
    read = CardRead(card_with(refused), [], absent=[refused])
    (told,) = _findings(read, [check_of(refused)], {}, SHORT)
    assert told.finding.verdict is Verdict.ABSENT


def check_of(attempt: KnownAttempt, done: int = 0, read_at: datetime = NOW + SHORT.rungs[-1]) -> Check:
    return Check(attempt.id, 1, 1, NOW, done, 0, attempt.wanted.marker, None, read_at)


def test_read_before_its_rung_proves_no_absence() -> None:
    refused = replace(ASKED, answered_with_error=True)
    read = CardRead(card_with(refused), [], absent=[refused], inactive=True)
    early = check_of(refused, len(SHORT.rungs) - 1, NOW + SHORT.rungs[-1] - timedelta(microseconds=1))
    (told,) = _findings(read, [early], {}, SHORT)
    assert (told.finding.verdict, told.finding.detail) == (Verdict.ABSENT, {"before_check": len(SHORT.rungs)})


def card_with(*attempts: KnownAttempt) -> KnownCard:
    return KnownCard(1, "pm_1", 1, "customer", MarkerEcho.UNPROVEN, None, attempts, {})


KNOWN = replace(ASKED, wanted=replace(WANTED, transaction_id="2001"))


@pytest.mark.parametrize(
    ("state", "status", "transaction_id", "new"),
    [
        (AttemptState.SUCCEEDED, "SUCCESS", "2001", False),
        (AttemptState.SUCCEEDED, "SUCCESS", "2002", True),
        (AttemptState.UNKNOWN, "SUCCESS", "2001", True),
        (AttemptState.DECLINED, "SUCCESS", "2001", True),
        (AttemptState.DECLINED, "FAILED", "2001", False),
        (AttemptState.UNKNOWN, "FAILED", "2001", True),
        (AttemptState.SUCCEEDED, "FAILED", "2001", True),
    ],
)
def test_order_is_new_unless_all_of_it_is_known(
    state: AttemptState, status: str, transaction_id: str, new: bool
) -> None:
    order = replace(ORDER, status=status, transaction_id=transaction_id)
    assert _says_nothing_new(replace(KNOWN, state=state), order) is not new


@pytest.mark.parametrize("verdict", [Verdict.IN_PROCESS, Verdict.UNCLEAR, Verdict.REVERSED])
def test_never_decided_attempt_needs_review_at_its_last_check(verdict: Verdict) -> None:
    def told_at(number: int) -> Finding:
        read = CardRead(
            card_with(ASKED), [], findings=[AttemptFinding(ASKED.wanted.marker, Finding(verdict, Source.ORDER_LIST))]
        )
        (told,) = _findings(read, [check_of(ASKED, number - 1)], {}, SHORT)
        return told.finding

    last = len(SHORT.rungs)
    for number in range(1, last):
        assert (told_at(number).verdict, told_at(number).detail) == (verdict, {"check": number})
    assert (told_at(last).verdict, told_at(last).reason) == (Verdict.ABSENT_AT_LAST, f"still_{verdict.value}")


def test_undecided_attempt_waits_for_the_time_of_its_last_check() -> None:
    finding = Finding(Verdict.IN_PROCESS, Source.ORDER_LIST)
    read = CardRead(card_with(ASKED), [], findings=[AttemptFinding(ASKED.wanted.marker, finding)])
    early = check_of(ASKED, len(SHORT.rungs) - 1, NOW + SHORT.rungs[-1] - timedelta(microseconds=1))
    (told,) = _findings(read, [early], {}, SHORT)
    assert told.finding.verdict is Verdict.IN_PROCESS


@pytest.mark.django_db(transaction=True)
def test_inside_another_transaction_no_read_is_written() -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        record(CardRead(card_with(), []), [], tuning=SHORT, now=NOW)


@pytest.mark.django_db
class TestLeases:
    def declined(self, shop: Shop) -> Invoice:
        invoice = make_invoice(make_card(make_customer(shop.account)))
        attempt = move_attempt(make_attempt(invoice), "declined")
        Invoice.objects.filter(pk=attempt.invoice_id).update(next_attempt_at=NOW)
        return invoice

    def test_every_card_that_was_tried_and_the_next_one_are_read(self, shop: Shop) -> None:
        invoice = self.declined(shop)
        first = invoice.payment_method
        assert first is not None
        other = make_card(first.customer, is_default=False)
        Invoice.objects.filter(pk=invoice.pk).update(payment_method=other)
        (reading,) = preflight.claim(shop.account, now=NOW, limit=1)
        assert reading.preflight.card_ids == (first.pk, other.pk)

    def test_lease_is_exclusive_and_a_lost_one_makes_nothing_ready(self, shop: Shop) -> None:
        invoice = self.declined(shop)
        (slept,) = preflight.claim(shop.account, now=NOW, limit=1)
        assert preflight.claim(shop.account, now=NOW + timedelta(seconds=1), limit=1) == []
        Invoice.objects.filter(pk=invoice.pk).update(lease_token=F("lease_token") + 1)
        preflight.finish(slept, [], tuning=SHORT, now=NOW)
        invoice.refresh_from_db()
        assert invoice.preflight_at is None, "somebody asked for another look meanwhile"
        later = NOW + preflight.LEASE
        (reading,) = preflight.claim(shop.account, now=later, limit=1)

        preflight.finish(slept, [], tuning=SHORT, now=later)
        preflight.finish(slept, GatewayUnavailableError("no answer"), tuning=SHORT, now=later)
        invoice.refresh_from_db()
        assert (invoice.preflight_at, invoice.refusal) == (None, None)
        preflight.finish(reading, [], tuning=SHORT, now=later)
        invoice.refresh_from_db()
        assert invoice.preflight_at == later

    def test_read_that_took_longer_than_it_is_good_for_is_refused(self, shop: Shop) -> None:
        invoice = self.declined(shop)
        (reading,) = preflight.claim(shop.account, now=NOW, limit=1)
        preflight.finish(reading, [], tuning=SHORT, now=NOW + PREFLIGHT_FRESH + timedelta(seconds=1))
        invoice.refresh_from_db()
        assert (invoice.preflight_at, invoice.refusal) == (None, "preflight_missing")

    def test_failed_read_puts_nothing_back_on_the_work_list(self, shop: Shop) -> None:
        invoice = self.declined(shop)
        (reading,) = preflight.claim(shop.account, now=NOW, limit=1)
        Invoice.objects.filter(pk=invoice.pk).update(next_attempt_at=None)
        preflight.finish(reading, GatewayUnavailableError("no answer"), tuning=SHORT, now=NOW)
        invoice.refresh_from_db()
        assert (invoice.next_attempt_at, invoice.refusal) == (None, None)

    def test_attempt_that_ended_while_unread_is_not_checked_again(self) -> None:
        attempt = move_attempt(make_attempt(), "unknown", next_check_at=NOW)
        checks = checking.claim(now=NOW, longest_wait=DAYS, limit=9)
        move_attempt(attempt, "declined", next_check_at=None)
        _postpone(checks, SHORT, NOW)
        attempt.refresh_from_db()
        assert (attempt.next_check_at, attempt.checks_failed) == (None, 0)

    def test_attempt_is_checked_by_one_worker_at_a_time(self) -> None:
        attempt = move_attempt(make_attempt(), "unknown", next_check_at=NOW)
        (check,) = checking.claim(now=NOW, longest_wait=DAYS, limit=9)
        assert check.attempt_id == attempt.pk
        assert checking.claim(now=NOW + checking.LEASE - SECOND, longest_wait=DAYS, limit=9) == []
        assert len(checking.claim(now=NOW + checking.LEASE, longest_wait=DAYS, limit=9)) == 1

    def test_attempt_that_cannot_be_read_for_days_needs_review(self) -> None:
        attempt = move_attempt(make_attempt(), "unknown", next_check_at=NOW)
        checks = checking.claim(now=NOW, longest_wait=DAYS, limit=9)
        _postpone(checks, SHORT, NOW + PATIENCE)
        attempt.refresh_from_db()
        assert attempt.state == "unknown"
        _postpone(checks, SHORT, NOW + PATIENCE + timedelta(seconds=1))
        attempt.refresh_from_db()
        assert (attempt.state, attempt.state_reason) == ("needs_review", "reads_keep_failing")
