"""The frame of arming: only a commit that was acknowledged and attested permits to send."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError

from billing.charging.protocol import permission
from billing.charging.protocol.permission import NOT_ATTESTED, Frozen, Permitted, Unacknowledged, Unattested
from billing.models.clock import database_now
from billing.operating import recognise
from billing.operating.witness import WitnessError

pytestmark = pytest.mark.django_db

CHARGE = Frozen("a charge", marker="AB12CD34EF56")
REFUND = Frozen("a refund", nonce="n-1")
NOTHING = Frozen("nothing")


@contextmanager
def commit_is_lost() -> Iterator[None]:
    yield
    raise OperationalError("the connection is gone")


def ask(frozen: Frozen[str] | Exception) -> permission.Answer[str]:
    def freeze() -> Frozen[str]:
        if isinstance(frozen, Exception):
            raise frozen
        return frozen

    return permission.ask_permission(freeze, about="a test", now=database_now())


@pytest.fixture
def attested(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(recognise, "attest", lambda _, **named: calls.append(named) or "")
    return calls


@pytest.mark.parametrize("frozen", [CHARGE, REFUND])
def test_what_is_attested_may_be_sent(frozen: Frozen[str], attested: list[dict[str, Any]]) -> None:
    assert ask(frozen) == Permitted(frozen.what)
    assert [(call["marker"], call["nonce"]) for call in attested] == [(frozen.marker, frozen.nonce)]


def test_what_froze_nothing_is_not_attested(attested: list[dict[str, Any]]) -> None:
    assert ask(NOTHING) == Permitted("nothing")
    assert attested == []


@pytest.mark.parametrize("frozen", [CHARGE, REFUND])
def test_a_commit_that_was_not_acknowledged_permits_nothing(
    frozen: Frozen[str], monkeypatch: pytest.MonkeyPatch, attested: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(permission, "durable", commit_is_lost)
    assert ask(frozen) == Unacknowledged(frozen.what)
    assert attested == []


def test_a_lost_commit_with_nothing_to_send_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permission, "durable", commit_is_lost)
    with pytest.raises(OperationalError):
        ask(NOTHING)


@pytest.mark.parametrize("error", [OperationalError("gone"), IntegrityError("broken")])
def test_an_error_while_freezing_is_raised(error: Exception) -> None:
    with pytest.raises(type(error)):
        ask(error)


def test_what_the_witness_does_not_confirm_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognise, "attest", lambda *_, **__: "witness_not_written")
    assert ask(CHARGE) == Unattested("a charge", "witness_not_written")


def test_a_database_that_fails_after_the_commit_attests_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> str:
        raise OperationalError("the connection is gone")

    monkeypatch.setattr(recognise, "attest", fails)
    assert ask(REFUND) == Unattested("a refund", NOT_ATTESTED)


def test_without_a_witness_nothing_is_armed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> recognise.Confirmed:
        raise WitnessError("no folder")

    monkeypatch.setattr(recognise, "confirm", fails)
    assert ask(CHARGE) == permission.Closed()
