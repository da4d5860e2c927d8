"""Whose order is it: where attempts of one amount meet on one card."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import transaction

from billing.charging import preflight
from billing.charging.card_reading import (
    CardRead,
    KnownAttempt,
    KnownCard,
    _explain,
    _says_nothing_new,
    fetch,
    record,
)
from billing.charging.reconcile import PATIENCE, _findings, _postpone
from billing.charging.settle import Told
from billing.domain.attempts import AttemptState, Finding, Source, Verdict
from billing.domain.matching import MarkerEcho, Wanted
from billing.gateway.connection import CardInfo, GatewayUnavailableError, ListedOrder, ReadTransaction, gateway_for
from billing.models import Event, Invoice
from billing.models.bulk import checking
from billing.models.bulk.checking import Check
from billing.models.clock import database_now
from rm_gateway.models import Transaction
from tests.conftest import SHORT, Shop
from tests.factories import NOW, make_attempt, make_card, make_customer, make_invoice, move_attempt


@pytest.mark.django_db
def test_an_attempt_that_is_armed_while_its_card_is_read_is_no_stranger(shop: Shop, profile: str) -> None:
    """A declined invoice comes to its next try on the day on which the next one falls due."""
    shop.simulator.set(orders_visible_after=0)
    card = shop.card("4000000000000366")  # declines once, then succeeds
    tried = make_invoice(card, next_attempt_at=database_now())
    shop.collect()
    Invoice.objects.filter(pk=tried.pk).update(next_attempt_at=database_now())

    (reading,) = preflight.claim(shop.account, now=database_now(), limit=1)
    Invoice.objects.filter(pk=tried.pk).update(next_attempt_at=None)
    fresh = make_invoice(card, next_attempt_at=database_now())
    shop.collect()
    fresh.refresh_from_db()
    Invoice.objects.filter(pk=tried.pk).update(next_attempt_at=database_now())
    outcome = preflight.read(gateway_for(shop.account), reading)
    assert isinstance(outcome, list)
    assert [order.status for order in outcome[0].unexplained] == ["SUCCESS"]
    preflight.finish(reading, outcome, limits=shop.limits, now=database_now())

    card.refresh_from_db()
    tried.refresh_from_db()
    assert (fresh.state, card.held_reason, tried.refusal) == ("paid", "", None)
    assert tried.preflight_at == reading.begun_at
    assert not Event.objects.filter(kind="card.unexplained_order").exists()


ORDER = ListedOrder("1001", "", "SUCCESS", 1990, "MYR", "", NOW)
WANTED = Wanted("MARKER000001", 1990, "MYR", NOW, None)
ASKED = KnownAttempt(1, AttemptState.UNKNOWN, answered_with_error=False, wanted=WANTED, order_id=None)
OTHER = replace(ASKED, id=2, wanted=replace(WANTED, marker="MARKER000002"))


def outcome_of_reading(other: KnownAttempt) -> list[tuple[Verdict, str]]:
    """What is said of ASKED when the one order names nobody, and the account proved that orders never do."""
    card = KnownCard(1, "pm_1", 1, "customer", MarkerEcho.PROVED_ABSENT, None, (ASKED, other), {})
    read = CardRead(card, [ORDER])
    _explain(read, [ORDER])
    assert read.explained_by in ({}, {"1001": 1})
    return [(told.finding.verdict, told.finding.reason) for told in read.findings]


@pytest.mark.parametrize(
    "state", [AttemptState.NEEDS_HUMAN, AttemptState.NOT_CHARGED, AttemptState.DECLINED, AttemptState.SENDING]
)
def test_an_order_that_two_attempts_may_have_made_is_given_to_none(state: AttemptState) -> None:
    assert outcome_of_reading(replace(OTHER, state=state)) == [
        (Verdict.CONTRADICTION, "order_with_two_possible_makers")
    ]


@pytest.mark.parametrize(
    "other",
    [
        replace(OTHER, state=AttemptState.NOT_SENT),
        replace(OTHER, state=AttemptState.DECLINED, order_id="1000"),
        replace(OTHER, state=AttemptState.DECLINED, wanted=replace(WANTED, armed_at=NOW - timedelta(days=1))),
        replace(OTHER, state=AttemptState.NEEDS_HUMAN, wanted=replace(WANTED, amount_minor=2990)),
    ],
    ids=["never sent", "has its order", "long ago", "another amount"],
)
def test_an_order_that_no_other_attempt_can_have_made_is_the_one_that_is_asked_about(other: KnownAttempt) -> None:
    assert outcome_of_reading(other) == []  # without a transaction there is nothing to tell yet, but it is explained


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


def test_an_order_whose_transaction_names_another_is_a_contradiction_when_they_disagree() -> None:
    order = replace(ORDER, transaction_id="2001")
    known = replace(ASKED, wanted=replace(WANTED, transaction_id="2001"))
    agreed = read(OneCard(order, a_transaction()), known, explained={})
    disagreed = read(OneCard(order, a_transaction(additionalData="9009")), known, explained={})
    assert [told.finding.verdict for told in agreed.findings] == [Verdict.PAID]
    assert [told.finding.reason for told in disagreed.findings] == ["order_and_transaction_disagree"]


def test_an_attempt_whose_order_is_not_listed_yet_is_asked_about_by_its_transaction() -> None:
    known = replace(ASKED, wanted=replace(WANTED, transaction_id="2001"))
    found = read(OneCard(None, a_transaction()), known, explained={})
    assert [told.finding.verdict for told in found.findings] == [Verdict.PAID]
    assert found.absent == []


def test_an_inactive_card_declines_only_what_was_answered_with_an_error() -> None:
    """A second attempt of the card, released by a person, that was never answered stays unknown."""
    refused = replace(OTHER, answered_with_error=True)
    found = read(OneCard(None), ASKED, refused, explained={})
    assert found.inactive
    checks = [Check(attempt.id, 1, 1, NOW, 0, 0) for attempt in (ASKED, refused)]
    told = {one.attempt_id: one.finding.verdict for one in _findings(found, checks, {}, SHORT, NOW)}
    assert told == {ASKED.id: Verdict.ABSENT, refused.id: Verdict.DECLINED}


def test_a_card_that_is_still_active_declines_nothing() -> None:
    refused = replace(ASKED, answered_with_error=True)
    read = CardRead(card_with(refused), [], absent=[refused])
    (told,) = _findings(read, [Check(refused.id, 1, 1, NOW, 0, 0)], {}, SHORT, NOW)
    assert told.finding.verdict is Verdict.ABSENT


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
def test_an_order_says_something_new_unless_all_of_it_is_known(
    state: AttemptState, status: str, transaction_id: str, new: bool
) -> None:
    order = replace(ORDER, status=status, transaction_id=transaction_id)
    assert _says_nothing_new(replace(KNOWN, state=state), order) is not new


@pytest.mark.parametrize(
    ("attempts", "order", "riddle"),
    [
        ([], ORDER, True),
        ([], replace(ORDER, status="FAILED"), False),
        ([replace(OTHER, state=AttemptState.SENDING)], ORDER, False),
        ([replace(OTHER, state=AttemptState.NEEDS_HUMAN)], ORDER, False),
        ([replace(OTHER, state=AttemptState.NEEDS_HUMAN)], replace(ORDER, amount_minor=2990), True),
        ([replace(OTHER, state=AttemptState.DECLINED)], ORDER, True),
    ],
)
def test_a_failed_order_and_one_of_what_is_sent_or_decided_is_no_riddle(
    attempts: list[KnownAttempt], order: ListedOrder, riddle: bool
) -> None:
    read = CardRead(card_with(*attempts), [order])
    _explain(read, [order])
    assert read.unexplained == ([order] if riddle else [])


@pytest.mark.parametrize("verdict", [Verdict.IN_PROCESS, Verdict.UNCLEAR, Verdict.REVERSED])
def test_what_is_never_decided_is_told_at_each_look_and_goes_to_a_person_at_the_last(verdict: Verdict) -> None:
    def told_at(number: int) -> Finding:
        read = CardRead(card_with(ASKED), [], findings=[Told(ASKED.id, Finding(verdict, Source.ORDER_LIST))])
        (told,) = _findings(read, [Check(ASKED.id, 1, 1, NOW, number - 1, 0)], {}, SHORT, NOW)
        return told.finding

    last = len(SHORT.rungs)
    for number in range(1, last):
        assert (told_at(number).verdict, told_at(number).detail) == (verdict, {"check": number})
    assert (told_at(last).verdict, told_at(last).reason) == (Verdict.ABSENT_AT_LAST, f"still_{verdict.value}")


@pytest.mark.django_db(transaction=True)
def test_inside_another_transaction_nothing_that_was_read_is_written() -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        record(CardRead(card_with(), []), [], limits=SHORT, now=NOW)


@pytest.mark.django_db
class TestLeases:
    def declined(self, shop: Shop) -> Invoice:
        invoice = make_invoice(make_card(make_customer(shop.account)))
        attempt = move_attempt(make_attempt(invoice), "declined")
        Invoice.objects.filter(pk=attempt.invoice_id).update(next_attempt_at=NOW)
        return invoice

    def test_every_card_that_was_tried_is_read_and_the_one_that_is_next(self, shop: Shop) -> None:
        invoice = self.declined(shop)
        first = invoice.payment_method
        assert first is not None
        other = make_card(first.customer, is_default=False)
        Invoice.objects.filter(pk=invoice.pk).update(payment_method=other)
        (reading,) = preflight.claim(shop.account, now=NOW, limit=1)
        assert reading.preflight.card_ids == (first.pk, other.pk)

    def test_a_lease_is_one_readers_until_it_ends_and_a_lost_one_makes_nothing_ready(self, shop: Shop) -> None:
        invoice = self.declined(shop)
        (slept,) = preflight.claim(shop.account, now=NOW, limit=1)
        assert preflight.claim(shop.account, now=NOW + timedelta(seconds=1), limit=1) == []
        later = NOW + preflight.LEASE
        (reading,) = preflight.claim(shop.account, now=later, limit=1)

        preflight.finish(slept, [], limits=SHORT, now=later)
        preflight.finish(slept, GatewayUnavailableError("no answer"), limits=SHORT, now=later)
        invoice.refresh_from_db()
        assert (invoice.preflight_at, invoice.refusal) == (None, None)
        preflight.finish(reading, [], limits=SHORT, now=later)
        invoice.refresh_from_db()
        assert invoice.preflight_at == later

    def test_a_look_that_failed_puts_nothing_back_on_the_work_list(self, shop: Shop) -> None:
        invoice = self.declined(shop)
        (reading,) = preflight.claim(shop.account, now=NOW, limit=1)
        Invoice.objects.filter(pk=invoice.pk).update(next_attempt_at=None)
        preflight.finish(reading, GatewayUnavailableError("no answer"), limits=SHORT, now=NOW)
        invoice.refresh_from_db()
        assert (invoice.next_attempt_at, invoice.refusal) == (None, None)

    def test_what_ended_while_it_could_not_be_read_is_not_looked_at_again(self) -> None:
        attempt = move_attempt(make_attempt(), "unknown", next_check_at=NOW)
        checks = checking.claim(now=NOW, lease=timedelta(seconds=9), limit=9)
        move_attempt(attempt, "declined", next_check_at=None)
        _postpone(checks, SHORT, NOW)
        attempt.refresh_from_db()
        assert (attempt.next_check_at, attempt.checks_failed) == (None, 0)

    def test_what_is_looked_at_by_one_is_not_looked_at_by_another(self) -> None:
        attempt = move_attempt(make_attempt(), "unknown", next_check_at=NOW)
        (check,) = checking.claim(now=NOW, lease=timedelta(seconds=9), limit=9)
        assert check.attempt_id == attempt.pk
        assert checking.claim(now=NOW + timedelta(seconds=8), lease=timedelta(seconds=9), limit=9) == []
        assert len(checking.claim(now=NOW + timedelta(seconds=9), lease=timedelta(seconds=9), limit=9)) == 1

    def test_what_could_not_be_read_for_days_goes_to_a_person(self) -> None:
        attempt = move_attempt(make_attempt(), "unknown", next_check_at=NOW)
        checks = checking.claim(now=NOW, lease=timedelta(seconds=9), limit=9)
        _postpone(checks, SHORT, NOW + PATIENCE)
        attempt.refresh_from_db()
        assert attempt.state == "unknown"
        _postpone(checks, SHORT, NOW + PATIENCE + timedelta(seconds=1))
        attempt.refresh_from_db()
        assert (attempt.state, attempt.state_reason) == ("needs_human", "reads_keep_failing")
