"""The list, refunds, reversals, the daily report, and the rewritten paths."""

from __future__ import annotations

from typing import Any

import pytest

from rm_gateway.simulator.process import SimulatorError, SimulatorProcess


def refund(caller: Any, item: Any, kind: str, amount: int) -> Any:
    body = {
        "transactionId": item["transactionId"],
        "refund": {"type": kind, "currencyType": "MYR", "amount": amount},
        "reason": "asked for",
    }
    return caller.call("POST", "/v3/payment/refund", body)


def test_a_payment_is_refunded_in_full_once(simulator: SimulatorProcess, caller: Any, bound: str) -> None:
    item = caller.charge(bound, 1000).item
    assert refund(caller, item, "FULL", 999).code == "REFUND_AMT_NOT_SAME_AS_TRANSACTION"
    back = refund(caller, item, "FULL", 1000).item
    assert (back["status"], back["balanceAmount"]) == ("FULL_REFUNDED", 0)
    assert refund(caller, item, "FULL", 1000).code == "PAYMENT_FULLY_REFUNDED"
    assert simulator.charges()[0]["refunded"] == 1000


def test_refunds_are_counted_by_reason_and_reversals_by_order(
    simulator: SimulatorProcess, caller: Any, bound: str
) -> None:
    first, second = (caller.charge(bound, 1000).item for _ in range(2))
    refund(caller, first, "PARTIAL", 400)
    refund(caller, first, "PARTIAL", 601)
    order = second["order"]["id"]
    caller.call("POST", "/v3/payment/reverse", {"orderId": order})
    assert simulator.requests()["by_refund"] == {"asked for": 2, order: 1}
    (given,) = simulator.charges()[0]["refunds"]
    assert (given["amount"], given["reason"]) == (400, "asked for")
    assert simulator.charges()[1]["refunds"] == []


def test_a_part_is_refunded_where_that_is_allowed(simulator: SimulatorProcess, caller: Any, bound: str) -> None:
    item = caller.charge(bound, 1000).item
    back = refund(caller, item, "PARTIAL", 400).item
    assert (back["status"], back["balanceAmount"]) == ("PARTIAL_REFUNDED", 600)
    assert refund(caller, item, "PARTIAL", 601).code == "INSUFFICIENT_REFUND_AMOUNT"
    assert refund(caller, item, "PARTIAL", 600).item["status"] == "FULL_REFUNDED"
    simulator.set(refund_partial=False)
    assert refund(caller, caller.charge(bound, 1000).item, "PARTIAL", 1).code == "UNSUPPORTED_REFUND"


def test_what_failed_or_is_unknown_is_not_refunded(caller: Any, bound: str) -> None:
    failed = caller.charge(bound, 101).item
    assert refund(caller, failed, "FULL", 101).code == "TRANSACTIN_STATUS_NOT_SUCCESS"
    assert refund(caller, {"transactionId": "1"}, "FULL", 101).code == "TRANSACTION_NOT_FOUND"
    assert refund(caller, failed, "SOME", 101).code == "VALIDATION_ERROR"


def test_a_fresh_payment_is_reversed_by_its_order(simulator: SimulatorProcess, caller: Any, bound: str) -> None:
    first, second = (caller.charge(bound, 1000).item for _ in range(2))
    path = "/v3/payment/reverse"
    assert caller.call("POST", path, {"orderId": first["order"]["id"]}).item["status"] == "REVERSED"
    assert caller.call("POST", path, {"orderId": first["order"]["id"]}).code == "FAILED_TO_REVERSE_ORDER"
    simulator.clock(advance=901)
    answer = caller.call("POST", path, {"orderId": second["order"]["additionalData"]})
    assert answer.code == "EXCEED_TIME_FOR_REVERSE_TRANSACTION"
    assert [row["status"] for row in simulator.charges()] == ["REVERSED", "SUCCESS"]


def test_transactions_are_listed_newest_first(caller: Any, bound: str) -> None:
    made = [caller.charge(bound, amount).item["transactionId"] for amount in (300, 301, 302)]
    page = caller.call("GET", "/v3/payment/transactions?limit=2").json
    rest = caller.call("GET", f"/v3/payment/transactions?limit=2&cursor={page['meta']['cursor']}").json
    assert [item["transactionId"] for item in page["items"] + rest["items"]] == made[::-1]
    assert rest["meta"] == {}


