"""RM's own recurring engine and its notifies, on a virtual clock."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from rm_gateway.signing import load_public_key, signing_plaintext, verify
from rm_gateway.simulator.process import SimulatorProcess
from rm_gateway.simulator.recurring import is_target
from tests.rm_gateway.sandbox import Inbox, receiving, until


@pytest.fixture
def inbox() -> Iterator[tuple[str, Inbox]]:
    with receiving() as address_and_inbox:
        yield address_and_inbox


def recurring(caller: Any, **changes: Any) -> Any:
    body = {
        "storeId": caller.credentials.store_id,
        "email": "aminah@example.com",
        "name": "Aminah",
        "countryCode": "60",
        "phoneNumber": "187824152",
        "productName": "Weekly box",
        "productDescription": "Vegetables",
        "redirectUrl": "https://shop.example/back",
        "notifyUrl": "http://127.0.0.1:9/nobody",
        "currency": "MYR",
        "amount": 1500,
        "recurringInterval": "WEEKLY",
        "recurringTarget": "1",
        "recurringRepetition": 3,
    }
    return caller.call("POST", "/v3/recurring-payment", body | changes)


def started(simulator: SimulatorProcess, caller: Any, **changes: Any) -> str:
    simulator.clock(virtual="2026-01-01T10:00:00Z")  # a Thursday
    customer = recurring(caller, **changes).item
    simulator.bind(customer["paymentUrl"])
    return str(customer["id"])


def days(simulator: SimulatorProcess) -> list[str]:
    return [row["created_at"][:10] for row in simulator.charges()]


def test_a_recurring_customer_has_the_documented_form(caller: Any) -> None:
    item = recurring(caller).item
    assert item["recurringPayment"] == {
        "amount": 1500,
        "currency": "MYR",
        "recurringInterval": "WEEKLY",
        "recurringTarget": "1",
        "recurringRepetition": 3,
        "productName": "Weekly box",
        "productDescription": "Vegetables",
    }
    assert "productName" not in item
    assert item["paymentUrl"].endswith(f"/v1/recurring?customerId={item['id']}")


@pytest.mark.parametrize(
    "changes",
    [
        {"recurringInterval": "YEARLY"},
        {"recurringTarget": "7"},
        {"recurringTarget": 1},
        {"recurringInterval": "MONTHLY", "recurringTarget": "29"},
        {"recurringRepetition": "3"},
        {"notifyUrl": ""},
        {"redirectUrl": "javascript:alert(1)"},
        {"amount": 5},
        {"currency": "SGD"},
    ],
)
def test_a_schedule_that_rm_does_not_know_is_refused(caller: Any, changes: dict[str, Any]) -> None:
    assert recurring(caller, **changes).code == "VALIDATION_ERROR"


def test_it_charges_on_its_days_and_stops_after_its_repetitions(simulator: SimulatorProcess, caller: Any) -> None:
    customer = started(simulator, caller)
    simulator.clock(virtual="2026-01-05T00:00:10Z")
    assert days(simulator) == ["2026-01-05"]
    simulator.clock(virtual="2026-03-01T12:00:00Z")
    assert days(simulator) == ["2026-01-05", "2026-01-12", "2026-01-19"]
    orders = caller.orders(customer)
    assert [order["recurringReference"] for order in orders] == ["20260105", "20260112", "20260119"]
    assert [order["createdAt"][10:] for order in orders] == ["T00:00:02Z"] * 3


def test_it_can_charge_when_the_card_is_bound(simulator: SimulatorProcess, caller: Any) -> None:
    simulator.set(first_charge="at_bind")
    started(simulator, caller)
    simulator.clock(virtual="2026-03-01T12:00:00Z")
    assert days(simulator) == ["2026-01-01", "2026-01-05", "2026-01-12"]


def test_an_inactive_customer_is_not_charged(simulator: SimulatorProcess, caller: Any) -> None:
    customer = started(simulator, caller)
    assert caller.call("PUT", f"/v3/customer/{customer}/status").item["isActive"] is False
    simulator.clock(virtual="2026-01-06T12:00:00Z")
    assert caller.call("PUT", f"/v3/customer/{customer}/status").item["isActive"] is True
    simulator.clock(virtual="2026-01-12T12:00:00Z")
    assert days(simulator) == ["2026-01-12"]


def test_failed_order_is_retried_daily_then_gets_a_payment_link(simulator: SimulatorProcess, caller: Any) -> None:
    customer = started(simulator, caller, recurringRepetition=1)
    simulator.set(outcome="decline_9010")
    simulator.clock(virtual="2026-01-07T12:00:00Z")
    (order,) = caller.orders(customer)
    assert (order["status"], order["paymentUrl"]) == ("FAILED", "")
    simulator.clock(virtual="2026-01-20T12:00:00Z")
    assert days(simulator) == ["2026-01-05", "2026-01-06", "2026-01-07", "2026-01-08"]
    (order,) = caller.orders(customer)
    assert order["recurringReference"] == "20260105"
    assert order["transactionId"] == simulator.charges()[-1]["transaction_id"]
    simulator.bind(order["paymentUrl"], action="pay")
    (paid,) = caller.orders(customer)
    assert paid["status"] == "SUCCESS"
    assert paid["transactionId"] != order["transactionId"]
    assert [row["status"] for row in simulator.charges()] == ["FAILED"] * 4 + ["SUCCESS"]


def test_a_retry_can_succeed(simulator: SimulatorProcess, caller: Any) -> None:
    started(simulator, caller, recurringRepetition=1)
    simulator.set(outcome=["decline_51"])
    simulator.clock(virtual="2026-01-20T12:00:00Z")
    assert [row["status"] for row in simulator.charges()] == ["FAILED", "SUCCESS"]


def test_targets() -> None:
    def charged(interval: str, target: str) -> list[int]:
        schedule = {"recurringInterval": interval, "recurringTarget": target}
        february = [date(2028, 2, 1) + timedelta(days=day) for day in range(29)]
        return [day.day for day in february if is_target(schedule, day)]

    assert charged("MONTHLY", "-1") == [29]
    assert charged("MONTHLY", "0") == charged("MONTHLY", "1") == [1]
    assert charged("MONTHLY", "28") == [28]
    assert charged("WEEKLY", "0") == [6, 13, 20, 27]  # Sundays
    assert charged("WEEKLY", "6") == [5, 12, 19, 26]
    assert charged("DAILY", "") == list(range(1, 30))


def decode(row: dict[str, Any], encoding: str) -> dict[str, Any]:
    query = parse_qs(urlsplit(row["path"]).query)
    assert query.pop("key") == ["1"]
    if encoding == "post_json":
        body = json.loads(row["body"])
        assert body["eventType"] == "RECURRING_PAYMENT"
        return dict(body["data"])
    assert query.pop("eventType") == ["RECURRING_PAYMENT"]
    if encoding == "get_json":
        return dict(json.loads(query["data"][0]))
    return {name.removeprefix("data").strip(".[]"): values[0] for name, values in query.items()}


@pytest.mark.parametrize("encoding", ["post_json", "get_flat", "get_json", "get_brackets"])
def test_a_notify_comes_in_each_encoding(
    simulator: SimulatorProcess, caller: Any, inbox: tuple[str, Inbox], encoding: str
) -> None:
    url, received = inbox
    simulator.set(notify=[encoding])
    customer = started(simulator, caller, notifyUrl=url)
    simulator.clock(virtual="2026-01-06T00:00:00Z")
    (row,) = until(received, 1)
    data = decode(row, encoding)
    (order,) = caller.orders(customer)
    assert data["orderId"] == f"{order['id']}R0"
    assert str(data["amount"]) == "1500"
    assert (data["status"], data["customerId"], data["email"]) == ("SUCCESS", customer, "aminah@example.com")
    assert row["method"] == ("POST" if encoding == "post_json" else "GET")
    if encoding == "post_json":
        assert is_signed(row, simulator.credentials.server_public_key)


def is_signed(row: dict[str, Any], public_key: str) -> bool:
    headers = row["headers"]
    plaintext = signing_plaintext(
        method="post",
        url=None,
        nonce=headers["X-Nonce-Str"],
        timestamp=headers["X-Timestamp"],
        body=json.loads(row["body"]),
    )
    return verify(plaintext, headers["X-Signature"], load_public_key(public_key))


def test_notifies_come_by_default_as_a_post_and_as_a_get(
    simulator: SimulatorProcess, caller: Any, inbox: tuple[str, Inbox]
) -> None:
    url, received = inbox
    customer = started(simulator, caller, notifyUrl=url)
    caller.charge(customer)
    assert sorted(row["method"] for row in until(received, 2)) == ["GET", "POST"]
    assert [row["status"] for row in simulator.notifies()] == [200, 200]


def test_a_decline_is_not_notified_but_a_late_success_is(
    simulator: SimulatorProcess, caller: Any, inbox: tuple[str, Inbox]
) -> None:
    url, received = inbox
    simulator.set(notify=["post_json"])
    customer = started(simulator, caller, notifyUrl=url)
    caller.charge(customer, 101)
    caller.charge(customer, 104)
    time.sleep(0.1)
    assert received == []
    simulator.clock(advance=10)
    assert len(until(received, 1)) == 1


@pytest.mark.parametrize(
    ("faults", "count"),
    [(["lost"], 0), (["duplicate"], 2), (["bad_signature"], 1), (["unsigned"], 1), (["before_response"], 1)],
)
def test_notify_faults(
    simulator: SimulatorProcess, caller: Any, inbox: tuple[str, Inbox], faults: list[str], count: int
) -> None:
    url, received = inbox
    simulator.set(notify="post_json", notify_faults=faults)
    customer = started(simulator, caller, notifyUrl=url)
    caller.charge(customer)
    if faults == ["before_response"]:
        assert len(received) == 1
    time.sleep(0.1)
    assert len(until(received, count)) == count
    if faults == ["bad_signature"]:
        assert not is_signed(received[0], simulator.credentials.server_public_key)
    if faults == ["unsigned"]:
        assert "X-Signature" not in received[0]["headers"]


def test_a_notify_can_come_late_or_out_of_order(
    simulator: SimulatorProcess, caller: Any, inbox: tuple[str, Inbox]
) -> None:
    url, received = inbox
    simulator.set(notify="get_flat", notify_faults=["late"], notify_delay=0.4)
    customer = started(simulator, caller, notifyUrl=url)
    caller.charge(customer, 300)
    answered_at = time.monotonic()
    assert until(received, 1)[0]["at"] - answered_at > 0.2
    received.clear()
    simulator.set(notify_faults=["out_of_order"])
    caller.charge(customer, 301)
    caller.charge(customer, 302)
    amounts = [dict(parse_qsl(urlsplit(row["path"]).query))["data.amount"] for row in until(received, 2)]
    assert amounts == ["302", "301"]
