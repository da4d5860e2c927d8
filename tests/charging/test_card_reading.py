"""Whose order is it: where attempts of one amount meet on one card."""

from dataclasses import replace
from datetime import timedelta

import pytest

from billing.charging import preflight
from billing.charging.card_reading import CardRead, KnownAttempt, KnownCard, _explain
from billing.domain.attempts import AttemptState, Verdict
from billing.domain.matching import MarkerEcho, Wanted
from billing.gateway.connection import ListedOrder, gateway_for
from billing.models import Event, Invoice
from billing.models.clock import database_now
from tests.conftest import Shop
from tests.factories import NOW, make_invoice


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
