"""Recurring customers, the switch of a customer, queries by order, lists, refunds, reversals, the daily report."""

from __future__ import annotations

import json
import time
from datetime import date
from typing import Any

import pytest

from rm_gateway.client import (
    Client,
    NewCustomer,
    NewRecurringCustomer,
    RecurringInterval,
    RefundKind,
    ReportType,
    safe_text,
)
from rm_gateway.errors import Declined, IncompleteRead, NotSent, RequestExpired, Throttled, Unknown
from rm_gateway.models import TransactionStatus
from rm_gateway.signing import signing_plaintext, verify
from tests.rm_gateway.fake import FakeGateway, Received, customer, processed, raw, reply, transaction
from tests.rm_gateway.test_reads import NEW
from tests.rm_gateway.test_signing import VECTORS

REFUND = "/v3/payment/refund"
REPORT = "/v3/payment/reconciliation"


def recurring(**changes: Any) -> NewRecurringCustomer:
    values: dict[str, Any] = {
        "customer": NEW,
        "amount_minor": 120,
        "interval": "WEEKLY",
        "target": "1",
        "repetitions": 10,
        "notify_url": "https://shop.example/notify",
    }
    return NewRecurringCustomer(**(values | changes))


def test_recurring_customer_is_created_with_documented_names(client: Client, gateway: FakeGateway) -> None:
    gateway.scripts["/v3/recurring-payment"] = reply(processed(customer()))
    client.create_recurring_customer(recurring())
    (request,) = gateway.requests("/v3/recurring-payment")
    body = json.loads(request.body)
    assert {name: body[name] for name in body if name.startswith("recurring")} == {
        "recurringInterval": "WEEKLY",
        "recurringTarget": "1",
        "recurringRepetition": 10,
    }
    assert (body["amount"], body["currency"], body["notifyUrl"]) == (120, "MYR", "https://shop.example/notify")
    assert body["storeId"] == "1602660043994159611"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"target": "7"}, "target"),
        ({"interval": "MONTHLY", "target": "29"}, "target"),
        ({"interval": "MONTHLY", "target": "-2"}, "target"),
        ({"interval": "DAILY", "target": "1"}, "target"),
        ({"interval": "YEARLY"}, "RecurringInterval"),
        ({"repetitions": 0}, "repetitions"),
        ({"repetitions": True}, "repetitions"),
        ({"amount_minor": 9}, "amount_minor"),
        ({"currency": "SGD"}, "currency"),
    ],
)
def test_terms_that_rm_does_not_have_are_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        recurring(**changes)


@pytest.mark.parametrize(
    ("interval", "target"), [("WEEKLY", "0"), ("WEEKLY", "6"), ("MONTHLY", "-1"), ("MONTHLY", "28"), ("DAILY", "")]
)
def test_every_documented_target_is_taken(interval: str, target: str) -> None:
    assert recurring(interval=interval, target=target).interval is RecurringInterval(interval)


class Switch:
    """A customer whose PUT flips, or does not."""

    def __init__(self, gateway: FakeGateway, *, active: bool, flips: bool = True, answers: bool = True) -> None:
        self.active, self._flips, self._answers = active, flips, answers
        gateway.scripts["/v3/customer/C1"] = lambda s, r: reply(processed(customer(isActive=self.active)))(s, r)
        gateway.scripts["/v3/customer/C1/status"] = self._flip

    def _flip(self, sock: Any, request: Received) -> None:
        if self._flips:
            self.active = not self.active
        (reply(processed(customer(isActive=self.active))) if self._answers else raw())(sock, request)


@pytest.mark.parametrize("answers", [True, False])
def test_a_customer_is_switched_by_one_flip(
    client: Client, gateway: FakeGateway, public_pem: str, answers: bool
) -> None:
    Switch(gateway, active=True, answers=answers)
    assert not client.set_active("C1", active=False).is_active
    (request,) = gateway.requests("/v3/customer/C1/status")
    assert request.method == "PUT"
    assert request.body == b""
    plaintext = signing_plaintext(
        method="put",
        url=f"{gateway.api_url}/customer/C1/status",
        nonce=request.headers["X-Nonce-Str"],
        timestamp=request.headers["X-Timestamp"],
    )
    assert verify(plaintext, request.headers["X-Signature"], public_pem)


def test_a_customer_in_the_right_state_is_left_alone(client: Client, gateway: FakeGateway) -> None:
    Switch(gateway, active=True)
    assert client.set_active("C1", active=True).is_active
    assert gateway.requests("/v3/customer/C1/status") == []


