"""Refunds: not more goes back than came, once, for money that is there, and what was asked and sent stays."""

import threading
from importlib import import_module
from typing import Any

import pytest
from django.db import IntegrityError, connection

from billing.domain.attempts import HAS_MONEY, AttemptState
from billing.domain.refunds import OPEN, REFUND_MOVES, RefundState
from billing.models import PaymentAttempt, Refund
from tests.factories import (
    NOW,
    armed_request,
    make_account,
    make_attempt,
    make_invoice,
    make_refund,
    make_refund_evidence,
    move_attempt,
    move_refund,
)
from tests.promises.attacks import (
    attacks,
    columns,
    insert_another,
    insert_copy,
    make_partial_refund,
    other_value,
    refused,
    run,
    update,
)
from tests.promises.test_triggers import every_pair
from tests.promises.test_uniques import PATHS as PATHS_OF_ATTEMPTS

pytestmark = pytest.mark.django_db
migration = import_module("billing.migrations.0007_refunds")
ways_out = import_module("billing.migrations.0015_ways_out")

# How a refund comes to each state.
PATHS: dict[str, tuple[str, ...]] = {
    "requested": (),
    "sending": ("sending",),
    "succeeded": ("sending", "succeeded"),
    "refused": ("sending", "refused"),
    "not_sent": ("sending", "not_sent"),
    "unknown": ("sending", "unknown"),
    "not_refunded": ("sending", "unknown", "not_refunded"),
    "needs_review": ("sending", "unknown", "needs_review"),
}
FREE_COLUMNS = {
    "state", "state_reason", "next_check_at", "checks_done", "checks_failed", "last_evidence_id", "settled_at",
}  # fmt: skip


def test_there_is_a_path_to_every_state() -> None:
    assert set(PATHS) == {state.value for state in RefundState}


def test_every_column_is_either_frozen_or_known_to_change() -> None:
    frozen = {*ways_out.FROZEN_REFUND_COLUMNS, *migration.FROZEN_REQUEST_COLUMNS}
    assert {*frozen, *FREE_COLUMNS} == set(columns(Refund))
    assert not frozen & FREE_COLUMNS


@attacks("refunds_move_only_along_the_table")
@pytest.mark.parametrize(("old", "new"), every_pair(RefundState))
def test_a_refund_moves_along_the_table_only(old: RefundState, new: RefundState) -> None:
    refund = move_refund(make_refund(), *PATHS[old])
    evidence = make_refund_evidence(refund)
    request = armed_request() if new is RefundState.SENDING and old is RefundState.REQUESTED else {}
    changes: dict[str, Any] = {"state": new, "last_evidence_id": evidence.pk, "next_check_at": None, **request}
    if (old, new) in REFUND_MOVES:
        update(refund, **changes)
        refund.refresh_from_db()
        assert refund.state == new
    else:
        with refused("refunds_move_only_along_the_table"):
            update(refund, **changes)


@attacks("every_move_of_a_refund_names_its_evidence")
@pytest.mark.parametrize(("old", "new"), [pytest.param(o, n, id=f"{o}-{n}") for o, n in sorted(REFUND_MOVES)])
def test_refund_never_moves_without_new_evidence_about_it(old: RefundState, new: RefundState) -> None:
    refund = move_refund(make_refund(), *PATHS[old])
    of_another = make_refund_evidence(make_refund())
    for evidence in (None, refund.last_evidence_id, of_another.pk, of_another.pk + 1_000_000):
        with refused("every_move_of_a_refund_names_its_evidence"):
            update(refund, state=new, last_evidence_id=evidence)


@attacks("refunds_are_born_requested")
@pytest.mark.parametrize("state", sorted(set(RefundState) - {RefundState.REQUESTED}))
def test_refund_of_ours_is_born_requested(state: RefundState) -> None:
    refund = make_partial_refund()
    move_refund(refund, "not_sent")
    with refused("refunds_are_born_requested"):
        insert_another(refund, "attempt_id", state=state, next_check_at=None)
    with refused("refunds_are_born_requested"):
        insert_another(refund, "attempt_id", armed_at=NOW)


