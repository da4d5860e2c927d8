"""Charges, orders, queries: what the wire carries and what switches change about it."""

from __future__ import annotations

import re
import socket
import time
from typing import Any

import pytest

from rm_gateway.simulator.process import SimulatorError, SimulatorProcess
from tests.rm_gateway.simulator.conftest import bind


def test_a_success_has_the_documented_form(simulator: SimulatorProcess, caller: Any, bound: str) -> None:
    item = caller.charge(bound, 1200, title="Plan 0123456789AB", description="0123456789AB May").item
    assert item["status"] == "SUCCESS"
    assert re.fullmatch(r"\d{24}", item["transactionId"])
    order = item["order"]
    assert re.fullmatch(r"\d{19}", order["additionalData"])
    assert order["id"] == f"{order['additionalData']}R0"
    assert (order["amount"], order["currencyType"]) == (1200, "MYR")
    assert (order["title"], order["detail"]) == ("Plan 0123456789AB", "0123456789AB May")
    assert item["referenceId"]
    assert item["balanceAmount"] == item["finalAmount"] == 1200
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", item["transactionAt"])
    assert (item["method"], item["type"], item["source"]) == ("GOBIZ", "RECURRING_PAYMENT", "RECURRING")
    (row,) = simulator.charges()
    assert row["transaction_id"] == item["transactionId"]
    assert row["order_id"] == order["additionalData"]
    assert (row["customer_id"], row["path"], row["status"]) == (bound, "customer", "SUCCESS")


def test_a_decline_has_the_published_form(caller: Any, bound: str) -> None:
    item = caller.charge(bound, 101).item
    assert (item["status"], item["error"]) == ("FAILED", {"message": "9010"})
    assert (item["transactionAt"], item["balanceAmount"], item["referenceId"]) == ("0001-01-01T00:00:00Z", 0, "")


def test_both_paths_charge_and_either_can_be_missing(simulator: SimulatorProcess, caller: Any, bound: str) -> None:
    for path in ("customer", "recurring"):
        assert caller.charge(bound, path=path).item["status"] == "SUCCESS"
    assert [row["path"] for row in simulator.charges()] == ["customer", "recurring"]
    for served, missing in (("customer", "recurring"), ("recurring", "customer")):
        simulator.set(charge_path=served)
        assert caller.charge(bound, path=served).status == 200
        answer = caller.charge(bound, path=missing)
        assert (answer.status, answer.code) == (404, "API_ENDPOINT_NOT_FOUND")
    assert len(simulator.charges()) == 4


