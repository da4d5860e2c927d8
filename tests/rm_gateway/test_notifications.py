"""Redirects and notifies: every encoding gives the same hint, and nothing gives more than a hint."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm_gateway.models import Order, Transaction
from rm_gateway.notifications import (
    BindHint,
    BindOutcome,
    NotifyHint,
    SignatureCheck,
    parse_notify,
    parse_redirect,
)
from rm_gateway.parsing import ParseError
from rm_gateway.signing import sign, signing_plaintext

DATA = {
    "amount": 120,
    "currency": "MYR",
    "countryCode": "60",
    "phoneNumber": "187824152",
    "customerId": "1667293245664231338",
    "email": "somebody@example.com",
    "name": "Somebody",
    "merchantId": "4118165203679668885",
    "storeId": "1602660043994159611",
    "orderId": "1668151341700658887R0",
    "status": "SUCCESS",
    "createdAt": "2022-11-04T06:32:30Z",
    "updatedAt": "2022-11-04T06:32:52.123456789Z",
}
MESSAGE = {"eventType": "RECURRING_PAYMENT", "data": DATA}
DOTTED = urlencode({"eventType": "RECURRING_PAYMENT"} | {f"data.{name}": value for name, value in DATA.items()})
BRACKETED = urlencode({"eventType": "RECURRING_PAYMENT"} | {f"data[{name}]": value for name, value in DATA.items()})
PACKED = urlencode({"eventType": "RECURRING_PAYMENT", "data": json.dumps(DATA)})
URL = "https://shop.example/notify?key=1"

ENCODINGS: dict[str, dict[str, Any]] = {
    "dotted query": {"method": "GET", "query": DOTTED},
    "dotted query with its mark": {"method": "GET", "query": "?" + DOTTED},
    "bracketed query": {"method": "GET", "query": BRACKETED},
    "JSON in the query": {"method": "GET", "query": PACKED},
    "JSON body": {"method": "POST", "body": json.dumps(MESSAGE).encode()},
    "JSON body beside a query": {"method": "POST", "query": "key=1", "body": json.dumps(MESSAGE).encode()},
    "JSON body with JSON inside": {
        "method": "POST",
        "body": json.dumps(MESSAGE | {"data": json.dumps(DATA)}).encode(),
    },
    "JSON body with dots": {
        "method": "POST",
        "body": json.dumps({"eventType": "RECURRING_PAYMENT"} | {f"data.{n}": v for n, v in DATA.items()}).encode(),
    },
    "dotted form": {"method": "POST", "body": DOTTED.encode()},
    "bracketed form": {"method": "POST", "body": BRACKETED.encode()},
    "JSON in a form": {"method": "POST", "body": PACKED.encode()},
    "JSON body by GET": {"method": "GET", "body": json.dumps(MESSAGE).encode()},
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_gives_the_same_hint(encoding: str) -> None:
    hint = parse_notify(**ENCODINGS[encoding])
    assert hint.customer_id == "1667293245664231338"
    assert (hint.order_id, hint.order_id_text) == ("1668151341700658887", "1668151341700658887R0")
    assert (hint.claimed_amount_minor, hint.claimed_currency, hint.claimed_status) == (120, "MYR", "SUCCESS")
    assert hint.event_type == "RECURRING_PAYMENT"
    assert (hint.store_id, hint.merchant_id) == ("1602660043994159611", "4118165203679668885")
    assert hint.updated_at is not None
    assert hint.signature is SignatureCheck.ABSENT


def test_an_order_id_without_the_attempt_is_the_same_order() -> None:
    plain = DATA | {"orderId": "1668151341700658887"}
    hint = parse_notify(method="POST", body=json.dumps(MESSAGE | {"data": plain}).encode())
    assert hint.order_id == hint.order_id_text == "1668151341700658887"


def signed(private_pem: str, body: bytes, url: str | None, method: str = "POST") -> dict[str, str]:
    value = json.loads(body) if body else None
    plaintext = signing_plaintext(method=method, url=url, nonce="N", timestamp="1700000000", body=value)
    return {"x-SIGNATURE": f"sha256 {sign(plaintext, private_pem)}", "X-Nonce-Str": "N", "X-Timestamp": "1700000000"}


@pytest.mark.parametrize("url", [None, URL])
def test_a_signature_counts_with_and_without_the_url(private_pem: str, public_pem: str, url: str | None) -> None:
    body = json.dumps(MESSAGE, indent=1).encode()
    request: dict[str, Any] = {"method": "POST", "body": body, "headers": signed(private_pem, body, url), "url": URL}
    assert parse_notify(**request, public_key=public_pem).signature is SignatureCheck.VALID
    assert parse_notify(**request).signature is SignatureCheck.UNCHECKED
    forged = request | {"body": body.replace(b"120", b"121")}
    assert parse_notify(**forged, public_key=public_pem).signature is SignatureCheck.INVALID


def test_a_signed_get_is_verified_over_no_body(private_pem: str, public_pem: str) -> None:
    hint = parse_notify(
        method="GET", query=DOTTED, headers=signed(private_pem, b"", None, "GET"), public_key=public_pem
    )
    assert hint.signature is SignatureCheck.VALID


@pytest.mark.parametrize("garbage", ["sha256", "sha256 é", "x" * 10_000, "sha256 AAAA"])
def test_a_garbage_signature_is_invalid_and_no_error(public_pem: str, garbage: str) -> None:
    hint = parse_notify(method="GET", query=DOTTED, headers={"X-Signature": garbage}, public_key=public_pem)
    assert hint.signature is SignatureCheck.INVALID


@pytest.mark.parametrize(
    ("query", "outcome", "reason"),
    [
        ("status=SUCCESS&customerId=C1", BindOutcome.SUCCESS, ""),
        ("?customerId=C1&status=FAILED&reason=card%20refused%0a", BindOutcome.FAILED, "card refused"),
        ("status=CANCELLED&customerId=C1", BindOutcome.CANCELLED, ""),
        ("status=success&customerId=C1", BindOutcome.UNRECOGNISED, ""),
        ("status=UNRECOGNISED&customerId=C1", BindOutcome.UNRECOGNISED, ""),
        ("customerId=C1", BindOutcome.UNRECOGNISED, ""),
        ("status=draft&own=1&status=SUCCESS&customerId=C1", BindOutcome.SUCCESS, ""),
    ],
)
def test_a_redirect_is_a_hint_about_a_card(query: str, outcome: BindOutcome, reason: str) -> None:
    assert parse_redirect(query) == BindHint("C1", outcome, reason)


@pytest.mark.parametrize(
    "query", ["", "status=SUCCESS", "customerId=", "customerId=../x", "customerId=a%00b", "&" * 200]
)
def test_a_redirect_without_a_customer_is_none(query: str) -> None:
    with pytest.raises(ParseError):
        parse_redirect(query)
    with pytest.raises(ParseError):
        parse_redirect("customerId=C1&x=" + "y" * 20_000)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"data":[]}',
        b'{"data":"{"}',
        b'{"data":"[1]"}',
        b'{"data":{"customerId":7}}',
        b'{"data":{"customerId":"a b"}}',
        b'{"data":{"orderId":NaN}}',
        b"\xff\xff",
        b"x" * 70_000,
        b'{"a":' * 20_000,
        b"hello",
    ],
)
def test_what_is_no_notify_is_a_parse_error(body: bytes) -> None:
    with pytest.raises(ParseError):
        parse_notify(method="POST", body=body, headers={"X-Signature": "x"})


@pytest.mark.parametrize("odd", [b'"\\ud800"', b"9" * 5000, b"1e999", b'"' + b"x" * 100 + b'"'])
def test_a_body_that_cannot_be_signed_has_an_invalid_signature(public_pem: str, odd: bytes) -> None:
    body = b'{"eventType":%b,"data":{"orderId":"1R0"}}' % odd
    try:
        hint = parse_notify(method="POST", body=body, headers={"X-Signature": "x"}, public_key=public_pem)
    except ParseError:
        return
    assert hint.signature is SignatureCheck.INVALID


def test_personal_data_is_not_in_the_repr() -> None:
    shown = repr(parse_notify(method="GET", query=DOTTED))
    for secret in ("somebody", "Somebody", "187824152"):
        assert secret not in shown


def test_a_hint_is_no_payment_and_has_none_of_its_names() -> None:
    for hint in (NotifyHint, BindHint):
        assert hint.is_evidence is False
        names = set(hint.__slots__)
        for payment in (Transaction, Order):
            assert not names & {"status", "amount_minor", "currency", "transaction_id"}
            assert not issubclass(hint, payment)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*DATA, "data", "eventType", "data.orderId", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(
    st.sampled_from(["GET", "POST", "", "é"]),
    st.text(max_size=200) | st.just(DOTTED),
    st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(["X-Signature", "X-Nonce-Str", "X-Timestamp"]), st.text(max_size=20)),
)
def test_whatever_comes_is_a_hint_or_a_parse_error(
    method: str, query: str, body: bytes, headers: dict[str, str]
) -> None:
    from tests.rm_gateway.conftest import PUBLIC_PEM

    for call in (
        lambda: parse_notify(method=method, query=query, body=body, headers=headers, url=URL, public_key=PUBLIC_PEM),
        lambda: parse_notify(method=method, query=f"customerId=C1&data={quote(query, errors='replace')}"),
        lambda: parse_redirect(query),
        lambda: parse_redirect(f"customerId=C1&reason={query}"),
    ):
        try:
            hint = call()
        except ParseError:
            continue
        assert isinstance(hint, NotifyHint | BindHint)