@pytest.mark.parametrize("state", list(RefundState))
def test_refund_seen_at_the_gateway_is_born_succeeded(state: RefundState) -> None:
    refund = move_refund(make_partial_refund(), "not_sent")
    seen = {"origin": "gateway", "state": state, "next_check_at": None}
    if state is RefundState.SUCCEEDED:
        assert insert_another(refund, "attempt_id", **seen)
    else:
        with refused("refunds_are_born_requested"):
            insert_another(refund, "attempt_id", **seen)


@attacks("refunds_belong_to_money")
@pytest.mark.parametrize("state", sorted(AttemptState))
def test_only_captured_money_is_refunded(state: AttemptState) -> None:
    attempt = move_attempt(make_attempt(), *PATHS_OF_ATTEMPTS[state])
    if state in HAS_MONEY:
        assert make_refund(attempt).state == "requested"
    else:
        with refused("refunds_belong_to_money"):
            make_refund(attempt)


def test_refund_is_of_its_attempts_account_invoice_and_currency() -> None:
    refund = move_refund(make_partial_refund(), "not_sent")
    for wrong in ({"account_id": make_account().pk}, {"invoice_id": make_invoice().pk}, {"currency": "SGD"}):
        with refused("refunds_belong_to_money"):
            insert_another(refund, "attempt_id", **wrong)
    assert insert_another(refund, "attempt_id")


@attacks("refunds_never_exceed_what_was_captured")
@pytest.mark.parametrize("state", sorted(RefundState))
def test_open_and_succeeded_refunds_never_exceed_the_capture(state: RefundState) -> None:
    attempt = move_attempt(make_attempt(), "succeeded")
    refund = move_refund(make_refund(attempt, amount_minor=1500, kind="partial"), *PATHS[state])
    counts = state in OPEN or state is RefundState.SUCCEEDED
    seen = {"origin": "gateway", "state": "succeeded", "next_check_at": None, "armed_at": None}
    if counts:
        with refused("refunds_never_exceed_what_was_captured"):
            insert_another(refund, "attempt_id", amount_minor=491, **seen)
    assert insert_another(refund, "attempt_id", amount_minor=490, **seen)
    with refused("refunds_never_exceed_what_was_captured"):
        insert_another(refund, "attempt_id", amount_minor=1501, **seen)