def test_the_daily_report_goes_by_the_day_in_malaysia(simulator: SimulatorProcess, caller: Any, bound: str) -> None:
    simulator.set(page_size=1)
    simulator.clock(virtual="2026-03-31T16:30:00Z")  # 1 April in Malaysia
    items = [caller.charge(bound, amount).item for amount in (1000, 101, 2000)]
    refund(caller, items[0], "FULL", 1000)
    rows = report(caller, date="2026-04-01")
    assert [row["transactionId"] for row in rows] == [items[0]["transactionId"], items[2]["transactionId"]]
    assert (rows[0]["grossAmount"], rows[0]["serviceFee"], rows[0]["orderId"]) == (
        "10.00",
        "-0.15",
        items[0]["order"]["id"],
    )
    assert report(caller, date="2026-03-31") == []
    assert report(caller, date="2026-04-01", method=["BOOST"]) == []
    assert len(report(caller, date="2026-04-01", transactionType="REFUND", region=["MALAYSIA"])) == 1


def report(caller: Any, **body: Any) -> list[Any]:
    found: list[Any] = []
    cursor = ""
    while True:
        page = caller.call("POST", "/v3/payment/reconciliation", body | {"cursor": cursor}).json
        found += page["items"]
        cursor = page["meta"].get("cursor", "")
        if not cursor:
            return found


@pytest.mark.parametrize("body", [{}, {"date": "1 April"}, {"date": "2026-04-01", "transactionType": "LOAN"}])
def test_a_report_needs_a_date_and_a_known_type(caller: Any, body: dict[str, Any]) -> None:
    assert caller.call("POST", "/v3/payment/reconciliation", body).code == "VALIDATION_ERROR"


def test_the_rewritten_paths_are_served_unless_switched_off(
    simulator: SimulatorProcess, caller: Any, bound: str
) -> None:
    assert caller.call("GET", f"/v3/recurring-payment/{bound}").item["id"] == bound
    assert caller.call("GET", f"/v3/recurring-payment/{bound}/orders").json["items"] == []
    assert caller.call("POST", f"/v3/recurring-payment/{bound}/toggle").item["isActive"] is False
    simulator.set(charge_path="customer")
    assert caller.call("GET", f"/v3/recurring-payment/{bound}").code == "API_ENDPOINT_NOT_FOUND"
    simulator.set(charge_path="recurring")
    assert caller.call("GET", f"/v3/customer/{bound}").status == 200


@pytest.mark.parametrize("how", ["at start", "while running"])
def test_the_hostile_profile_is_one_switch(how: str) -> None:
    with SimulatorProcess(profile="hostile" if how == "at start" else None) as simulator:
        if how == "while running":
            simulator.use_profile("hostile")
        switches = simulator.control("GET", "switches")
        assert switches["echo"] is False
        assert switches["orders_visible_after"] == 1800
        assert switches["timestamp_window"] == 0
        assert switches["failed_becomes_success"] is True
        assert switches["notify_faults"] == ["duplicate", "late"]
        assert simulator.use_profile("default")["echo"] is True
        with pytest.raises(SimulatorError, match="no profile 'kind'"):
            simulator.use_profile("kind")


def test_failure_under_the_hostile_profile_turns_and_shows_late(
    simulator: SimulatorProcess, caller: Any, bound: str
) -> None:
    simulator.use_profile("hostile")
    item = caller.charge(bound, 101, title="Plan 0123456789AB").item
    assert (item["status"], item["order"]["title"]) == ("FAILED", "Monthly plan")
    assert caller.orders(bound) == []
    old = caller.call("GET", f"/v3/payment/transaction/{item['transactionId']}", X_Timestamp="1500000000")
    assert old.item["status"] == "FAILED"
    simulator.clock(advance=1801)
    (order,) = caller.orders(bound)
    assert order["status"] == "SUCCESS"
    assert order["transactionId"] != item["transactionId"]
