"""`GET /v1/invoices/{id}/explanation/`"""

import pytest

from tests.api.calls import api_for, problem
from tests.audit.books import Books

pytestmark = pytest.mark.django_db


def test_explanation_of_an_invoice_is_returned() -> None:
    books = Books()
    attempt = books.pay(books.armed())
    told = api_for(books.account, "read").get(f"/invoices/{attempt.invoice.public_id}/explanation/").json()
    assert (told["invoice"], told["answer"], told["time_zone"]) == (
        attempt.invoice.public_id,
        "charged",
        "Asia/Kuala_Lumpur",
    )
    assert told["summary"].startswith(
        "The card was charged RM 19.90 once for period 1 of Coffee club, on Monday, 2 March"
    )
    assert [line["kind"] for line in told["lines"]] == ["rule", "due", "opened", "armed", "paid", "now", "next"]
    paid = told["lines"][4]
    assert paid["at"] == "2026-03-02T01:00:00Z"
    assert f"transaction {attempt.gateway_transaction_id}" in paid["evidence"]


def test_the_invoice_of_another_account_is_not_there() -> None:
    attempt, stranger = Books().armed(), Books()
    answer = api_for(stranger.account, "read").get(f"/invoices/{attempt.invoice.public_id}/explanation/")
    assert problem(answer) == (404, "not_found", [])
