"""Proposals: decided once, by another person, about a case, and never lost."""

from importlib import import_module
from typing import Any

import pytest

from billing.models import Proposal
from tests.factories import NOW, make_account, make_attempt, make_proposal, move_attempt
from tests.promises.attacks import (
    attacks,
    columns,
    delete,
    insert_another,
    insert_copy,
    other_value,
    refused,
    rewrite,
    run,
    table,
    update,
)

pytestmark = pytest.mark.django_db
ways_out = import_module("billing.migrations.0015_ways_out")
DECIDED: dict[str, Any] = {"decided_at": NOW, "decided_by": "mei", "decided_by_user_id": 2}
DECISION_COLUMNS = {"outcome", "decided_by", "decided_by_user_id", "decided_at", "decided_reason"}

WRONG: list[tuple[str, dict[str, Any]]] = [
    ("proposal_outcome_known", {"outcome": "perhaps", **DECIDED}),
    ("a_decided_proposal_says_by_whom", {"outcome": "rejected"}),
    ("a_decided_proposal_says_by_whom", {"outcome": "rejected", "decided_at": NOW}),
    ("a_decided_proposal_says_by_whom", {"outcome": "overtaken", "decided_by": "engine"}),
    ("a_decided_proposal_says_by_whom", {"decided_at": NOW}),
    ("a_decided_proposal_says_by_whom", {"decided_by": "mei"}),
    ("a_decided_proposal_says_by_whom", {"decided_by_user_id": 2}),
    ("the_second_person_is_another", {"outcome": "confirmed", **DECIDED, "decided_by_user_id": 1}),
    ("the_second_person_is_another", {"outcome": "confirmed", **DECIDED, "decided_by": "siti"}),
    ("the_second_person_is_another", {"outcome": "confirmed", **DECIDED, "decided_by_user_id": None}),
]


@attacks(*(name for name, _ in WRONG))
@pytest.mark.parametrize(("name", "wrong"), WRONG)
def test_a_decision_that_breaks_a_promise_is_refused(name: str, wrong: dict[str, Any]) -> None:
    proposal = make_proposal()
    with refused(name):
        update(proposal, **wrong)


def test_what_a_program_proposed_is_not_confirmed_by_a_program() -> None:
    proposal = make_proposal(proposed_by="api:key_1", proposed_by_user_id=None)
    with refused("the_second_person_is_another"):
        update(proposal, outcome="confirmed", decided_at=NOW, decided_by="api:key_2")
    update(proposal, outcome="confirmed", **DECIDED)


@attacks("a_proposal_is_decided_once")
@pytest.mark.parametrize("outcome", ["confirmed", "rejected", "overtaken"])
def test_a_decision_is_final(outcome: str) -> None:
    proposal = make_proposal()
    update(proposal, outcome=outcome, **DECIDED)
    for column in DECISION_COLUMNS:
        with refused("a_proposal_is_decided_once"):
            rewrite(proposal, column)
    with refused("a_proposal_is_decided_once"):
        update(proposal, outcome="open", decided_at=None, decided_by="", decided_by_user_id=None)


@attacks("proposals_never_change")
@pytest.mark.parametrize("column", ways_out.FROZEN_PROPOSAL_COLUMNS)
def test_what_was_proposed_never_changes(column: str) -> None:
    proposal = make_proposal()
    json = {"orders": '["1001"]', "details": '{"method": "cash"}'}
    value: Any = json.get(column) or other_value(getattr(proposal, column))
    with refused("proposals_never_change"):
        update(proposal, **{column: value})


def test_every_column_is_either_frozen_or_the_decision() -> None:
    assert {*ways_out.FROZEN_PROPOSAL_COLUMNS} == set(columns(Proposal)) - DECISION_COLUMNS


@attacks("proposals_are_about_a_case")
@pytest.mark.parametrize("states", [(), ("unknown",), ("declined",), ("succeeded",), ("needs_review", "not_charged")])
def test_nothing_is_proposed_about_what_is_with_nobody(states: tuple[str, ...]) -> None:
    other = move_attempt(make_attempt(), *states)
    with refused("proposals_are_about_a_case"):
        insert_another(make_proposal(), attempt_id=other.pk, account_id=other.account_id)


def test_proposal_for_another_account_or_decided_is_refused() -> None:
    proposal = make_proposal()
    with refused("proposals_are_about_a_case"):
        insert_another(proposal, account_id=make_account().pk)
    with refused("proposals_are_about_a_case"):
        insert_copy(proposal, public_id="prop_2", outcome="confirmed", **DECIDED)


@attacks("proposal_is_never_deleted")
def test_a_proposal_is_not_deleted() -> None:
    proposal = make_proposal()
    with refused("proposal_is_never_deleted"):
        delete(proposal)


@attacks("proposal_is_never_truncated")
def test_proposals_are_not_emptied() -> None:
    run("SELECT set_config('kitaran.allow_truncate', 'off', true)")
    with refused("proposal_is_never_truncated"):
        run(f"TRUNCATE {table(Proposal)}")
