"""`manage.py explain`: the story of an invoice on a terminal."""

import pytest
from django.core.management import CommandError, call_command

from tests.audit.books import Books

pytestmark = pytest.mark.django_db


def test_the_answer_comes_first_and_every_line_has_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    books = Books()
    attempt = books.pay(books.armed())
    for name in (
        attempt.invoice.public_id,
        attempt.public_id,
        attempt.gateway_transaction_id,
        attempt.gateway_order_id,
    ):
        call_command("explain", name)
        said = capsys.readouterr().out.splitlines()
        assert said[0].startswith("The card was charged RM 19.90 once for period 1 of Coffee club")
        assert said[1] == f"{attempt.invoice.public_id}, times of Asia/Kuala_Lumpur"
        assert said[3].startswith("Mon  2 Mar 2026 09:00:00  The subscription to Coffee club began")
        assert [line.split()[0] for line in said if line.startswith(("now", "next"))] == ["now", "next"]
        assert attempt.invoice.customer.name not in "".join(said)


def test_unknown_id_is_refused_in_a_sentence() -> None:
    with pytest.raises(CommandError, match="no invoice is known by 'inv_x'"):
        call_command("explain", "inv_x")
