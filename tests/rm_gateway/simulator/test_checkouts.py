"""The web checkout: order ids are used once, the page and the query tell the truth, money may come late."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from rm_gateway.simulator.process import SimulatorError, SimulatorProcess
from tests.rm_gateway.sandbox import receiving, until
from tests.rm_gateway.simulator.conftest import Caller

ONLINE = "/v3/payment/online"


def wanted(order_id: str = "KT0001", **changes: Any) -> dict[str, Any]:
    order = {"id": order_id, "title": "Gym", "detail": "June", "additionalData": "KT0001", "amount": 4990}
    body = {
        "order": order | {"currencyType": "MYR"},
        "method": [],
        "type": "WEB_PAYMENT",
        "storeId": "1",
        "redirectUrl": "https://shop.example/back?a=1",
        "notifyUrl": "http://127.0.0.1:9/notify",
        "layoutVersion": "v4",
    }
    return body | changes


def by_order(caller: Any, order_id: str = "KT0001") -> Any:
    return caller.call("GET", f"/v3/payment/transaction/order/{order_id}")


def test_paid_checkout_is_found_by_the_order_id_of_the_merchant(simulator: SimulatorProcess, caller: Any) -> None:
    made = caller.call("POST", ONLINE, wanted()).item
    assert by_order(caller).code == "TRANSACTION_NOT_FOUND"
    location = simulator.use_checkout(made["url"], method="TNG")
    query = parse_qs(urlsplit(location).query)
    assert query == {"a": ["1"], "status": ["SUCCESS"], "orderId": ["KT0001"]}
    paid = by_order(caller).item
    assert (paid["status"], paid["type"], paid["method"]) == ("SUCCESS", "WEB_PAYMENT", "TNG")
    assert paid["order"] == {
        "id": "KT0001",
        "title": "Gym",
        "detail": "June",
        "additionalData": "KT0001",
        "amount": 4990,
        "currencyType": "MYR",
    }
    (row,) = simulator.charges()
    assert (row["order_id"], row["path"], row["status"]) == ("KT0001", "checkout", "SUCCESS")
    shown = caller.call("GET", f"{ONLINE}?checkoutId={made['checkoutId']}").item
    assert (shown["status"], shown["transactionId"]) == ("SUCCESS", paid["transactionId"])


def test_an_order_id_serves_once_for_each_merchant(simulator: SimulatorProcess, caller: Any) -> None:
    assert caller.call("POST", ONLINE, wanted()).item["url"]
    assert caller.call("POST", ONLINE, wanted()).code == "ORDER_ID_DUPLICATE"
    other = type(caller)(simulator.credentials)
    other.credentials = type(simulator.credentials)(**(vars_of(simulator) | simulator.credentials.merchants[1]))
    other.login()
    assert other.call("POST", ONLINE, wanted()).item["url"]
    assert by_order(other).code == "TRANSACTION_NOT_FOUND"


def vars_of(simulator: SimulatorProcess) -> dict[str, Any]:
    named = simulator.credentials
    return {name: getattr(named, name) for name in named.__dataclass_fields__}


@pytest.mark.parametrize(
    "changes",
    [
        {"layoutVersion": "v9"},
        {"type": "QUICK_PAY"},
        {"order": {"id": "A" * 25, "title": "Gym", "amount": 100, "currencyType": "MYR"}},
        {"order": {"id": "A", "title": "Gym", "amount": 9, "currencyType": "MYR"}},
        {"order": {"id": "A", "title": "Gym", "amount": 100, "currencyType": "SGD"}},
        {"notifyUrl": ""},
    ],
)
def test_a_body_outside_the_documented_form_is_refused(caller: Any, changes: dict[str, Any]) -> None:
    assert caller.call("POST", ONLINE, wanted(**changes)).code == "VALIDATION_ERROR"


def test_a_bank_that_confirms_later_becomes_a_success_of_the_same_transaction(
    simulator: SimulatorProcess, caller: Any
) -> None:
    made = caller.call("POST", ONLINE, wanted()).item
    assert "status=FAILED" in simulator.use_checkout(made["url"], action="later")
    waiting = by_order(caller).item
    assert waiting["status"] == "IN_PROCESS"
    simulator.clock(advance=6)
    paid = by_order(caller).item
    assert (paid["status"], paid["transactionId"]) == ("SUCCESS", waiting["transactionId"])


def test_after_a_failure_the_page_can_be_used_again(simulator: SimulatorProcess, caller: Any) -> None:
    made = caller.call("POST", ONLINE, wanted()).item
    assert "status=FAILED" in simulator.use_checkout(made["url"], action="fail")
    assert by_order(caller).item["status"] == "FAILED"
    assert "status=SUCCESS" in simulator.use_checkout(made["url"])
    assert by_order(caller).item["status"] == "SUCCESS"
    with pytest.raises(SimulatorError, match="200"):
        simulator.use_checkout(made["url"])


@pytest.mark.parametrize("end", ["cancel", "expire"])
def test_money_may_come_after_the_page_is_over(simulator: SimulatorProcess, caller: Any, end: str) -> None:
    made = caller.call("POST", ONLINE, wanted()).item
    if end == "cancel":
        assert "status=CANCELLED" in simulator.use_checkout(made["url"], action="cancel")
    else:
        simulator.clock(advance=601)
    with pytest.raises(SimulatorError, match="410"):
        simulator.use_checkout(made["url"])
    simulator.pay_checkout("KT0001")
    assert by_order(caller).item["status"] == "SUCCESS"
    assert simulator.checkouts()[0]["status"] == "SUCCESS"


def test_a_payment_is_in_the_report_and_can_be_refunded(simulator: SimulatorProcess, caller: Any) -> None:
    simulator.clock(virtual="2026-05-05T03:00:00Z")
    caller.call("POST", ONLINE, wanted())
    name = simulator.pay_checkout("KT0001", method="MAYBANK")
    body = {"transactionType": "PAYMENT", "date": "2026-05-05", "method": [], "region": [], "cursor": ""}
    lines = caller.call("POST", "/v3/payment/reconciliation", body).json["items"]
    assert [(line["orderId"], line["type"], line["method"]) for line in lines] == [("KT0001", "WEB_PAYMENT", "MAYBANK")]
    terms = {"type": "FULL", "currencyType": "MYR", "amount": 4990}
    refunded = caller.call("POST", "/v3/payment/refund", {"transactionId": name, "refund": terms, "reason": "overpaid"})
    assert refunded.item["status"] == "FULL_REFUNDED"


def test_checkouts_survive_a_kill(tmp_path: Any) -> None:
    state = tmp_path / "state.jsonl"
    with SimulatorProcess(state=state) as simulator:
        caller = Caller(simulator.credentials)
        caller.login()
        made = caller.call("POST", ONLINE, wanted()).item
        simulator.use_checkout(made["url"])
        simulator.kill()
        simulator.start()
        assert [row["order_id"] for row in simulator.charges()] == ["KT0001"]
        assert simulator.checkouts()[0]["id"] == made["checkoutId"]


@pytest.mark.parametrize(("faults", "count"), [([], 1), (["duplicate"], 2), (["lost"], 0)])
def test_a_payment_is_notified_by_a_signed_post(
    simulator: SimulatorProcess, caller: Any, faults: list[str], count: int
) -> None:
    simulator.set(notify_faults=faults)
    with receiving() as (url, inbox):
        made = caller.call("POST", ONLINE, wanted(notifyUrl=url)).item
        simulator.use_checkout(made["url"])
        got = until(inbox, max(count, 1), 2 if count else 0.3)
        assert [row["method"] for row in got] == ["POST"] * count
    for row in got:
        body = json.loads(row["body"])
        assert (body["eventType"], body["data"]["order"]["id"]) == ("PAYMENT_WEB_ONLINE", "KT0001")
        assert row["headers"]["X-Signature"].startswith("sha256 ")


def test_the_call_may_make_the_page_and_lose_its_answer(simulator: SimulatorProcess, caller: Any) -> None:
    simulator.set(checkout_outcome="system_error_after")
    assert caller.call("POST", ONLINE, wanted()).code == "SYSTEM_ERROR"
    assert len(simulator.checkouts()) == 1
    simulator.set(checkout_outcome="system_error_before")
    assert caller.call("POST", ONLINE, wanted("KT0002")).code == "SYSTEM_ERROR"
    assert len(simulator.checkouts()) == 1
