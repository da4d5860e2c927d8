"""Which order is an attempt's: by its marker or transaction; without either, by proof or by a person."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.attempts import AttemptState, charge_description, charge_title
from billing.domain.matching import (
    EARLIEST,
    LATEST,
    Ambiguous,
    Contradiction,
    Explained,
    KnownAttempt,
    MarkerEcho,
    Match,
    NoMatch,
    SeenOrder,
    Wanted,
    carries,
    could_be,
    explain,
    marker_in,
    match,
)

ARMED = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
OURS, OTHERS = "ABCDEF012345", "ZYXWVU987654"
WANTED = Wanted(OURS, 1990, "MYR", ARMED, None)
NAMELESS = SeenOrder("1001", "2001", 1990, "MYR", ARMED + timedelta(seconds=3), "")
ECHOES = list(MarkerEcho)


def order(**changes: Any) -> SeenOrder:
    return replace(NAMELESS, **changes)


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize(
    "words", [OURS, f"{OURS} inv_01k9 Coffee club", f"Coffee club {OURS}", f"{OURS} a Coffee club {OURS}"]
)
def test_an_order_with_our_marker_is_ours(words: str, echo: MarkerEcho) -> None:
    ours = order(words=words)
    assert match(WANTED, [order(order_id="1002"), ours], echo) == Match(ours)


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize(
    "changes",
    [{"amount_minor": 1}, {"currency": "SGD"}, {"created_at": None}, {"created_at": ARMED - timedelta(days=9)}],
)
def test_our_marker_counts_whatever_else_the_order_contains(changes: dict[str, Any], echo: MarkerEcho) -> None:
    ours = order(words=OURS, **changes)
    assert match(WANTED, [ours], echo) == Match(ours)


@pytest.mark.parametrize("echo", ECHOES)
def test_an_order_under_our_transaction_is_ours(echo: MarkerEcho) -> None:
    wanted = replace(WANTED, transaction_id="2001")
    assert match(wanted, [order(amount_minor=5)], echo) == Match(order(amount_minor=5))


def test_order_without_a_transaction_is_not_ours_by_elimination() -> None:
    assert match(WANTED, [order(transaction_id="", amount_minor=5)], MarkerEcho.PROVED_ABSENT) == NoMatch()


@pytest.mark.parametrize("echo", ECHOES)
def test_anothers_marker_is_no_candidate(echo: MarkerEcho) -> None:
    assert match(WANTED, [order(words=f"{OTHERS} inv_01k8 Coffee club")], echo) == NoMatch()


@pytest.mark.parametrize("echo", ECHOES)
def test_two_orders_of_ours_need_review(echo: MarkerEcho) -> None:
    both = (order(words=OURS), order(order_id="1002", words=OURS))
    assert match(WANTED, both, echo) == Ambiguous(both, "two_orders_for_one_attempt")


def test_one_order_without_a_marker_needs_review() -> None:
    assert match(WANTED, [NAMELESS], MarkerEcho.UNPROVEN) == Ambiguous((NAMELESS,), "order_without_marker")


def test_one_order_without_a_marker_is_ours_when_none_is_echoed() -> None:
    assert match(WANTED, [NAMELESS], MarkerEcho.PROVED_ABSENT) == Match(NAMELESS)


@pytest.mark.parametrize("echo", ECHOES)
def test_two_candidates_need_review_whatever_the_echo(echo: MarkerEcho) -> None:
    both = (NAMELESS, order(order_id="1002", transaction_id="2002"))
    assert match(WANTED, both, echo) == Ambiguous(both, "two_candidate_orders")


@pytest.mark.parametrize("echo", ECHOES)
def test_no_order_is_no_match(echo: MarkerEcho) -> None:
    assert match(WANTED, [], echo) == NoMatch()


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("changes", [{"amount_minor": 1991}, {"currency": "SGD"}])
def test_unmarked_order_of_another_amount_is_no_candidate(changes: dict[str, Any], echo: MarkerEcho) -> None:
    assert match(WANTED, [order(**changes)], echo) == NoMatch()


@pytest.mark.parametrize(
    ("after", "fits"),
    [
        (-EARLIEST - timedelta(seconds=1), False),
        (-EARLIEST, True),
        (timedelta(0), True),
        (LATEST, True),
        (LATEST + timedelta(seconds=1), False),
    ],
)
def test_unmarked_order_is_a_candidate_around_the_arming_time(after: timedelta, fits: bool) -> None:
    assert could_be(WANTED, amount_minor=1990, currency="MYR", created_at=ARMED + after) is fits


def test_unmarked_order_without_a_time_is_a_candidate() -> None:
    assert could_be(WANTED, amount_minor=1990, currency="MYR", created_at=None)


@pytest.mark.parametrize("words", ["", "Coffee club", "coffeecluboo", "ABCDEF01234", "ABCDEF0123456", "ABC-EF012345"])
def test_words_without_a_marker_carry_none(words: str) -> None:
    assert marker_in(words) is None
    assert not carries(words, OURS)


@pytest.mark.parametrize("words", [f"Coffee club {OURS}", f"{OURS} Coffee club", OURS])
def test_a_marker_is_the_first_or_the_last_word(words: str) -> None:
    assert marker_in(words) == OURS
    assert marker_in(f"Coffee {words} club") is None


def test_a_marker_within_a_longer_word_is_not_carried() -> None:
    assert not carries(f"X{OURS}", OURS)


@pytest.mark.parametrize("name", ["GOLD SUBSCRIPTION", "SUBSCRIPTION GOLD CLUB", "Hotline 601234567890"])
def test_a_word_of_the_plans_name_is_not_taken_for_a_marker(name: str) -> None:
    assert marker_in(name) is None


plan_names = st.text("abcdefghij ☕&\t'", max_size=60)
markers = st.from_regex(r"[0-9][0-9A-Z]{10}[A-Z]|[A-Z][0-9A-Z]{10}[0-9]", fullmatch=True)


@given(name=plan_names, marker=markers)
def test_what_we_send_carries_its_marker_when_it_is_echoed(name: str, marker: str) -> None:
    words = f"{charge_description(name, 'inv_01k9', marker)} {charge_title(name, marker)}"
    assert carries(words, marker)
    assert marker_in(words) == marker


orders = st.lists(
    st.builds(
        SeenOrder,
        order_id=st.uuids().map(str),
        transaction_id=st.sampled_from(["", "2001", "2002"]),
        amount_minor=st.sampled_from([1990, 1991]),
        currency=st.sampled_from(["MYR", "SGD"]),
        created_at=st.none() | st.timedeltas(timedelta(days=-1), timedelta(days=1)).map(lambda d: ARMED + d),
        words=st.sampled_from(["", "Coffee club", OURS, OTHERS, f"{OTHERS} x {OURS}"]),
    ),
    max_size=4,
)


@given(seen=orders, echo=st.sampled_from(ECHOES), known=st.sampled_from([None, "2001"]))
def test_a_match_is_never_a_guess(seen: list[SeenOrder], echo: MarkerEcho, known: str | None) -> None:
    outcome = match(replace(WANTED, transaction_id=known), seen, echo)
    if isinstance(outcome, Match):
        named = carries(outcome.order.words, OURS) or (known and outcome.order.transaction_id == known)
        assert named or (echo is MarkerEcho.PROVED_ABSENT and marker_in(outcome.order.words) is None)
        rivals = [o for o in seen if o != outcome.order and carries(o.words, OURS)]
        assert not rivals
    elif isinstance(outcome, NoMatch):
        assert not any(carries(o.words, OURS) for o in seen)
    else:
        assert outcome.orders
        assert outcome.reason


# --- all new orders of a card ---------------------------------------------------------------------------------

ASKED = KnownAttempt(1, AttemptState.UNKNOWN, answered_with_error=False, wanted=WANTED, order_id=None)
OTHER = replace(ASKED, id=2, wanted=replace(WANTED, marker=OTHERS))


def explained(attempts: list[KnownAttempt], *orders: SeenOrder, **changes: Any) -> Explained:
    known: dict[str, Any] = {"echo": MarkerEcho.PROVED_ABSENT, "doubtful": (), "with_order": (), "answered": ()}
    return explain(attempts, orders, **known | changes)


@pytest.mark.parametrize(
    "state", [AttemptState.NEEDS_REVIEW, AttemptState.NOT_CHARGED, AttemptState.DECLINED, AttemptState.SENDING]
)
def test_order_that_two_attempts_may_have_made_is_given_to_none(state: AttemptState) -> None:
    found = explained([ASKED, replace(OTHER, state=state)], NAMELESS)
    assert found.contradictions == [Contradiction(ASKED, "order_with_two_possible_makers", ("1001",))]
    assert found.owners == {}


@pytest.mark.parametrize(
    "other",
    [
        replace(OTHER, state=AttemptState.NOT_SENT),
        replace(OTHER, state=AttemptState.DECLINED, order_id="1000"),
        replace(OTHER, state=AttemptState.DECLINED, wanted=replace(WANTED, armed_at=ARMED - timedelta(days=1))),
        replace(OTHER, state=AttemptState.NEEDS_REVIEW, wanted=replace(WANTED, amount_minor=2990)),
    ],
    ids=["never sent", "has its order", "long ago", "another amount"],
)
def test_an_order_that_no_other_attempt_can_have_made_is_matched(other: KnownAttempt) -> None:
    assert explained([ASKED, other], NAMELESS).owners == {"1001": ASKED}


def test_an_attempt_whose_order_was_listed_made_no_other() -> None:
    other = replace(OTHER, state=AttemptState.DECLINED)
    assert explained([ASKED, other], NAMELESS, with_order={2}).owners == {"1001": ASKED}


def test_a_marker_decides_before_elimination() -> None:
    theirs = order(words=f"{OTHERS} inv_01k9 Coffee club")
    found = explained([ASKED, replace(OTHER, state=AttemptState.NEEDS_REVIEW)], theirs)
    assert [(order_id, owner.id) for order_id, owner in found.owners.items()] == [("1001", 2)]
    assert found.absent == [ASKED]


def test_an_order_goes_to_one_attempt_only() -> None:
    longer = replace(WANTED, marker=OTHERS, transaction_id="2001")
    found = explained(
        [replace(ASKED, wanted=replace(WANTED, transaction_id="2001")), replace(OTHER, wanted=longer)], NAMELESS
    )
    assert [(order_id, owner.id) for order_id, owner in found.owners.items()] == [("1001", 1)]
    assert [one.id for one in found.absent] == [2]


def test_an_attempt_that_was_answered_is_not_matched_again() -> None:
    found = explained([ASKED], NAMELESS, answered={OURS})
    assert (found.owners, found.absent, found.unexplained) == ({}, [], ["1001"])


def test_a_doubtful_order_is_matched_with_nothing() -> None:
    found = explained([ASKED], NAMELESS, doubtful={"1001"})
    assert (found.owners, found.absent) == ({}, [ASKED])
    assert found.unexplained == [], "it may be the attempt's, so it waits for the next read"
    assert explained([], NAMELESS, doubtful={"1001"}).unexplained == ["1001"]


@pytest.mark.parametrize(
    ("attempts", "seen", "unexplained"),
    [
        ([], NAMELESS, True),
        ([], order(failed=True), False),
        ([replace(OTHER, state=AttemptState.SENDING)], NAMELESS, False),
        ([replace(OTHER, state=AttemptState.NEEDS_REVIEW)], NAMELESS, False),
        ([replace(OTHER, state=AttemptState.NEEDS_REVIEW)], order(amount_minor=2990), True),
        ([replace(OTHER, state=AttemptState.NEEDS_REVIEW)], order(words="QWERTY012345 inv_01k8 Coffee club"), True),
        ([replace(OTHER, state=AttemptState.DECLINED)], NAMELESS, True),
    ],
)
def test_orders_of_nobody_are_unexplained(attempts: list[KnownAttempt], seen: SeenOrder, unexplained: bool) -> None:
    assert explained(attempts, seen).unexplained == (["1001"] if unexplained else [])