@pytest.mark.parametrize("answers", [True, False])
def test_a_flip_that_does_nothing_is_not_repeated(client: Client, gateway: FakeGateway, answers: bool) -> None:
    Switch(gateway, active=True, flips=False, answers=answers)
    with pytest.raises(Unknown):
        client.set_active("C1", active=False)
    assert len(gateway.requests("/v3/customer/C1/status")) == 1


def test_a_query_by_order_knows_both_forms_of_the_id(client: Client, gateway: FakeGateway) -> None:
    for order_id in ("1668151341700658887R0", "1668151341700658887"):
        gateway.scripts[f"/v3/payment/transaction/order/{order_id}"] = reply(processed(transaction()))
        assert client.get_transaction_by_order(order_id).status is TransactionStatus.SUCCESS
    gateway.scripts["/v3/payment/transaction/order/77"] = reply(processed(transaction()))
    with pytest.raises(Unknown):
        client.get_transaction_by_order("77")
    gateway.scripts["/v3/payment/transaction/order/78"] = reply({"error": {"code": "X"}}, 429, ("Retry-After: 2",))
    with pytest.raises(Throttled) as caught:
        client.get_transaction_by_order("78")
    assert caught.value.retry_after_seconds == 2


def test_transactions_are_listed_by_pages(client: Client, gateway: FakeGateway) -> None:
    page = {"items": [transaction()], "code": "SUCCESS", "meta": {"cursor": "a b"}}
    gateway.scripts["/v3/payment/transactions"] = reply(page)
    got = client.list_transactions(limit=1)
    assert (len(got.transactions), got.next_cursor) == (1, "a b")
    gateway.scripts["/v3/payment/transactions"] = reply(page | {"meta": {}})
    assert client.list_transactions(cursor=got.next_cursor).next_cursor is None
    first, second = gateway.requests("/v3/payment/transactions")
    assert first.target.endswith("?limit=1")
    assert second.target.endswith("?cursor=a+b")
    gateway.scripts["/v3/payment/transactions"] = reply(page | {"items": [{}]})
    with pytest.raises(IncompleteRead):
        client.list_transactions()


def test_a_refund_is_signed_like_the_vector_and_sent_once(
    client: Client, gateway: FakeGateway, public_pem: str
) -> None:
    vector = next(v for v in VECTORS if v["id"] == "d7-refund")
    made = client.prepare_refund(
        transaction_id="221111072221600425841118",
        kind=RefundKind.FULL,
        amount_minor=300,
        currency="MYR",
        reason="test",
        timestamp=int(time.time()),
    )
    assert made.body.decode() == vector["canonical_json"]
    # The published answer to a refund has the currency beside the order only.
    order = {"id": "1", "title": "t", "detail": "d", "amount": 300}
    gateway.scripts[REFUND] = reply(processed(transaction(order=order, status="FULL_REFUNDED", balanceAmount=0)))
    refunded = client.send_refund(made)
    assert (refunded.status, refunded.balance_minor) == (TransactionStatus.FULL_REFUNDED, 0)
    (request,) = gateway.requests(REFUND)
    assert request.body == made.body
    assert request.headers["X-Signature"] == f"sha256 {made.signature}"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("NOT_ALLOW_REFUND", Declined),
        ("UNSUPPORTED_REFUND", Declined),
        ("INSUFFICIENT_MERCHANT_BALANCE", Declined),
        ("PAYMENT_FULLY_REFUNDED", Unknown),
        ("PAYMENT_REFUNDING", Unknown),
        ("REFUND_FAILURE", Unknown),
    ],
)
def test_a_refused_refund_is_declined_and_one_under_way_unknown(
    client: Client, gateway: FakeGateway, code: str, expected: type[Exception]
) -> None:
    gateway.scripts[REFUND] = reply({"error": {"code": code}}, 400)
    made = client.prepare_refund(
        transaction_id="T1",
        kind=RefundKind.PARTIAL,
        amount_minor=1,
        currency="MYR",
        reason="r",
        timestamp=int(time.time()),
    )
    with pytest.raises(expected) as caught:
        client.send_refund(made)
    assert type(caught.value) is expected
    assert len(gateway.requests(REFUND)) == 1


