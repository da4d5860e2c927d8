"""Every outcome of the table: what the caller reads, and what the ledger says about the money."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest

from rm_gateway.simulator.cards import CARDS
from rm_gateway.simulator.outcomes import AMOUNTS, OUTCOMES, Answer, Money, Twist
from rm_gateway.simulator.process import SimulatorProcess
from rm_gateway.simulator.switches import Switches
from tests.rm_gateway.simulator.conftest import bind

GONE = (http.client.HTTPException, ConnectionError, TimeoutError)


@pytest.mark.parametrize("amount", sorted(AMOUNTS), ids=lambda amount: f"{amount}-{AMOUNTS[amount]}")
def test_an_amount_has_its_outcome(simulator: SimulatorProcess, caller: Any, bound: str, amount: int) -> None:
    outcome = OUTCOMES[AMOUNTS[amount]]
    simulator.set(settle_after=1000, trickle_interval=5, huge_bytes=3_000_000)
    caller.timeout = 0.5
    access = caller.access
    answer = read(caller, bound, amount)
    check_answer(outcome, answer)
    charges = simulator.charges()
    if outcome.money is Money.UNTOUCHED:
        assert charges == []
    else:
        assert [(row["status"], row["amount"]) for row in charges] == [(outcome.money.value, amount)]
    assert simulator.requests()["by_marker"] == {"MARKER123456": 1}
    assert simulator.requests()["posts"]["POST /v3/customer/{id}/order"] == 1
    if outcome.name == "token_dead":
        assert caller.call("GET", f"/v3/customer/{bound}", Authorization=f"Bearer {access}").status == 401


def read(caller: Any, customer_id: str, amount: int) -> Any:
    try:
        return caller.charge(customer_id, amount, title="Plan MARKER123456")
    except GONE as error:
        return error


def check_answer(outcome: Any, answer: Any) -> None:
    match outcome.answer:
        case Answer.TRANSACTION:
            check_transaction(outcome, answer)
        case Answer.ERROR:
            own = outcome.http_status, outcome.error
            assert (answer.status, answer.code) == (own if outcome.error else Switches().error_charge)
            assert ("Retry-After" in answer.headers) == (outcome.retry_after_seconds is not None)
        case Answer.HTML:
            assert answer.status == outcome.http_status
            assert answer.headers["Content-Type"].startswith("text/html")
        case Answer.TEXT:
            assert answer.raw == b"OK"
        case Answer.EMPTY:
            assert (answer.status, answer.raw) == (200, b"")
        case Answer.TRUNCATED | Answer.NOT_UTF8:
            assert answer.status == 200
            with pytest.raises(ValueError):  # noqa: PT011
                json.loads(answer.raw)
        case Answer.DEEP:
            with pytest.raises(RecursionError):
                json.loads(answer.raw)
        case Answer.HUGE:
            assert len(answer.raw) == 3_000_000
        case Answer.REDIRECT:
            assert answer.status == 307
            assert answer.headers["Location"].endswith("/order")
        case Answer.DROPPED:
            assert isinstance(answer, (http.client.RemoteDisconnected, ConnectionError))
        case Answer.CUT:
            assert isinstance(answer, http.client.IncompleteRead)
        case Answer.HANGS | Answer.TRICKLES_BODY | Answer.TRICKLES_HEADERS:
            assert isinstance(answer, TimeoutError) or slow(answer)


def slow(answer: Any) -> bool:
    raise AssertionError(f"an answer came in time: {answer}")


def check_transaction(outcome: Any, answer: Any) -> None:
    assert answer.status == 200
    assert answer.json["code"] == "SUCCESS"
    item = answer.json["item"]
    if outcome.twist is Twist.NULL_ITEM:
        assert item is None
        return
    assert item["status"] == outcome.money.value
    assert item.get("error") == ({"message": outcome.error} if outcome.money is Money.FAILED else None)
    honest = outcome.twist in (Twist.NONE, Twist.NO_ORDER)
    assert ("order" in item) == (outcome.twist is not Twist.NO_ORDER)
    told = (item["finalAmount"], item["currencyType"], item["transactionId"])
    assert (isinstance(told[2], str) and told[1] == "MYR" and told[0] < 200 and honest) or not honest


def test_a_trickle_ends_with_the_whole_answer(simulator: SimulatorProcess, caller: Any, bound: str) -> None:
    simulator.set(trickle_interval=0)
    for amount in (116, 119):
        assert caller.charge(bound, amount).item["status"] == "SUCCESS"


def test_no_outcome_lacks_a_name_or_words() -> None:
    assert set(AMOUNTS.values()) <= set(OUTCOMES)
    assert all(100 < amount < 200 for amount in AMOUNTS)
    assert len(set(AMOUNTS.values())) == len(AMOUNTS)
    assert all(name in OUTCOMES for card in CARDS.values() for name in card.outcomes)


@pytest.mark.parametrize(("amount", "last"), [(104, "SUCCESS"), (105, "FAILED"), (122, "SUCCESS"), (127, "REVERSED")])
def test_a_charge_settles_later(simulator: SimulatorProcess, caller: Any, bound: str, amount: int, last: str) -> None:
    item = caller.charge(bound, amount).item
    simulator.clock(advance=6)
    query = f"/v3/payment/transaction/{item['transactionId']}"
    assert caller.call("GET", query).item["status"] == last
    assert [order["status"] for order in caller.orders(bound)] == [last]
    assert [row["status"] for row in simulator.charges()] == [last]


def test_failed_charge_can_succeed_under_a_new_transaction(
    simulator: SimulatorProcess, caller: Any, bound: str
) -> None:
    item = caller.charge(bound, 126).item
    assert len(simulator.charges()) == 1
    simulator.clock(advance=6)
    (order,) = caller.orders(bound)
    assert order["status"] == "SUCCESS"
    assert order["transactionId"] != item["transactionId"]
    assert caller.call("GET", f"/v3/payment/transaction/{item['transactionId']}").item["status"] == "FAILED"
    paid = caller.call("GET", f"/v3/payment/transaction/{order['transactionId']}").item
    assert paid["order"]["id"] == f"{order['id']}R1"
    assert [row["status"] for row in simulator.charges()] == ["FAILED", "SUCCESS"]


@pytest.mark.parametrize("key", sorted(CARDS))
def test_a_card_has_its_outcomes_in_order(simulator: SimulatorProcess, caller: Any, key: str) -> None:
    card = CARDS[key]
    if card.bind_refusal:
        return
    simulator.set(settle_after=1000)
    caller.timeout = 0.5
    customer = bind(simulator, caller, card.number)
    for number in range(min(len(card.outcomes) + 1, 3)):
        outcome = OUTCOMES[card.outcome(number)]
        before = len(simulator.charges())
        read(caller, customer, 2500)
        done = simulator.charges()[before:]
        if outcome.money is Money.UNTOUCHED or (key == "expires" and number):
            assert done == []
        else:
            assert [row["outcome"] for row in done] == [outcome.name]


def test_the_switch_comes_before_the_amount_and_the_card(simulator: SimulatorProcess, caller: Any, bound: str) -> None:
    simulator.set(outcome="decline_51")
    assert caller.charge(bound, 102).item["error"] == {"message": "51"}
    simulator.set(outcome=["success", "decline_9010"])
    assert [caller.charge(bound, 300).item["status"] for _ in range(3)] == ["SUCCESS", "FAILED", "SUCCESS"]
    simulator.set_customer(bound, outcome="in_process_forever")
    assert caller.charge(bound, 300).item["status"] == "IN_PROCESS"
    other = bind(simulator, caller)
    assert caller.charge(other, 300).item["status"] == "SUCCESS"
    simulator.set(outcome={"decline_51": 1, "success": 0})
    assert caller.charge(other, 300).item["status"] == "FAILED"


def test_the_envelope_of_a_failure_can_be_an_error(simulator: SimulatorProcess, caller: Any, bound: str) -> None:
    simulator.set(failed_envelope="error", error_failed=[402, "PAYMENT_FAIL"])
    answer = caller.charge(bound, 101)
    assert (answer.status, answer.code) == (402, "PAYMENT_FAIL")
    assert [row["status"] for row in simulator.charges()] == ["FAILED"]
