"""`manage.py audit`: what it prints, what it exits with."""

import json

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from billing.audit.invariants import INVARIANTS
from tests.audit.books import Books

pytestmark = pytest.mark.django_db


@pytest.fixture
def books() -> Books:
    return Books()


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = 0
    try:
        call_command("audit", *arguments)
    except SystemExit as left:
        code = int(left.code or 0)
    return code, capsys.readouterr().out


def forget_the_alert(books: Books) -> str:
    attempt = books.give_to_a_person(books.lose(books.armed()))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("DELETE FROM billing_event")
        cursor.execute("SET LOCAL session_replication_role = origin")
    return attempt.public_id


def test_healthy_audit_prints_one_line_per_invariant(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run(capsys)
    assert code == 0
    lines = [line.split() for line in said.splitlines()]
    assert [line[1] for line in lines if line[:1] == ["ok"]] == ["catalogue", *INVARIANTS]
    assert said.splitlines()[-1] == "All checks passed."


def test_the_offending_rows_are_below_what_they_break(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    subject = forget_the_alert(books)
    code, said = run(capsys, "--account", books.account.public_id)
    assert code == 1
    assert "1 violation  L4 " in said
    assert f"→ {subject} needed a person" in said
    assert said.splitlines()[-1].endswith("L4 (One alert per review).")


def test_a_machine_gets_all_of_it(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    subject = forget_the_alert(books)
    code, said = run(capsys, "--json")
    told = json.loads(said)
    assert (code, told["ok"], told["gateway"], told["account"]) == (1, False, False, None)
    assert [one["code"] for one in told["invariants"]] == ["catalogue", *INVARIANTS]
    assert {one["code"]: one["violations"] for one in told["invariants"]}["L4"] == [
        {"subject": subject, "text": "needed a person, and raised no alert."}
    ]


def test_an_account_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="no such account: 'acct_x'"):
        run(capsys, "--account", "acct_x")
