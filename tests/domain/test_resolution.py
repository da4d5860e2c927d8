"""What the gateway's own records forbid a person to decide, and when a second person is needed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing.domain.matching import EARLIEST, Wanted
from billing.domain.resolution import (
    CardOrder,
    NamedTransaction,
    doubtful,
    fits,
    given_back_of_the_attempt,
    money_of_the_attempt,
    refuse_charged,
    second_person_needed,
)

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
MARKER = "MARKER000001"
WANTED = Wanted(MARKER, 1990, "MYR", NOW, None)
NAMED = NamedTransaction("2001", "SUCCESS", 1990, "MYR", "store", NOW, "", True, False, None)
OURS = CardOrder("1001", "2001", "SUCCESS", 1990, "MYR", NOW, f"Coffee {MARKER}")
STRANGE = replace(OURS, order_id="1002", transaction_id="2002", words="At the till")


@pytest.mark.parametrize(
    ("amount", "above", "deciders", "needed"),
    [
        (1990, 1989, 2, True),
        (1990, 1990, 2, False),
        (1990, None, 2, False),
        (1990, 0, 1, False),
        (1, 0, 2, True),
    ],
)
def test_two_decide_above_the_limit_where_there_are_two(
    amount: int, above: int | None, deciders: int, needed: bool
) -> None:
    assert second_person_needed(amount_minor=amount, above_minor=above, deciders=deciders) is needed


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"words": f"Coffee {MARKER}", "card_lists_it": False},
        {"words": f"Coffee {MARKER}", "created_at": NOW - EARLIEST - timedelta(seconds=1)},
        {"created_at": NOW - EARLIEST},
        {"created_at": None},
        {"status": "PARTIAL_REFUNDED"},
        {"store_id": None},
        {"store_id": "store"},
    ],
)
def test_a_transaction_that_is_the_attempts_money_is_not_refused(changes: dict[str, Any]) -> None:
    assert refuse_charged(WANTED, "store", replace(NAMED, **changes)) is None


@pytest.mark.parametrize(
    ("rule", "says", "changes"),
    [
        ("status_differs", "must be a successful transaction", {"status": "FAILED"}),
        ("status_differs", "taken and refunded", {"status": "FULL_REFUNDED"}),
        ("claimed", "already explains attempt att_1", {"claimed_by": "att_1"}),
        ("card_differs", "another card", {"on_another_card": True}),
        ("store_differs", "got another", {"store_id": "another"}),
        ("marker_differs", "must carry the marker", {"words": "Coffee MARKER000002"}),
        ("too_early", "older than", {"created_at": NOW - EARLIEST - timedelta(seconds=1)}),
        ("card_differs", "not among this card's orders", {"card_lists_it": False}),
        ("currency_differs", "got SGD", {"currency": "SGD"}),
        ("amount_differs", "refund it in full", {"amount_minor": 1991}),
    ],
)
def test_a_transaction_that_is_not_the_attempts_money_is_refused(rule: str, says: str, changes: dict[str, Any]) -> None:
    refused = refuse_charged(WANTED, "store", replace(NAMED, **changes))
    assert refused is not None
    assert (refused.field, refused.rule) == ("transaction_id", rule)
    assert says in refused.message


@pytest.mark.parametrize(
    ("order", "its_money"),
    [
        (OURS, True),
        (replace(OURS, amount_minor=2990), True),
        (replace(OURS, status="IN_PROCESS"), True),
        (replace(OURS, status="FAILED"), False),
        (replace(OURS, status="FULL_REFUNDED", kept=False), False),
        (STRANGE, False),
    ],
)
def test_order_with_our_marker_and_money_is_the_attempts(order: CardOrder, its_money: bool) -> None:
    assert money_of_the_attempt(WANTED, [STRANGE, order]) == (order if its_money else None)


def test_an_order_under_the_attempts_transaction_is_the_attempts() -> None:
    known = replace(WANTED, transaction_id="2002")
    assert money_of_the_attempt(known, [STRANGE]) == STRANGE
    assert money_of_the_attempt(WANTED, [replace(STRANGE, transaction_id="")]) is None


def test_unexplained_order_that_may_have_taken_money_is_doubtful() -> None:
    given_back = replace(OURS, status="FULL_REFUNDED", kept=False)
    strangers = replace(given_back, order_id="1003", words="At the till")
    orders = [OURS, STRANGE, replace(STRANGE, status="FAILED"), given_back, strangers]
    assert doubtful(WANTED, orders) == [OURS, STRANGE, strangers]


def test_an_order_fits_by_amount_and_time() -> None:
    assert fits(WANTED, STRANGE)
    assert not fits(WANTED, replace(STRANGE, amount_minor=2990))
    assert not fits(WANTED, replace(STRANGE, created_at=NOW - timedelta(days=1)))


@pytest.mark.parametrize(("status", "rule"), [("FULL_REFUNDED", None), ("SUCCESS", "status_differs")])
def test_charged_and_refunded_needs_a_full_refund_at_the_gateway(status: str, rule: str | None) -> None:
    refused = refuse_charged(WANTED, "store", replace(NAMED, status=status), given_back=True)
    assert (refused.rule if refused else None) == rule


@pytest.mark.parametrize(
    ("changes", "certain"),
    [({}, True), ({"words": "At the till"}, False), ({"status": "SUCCESS"}, False), ({"amount_minor": 2990}, False)],
)
def test_money_of_the_attempt_that_all_went_back_is_recognised(changes: dict[str, Any], certain: bool) -> None:
    order = replace(OURS, **{"status": "FULL_REFUNDED", "kept": False, **changes})
    assert given_back_of_the_attempt(WANTED, [order]) == (order if certain else None)