@pytest.mark.django_db(transaction=True)
def test_simultaneous_refunds_never_exceed_the_capture() -> None:
    attempt = move_attempt(make_attempt(), "succeeded")
    came: list[str] = []

    def give_back() -> None:
        try:
            make_refund(
                PaymentAttempt.objects.get(pk=attempt.pk),
                amount_minor=1000,
                kind="partial",
                origin="gateway",
                state="succeeded",
                next_check_at=None,
            )
            came.append("written")
        except IntegrityError as error:
            came.append(error.__cause__.diag.constraint_name)  # type: ignore[union-attr]
        finally:
            connection.close()

    threads = [threading.Thread(target=give_back) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(came) == ["refunds_never_exceed_what_was_captured"] * 4 + ["written"]


@pytest.mark.parametrize("state", sorted(RefundState))
def test_an_attempt_has_one_open_refund(state: RefundState) -> None:
    refund = move_refund(make_partial_refund(), *PATHS[state])
    again = {"armed_at": None, "window_ends_at": None, "deadline_at": None}
    if state in OPEN:
        with refused("one_open_refund_per_attempt"):
            insert_another(refund, "attempt_id", **again)
    else:
        assert insert_another(refund, "attempt_id", **again)


@attacks("what_was_asked_back_never_changes")
@pytest.mark.parametrize("column", ways_out.FROZEN_REFUND_COLUMNS)
def test_what_was_asked_for_never_changes(column: str) -> None:
    refund = make_refund()
    with refused("what_was_asked_back_never_changes"):
        update(refund, **{column: other_value(getattr(refund, column))})


@attacks("a_refund_is_sent_only_for_what_is_owed")
def test_refund_is_not_sent_after_another_since_its_request() -> None:
    refund = make_partial_refund()
    run("UPDATE billing_paymentattempt SET amount_refunded_minor = 1 WHERE id = %s", [refund.attempt_id])
    with refused("a_refund_is_sent_only_for_what_is_owed"):
        move_refund(refund, "sending")
    run("UPDATE billing_paymentattempt SET amount_refunded_minor = 0 WHERE id = %s", [refund.attempt_id])
    assert move_refund(refund, "sending").state == "sending"


@attacks("armed_refund_requests_never_change")
@pytest.mark.parametrize("column", migration.FROZEN_REQUEST_COLUMNS)
@pytest.mark.parametrize("state", sorted(set(RefundState) - {RefundState.REQUESTED}))
def test_an_armed_request_never_changes(column: str, state: RefundState) -> None:
    refund = move_refund(make_refund(), *PATHS[state])
    with refused("armed_refund_requests_never_change"):
        update(refund, **{column: other_value(getattr(refund, column))})


CHECKS: list[tuple[str, dict[str, Any]]] = [
    ("refund_kind_known", {"kind": "generous"}),
    ("refund_amount_positive", {"amount_minor": 0}),
    ("refund_amount_positive", {"amount_minor": -1}),
    ("a_refund_says_who_asked_and_why", {"requested_by": ""}),
    ("a_refund_says_who_asked_and_why", {"requested_reason": ""}),
]


@attacks(*(name for name, _ in CHECKS))
@pytest.mark.parametrize(("name", "wrong"), CHECKS)
def test_a_refund_that_breaks_a_promise_is_refused(name: str, wrong: dict[str, Any]) -> None:
    refund = move_refund(make_partial_refund(), "not_sent")
    with refused(name):
        insert_another(refund, "attempt_id", **wrong)


@attacks("refund_state_known", "refund_origin_known", "refund_currency_known", "only_waiting_refunds_are_looked_at")
@pytest.mark.parametrize(
    ("name", "state", "wrong"),
    [
        ("refund_state_known", "succeeded", {"state": "lost"}),
        ("refund_origin_known", "succeeded", {"origin": "heaven"}),
        ("refund_currency_known", "succeeded", {"currency": "SGD"}),
        *(
            ("only_waiting_refunds_are_looked_at", state, {"next_check_at": NOW})
            for state in sorted(set(RefundState) - {RefundState.REQUESTED, RefundState.UNKNOWN})
        ),
    ],
)
def test_inconsistent_refund_is_refused_even_without_triggers(name: str, state: str, wrong: dict[str, Any]) -> None:
    refund = move_refund(make_refund(), *PATHS[state])
    run("SET LOCAL session_replication_role = replica")
    with refused(name):
        update(refund, **wrong)


@attacks("a_sent_refund_has_its_request")
@pytest.mark.parametrize("state", sorted(set(RefundState) - {RefundState.REQUESTED, RefundState.NOT_SENT}))
@pytest.mark.parametrize(
    ("column", "nothing"),
    [
        ("request_nonce", None),
        ("request_body", None),
        ("request_timestamp", None),
        ("request_url", ""),
        ("request_signature", ""),
        ("armed_at", None),
        ("window_ends_at", None),
        ("deadline_at", None),
    ],
)
def test_what_may_have_been_sent_has_its_whole_request(state: RefundState, column: str, nothing: object) -> None:
    refund = move_refund(make_refund(), *PATHS[state])
    run("SET LOCAL session_replication_role = replica")
    with refused("a_sent_refund_has_its_request"):
        update(refund, **{column: nothing})


@attacks("refund_evidence_source_known")
def test_refund_evidence_has_a_known_source() -> None:
    evidence = make_refund_evidence(make_refund())
    with refused("refund_evidence_source_known"):
        insert_copy(evidence, source="rumour", digest="another")