def test_what_the_gateway_may_forget_can_be_forgotten(simulator: SimulatorProcess, caller: Any, bound: str) -> None:
    simulator.set(echo=False, order_currency=False, nanoseconds=True)
    item = caller.charge(bound, title="Plan 0123456789AB").item
    assert (item["order"]["title"], item["order"]["detail"]) == ("Monthly plan", "All you can read")
    assert "currencyType" not in item["order"]
    assert re.fullmatch(r".*\.\d{9}Z", item["updatedAt"])
    assert simulator.charges()[0]["title"] == "Plan 0123456789AB"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"amount": 9}, "MINIMUM_AMOUNT_REQUIRED"),
        ({"amount": "1200"}, "VALIDATION_ERROR"),
        ({"amount": 12.5}, "VALIDATION_ERROR"),
        ({"amount": True}, "VALIDATION_ERROR"),
        ({"currency": "USD"}, "VALIDATION_ERROR"),
        ({"title": "x" * 33}, "VALIDATION_ERROR"),
        ({"description": "x" * 601}, "VALIDATION_ERROR"),
        ({"title": 5}, "VALIDATION_ERROR"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_happens(
    simulator: SimulatorProcess, caller: Any, bound: str, body: dict[str, Any], code: str
) -> None:
    path = f"/v3/customer/{bound}/order"
    answer = caller.call("POST", path, {"currency": "MYR", "amount": 1200} | body)
    assert (answer.status, answer.code) == (400, code)
    assert simulator.charges() == []
    assert simulator.requests()["posts"]["POST /v3/customer/{id}/order"] == 1


def test_unbound_inactive_and_unknown_customers_are_refused(
    simulator: SimulatorProcess, caller: Any, bound: str
) -> None:
    unbound = caller.customer()["id"]
    assert caller.call("PUT", f"/v3/customer/{bound}/status").item["isActive"] is False
    assert [caller.charge(some).status for some in (unbound, bound, "12")] == [400, 400, 404]
    assert caller.call("GET", f"/v3/customer/{bound}").status == 200
    assert caller.call("GET", f"/v3/customer/{unbound}/orders").status == 400
    simulator.set(error_unbound=None, error_inactive=[409, "USER_NOT_ACTIVE"], error_unknown=[200, "USER_NOT_FOUND"])
    codes = [(answer.status, answer.code) for answer in map(caller.charge, (unbound, bound, "12"))]
    assert codes == [(409, "USER_NOT_ACTIVE"), (409, "USER_NOT_ACTIVE"), (200, "USER_NOT_FOUND")]
    assert caller.call("GET", f"/v3/customer/{unbound}").item["isActive"] is False
    assert simulator.charges() == []
    assert caller.call("PUT", f"/v3/customer/{bound}/status").item["isActive"] is True


def test_orders_come_oldest_first_in_pages(simulator: SimulatorProcess, caller: Any, bound: str) -> None:
    simulator.set(page_size=2)
    made = [caller.charge(bound, amount).item for amount in (300, 301, 302, 101, 303)]
    first = caller.call("GET", f"/v3/customer/{bound}/orders").json
    assert len(first["items"]) == 2
    assert first["meta"]["cursor"]
    found = caller.orders(bound)
    assert [order["id"] for order in found] == [item["order"]["additionalData"] for item in made]
    assert [order["transactionId"] for order in found] == [item["transactionId"] for item in made]
    assert [order["status"] for order in found] == ["SUCCESS"] * 3 + ["FAILED", "SUCCESS"]
    assert {order["recurringCustomerId"] for order in found} == {bound}
    assert all(re.fullmatch(r"20\d{6}", order["recurringReference"]) for order in found)
    assert caller.call("GET", f"/v3/customer/{bound}/orders?cursor=nonsense").code == "INVALID_REQUEST"


def test_a_page_that_ends_exactly_has_no_cursor(simulator: SimulatorProcess, caller: Any, bound: str) -> None:
    simulator.set(page_size=2)
    for amount in (300, 301):
        caller.charge(bound, amount)
    assert caller.call("GET", f"/v3/customer/{bound}/orders").json["meta"] == {}


def test_orders_can_show_late_or_never(simulator: SimulatorProcess, caller: Any, bound: str) -> None:
    simulator.set(orders_visible_after=1800)
    caller.charge(bound)
    assert caller.orders(bound) == []
    simulator.clock(advance=1801)
    assert len(caller.orders(bound)) == 1
    simulator.set(orders_visible_after="never")
    assert caller.orders(bound) == []


def test_a_payment_is_found_by_transaction_and_by_order(simulator: SimulatorProcess, caller: Any, bound: str) -> None:
    item = caller.charge(bound, 700, title="T").item
    assert caller.call("GET", f"/v3/payment/transaction/{item['transactionId']}").item == item
    for order_id in (item["order"]["id"], item["order"]["additionalData"]):
        assert caller.call("GET", f"/v3/payment/transaction/order/{order_id}").item == item
    unknown = caller.call("GET", "/v3/payment/transaction/221111072221600425841118")
    assert (unknown.status, unknown.code) == (404, "TRANSACTION_NOT_FOUND")
    simulator.set(query_delay=60)
    assert caller.call("GET", f"/v3/payment/transaction/{item['transactionId']}").code == "TRANSACTION_NOT_FOUND"
    simulator.clock(advance=61)
    assert caller.call("GET", f"/v3/payment/transaction/{item['transactionId']}").status == 200


def test_queries_by_order_and_charges_can_be_limited(simulator: SimulatorProcess, caller: Any, bound: str) -> None:
    order_id = caller.charge(bound).item["order"]["id"]
    path = f"/v3/payment/transaction/order/{order_id}"
    assert [caller.call("GET", path).status for _ in range(4)] == [200, 200, 200, 429]
    simulator.set(order_query_limit=0, charge_limit=2)
    assert caller.call("GET", path).status == 200
    answers = [caller.charge(bound) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[2].code == "TOO_MANY_REQUEST_PER_SECOND"
    assert int(answers[2].headers["Retry-After"]) >= 1
    assert len(simulator.charges()) == 3


@pytest.mark.parametrize(("execute", "executed_at_once"), [("start", 1), ("end", 0)])
def test_caller_that_leaves_during_the_latency_is_still_charged(
    simulator: SimulatorProcess, caller: Any, bound: str, execute: str, executed_at_once: int
) -> None:
    simulator.set(latency=0.4, execute=execute)
    path, body = f"/v3/customer/{bound}/order", {"currency": "MYR", "amount": 4200}
    headers = caller.headers("POST", path, body, {})
    lines = [f"POST {path} HTTP/1.1", f"Host: {caller.credentials.url[7:]}", "Content-Length: 32"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection(("127.0.0.1", simulator.port)) as connection:
        connection.sendall("\r\n".join([*lines, "", '{"amount":4200,"currency":"MYR"}']).encode())
        time.sleep(0.15)
    assert len(simulator.charges()) == executed_at_once
    assert sum(simulator.requests()["posts"].values()) >= 1
    time.sleep(0.6)
    assert [row["amount"] for row in simulator.charges()] == [4200]


def test_switches_name_what_they_refuse(simulator: SimulatorProcess) -> None:
    for changes, words in (
        ({"echoo": True}, "echoo"),
        ({"echo": 1}, "echo"),
        ({"outcome": "luck"}, "outcome"),
        ({"latency": [3, 1]}, "latency"),
        ({"error_unknown": [99, "X"]}, "error_unknown"),
    ):
        with pytest.raises(SimulatorError, match=words):
            simulator.set(**changes)
    with pytest.raises(SimulatorError, match="no such customer"):
        simulator.set_customer("1", echo=False)


def test_every_switch_takes_what_it_shows(simulator: SimulatorProcess) -> None:
    shown = simulator.control("GET", "switches")
    assert simulator.set(**shown) == shown


def test_a_reset_forgets_all_but_merchants_and_tokens(simulator: SimulatorProcess, caller: Any, bound: str) -> None:
    simulator.set(echo=False)
    caller.charge(bound)
    simulator.reset()
    assert simulator.charges() == simulator.customers() == []
    assert simulator.requests()["posts"] == {}
    assert simulator.control("GET", "switches")["echo"] is True
    assert bind(simulator, caller)


def test_what_does_not_exist_is_not_found_and_still_counted(simulator: SimulatorProcess, caller: Any) -> None:
    for method, path in (("POST", "/v3/nowhere"), ("DELETE", "/v3/customer/1"), ("GET", "/"), ("GET", "/_simulator/x")):
        answer = caller.call(method, path)
        assert (answer.status, answer.code) == (404, "API_ENDPOINT_NOT_FOUND")
    assert simulator.requests()["posts"]["POST elsewhere"] == 1


@pytest.mark.parametrize(
    "data",
    [
        "nonsense",
        "[]",
        "null",
        '{"amount":NaN}',
        '{"title":"\\ud800"}',
        "[" * 5000,
        '{"amount":' + "9" * 5000 + "}",
        '"x"',
    ],
)
def test_odd_bodies_are_refused_not_stumbled_over(caller: Any, bound: str, data: str) -> None:
    path = f"/v3/customer/{bound}/order"
    answer = caller.raw("POST", path, data, caller.headers("POST", path, None, {}))
    assert answer.status == 400
    assert answer.code in ("INVALID_REQUEST", "INVALID_REQUEST_SIGNATURE", "VALIDATION_ERROR")


def test_a_body_of_megabytes_is_refused(caller: Any, bound: str) -> None:
    path = f"/v3/customer/{bound}/order"
    answer = caller.raw("POST", path, "x" * 3_000_000, caller.headers("POST", path, None, {}))
    assert answer.status == 413
