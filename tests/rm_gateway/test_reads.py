"""Customers, orders and transactions: read completely or not at all."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from rm_gateway.client import Client, NewCustomer
from rm_gateway.errors import GatewayError, IncompleteRead, NotFound, NotSent, Rejected, Throttled, Unknown
from rm_gateway.models import TransactionStatus
from rm_gateway.signing import signing_plaintext, verify
from tests.rm_gateway.fake import FakeGateway, Received, customer, order, processed, raw, reply, transaction

ORDERS = "/v3/customer/C1/orders"
NEW = NewCustomer(
    email="somebody@example.com",
    name="Somebody",
    country_code="60",
    phone_number="187824152",
    product_name="Gym",
    product_description="Monthly fee",
    redirect_url="https://shop.example/back?a=1&b=2",
)


def pages(*items: list[Any], cursors: tuple[Any, ...] = ()) -> Any:
    """A script that serves pages in turn, by cursor "c1", "c2"… unless other cursors are given."""

    def script(sock: Any, request: Received) -> None:
        asked = parse_qs(urlsplit(request.target).query).get("cursor", ["c0"])[0]
        number = int(asked[1:])
        cursor = cursors[number] if cursors else (f"c{number + 1}" if number + 1 < len(items) else None)
        meta = {"meta": {"cursor": cursor}} if cursor is not None else {}
        reply({"items": items[number], "code": "SUCCESS"} | meta)(sock, request)

    return script


def test_a_customer_is_created_with_the_documented_names(client: Client, gateway: FakeGateway) -> None:
    gateway.scripts["/v3/tokenized-payment"] = reply(processed(customer(isActive=False, label="")))
    created = client.create_tokenized_customer(NEW)
    assert not created.is_active
    assert created.payment_url.endswith("customerId=C1")
    (request,) = gateway.requests("/v3/tokenized-payment")
    assert request.body == (
        b'{"countryCode":"60","email":"somebody@example.com","name":"Somebody","phoneNumber":"187824152",'
        b'"productDescription":"Monthly fee","productName":"Gym",'
        b'"redirectUrl":"https://shop.example/back?a=1\\u0026b=2","storeId":"1602660043994159611"}'
    )


def test_creating_is_never_repeated(client: Client, gateway: FakeGateway) -> None:
    gateway.scripts["/v3/tokenized-payment"] = raw()
    with pytest.raises(Unknown):
        client.create_tokenized_customer(NEW)
    gateway.scripts["/v3/tokenized-payment"] = reply(b"", 401)
    with pytest.raises(Rejected):
        client.create_tokenized_customer(NEW)
    assert len(gateway.requests("/v3/tokenized-payment")) == 2


def test_recurring_customer_is_recognized_by_its_terms(client: Client, gateway: FakeGateway) -> None:
    terms = {"amount": 120, "currency": "MYR", "recurringInterval": "WEEKLY", "recurringTarget": "1"}
    gateway.scripts["/v3/customer/C1"] = reply(
        processed(customer(recurringPayment=terms | {"recurringRepetition": 10}, isActive="true"))
    )
    info = client.get_customer("C1")
    assert info.is_recurring
    assert info.is_active
    assert info.recurring is not None
    assert (info.recurring.interval, info.recurring.target, info.recurring.repetitions) == ("WEEKLY", "1", 10)
    empty = {"amount": 0, "currency": "", "recurringInterval": "", "recurringRepetition": 0}
    gateway.scripts["/v3/customer/C1"] = reply(processed(customer(recurringPayment=empty)))
    assert not client.get_customer("C1").is_recurring


def test_personal_data_is_not_in_reprs(client: Client, gateway: FakeGateway) -> None:
    gateway.scripts["/v3/customer/C1"] = reply(processed(customer()))
    shown = repr(client.get_customer("C1")) + repr(NEW)
    assert "somebody" not in shown.lower()
    assert "187824152" not in shown


def test_a_get_is_signed_without_data_and_with_its_query(client: Client, gateway: FakeGateway, public_pem: str) -> None:
    gateway.scripts[ORDERS] = pages([order(1)], [order(2)])
    client.list_orders("C1")
    for request in gateway.requests(ORDERS):
        plaintext = signing_plaintext(
            method="get",
            url=f"http://127.0.0.1:{gateway.port}{request.target}",
            nonce=request.headers["X-Nonce-Str"],
            timestamp=request.headers["X-Timestamp"],
        )
        assert verify(plaintext, request.headers["X-Signature"], public_pem)
        assert request.body == b""


def test_orders_are_read_to_the_end_of_the_cursor(client: Client, gateway: FakeGateway) -> None:
    failed = order(2, status="FAILED", transactionId="", recurringReference=None)
    gateway.scripts[ORDERS] = pages([order(1), failed], [], [order(3, status="NEW_WORD")])
    first, second, third = client.list_orders("C1")
    assert (first.status, first.recurring_reference) == (TransactionStatus.SUCCESS, "20221111")
    assert (second.status, second.transaction_id, second.recurring_reference) == (TransactionStatus.FAILED, None, None)
    assert (third.status, third.status_text) == (TransactionStatus.UNRECOGNISED, "NEW_WORD")
    assert first.updated_at.isoformat() == "2022-11-11T07:23:21.123456+00:00"


def test_a_list_that_go_writes_as_null_is_empty(client: Client, gateway: FakeGateway) -> None:
    gateway.scripts[ORDERS] = reply({"items": None, "code": "SUCCESS", "meta": {"cursor": ""}})
    assert client.list_orders("C1") == ()


def test_an_odd_cursor_is_quoted_and_comes_back_as_it_was(client: Client, gateway: FakeGateway) -> None:
    seen: list[str] = []

    def script(sock: Any, request: Received) -> None:
        seen.append(request.target)
        more = {} if "cursor" in request.target else {"meta": {"cursor": "a+/b=&c é"}}
        reply({"items": [], "code": "SUCCESS"} | more)(sock, request)

    gateway.scripts[ORDERS] = script
    client.list_orders("C1")
    assert parse_qs(urlsplit(seen[1]).query) == {"cursor": ["a+/b=&c é"]}


INCOMPLETE = {
    "a cursor that repeats": pages([order(1)], [order(2)], cursors=("c1", "c1")),
    "a cursor that is no text": pages([order(1)], cursors=(7,)),
    "meta that is no object": reply({"items": [], "code": "SUCCESS", "meta": [1]}),
    "no items": reply({"code": "SUCCESS"}),
    "items that are no list": reply({"code": "SUCCESS", "items": {}}),
    "an order without a time": reply({"code": "SUCCESS", "items": [order(1, createdAt=None)]}),
    "an order with a fraction of a sen": reply({"code": "SUCCESS", "items": [order(1, amount=1.5)]}),
    "an order that is no object": reply({"code": "SUCCESS", "items": [None]}),
    "another customer's order": reply({"code": "SUCCESS", "items": [order(1, customer_id="C2")]}),
}


@pytest.mark.parametrize("fault", INCOMPLETE)
def test_a_list_that_is_not_whole_is_no_list(client: Client, gateway: FakeGateway, fault: str) -> None:
    gateway.scripts[ORDERS] = INCOMPLETE[fault]
    with pytest.raises(IncompleteRead) as caught:
        client.list_orders("C1")
    assert not caught.value.may_have_acted


def test_a_later_page_that_fails_spoils_the_list(client: Client, gateway: FakeGateway) -> None:
    first = pages([order(1)], [order(2)])

    def script(sock: Any, request: Received) -> None:
        (reply(b"<html>", 502) if "cursor" in request.target else first)(sock, request)

    gateway.scripts[ORDERS] = script
    with pytest.raises(IncompleteRead) as caught:
        client.list_orders("C1")
    assert caught.value.http_status == 502


def test_endless_pages_end(client: Client, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rm_gateway.paging.MAX_PAGES", 5)
    gateway.scripts[ORDERS] = pages(*[[order(1)]] * 100)
    with pytest.raises(IncompleteRead):
        client.list_orders("C1")
    assert len(gateway.requests(ORDERS)) == 5


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, {"error": {"code": "TRANSACTION_NOT_FOUND"}}, NotFound),
        (400, {"error": {"code": "TRANSACTION_NOT_FOUND"}}, NotFound),
        (404, {"error": {"code": "NOT_FOUND"}}, NotFound),
        (404, {"error": {"code": "API_ENDPOINT_NOT_FOUND"}}, Rejected),
        (404, b"<html>", Unknown),
        (429, b"", Throttled),
        (400, {"error": {"code": "OTHER"}}, Unknown),
        (200, processed(transaction(transactionId="another")), Unknown),
    ],
)
def test_query_that_finds_nothing_raises_the_right_error(
    client: Client, gateway: FakeGateway, status: int, body: Any, expected: type[GatewayError]
) -> None:
    gateway.scripts["/v3/payment/transaction/T1"] = reply(body, status)
    with pytest.raises(GatewayError) as caught:
        client.get_transaction("T1")
    assert type(caught.value) is expected
    assert len(gateway.requests("/v3/payment/transaction/T1")) == 1


def test_a_transaction_is_found(client: Client, gateway: FakeGateway) -> None:
    gateway.scripts["/v3/payment/transaction/T1"] = reply(processed(transaction(transactionId="T1")))
    assert client.get_transaction("T1").transaction_id == "T1"


def test_a_read_is_tried_again_once_when_the_connection_breaks(client: Client, gateway: FakeGateway) -> None:
    def script(sock: Any, request: Received) -> None:
        first = len(gateway.requests("/v3/customer/C1")) == 1
        (raw() if first else reply(processed(customer())))(sock, request)

    gateway.scripts["/v3/customer/C1"] = script
    assert client.get_customer("C1").customer_id == "C1"
    assert len(gateway.requests("/v3/customer/C1")) == 2
    gateway.scripts["/v3/customer/C1"] = raw()
    with pytest.raises(Unknown):
        client.get_customer("C1")
    assert len(gateway.requests("/v3/customer/C1")) == 4


@pytest.mark.parametrize("odd", ["", "a/b", "a?b", "..", "a b", "é", "x" * 65])
def test_an_id_that_would_bend_the_path_is_refused(client: Client, odd: str) -> None:
    for call in (client.get_customer, client.list_orders, client.get_transaction):
        with pytest.raises(ValueError, match="_id must be"):
            call(odd)


def test_a_host_that_is_away_is_not_sent(client: Client, gateway: FakeGateway) -> None:
    gateway.close()
    with pytest.raises(NotSent):
        client.get_customer("C1")
