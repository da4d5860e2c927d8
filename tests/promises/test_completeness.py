"""Every promise that the database keeps is attacked by a test, and the migration says what the domain says."""

from importlib import import_module
from pathlib import Path

import pytest

from billing.domain.attempts import MOVES
from billing.domain.refunds import REFUND_MOVES
from billing.domain.subscriptions import INVOICE_MOVES, SUBSCRIPTION_MOVES
from tests.promises import catalogue
from tests.promises.attacks import ATTACKED

promises = import_module("billing.migrations.0002_promises")
refunds = import_module("billing.migrations.0007_refunds")
ways_out = import_module("billing.migrations.0015_ways_out")
first_payment = import_module("billing.migrations.0022_first_payment")
needs_review = import_module("billing.migrations.0019_needs_review")


@pytest.mark.django_db
def test_every_constraint_and_trigger_is_attacked() -> None:
    for file in Path(__file__).parent.glob("test_*.py"):
        import_module(f"tests.promises.{file.stem}")
    assert catalogue.promises() == ATTACKED


@pytest.mark.django_db
def test_every_trigger_is_switched_on() -> None:
    off = catalogue.run("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'O'")
    assert off == []


def renamed(state: str) -> str:
    return state.replace(needs_review.OLD, needs_review.NEW)


def pairs(moves: dict[str, tuple[str, ...]]) -> set[tuple[str, str]]:
    """As the migrations leave them: a state was renamed since."""
    listed = [(renamed(old), renamed(new)) for old, news in moves.items() for new in news]
    assert len(listed) == len(set(listed))
    return set(listed)


@pytest.mark.parametrize(
    ("migration", "domain"),
    [
        (promises.ATTEMPT_MOVES, MOVES),
        (ways_out.INVOICE_MOVES, INVOICE_MOVES),
        (first_payment.SUBSCRIPTION_MOVES, SUBSCRIPTION_MOVES),
        (refunds.REFUND_MOVES, REFUND_MOVES),
    ],
    ids=["attempts", "invoices", "subscriptions", "refunds"],
)
def test_the_database_and_the_domain_have_the_same_moves(
    migration: dict[str, tuple[str, ...]], domain: frozenset[tuple[str, str]]
) -> None:
    assert pairs(migration) == {(str(old), str(new)) for old, new in domain}
