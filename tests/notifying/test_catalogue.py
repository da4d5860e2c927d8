"""The table of kinds: whatever the code records is in it, some test records each of them, and the page shows it."""

import re

import pytest

from billing.domain.attempts import AttemptState
from billing.domain.events import ANY, BY_NAME, KINDS, ObjectType, kind_of_move, object_type, subject_of
from billing.domain.pacing import PaceState
from billing.domain.refunds import RefundState
from billing.domain.subscriptions import CardState, InvoiceState, SubscriptionState
from billing.models import Event
from billing.models.bulk.history import record_transition
from tests.factories import NOW
from tests.house import events_page
from tests.house.source import ROOT

# What looks like a kind and is none.
KIND = re.compile(
    r"kind=\"([a-z_]+\.[a-z_]+)\"|^[A-Z_]+ = \"([a-z_]+\.[a-z_]+)\"$|\"(attempt|refund)\.orphan_answer\"", re.MULTILINE
)


# By the reason that stands in their state.
HOLDS = {"invoice.held", "invoice.released"}


def recorded() -> set[str]:
    """Kinds that the code names where it records an event."""
    named: set[str] = set()
    for file in (ROOT / "billing").rglob("*.py"):
        if "migrations" in file.parts or (file.name == "events.py" and "domain" in file.parts):
            continue
        text = file.read_text(encoding="utf-8")
        if "record_event" in text or "record_change" in text or "NewEvent" in text:
            named.update(re.findall(r"\brecord_event\(\"([a-z_.]+)\"", text))
            for kind, constant, orphan in KIND.findall(text):
                named.add(kind or constant or f"{orphan}.orphan_answer")
    return named


def test_every_kind_is_listed_once_with_its_object() -> None:
    assert len(BY_NAME) == len(KINDS)
    moves = [move for kind in KINDS for move in kind.moves]
    assert len(moves) == len(set(moves)), "a move writes one event"
    for kind in KINDS:
        assert {object_type(subject) for subject, _, _ in kind.moves} <= {kind.object_type}, kind.name
    for one in ObjectType:
        assert object_type(subject_of(one)) is one


def test_what_is_recorded_is_in_the_table_and_the_reverse() -> None:
    by_hand = recorded()
    assert by_hand - {kind.name for kind in KINDS} == set()
    derived = {kind.name for kind in KINDS if kind.moves} | HOLDS
    assert {kind.name for kind in KINDS} - by_hand - derived == set(), "nothing records these"


@pytest.mark.parametrize(
    ("subject", "states", "silent"),
    [
        ("attempt", AttemptState, {"sending"}),
        ("refund", RefundState, set()),
        ("invoice", InvoiceState, {"open"}),
        ("subscription", SubscriptionState, {"incomplete"}),
        ("card", CardState, {"failed"}),
        ("pace", PaceState, {"half_open"}),
    ],
)
def test_every_state_has_its_event(subject: str, states: type[AttemptState], silent: set[str]) -> None:
    assert {state.value for state in states if kind_of_move(subject, "before", state.value) is None} == silent


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ("", "open", "invoice.opened"),
        ("", "void", "invoice.skipped"),
        ("open", "void", "invoice.voided"),
        ("paid", "open", "invoice.reopened"),
        ("uncollectible", "open", "invoice.reopened"),
        ("open", "open (price_jumped)", "invoice.held"),
        ("open (price_jumped)", "open", "invoice.released"),
        ("open", "open", None),
    ],
)
def test_a_move_of_an_invoice_has_its_own_event(before: str, after: str, kind: str | None) -> None:
    assert kind_of_move("invoice", before, after) == kind


@pytest.mark.parametrize(
    ("subject", "state"), [("attempt", "succeeded"), ("subscription", "active"), ("account", "running")]
)
def test_a_line_that_changes_no_state_is_no_event(subject: str, state: str) -> None:
    assert kind_of_move(subject, state, state) is None


def test_the_page_lists_the_kinds_of_the_code() -> None:
    text = events_page.PAGE.read_text(encoding="utf-8")
    assert events_page.with_table(text) == text, "run python -m tests.house.events_page"


@pytest.mark.django_db
def test_each_move_writes_its_event_in_the_same_call() -> None:
    about = {"account_id": 1, "subject_id": 7, "reason": "why", "actor": "test", "now": NOW}
    for kind in KINDS:
        for subject, before, after in kind.moves:
            before = "before" if before == ANY else before
            number = record_transition(subject_type=subject, from_state=before, to_state=after, **about)
            event = Event.objects.get(occasion=f"transition {number}")
            assert (event.kind, object_type(event.subject_type)) == (kind.name, kind.object_type)
            assert event.payload == {"changes": {"state": {"from": before or None, "to": after}}, "reason": "why"}
    assert Event.objects.count() == sum(len(kind.moves) for kind in KINDS)


def test_a_test_asserts_each_kind_that_no_move_writes() -> None:
    files = [file for file in (ROOT / "tests").rglob("test_*.py") if file.name != "test_catalogue.py"]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    assert [kind.name for kind in KINDS if not kind.moves and f'"{kind.name}"' not in text] == []
