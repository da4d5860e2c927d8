"""`decide`: total, along the table, and never charmed by time or silence into closing an attempt."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.attempts import (
    DESCRIPTION_LENGTH,
    ENDED_WITHOUT_MONEY,
    HAS_MONEY,
    HOLDS_PLACE,
    MOST_RETRY_AFTER,
    MOVES,
    NOT_SENT_WAITS,
    TITLE_LENGTH,
    UNRESOLVED,
    Alarm,
    AttemptFacts,
    AttemptState,
    Finding,
    Move,
    Source,
    Stay,
    Verdict,
    charge_description,
    charge_title,
    decide,
    mismatch,
    next_check,
    plain,
    wait_after_not_sent,
)

S = AttemptState
ARMED = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
REVERSED_SETTLES = timedelta(minutes=20)
LONG_AFTER = ARMED + timedelta(days=365)
MARKER = "ABCDEF012345"
AUTOMATIC = sorted(set(Source) - {Source.OPERATOR})


def facts(state: AttemptState, **changes: Any) -> AttemptFacts:
    known = AttemptFacts(
        state=state,
        amount_minor=1990,
        currency="MYR",
        store_id="1602660043994159611",
        gateway_customer_id="17952248447020",
        marker=MARKER,
        armed_at=ARMED,
        transaction_id="2001" if state in HAS_MONEY or state is S.REVERSED else None,
        place_taken=False,
        money_wanted=state not in (S.SUCCEEDED, S.SURPLUS),
    )
    return replace(known, **changes)


def finding(verdict: Verdict, source: Source = Source.ORDER_LIST, **changes: Any) -> Finding:
    """A finding about money says everything that a success is compared on."""
    told = Finding(
        verdict=verdict,
        source=source,
        reason="told",
        amount_minor=1990,
        currency="MYR",
        store_id="1602660043994159611",
        gateway_customer_id="17952248447020",
        marker=MARKER,
        transaction_id="2001",
        order_id="1001",
    )
    return replace(told, **changes)


def decided(attempt: AttemptFacts, told: Finding, *, now: datetime = LONG_AFTER) -> Move | Stay | Alarm:
    return decide(attempt, told, now=now, reversed_settles_after=REVERSED_SETTLES)


def target(decision: Move | Stay | Alarm) -> AttemptState | None:
    return decision.to if isinstance(decision, Move) else None


# --- total ------------------------------------------------------------------------------------------------

SURROUNDINGS = [
    {"place_taken": place, "money_wanted": wanted, "transaction_claimed": claimed, "transaction_id": known}
    for place, wanted, claimed, known in product([False, True], [False, True], [False, True], [None, "2001", "9"])
]
WORDS: list[dict[str, Any]] = [
    {},
    {"amount_minor": 1},
    {"currency": "SGD"},
    {"store_id": "other"},
    {"gateway_customer_id": "other"},
    {"marker": "ZZZZZZ999999"},
    {"marker": None, "store_id": None, "gateway_customer_id": None},
    {"transaction_id": None, "order_id": None, "amount_minor": None, "currency": None, "reason": ""},
]


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("now", [ARMED, LONG_AFTER], ids=["at once", "long after"])
def test_every_finding_in_every_state_moves_along_the_table(verdict: Verdict, now: datetime) -> None:
    for state, source, around, words in product(AttemptState, Source, SURROUNDINGS, WORDS):
        decision = decided(facts(state, **around), finding(verdict, source, **words), now=now)
        assert isinstance(decision, Move | Stay | Alarm)
        if isinstance(decision, Move):
            assert (state, decision.to) in MOVES
        if isinstance(decision, Move) and decision.to in HOLDS_PLACE and state not in HOLDS_PLACE | {S.SURPLUS}:
            assert not around["place_taken"]


def test_every_state_is_classified_once() -> None:
    classes = [UNRESOLVED, ENDED_WITHOUT_MONEY, HAS_MONEY, frozenset({S.REVERSED})]
    assert sorted(state for states in classes for state in states) == sorted(AttemptState)
    assert UNRESOLVED | {S.SUCCEEDED} == HOLDS_PLACE


def test_every_state_is_left_somehow_but_a_reversal_is_the_end() -> None:
    assert {old for old, _ in MOVES} == set(AttemptState) - {S.REVERSED}


def test_every_state_but_sending_is_reached_and_none_is_rearmed() -> None:
    assert {new for _, new in MOVES} == set(AttemptState) - {S.SENDING}


def test_money_can_be_recorded_whatever_state_it_finds() -> None:
    for state in UNRESOLVED | ENDED_WITHOUT_MONEY:
        assert {(state, S.SUCCEEDED), (state, S.SURPLUS)} <= MOVES


def test_the_only_way_out_of_succeeded_is_reversed() -> None:
    assert {new for old, new in MOVES if old is S.SUCCEEDED} == {S.REVERSED}


# What a verdict may make of an attempt at all, whoever brings it. A new verdict has to be put here.
MAY_BECOME: dict[Verdict, set[AttemptState]] = {
    Verdict.PAID: {S.SUCCEEDED, S.SURPLUS, S.NEEDS_REVIEW},
    Verdict.DECLINED: {S.DECLINED, S.NEEDS_REVIEW},
    Verdict.IN_PROCESS: {S.IN_PROCESS, S.NEEDS_REVIEW},
    Verdict.REVERSED: {S.REVERSED, S.UNKNOWN, S.NOT_CHARGED, S.NEEDS_REVIEW},
    Verdict.NOT_SENT: {S.NOT_SENT, S.NOT_CHARGED},
    Verdict.UNCLEAR: {S.UNKNOWN},
    Verdict.ABSENT: set(),
    Verdict.ABSENT_AT_LAST: {S.NEEDS_REVIEW},
    Verdict.ABSENT_FOR_LONG: {S.NOT_CHARGED},
    Verdict.CONTRADICTION: {S.NEEDS_REVIEW},
    Verdict.PERSON_NOT_CHARGED: {S.NOT_CHARGED},
}


@pytest.mark.parametrize("verdict", Verdict)
def test_a_verdict_makes_only_what_it_means(verdict: Verdict) -> None:
    for state, source, around, words in product(AttemptState, Source, SURROUNDINGS, WORDS):
        to = target(decided(facts(state, **around), finding(verdict, source, **words)))
        assert to is None or to in MAY_BECOME[verdict]


# --- the answer to the one POST ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        (Verdict.PAID, S.SUCCEEDED),
        (Verdict.DECLINED, S.DECLINED),
        (Verdict.NOT_SENT, S.NOT_SENT),
        (Verdict.IN_PROCESS, S.IN_PROCESS),
        (Verdict.UNCLEAR, S.UNKNOWN),
        (Verdict.REVERSED, S.UNKNOWN),
    ],
)
def test_an_answer_takes_a_sending_attempt_to_its_state(verdict: Verdict, state: AttemptState) -> None:
    assert target(decided(facts(S.SENDING), finding(verdict, Source.ANSWER))) is state


@pytest.mark.parametrize("state", [S.UNKNOWN, S.IN_PROCESS])
@pytest.mark.parametrize(
    ("verdict", "to"),
    [
        (Verdict.PAID, S.SUCCEEDED),
        (Verdict.DECLINED, S.DECLINED),
        (Verdict.ABSENT_AT_LAST, S.NEEDS_REVIEW),
        (Verdict.CONTRADICTION, S.NEEDS_REVIEW),
    ],
)
def test_evidence_closes_what_was_not_known(state: AttemptState, verdict: Verdict, to: AttemptState) -> None:
    assert target(decided(facts(state), finding(verdict))) is to


def test_unknown_becomes_not_charged_when_nothing_was_sent() -> None:
    assert target(decided(facts(S.UNKNOWN), finding(Verdict.NOT_SENT, Source.ANSWER))) is S.NOT_CHARGED


@pytest.mark.parametrize("source", [Source.ANSWER, Source.COMMIT_UNACKNOWLEDGED])
def test_a_refusal_does_not_outweigh_the_gateways_own_record(source: Source) -> None:
    assert decided(facts(S.IN_PROCESS), finding(Verdict.NOT_SENT, source)) == Stay()


# --- what never closes an attempt -------------------------------------------------------------------------


def test_absence_moves_nothing() -> None:
    for state, source in product(AttemptState, Source):
        assert isinstance(decided(facts(state), finding(Verdict.ABSENT, source)), Stay), (state, source)


@pytest.mark.parametrize("verdict", [Verdict.UNCLEAR, Verdict.ABSENT_AT_LAST, Verdict.IN_PROCESS])
def test_what_is_not_understood_closes_nothing(verdict: Verdict) -> None:
    for state, source in product(AttemptState, Source):
        to = target(decided(facts(state), finding(verdict, source)))
        assert to is None or to in UNRESOLVED, (state, source)


@given(
    state=st.sampled_from(sorted(UNRESOLVED)),
    verdict=st.sampled_from([Verdict.ABSENT, Verdict.UNCLEAR, Verdict.IN_PROCESS]),
    source=st.sampled_from(list(Source)),
    waited=st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3650)),
)
def test_time_alone_closes_nothing(state: AttemptState, verdict: Verdict, source: Source, waited: timedelta) -> None:
    told = finding(verdict, source)
    assert decided(facts(state), told, now=ARMED + waited) == decided(facts(state), told, now=ARMED)


def test_sweeper_makes_only_a_lost_attempt_unknown() -> None:
    told = Finding(Verdict.UNCLEAR, Source.SWEEPER, reason="sender_lost")
    assert decided(facts(S.SENDING), told) == Move(S.UNKNOWN, "sender_lost")
    for state in set(AttemptState) - {S.SENDING}:
        assert isinstance(decided(facts(state), told), Stay)


@pytest.mark.parametrize("verdict", Verdict)
def test_only_a_person_moves_an_attempt_that_needs_review(verdict: Verdict) -> None:
    for source, around, words in product(AUTOMATIC, SURROUNDINGS, WORDS):
        decision = decided(facts(S.NEEDS_REVIEW, **around), finding(verdict, source, **words))
        assert isinstance(decision, Alarm if verdict is Verdict.PAID else Stay)


@pytest.mark.parametrize(
    ("verdict", "to"),
    [
        (Verdict.PAID, S.SUCCEEDED),
        (Verdict.DECLINED, S.DECLINED),
        (Verdict.PERSON_NOT_CHARGED, S.NOT_CHARGED),
    ],
)
def test_decision_is_one_of_three_outcomes(verdict: Verdict, to: AttemptState) -> None:
    assert target(decided(facts(S.NEEDS_REVIEW), finding(verdict, Source.OPERATOR))) is to


@pytest.mark.parametrize("state", sorted(set(AttemptState) - {S.NEEDS_REVIEW}))
def test_attempt_that_needs_no_review_cannot_be_called_uncharged(state: AttemptState) -> None:
    assert isinstance(decided(facts(state), finding(Verdict.PERSON_NOT_CHARGED, Source.OPERATOR)), Stay)


# --- money ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", sorted(ENDED_WITHOUT_MONEY))
def test_late_money_pays_an_invoice_that_still_wants_it(state: AttemptState) -> None:
    assert decided(facts(state), finding(Verdict.PAID)) == Move(S.SUCCEEDED, "late_money")


@pytest.mark.parametrize("state", sorted(ENDED_WITHOUT_MONEY | UNRESOLVED - {S.NEEDS_REVIEW}))
@pytest.mark.parametrize("around", [{"place_taken": True}, {"money_wanted": False}])
def test_money_that_is_not_owed_is_an_overpayment(state: AttemptState, around: dict[str, bool]) -> None:
    assert target(decided(facts(state, **around), finding(Verdict.PAID))) is S.SURPLUS


def test_overpayment_becomes_the_payment_when_the_holder_ends() -> None:
    told = Finding(Verdict.PAID, Source.HOLDER_ENDED)
    assert target(decided(facts(S.SURPLUS, money_wanted=True), told)) is S.SUCCEEDED


@pytest.mark.parametrize("around", [{"money_wanted": False}, {"money_wanted": True, "place_taken": True}])
def test_overpayment_inherits_no_taken_place_or_closed_invoice(around: dict[str, bool]) -> None:
    told = Finding(Verdict.PAID, Source.HOLDER_ENDED)
    assert decided(facts(S.SURPLUS, **around), told) == Stay()


@pytest.mark.parametrize("state", sorted(set(AttemptState) - {S.SURPLUS, S.NEEDS_REVIEW}))
def test_only_an_overpayment_inherits(state: AttemptState) -> None:
    assert decided(facts(state, money_wanted=True), Finding(Verdict.PAID, Source.HOLDER_ENDED)) == Stay()


@pytest.mark.parametrize("source", sorted(set(Source) - {Source.HOLDER_ENDED}))
def test_nothing_else_makes_a_success_of_an_overpayment(source: Source) -> None:
    decision = decided(facts(S.SURPLUS, money_wanted=True), finding(Verdict.PAID, source))
    assert decision == Stay()


@pytest.mark.parametrize("state", sorted(HAS_MONEY))
def test_repeated_finding_of_the_same_money_changes_nothing(state: AttemptState) -> None:
    assert decided(facts(state), finding(Verdict.PAID)) == Stay()


@pytest.mark.parametrize("state", sorted(HAS_MONEY))
def test_a_second_transaction_for_one_attempt_alarms(state: AttemptState) -> None:
    assert decided(facts(state), finding(Verdict.PAID, transaction_id="2002")) == Alarm("second_transaction")


@pytest.mark.parametrize("state", sorted(HAS_MONEY))
def test_a_decline_after_money_alarms(state: AttemptState) -> None:
    assert decided(facts(state), finding(Verdict.DECLINED)) == Alarm("declined_after_money")


def test_money_after_a_reversal_alarms() -> None:
    assert decided(facts(S.REVERSED), finding(Verdict.PAID)) == Alarm("paid_after_reversal")


def test_old_answer_does_not_pay_with_a_reversed_transaction() -> None:
    ended = facts(S.NOT_CHARGED, found_reversed=True, transaction_id="2001")
    answer = finding(Verdict.PAID, Source.ANSWER, transaction_id="2001")
    assert decided(ended, answer) == Alarm("paid_after_reversal")
    assert decided(ended, replace(answer, transaction_id="2002")) == Move(S.SUCCEEDED, "late_money")
    assert decided(facts(S.NOT_CHARGED, transaction_id="2001"), answer) == Move(S.SUCCEEDED, "late_money")


@pytest.mark.parametrize("state", sorted(ENDED_WITHOUT_MONEY))
def test_a_contradiction_about_an_ended_attempt_alarms(state: AttemptState) -> None:
    assert decided(facts(state), finding(Verdict.CONTRADICTION)) == Alarm("told")


# --- comparing a success ----------------------------------------------------------------------------------

WRONG: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("amount_differs", {}, {"amount_minor": 1991}),
    ("amount_differs", {}, {"amount_minor": None}),
    ("currency_differs", {}, {"currency": "SGD"}),
    ("currency_differs", {}, {"currency": None}),
    ("store_differs", {}, {"store_id": "another"}),
    ("card_differs", {}, {"gateway_customer_id": "another"}),
    ("marker_differs", {}, {"marker": "ZZZZZZ999999"}),
    ("transaction_id_missing", {}, {"transaction_id": None}),
    ("transaction_id_missing", {}, {"transaction_id": ""}),
    ("transaction_id_claimed", {"transaction_claimed": True}, {}),
]


@pytest.mark.parametrize(("reason", "around", "words"), WRONG)
@pytest.mark.parametrize("state", sorted(UNRESOLVED - {S.NEEDS_REVIEW}))
def test_success_that_does_not_fit_needs_review(
    state: AttemptState, reason: str, around: dict[str, Any], words: dict[str, Any]
) -> None:
    decision = decided(facts(state, **around), finding(Verdict.PAID, Source.ANSWER, **words))
    assert decision == Move(S.NEEDS_REVIEW, reason)


@pytest.mark.parametrize(("reason", "around", "words"), WRONG)
@pytest.mark.parametrize("state", sorted(ENDED_WITHOUT_MONEY))
def test_a_success_that_does_not_fit_an_ended_attempt_alarms(
    state: AttemptState, reason: str, around: dict[str, Any], words: dict[str, Any]
) -> None:
    assert decided(facts(state, **around), finding(Verdict.PAID, **words)) == Alarm(reason)


@pytest.mark.parametrize("left_out", ["store_id", "gateway_customer_id", "marker"])
def test_a_field_that_the_gateway_left_out_is_not_compared(left_out: str) -> None:
    assert mismatch(facts(S.SENDING), finding(Verdict.PAID, **{left_out: None})) is None


@pytest.mark.parametrize("state", sorted(UNRESOLVED - {S.NEEDS_REVIEW}))
@pytest.mark.parametrize(
    ("around", "words"),
    [({}, {"marker": "ZZZZZZ999999"}), ({"transaction_claimed": True}, {})],
    ids=["another's marker", "a claimed transaction"],
)
def test_a_decline_that_is_another_attempts_closes_nothing(
    state: AttemptState, around: dict[str, Any], words: dict[str, Any]
) -> None:
    to = target(decided(facts(state, **around), finding(Verdict.DECLINED, **words)))
    assert to not in ENDED_WITHOUT_MONEY


# --- what has ended ---------------------------------------------------------------------------------------

ENDED = sorted(set(AttemptState) - UNRESOLVED)


@pytest.mark.parametrize("state", ENDED)
@pytest.mark.parametrize("verdict", [Verdict.DECLINED, Verdict.IN_PROCESS, Verdict.NOT_SENT, Verdict.ABSENT_FOR_LONG])
def test_what_has_ended_is_ended_by_no_other_word(state: AttemptState, verdict: Verdict) -> None:
    assert target(decided(facts(state), finding(verdict))) is None


@pytest.mark.parametrize("state", sorted(set(ENDED) - HAS_MONEY))
def test_a_reversal_ends_nothing_that_ended_without_money(state: AttemptState) -> None:
    assert target(decided(facts(state), finding(Verdict.REVERSED))) is None


@pytest.mark.parametrize("verdict", [Verdict.IN_PROCESS, Verdict.ABSENT_FOR_LONG])
def test_what_the_gateway_works_on_stays_in_process(verdict: Verdict) -> None:
    assert target(decided(facts(S.IN_PROCESS), finding(verdict))) is None


# --- reversals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", sorted(HAS_MONEY))
def test_a_success_that_the_gateway_took_back_is_reversed(state: AttemptState) -> None:
    assert target(decided(facts(state), finding(Verdict.REVERSED))) is S.REVERSED


@pytest.mark.parametrize("state", sorted(HAS_MONEY))
def test_the_reversal_of_another_transaction_takes_no_money_back(state: AttemptState) -> None:
    told = finding(Verdict.REVERSED, transaction_id="2002")
    assert target(decided(facts(state), told)) is None


@pytest.mark.parametrize("state", [S.UNKNOWN, S.IN_PROCESS])
def test_a_reversal_closes_an_open_attempt_only_after_a_while(state: AttemptState) -> None:
    told = finding(Verdict.REVERSED)
    just_before = ARMED + REVERSED_SETTLES - timedelta(microseconds=1)
    assert isinstance(decided(facts(state), told, now=just_before), Stay)
    assert target(decided(facts(state), told, now=ARMED + REVERSED_SETTLES)) is S.NOT_CHARGED


# --- when to look, when to try ----------------------------------------------------------------------------

LADDER = (
    timedelta(minutes=2),
    timedelta(minutes=5),
    timedelta(minutes=15),
    timedelta(minutes=60),
    timedelta(hours=6),
)


def test_checks_follow_the_ladder_from_arming() -> None:
    now, seen = ARMED, []
    for done in range(len(LADDER)):
        at = next_check(ARMED, LADDER, done, now)
        assert at is not None
        seen.append(at - ARMED)
        now = at
    assert tuple(seen) == LADDER
    assert next_check(ARMED, LADDER, len(LADDER), now) is None


def test_rungs_missed_in_an_outage_are_made_up_one_rung_apart() -> None:
    now = ARMED + timedelta(days=2)
    for done in range(len(LADDER)):
        at = next_check(ARMED, LADDER, done, now)
        assert at == now + LADDER[0]
        now = at


@given(done=st.integers(0, 4), late=st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=30)))
def test_the_next_check_is_always_ahead(done: int, late: timedelta) -> None:
    at = next_check(ARMED, LADDER, done, ARMED + late)
    assert at is not None
    assert ARMED + late < at <= max(ARMED + LADDER[done], ARMED + late + LADDER[0])


@pytest.mark.parametrize(
    ("in_a_row", "minutes"), [(0, 1), (1, 1), (2, 5), (3, 15), (4, 60), (5, 60), (19, 60), (1000, 60)]
)
def test_unsent_attempt_is_retried_after_1_5_15_and_60_minutes(in_a_row: int, minutes: int) -> None:
    assert wait_after_not_sent(in_a_row, None) == timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("asked", "seconds"), [(-5, 1), (0, 1), (1, 1), (90, 90), (86_400, 86_400), (86_401, 86_400), (999_999, 86_400)]
)
def test_the_gateways_own_wish_to_wait_is_kept_up_to_a_day(asked: int, seconds: int) -> None:
    assert wait_after_not_sent(3, asked) == timedelta(seconds=seconds)


@given(in_a_row=st.integers(), asked=st.none() | st.integers(-10, 999_999))
def test_the_wait_is_never_nothing_and_never_more_than_a_day(in_a_row: int, asked: int | None) -> None:
    wait = wait_after_not_sent(in_a_row, asked)
    assert timedelta(seconds=1) <= wait <= MOST_RETRY_AFTER
    assert asked is not None or wait in NOT_SENT_WAITS


# --- words ------------------------------------------------------------------------------------------------

markers = st.from_regex(r"[0-9A-Z]{12}", fullmatch=True)
names = st.text(max_size=900)
allowed = re.compile(r"[ -~]*")


@given(name=names, marker=markers)
def test_title_ends_with_the_marker_in_32_characters(name: str, marker: str) -> None:
    title = charge_title(name, marker)
    assert len(title) <= TITLE_LENGTH
    assert title.split()[-1] == marker
    assert is_plain(title)


@given(name=names, marker=markers)
def test_description_starts_with_the_marker_in_600_characters(name: str, marker: str) -> None:
    description = charge_description(name, "inv_01k9", marker)
    assert len(description) <= DESCRIPTION_LENGTH
    assert description.split()[:2] == [marker, "inv_01k9"]
    assert is_plain(description.rstrip())


@given(text=st.text())
def test_plain_text_is_safe_to_sign_and_idempotent(text: str) -> None:
    assert is_plain(plain(text))
    assert plain(plain(text)) == plain(text)


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("Kelab Kopi", "Kelab Kopi"),
        ('Tea & <b>"Biscuits"</b>', "Tea b Biscuits /b"),
        ("it's 50\\50", "it s 50 50"),
        ("a\tb\r\nc\u00a0d", "a b c d"),
        ("☕", ""),
    ],
)
def test_plain_text_keeps_what_it_can(given_name: str, kept: str) -> None:
    assert plain(given_name) == kept


def is_plain(text: str) -> bool:
    return bool(allowed.fullmatch(text)) and not set(text) & set("<>&'\"\\") and text == " ".join(text.split())
