"""Which invoice a charge belongs to that the database has lost."""

from datetime import UTC, datetime, timedelta

import pytest

from billing.domain.recovery import OPENED_WITHIN, Lost, OurWords, Owed, assign, made_at, our_words
from billing.ids import new_id

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
INVOICE = "inv_01kjp0y9m0vc7h6283grqm864h"
MARKER = "A1B2C3D4E5F6"


def lost(invoice_id: str = INVOICE, order: str = "1", *, amount: int = 1990, name: str = "Coffee club") -> Lost:
    return Lost(order, OurWords(MARKER, invoice_id, f"{name} {name} {MARKER}"), amount, "MYR")


def owed(number: int = 7, *, due: datetime = NOW, **changes: object) -> Owed:
    known: dict[str, object] = {
        "id": number,
        "public_id": new_id("inv", NOW),
        "description": "Coffee club",
        "amount_minor": 1990,
        "currency": "MYR",
        "due_at": due,
        "free": True,
    }
    return Owed(**{**known, **changes})  # type: ignore[arg-type]


def test_words_of_ours_begin_with_a_marker_and_an_invoice() -> None:
    assert our_words(f"{MARKER} {INVOICE} Coffee club {MARKER}") == OurWords(MARKER, INVOICE, f"Coffee club {MARKER}")
    assert our_words(f"{MARKER} {INVOICE}") == OurWords(MARKER, INVOICE, "")


@pytest.mark.parametrize(
    "words",
    ["", "Coffee club", MARKER, f"{MARKER} Coffee club", f"Coffee {MARKER} {INVOICE}", f"{MARKER} inv_short x",
     f"ABCDEFGHIJKL {INVOICE}", f"123456789012 {INVOICE}", f"{MARKER.lower()} {INVOICE}"],
)  # fmt: skip
def test_other_words_are_not_ours(words: str) -> None:
    assert our_words(words) is None


def test_public_id_contains_its_creation_time() -> None:
    assert made_at(INVOICE) == NOW
    assert made_at("inv_!") is None
    assert made_at("inv_" + "z" * 26) is None


def test_surviving_invoice_is_found_by_its_id_in_any_state() -> None:
    there = owed(public_id=INVOICE, free=False, due=NOW - timedelta(days=90), description="renamed")
    assert assign([lost()], [owed(8), there]) == {"1": 7}


def test_another_amount_than_is_owed_is_not_assigned() -> None:
    assert assign([lost(amount=500)], [owed(public_id=INVOICE)]) == {}
    assert assign([lost(amount=500)], [owed()]) == {}


def test_reopened_invoice_is_found_by_amount_name_and_due_date() -> None:
    last = owed(1, due=NOW - timedelta(days=1))
    assert assign([lost()], [last, owed(2, due=NOW - timedelta(minutes=3))]) == {"1": 2}
    assert assign([lost()], [last]) == {"1": 1}


@pytest.mark.parametrize(
    "other",
    [
        {"description": "Tea club"},
        {"currency": "SGD"},
        {"free": False},
        {"due": NOW + timedelta(minutes=3)},
        {"due": NOW - OPENED_WITHIN - timedelta(seconds=1)},
        {"known_as": frozenset({"inv_other"})},
    ],
)
def test_what_differs_in_anything_is_not_taken(other: dict[str, object]) -> None:
    assert assign([lost()], [owed(**other)]) == {}  # type: ignore[arg-type]


def test_of_two_that_fit_alike_neither_is_taken() -> None:
    assert assign([lost()], [owed(1), owed(2)]) == {}


def test_two_lost_invoices_do_not_share_one() -> None:
    other = new_id("inv", NOW + timedelta(seconds=1))
    assert assign([lost(), lost(other, "2")], [owed()]) == {}


def test_all_tries_of_one_lost_invoice_belong_together() -> None:
    assert assign([lost(order="1"), lost(order="2")], [owed()]) == {"1": 7, "2": 7}
    again = owed(known_as=frozenset({INVOICE}), free=False)
    assert assign([lost(order="3")], [again, owed(8)]) == {"3": 7}
