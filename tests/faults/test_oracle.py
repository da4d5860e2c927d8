"""The judge of the harness sees each thing that it is there to see."""

from types import SimpleNamespace
from typing import Any

import pytest

from billing.models import Invoice
from billing.models.clock import database_now
from tests.audit.test_violations import asleep
from tests.conftest import Shop
from tests.factories import make_invoice
from tests.faults.harness.oracle import Verdict, verdict

pytestmark = pytest.mark.django_db


@pytest.fixture
def ledger(shop: Shop) -> Any:
    """The simulator's answers about two charges of a shop in which all is well; to be falsified."""
    for _ in range(2):
        make_invoice(shop.card(), next_attempt_at=database_now(), due_at=database_now())
    shop.collect()
    charges = [charge for invoice in Invoice.objects.all() for charge in shop.taken(invoice)]
    posts = {str(charge["title"]).split()[-1]: 1 for charge in charges}
    return SimpleNamespace(charges=charges, posts=posts, simulator=shop.simulator)


def judged(ledger: Any) -> Verdict:
    answers: Any = SimpleNamespace(
        charges=lambda: ledger.charges, requests=lambda: {"by_marker": ledger.posts}, set=ledger.simulator.set
    )
    return verdict(answers)


def test_where_all_is_well_it_finds_nothing(ledger: Any) -> None:
    found = judged(ledger)
    assert found.problems == []
    assert (found.invoices, found.attempts, found.states) == (2, 2, {"succeeded": 2})


def test_money_taken_twice_for_an_invoice(ledger: Any) -> None:
    ledger.charges.append(ledger.charges[0])
    assert judged(ledger).double == 1


def test_a_marker_that_was_sent_twice(ledger: Any) -> None:
    ledger.posts[next(iter(ledger.posts))] = 2
    found = judged(ledger)
    assert found.most_posts_per_marker == 2
    assert found.problems


def test_a_request_of_no_attempt(ledger: Any) -> None:
    ledger.posts["ABCDEFGHIJKL"] = 1
    assert judged(ledger).unexplained_posts == 1


def test_an_invoice_that_nobody_tried(ledger: Any) -> None:
    make_invoice(Invoice.objects.earliest("id").payment_method, next_attempt_at=database_now())
    assert judged(ledger).missed >= 1


def test_a_payment_that_the_gateway_does_not_have(ledger: Any) -> None:
    lost = ledger.charges.pop()
    assert any("took its money 0 times" in problem for problem in judged(ledger).problems), lost


def test_an_order_that_only_the_gateway_knows(ledger: Any) -> None:
    charge = ledger.charges.pop()
    marker = str(charge["title"]).split()[-1]
    del ledger.posts[marker]
    asleep("DELETE FROM billing_paymentattempt WHERE marker = %s", [marker])
    assert any("which took money for no attempt" in problem for problem in judged(ledger).problems)


def test_an_attempt_that_is_left_open(ledger: Any, shop: Shop) -> None:
    make_invoice(shop.card("4000000000000119"), next_attempt_at=database_now(), due_at=database_now())
    shop.collect()
    assert judged(ledger).open_ended == 1
