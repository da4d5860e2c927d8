"""The notify endpoint: it answers 200, believes nothing, and makes us look sooner."""

import json
from datetime import datetime, timedelta
from urllib.parse import urlencode

import pytest
from django.test import Client

from billing import doorbell
from billing.callbacks.hints import HINTED_READS_APART
from billing.models import PaymentAttempt
from billing.models.clock import database_now
from tests.api.calls import snapshot
from tests.factories import make_attempt, make_card, make_customer, make_invoice, move_attempt

pytestmark = pytest.mark.django_db

URL = "/callbacks/rm/notify/"


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    rings: list[str] = []
    monkeypatch.setattr(doorbell, "ring_on_commit", rings.append)
    return rings


@pytest.fixture
def attempt() -> PaymentAttempt:
    """Unknown, to be looked at in an hour."""
    card = make_card()
    later = database_now() + timedelta(hours=1)
    return move_attempt(
        make_attempt(make_invoice(card), card, gateway_customer_id=card.gateway_customer_id),
        "unknown",
        next_check_at=later,
    )


def data(attempt: PaymentAttempt, **more: object) -> dict[str, object]:
    return {
        "amount": 1990, "currency": "MYR", "customerId": attempt.gateway_customer_id, "email": "canary@example.com",
        "name": "Canary", "phoneNumber": "199999999", "orderId": "160266004399415961120000R0", "status": "SUCCESS",
        **more,
    }  # fmt: skip


def encodings(told: dict[str, object]) -> dict[str, tuple[str, str, bytes, str]]:
    """Method, query, body and content type of each encoding."""
    event = {"eventType": "RECURRING_PAYMENT"}
    nested = json.dumps(event | {"data": told}).encode()
    flat = urlencode(event | {f"data.{name}": value for name, value in told.items()})
    brackets = urlencode(event | {f"data[{name}]": value for name, value in told.items()})
    packed = urlencode(event | {"data": json.dumps(told)})
    form = "application/x-www-form-urlencoded"
    return {
        "post_json": ("POST", "", nested, "application/json"),
        "post_form": ("POST", "", flat.encode(), form),
        "post_packed": ("POST", "", packed.encode(), form),
        "get_flat": ("GET", flat, b"", ""),
        "get_json": ("GET", packed, b"", ""),
        "get_brackets": ("GET", brackets, b"", ""),
    }


def send(method: str, query: str, body: bytes, kind: str):  # type: ignore[no-untyped-def]
    return Client().generic(method, f"{URL}?{query}" if query else URL, body, content_type=kind or "text/plain")


@pytest.mark.parametrize("encoding", ["post_json", "post_form", "post_packed", "get_flat", "get_json", "get_brackets"])
def test_each_encoding_brings_the_check_forward_and_no_more(
    encoding: str, attempt: PaymentAttempt, rung: list[str]
) -> None:
    before = snapshot()
    answer = send(*encodings(data(attempt))[encoding])
    assert (answer.status_code, answer.content) == (200, b"OK")
    assert rung == [doorbell.RECONCILE]
    after = snapshot()
    (was,), (is_now,) = before.pop("PaymentAttempt"), after.pop("PaymentAttempt")
    assert after == before
    assert {name for name in was if was[name] != is_now[name]} == {"next_check_at"}
    assert datetime.fromisoformat(is_now["next_check_at"]) <= database_now()


def test_an_order_that_is_known_is_enough(attempt: PaymentAttempt, rung: list[str]) -> None:
    PaymentAttempt.objects.filter(pk=attempt.pk).update(gateway_order_id="160266004399415961120000")
    told = {"orderId": "160266004399415961120000R0", "status": "SUCCESS"}
    assert send(*encodings(told)["get_flat"]).status_code == 200
    assert rung == [doorbell.RECONCILE]


def test_a_repeat_adds_nothing_and_other_cards_are_left_alone(attempt: PaymentAttempt, rung: list[str]) -> None:
    card = make_card(make_customer(attempt.account))
    later = database_now() + timedelta(hours=2)
    other = move_attempt(
        make_attempt(make_invoice(card), card, gateway_customer_id=card.gateway_customer_id),
        "unknown",
        next_check_at=later,
    )
    for _ in range(3):
        send(*encodings(data(attempt))["post_json"])
    assert rung == [doorbell.RECONCILE]
    other.refresh_from_db()
    assert other.next_check_at == later


def test_repeated_hints_cause_one_check_per_interval(attempt: PaymentAttempt, rung: list[str]) -> None:
    """The hint that came just after a look is not lost: its look waits for the while to pass."""
    looked_at = database_now() - timedelta(seconds=2)
    PaymentAttempt.objects.filter(pk=attempt.pk).update(looked_at=looked_at)
    for _ in range(2):
        assert send(*encodings(data(attempt))["post_json"]).status_code == 200
    attempt.refresh_from_db()
    assert (attempt.next_check_at, rung) == (looked_at + HINTED_READS_APART, [doorbell.RECONCILE])


@pytest.mark.parametrize("state", ["sending", "succeeded", "declined", "needs_review"])
def test_attempts_that_wait_for_nothing_are_left_alone(state: str, rung: list[str]) -> None:
    card = make_card()
    attempt = make_attempt(make_invoice(card), card, gateway_customer_id=card.gateway_customer_id)
    if state != "sending":
        move_attempt(attempt, state)
    before = snapshot()
    assert send(*encodings(data(attempt))["post_json"]).status_code == 200
    assert (snapshot(), rung) == (before, [])


@pytest.mark.parametrize(
    ("method", "query", "body", "status"),
    [
        ("POST", "", b"", 200),
        ("POST", "", b"{", 200),
        ("POST", "", b"[]", 200),
        ("POST", "", b"\xff\xfe\x00", 200),
        ("POST", "", b'{"data": {"customerId": "a b"}}', 200),
        ("POST", "", b'{"data": {"customerId": "\\u0000"}}', 200),
        ("POST", "", b'{"data": {"customerId": 7}}', 200),
        ("POST", "", b"[" * 60_000, 200),
        ("POST", "", b'{"data":' * 7_000, 200),
        ("POST", "", b"x" * 65_536, 200),
        ("POST", "", b"x" * 65_537, 413),
        ("POST", "", b"x" * 5_000_000, 413),
        ("GET", "a=" + "x" * 20_000, b"", 200),
        ("GET", "&".join(f"a{n}=1" for n in range(500)), b"", 200),
        ("GET", "data.customerId=unknown&data.orderId=%00", b"", 200),
        ("PUT", "", b"{}", 405),
    ],
    ids=lambda value: str(value)[:25],
)
def test_what_cannot_be_read_changes_nothing(
    method: str, query: str, body: bytes, status: int, attempt: PaymentAttempt, rung: list[str]
) -> None:
    before = snapshot()
    assert send(method, query, body, "application/json").status_code == status
    assert (snapshot(), rung) == (before, [])


@pytest.mark.parametrize("encoding", ["post_json", "get_flat"])
def test_nothing_personal_is_logged(
    encoding: str, attempt: PaymentAttempt, rung: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    send(*encodings(data(attempt))[encoding])
    send("POST", "data.email=canary@example.com", b"{canary@example.com", "application/json")
    said = "\n".join(record.getMessage() for record in caplog.records)
    for canary in ("canary@example.com", "199999999", "Canary"):
        assert canary not in said