def test_a_refusal_of_refunds_is_no_refusal_of_a_charge(client: Client, gateway: FakeGateway) -> None:
    gateway.scripts["/v3/customer/C1/order"] = reply({"error": {"code": "NOT_ALLOW_REFUND"}}, 400)
    made = client.prepare_charge(
        customer_id="C1", amount_minor=10, currency="MYR", title="", description="", timestamp=int(time.time())
    )
    with pytest.raises(Unknown):
        client.send(made)


def test_a_reversal_goes_by_rms_order_id(client: Client, gateway: FakeGateway) -> None:
    gateway.scripts["/v3/payment/reverse"] = reply(processed(transaction(status="REVERSED")))
    made = client.prepare_reverse(order_id="1668151341700658887R0", timestamp=int(time.time()))
    assert made.body == b'{"orderId":"1668151341700658887R0"}'
    assert client.send_reverse(made).status is TransactionStatus.REVERSED
    gateway.scripts["/v3/payment/reverse"] = reply({"error": {"code": "EXCEED_TIME_FOR_REVERSE_TRANSACTION"}}, 400)
    with pytest.raises(Declined):
        client.send_reverse(made)
    old = client.prepare_reverse(order_id="1", timestamp=int(time.time()) - 60)
    with pytest.raises(RequestExpired):
        client.send_reverse(old)
    assert len(gateway.requests("/v3/payment/reverse")) == 2


def line(number: int, **changes: Any) -> dict[str, Any]:
    value = {
        "transactionAt": "2019-12-31T07:42:55Z",
        "storeId": "4949529109748431621",
        "transactionType": "PAYMENT",
        "method": "GOBIZ",
        "transactionId": f"19123107425501032405392{number}",
        "orderId": "1577778173933190100M6010",
        "currencyType": "MYR",
        "grossAmount": "1.00",
        "mdr": "0.70",
        "serviceFee": "-0.01",
        "settlementAmount": "0.99",
    }
    return value | changes


def test_the_report_of_a_day_is_read_to_its_end(client: Client, gateway: FakeGateway) -> None:
    def script(sock: Any, request: Received) -> None:
        first = json.loads(request.body)["cursor"] == ""
        page = {"items": [line(1)], "meta": {"cursor": "next"}} if first else {"items": [line(2, grossAmount=49.9)]}
        reply(page | {"code": "SUCCESS"})(sock, request)

    gateway.scripts[REPORT] = script
    first, second = client.reconciliation_report(date(2019, 12, 31), report_type=ReportType.PAYMENT)
    assert (first.gross_minor, first.service_fee_minor, first.settlement_minor) == (100, -1, 99)
    assert first.mdr_text == "0.70"
    assert second.gross_minor == 4990
    assert json.loads(gateway.requests(REPORT)[0].body) == {
        "transactionType": "PAYMENT",
        "date": "2019-12-31",
        "method": [],
        "region": [],
        "cursor": "",
    }


@pytest.mark.parametrize("gross", [None, "", "1.001", "1e3", "x", True, [], "1,00", 1e30])
def test_a_line_without_a_clear_amount_spoils_the_report(client: Client, gateway: FakeGateway, gross: Any) -> None:
    gateway.scripts[REPORT] = reply({"items": [line(1, grossAmount=gross)], "code": "SUCCESS"})
    with pytest.raises(IncompleteRead):
        client.reconciliation_report(date(2019, 12, 31))


def test_the_report_is_not_asked_for_twice(client: Client, gateway: FakeGateway) -> None:
    gateway.scripts[REPORT] = raw()
    with pytest.raises(Unknown):
        client.reconciliation_report(date(2019, 12, 31))
    assert len(gateway.requests(REPORT)) == 1


def test_a_prepared_get_is_not_sent_as_money(client: Client, gateway: FakeGateway) -> None:
    made = client._channel.prepare("GET", "/customer/C1", None, timestamp=int(time.time()))
    with pytest.raises(NotSent):
        client.send(made)


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("Tom's <Gym> & Spa", "Tom s Gym Spa"),
        ("line\nbreak\x00", "line break"),
        ("Teh Tarik 🍵", "Teh Tarik 🍵"),
        ("x" * 40, "x" * 32),
        ("\ud800", ""),
    ],
)
def test_safe_text_keeps_what_every_sdk_signs_alike(text: str, safe: str) -> None:
    assert safe_text(text, 32) == safe


def test_new_customers_are_values() -> None:
    assert NewCustomer("a", "b", "60", "1", "p", "d", "https://x.example") == NewCustomer(
        "a", "b", "60", "1", "p", "d", "https://x.example"
    )
