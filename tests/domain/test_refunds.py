"""Every state of a refund against every verdict, and what a transaction says of one refund."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from billing.domain.attempts import Alarm, Stay
from billing.domain.refunds import (
    ENDED_WITHOUT_REFUND,
    GIVEN_BACK,
    LOOK_FRESH,
    MAY_HAVE_ACTED,
    OPEN,
    REFUND_MOVES,
    REVERSE_WINDOW,
    WAITING,
    Contradiction,
    Move,
    RefundEnd,
    RefundFacts,
    RefundFinding,
    RefundKind,
    RefundRuleError,
    RefundSource,
    RefundState,
    RefundVerdict,
    RefundWait,
    SeenMoney,
    contradicted,
    decide,
    judge,
    kind_and_amount,
    may_arm,
    still_owed,
    unexplained,
)

R, V = RefundState, RefundVerdict
NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)

# What each verdict does in each state, told by anybody but a person; a missing pair stays.
TABLE: dict[RefundVerdict, dict[RefundState, RefundState]] = {
    V.ARMED: {R.REQUESTED: R.SENDING},
    V.CANNOT: {R.REQUESTED: R.NOT_SENT},
    V.REFUNDED: {R.SENDING: R.SUCCEEDED, R.UNKNOWN: R.SUCCEEDED},
    V.REFUSED: {R.SENDING: R.REFUSED, R.UNKNOWN: R.REFUSED},
    V.NOT_SENT: {R.SENDING: R.NOT_SENT, R.UNKNOWN: R.NOT_REFUNDED},
    V.UNCLEAR: {R.SENDING: R.UNKNOWN},
    V.UNCHANGED: {},
    V.NOTHING_AT_LAST: {R.UNKNOWN: R.NEEDS_REVIEW},
    V.CONTRADICTION: {R.UNKNOWN: R.NEEDS_REVIEW},
    V.PERSON_NOT_REFUNDED: {},
}
OF_A_PERSON = {
    (R.NEEDS_REVIEW, V.REFUNDED): R.SUCCEEDED,
    (R.NEEDS_REVIEW, V.PERSON_NOT_REFUNDED): R.NOT_REFUNDED,
    (R.REQUESTED, V.CANNOT): R.NOT_SENT,
}


def finding(verdict: RefundVerdict, source: RefundSource = RefundSource.TRANSACTION_QUERY) -> RefundFinding:
    return RefundFinding(verdict, source, reason="because")


def test_every_state_is_classified_once() -> None:
    assert set(RefundState) == OPEN | ENDED_WITHOUT_REFUND | GIVEN_BACK
    assert not OPEN & ENDED_WITHOUT_REFUND
    assert not GIVEN_BACK & (OPEN | ENDED_WITHOUT_REFUND)
    assert OPEN - {R.REQUESTED} == MAY_HAVE_ACTED
    assert WAITING < OPEN


def test_every_verdict_has_its_row() -> None:
    assert set(TABLE) == set(RefundVerdict)


@pytest.mark.parametrize("state", list(RefundState))
@pytest.mark.parametrize("verdict", list(RefundVerdict))
def test_every_pair_of_state_and_verdict_has_its_answer(state: RefundState, verdict: RefundVerdict) -> None:
    expected = TABLE[verdict].get(state)
    decision = decide(state, finding(verdict))
    if expected is not None:
        assert decision == Move(expected, "because")
    elif verdict is V.REFUNDED and state in ENDED_WITHOUT_REFUND:
        assert decision == Alarm("refunded_after_all")
    else:
        assert isinstance(decision, Stay)


def test_no_decision_leaves_the_table_of_the_database() -> None:
    for state, verdict, source in product(RefundState, RefundVerdict, RefundSource):
        decision = decide(state, finding(verdict, source))
        if isinstance(decision, Move):
            assert (state, decision.to) in REFUND_MOVES, (verdict, source)


def test_every_move_of_the_table_is_made_by_some_finding() -> None:
    made = {(state, to) for row in TABLE.values() for state, to in row.items()}
    made |= {(state, to) for (state, _), to in OF_A_PERSON.items()}
    assert made == REFUND_MOVES


@pytest.mark.parametrize("verdict", list(RefundVerdict))
def test_only_a_person_decides_a_refund_that_needs_review(verdict: RefundVerdict) -> None:
    assert decide(R.NEEDS_REVIEW, finding(verdict)) == Stay()
    decision = decide(R.NEEDS_REVIEW, finding(verdict, RefundSource.OPERATOR))
    expected = OF_A_PERSON.get((R.NEEDS_REVIEW, verdict))
    assert decision == Move(expected, "because") if expected else isinstance(decision, Stay)


def test_no_move_leaves_an_end_or_goes_back_to_the_beginning() -> None:
    ends = ENDED_WITHOUT_REFUND | GIVEN_BACK
    assert not {old for old, _ in REFUND_MOVES} & ends
    assert {old for old, new in REFUND_MOVES if new is R.SENDING} == {R.REQUESTED}
    assert R.REQUESTED not in {new for _, new in REFUND_MOVES}


@pytest.mark.parametrize(
    ("kind", "refunded", "reversed_there", "expected"),
    [
        (RefundKind.FULL, 1990, False, V.REFUNDED),
        (RefundKind.FULL, 0, False, V.UNCHANGED),
        (RefundKind.FULL, 500, False, V.CONTRADICTION),
        (RefundKind.FULL, None, False, V.UNCLEAR),
        (RefundKind.FULL, None, True, V.CONTRADICTION),
        (RefundKind.REVERSE, None, True, V.REFUNDED),
        (RefundKind.REVERSE, 0, False, V.UNCHANGED),
        (RefundKind.REVERSE, 1990, False, V.CONTRADICTION),
        (RefundKind.REVERSE, None, False, V.UNCLEAR),
    ],
)
def test_only_a_change_by_exactly_this_refund_is_this_refund(
    kind: RefundKind, refunded: int | None, reversed_there: bool, expected: RefundVerdict
) -> None:
    seen = SeenMoney("t-1", refunded, reversed_there)
    told, _ = judge(seen, kind=kind, amount_minor=1990, before_minor=0, transaction_id="t-1")
    assert told is expected


@pytest.mark.parametrize(
    ("refunded", "expected"),
    [(300, V.UNCHANGED), (800, V.REFUNDED), (799, V.CONTRADICTION), (801, V.CONTRADICTION), (0, V.CONTRADICTION)],
)
def test_earlier_refunds_are_not_counted_again(refunded: int, expected: RefundVerdict) -> None:
    seen = SeenMoney("t-1", refunded)
    told, _ = judge(seen, kind=RefundKind.PARTIAL, amount_minor=500, before_minor=300, transaction_id="t-1")
    assert told is expected


def test_another_transaction_proves_nothing() -> None:
    seen = SeenMoney("t-2", 1990)
    told = judge(seen, kind=RefundKind.FULL, amount_minor=1990, before_minor=0, transaction_id="t-1")
    assert told == (V.UNCLEAR, "another_transaction")


def test_only_what_goes_beyond_our_rows_is_unexplained() -> None:
    assert unexplained(SeenMoney("t", 1990), explained_minor=500) == 1490
    assert unexplained(SeenMoney("t", 500), explained_minor=500) == 0
    assert unexplained(SeenMoney("t", 0), explained_minor=500) == 0
    assert unexplained(SeenMoney("t", None), explained_minor=0) == 0
    assert unexplained(SeenMoney("t", 1990, reversed=True), explained_minor=0) == 0


@pytest.mark.parametrize(
    ("asked", "refunded", "expected"),
    [
        (None, 0, (RefundKind.FULL, 1990)),
        (1990, 0, (RefundKind.FULL, 1990)),
        (1989, 0, (RefundKind.PARTIAL, 1989)),
        (None, 500, (RefundKind.PARTIAL, 1490)),
        (1490, 500, (RefundKind.PARTIAL, 1490)),
    ],
)
def test_only_the_whole_untouched_payment_is_a_full_refund(
    asked: int | None, refunded: int, expected: tuple[RefundKind, int]
) -> None:
    assert kind_and_amount(asked, captured_minor=1990, refunded_minor=refunded) == expected


@pytest.mark.parametrize(("asked", "refunded"), [(0, 0), (-5, 0), (1991, 0), (1491, 500), (None, 1990), (1, 1990)])
def test_what_is_not_left_cannot_be_asked_for(asked: int | None, refunded: int) -> None:
    with pytest.raises(RefundRuleError):
        kind_and_amount(asked, captured_minor=1990, refunded_minor=refunded)


@pytest.mark.parametrize("asked", [None, 1])
def test_refund_is_refused_as_such_when_nothing_is_left(asked: int | None) -> None:
    with pytest.raises(RefundRuleError, match="the payment is already fully refunded"):
        kind_and_amount(asked, captured_minor=1990, refunded_minor=1990)


def facts(**changes: object) -> RefundFacts:
    usual: dict[str, object] = {
        "kind": RefundKind.FULL,
        "amount_minor": 1990,
        "stopped": False,
        "live_allowed": True,
        "environment_fits": True,
        "account_limit_minor": 1990,
        "attempt_has_money": True,
        "became_the_payment": False,
        "before_minor": 0,
        "refunded_minor": 0,
        "order_id": "1001",
        "charged_at": NOW,
        "looked_at": NOW,
        "shown_by": None,
    }
    return RefundFacts(**{**usual, **changes})  # type: ignore[arg-type]


LONG_AGO = NOW - REVERSE_WINDOW
SECOND = timedelta(seconds=1)
CASES = [
    ({}, None),
    ({"kind": RefundKind.REVERSE}, None),
    ({"charged_at": LONG_AGO}, None),
    ({"kind": RefundKind.REVERSE, "charged_at": LONG_AGO + timedelta(seconds=1)}, None),
    ({"kind": RefundKind.REVERSE, "charged_at": LONG_AGO}, RefundEnd.REVERSE_WINDOW_PASSED),
    ({"kind": RefundKind.REVERSE, "order_id": None}, RefundEnd.ORDER_UNKNOWN),
    ({"attempt_has_money": False, "stopped": True}, RefundEnd.NO_MONEY),
    ({"became_the_payment": True, "stopped": True}, RefundEnd.BECAME_THE_PAYMENT),
    ({"refunded_minor": 1}, RefundEnd.PARTLY_GIVEN_BACK),
    ({"refunded_minor": 1989}, RefundEnd.PARTLY_GIVEN_BACK),
    ({"refunded_minor": 1990}, RefundEnd.ALREADY_GIVEN_BACK),
    ({"before_minor": 500, "amount_minor": 1490, "refunded_minor": 500}, None),
    ({"before_minor": 500, "amount_minor": 500, "refunded_minor": 501}, RefundEnd.PARTLY_GIVEN_BACK),
    ({"before_minor": 500, "amount_minor": 500, "refunded_minor": 1000}, RefundEnd.ALREADY_GIVEN_BACK),
    ({"before_minor": 500, "amount_minor": 500, "refunded_minor": 1500}, RefundEnd.ALREADY_GIVEN_BACK),
    ({"before_minor": 500, "amount_minor": 500, "refunded_minor": 400}, RefundEnd.PARTLY_GIVEN_BACK),
    ({"looked_at": NOW - LOOK_FRESH}, None),
    ({"looked_at": NOW - LOOK_FRESH - SECOND}, RefundWait.LOOK_TOO_OLD),
    ({"looked_at": NOW + SECOND}, RefundWait.LOOK_TOO_OLD),
    ({"shown_by": NOW}, None),
    ({"shown_by": NOW + SECOND}, RefundWait.EARLIER_MAY_HAVE_ACTED),
    ({"refunded_minor": 1, "stopped": True}, RefundEnd.PARTLY_GIVEN_BACK),
    ({"stopped": True}, RefundWait.ACCOUNT_STOPPED),
    ({"live_allowed": False}, RefundWait.LIVE_NOT_ALLOWED),
    ({"environment_fits": False}, RefundWait.ENVIRONMENT_DIFFERS),
    ({"account_limit_minor": 1989}, RefundWait.ABOVE_LIMIT),
]


@pytest.mark.parametrize(("changes", "expected"), CASES)
def test_what_may_be_armed(changes: dict[str, object], expected: RefundWait | RefundEnd | None) -> None:
    assert may_arm(facts(**changes), NOW) == expected


def test_every_wait_and_end_comes_from_the_rules_or_the_armer() -> None:
    by_the_rules = {expected for _, expected in CASES if expected is not None}
    by_who_arms = {
        RefundWait.GATEWAY_UNAVAILABLE, RefundWait.CONSTRAINT, RefundWait.CLOCK,
        RefundEnd.REQUEST_IMPOSSIBLE, RefundEnd.WITHDRAWN,
    }  # fmt: skip
    assert by_the_rules | by_who_arms == {*RefundWait, *RefundEnd}
    assert not by_the_rules & by_who_arms


@pytest.mark.parametrize(("refunded", "left"), [(500, 700), (501, 699), (1199, 1), (1200, 0), (1990, 0)])
def test_what_is_still_owed_of_a_refund(refunded: int, left: int) -> None:
    assert still_owed(amount_minor=700, before_minor=500, refunded_minor=refunded) == left


@pytest.mark.parametrize(
    ("kind", "shown", "against_refunded", "against_not_refunded"),
    [
        (RefundKind.PARTIAL, 300, True, False),  # as before it
        (RefundKind.PARTIAL, 700, True, False),  # too little for it
        (RefundKind.PARTIAL, 800, False, True),  # just this one
        (RefundKind.PARTIAL, 900, False, False),  # and more: a person knows better
        (RefundKind.PARTIAL, None, False, False),
        (RefundKind.REVERSE, 0, True, False),
        (RefundKind.REVERSE, 1990, False, False),
        (RefundKind.REVERSE, None, False, False),
    ],
)
def test_decision_is_refused_against_what_the_gateway_shows(
    kind: RefundKind, shown: int | None, against_refunded: bool, against_not_refunded: bool
) -> None:
    def against(seen: SeenMoney, refunded: bool) -> Contradiction | None:
        return contradicted(
            seen, refunded=refunded, kind=kind, amount_minor=500, before_minor=300, transaction_id="2001"
        )

    assert bool(against(SeenMoney("2001", shown), True)) is against_refunded
    assert bool(against(SeenMoney("2001", shown), False)) is against_not_refunded
    assert against(SeenMoney("2002", shown), True) is None, "another transaction says nothing"
    reversed_ = SeenMoney("2001", None, reversed=True)
    assert against(reversed_, True) is None
    assert bool(against(reversed_, False)) is (kind is RefundKind.REVERSE)
