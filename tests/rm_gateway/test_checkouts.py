"""Web checkouts: the published request byte by byte, the answers, the hints, and whole payments on the simulator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from rm_gateway.checkouts import CheckoutStatus, NewCheckout
from rm_gateway.client import Client
from rm_gateway.errors import NotFound, Throttled, Unknown
from rm_gateway.models import TransactionStatus
from rm_gateway.notifications import CheckoutHint, SignatureCheck, parse_checkout_redirect, parse_notify
from rm_gateway.parsing import ParseError
from rm_gateway.signing import canonical_json, sign, signing_plaintext
from rm_gateway.simulator.process import SimulatorProcess
from tests.rm_gateway.fake import FakeGateway, processed, reply
from tests.rm_gateway.sandbox import client_of
from tests.rm_gateway.test_signing import VECTORS

ONLINE = "/v3/payment/online"
# As RM publishes them, shortened to what is read.
CHECKOUT = {
    "id": "1564042398456416062",
    "order": {
        "id": "8831341134233334438",
        "title": "Lorem Ipsum",
        "detail": "hello",
        "additionalData": "world",
        "currencyType": "MYR",
        "amount": 10,
    },
    "type": "WEB_PAYMENT",
    "transactionId": "190725081318300433898289",
    "startAt": "2019-07-25T08:13:18Z",
    "endAt": "2019-07-25T08:23:18Z",
    "status": "EXPIRED",
}
NOTIFY = {
    "data": {
        "balanceAmount": 100,
        "currencyType": "MYR",
        "method": "WECHATPAY",
        "order": {"additionalData": "Payment", "amount": 100, "detail": "Payment", "id": "KTA5R3", "title": "Payment"},
        "payee": {"userId": "oKz050cwbEJwKAnKZgbD24UYibHQ"},
        "status": "SUCCESS",
        "transactionId": "190301055133300427675601",
        "type": "WEB_PAYMENT",
        "updatedAt": "2019-03-01T05:52:00.897920132Z",
        "voucher": None,
    },
    "eventType": "PAYMENT_WEB_ONLINE",
}


def wanted(**changes: Any) -> NewCheckout:
    values: dict[str, Any] = {
        "order_id": "KT4Q7ZP1M2XC9D",
        "amount_minor": 4990,
        "currency": "MYR",
        "title": "Gym 4Q7ZP1M2XC9D",
        "detail": "4Q7ZP1M2XC9D June",
        "additional_data": "KT4Q7ZP1M2XC9D",
        "redirect_url": "https://shop.example/paid/1",
        "notify_url": "https://shop.example/notify",
    }
    return NewCheckout(**(values | changes))


def test_the_body_has_the_members_of_the_published_vector() -> None:
    (published,) = (one["input"]["body"] for one in VECTORS if one["id"] == "v1-tool-generate")
    new = wanted(
        order_id=published["order"]["id"],
        amount_minor=published["order"]["amount"],
        title=published["order"]["title"],
        detail=published["order"]["detail"],
        additional_data=published["order"]["additionalData"],
        redirect_url=published["redirectUrl"],
        notify_url=published["notifyUrl"],
    )
    body = new.body(published["storeId"])
    assert canonical_json(body | {"layoutVersion": "v2"}) == canonical_json(published)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"order_id": "A" * 25}, "order_id"),
        ({"order_id": "a b"}, "order_id"),
        ({"amount_minor": 9}, "amount_minor"),
        ({"currency": "SGD"}, "currency"),
        ({"title": ""}, "title"),
        ({"title": "T" * 33}, "title"),
        ({"detail": "T" * 601}, "detail"),
        ({"additional_data": "T" * 129}, "additional_data"),
    ],
)
def test_what_rm_would_refuse_is_refused_before(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        wanted(**changes)


def test_checkout_is_made_by_one_post(client: Client, gateway: FakeGateway) -> None:
    url = "https://sb-pg.revenuemonster.my/v4/checkout?checkoutId=1548316308361173347"
    gateway.scripts[ONLINE] = reply(processed({"checkoutId": "1548316308361173347", "url": url}))
    made = client.create_checkout(wanted(methods=("FPX",)))
    assert (made.checkout_id, made.url) == ("1548316308361173347", url)
    (request,) = gateway.requests(ONLINE)
    body = json.loads(request.body)
    assert (request.method, body["method"], body["layoutVersion"]) == ("POST", ["FPX"], "v4")
    assert body["order"]["id"] == "KT4Q7ZP1M2XC9D"


@pytest.mark.parametrize(
    "answer",
    [
        {"error": {"code": "ORDER_ID_DUPLICATE", "message": "Order id duplicate"}},
        {"item": {"checkoutId": "1"}, "code": "SUCCESS"},
        {"item": {"checkoutId": "1", "url": "javascript:alert(1)"}, "code": "SUCCESS"},
    ],
)
def test_any_other_answer_is_unknown_and_not_asked_again(
    client: Client, gateway: FakeGateway, answer: dict[str, Any]
) -> None:
    gateway.scripts[ONLINE] = reply(answer)
    with pytest.raises(Unknown):
        client.create_checkout(wanted())
    assert len(gateway.requests(ONLINE)) == 1


def test_published_checkout_is_read(client: Client, gateway: FakeGateway) -> None:
    gateway.scripts[ONLINE] = reply(processed(CHECKOUT))
    info = client.get_checkout("1564042398456416062")
    assert (info.status, info.order_id, info.amount_minor) == (CheckoutStatus.EXPIRED, "8831341134233334438", 10)
    assert info.ends_at is not None
    assert gateway.requests(ONLINE)[0].target == f"{ONLINE}?checkoutId=1564042398456416062"
    gateway.scripts[ONLINE] = reply(processed(CHECKOUT | {"status": ""}))
    assert client.get_checkout("1564042398456416062").status is CheckoutStatus.UNRECOGNISED
    with pytest.raises(Unknown, match="another checkout"):
        client.get_checkout("2")


def test_redirect_is_a_hint() -> None:
    hint = parse_checkout_redirect("orderId=mine&status=FAILED&orderId=KTA5R3&reason=no%00funds&status=EXPIRED")
    assert (hint.order_id, hint.claimed_outcome, hint.reason) == ("KTA5R3", CheckoutStatus.EXPIRED, "no funds")
    assert CheckoutHint.is_evidence is False
    assert parse_checkout_redirect("orderId=1&status=paid").claimed_outcome is CheckoutStatus.UNRECOGNISED
    for query in ("status=SUCCESS", "orderId=../../x&status=SUCCESS"):
        with pytest.raises(ParseError):
            parse_checkout_redirect(query)


def test_published_notify_names_the_order_as_it_is(private_pem: str, public_pem: str) -> None:
    body = json.dumps(NOTIFY).encode()
    plaintext = signing_plaintext(method="post", url=None, nonce="N", timestamp="1700000000", body=NOTIFY)
    headers = {"X-Signature": f"sha256 {sign(plaintext, private_pem)}", "X-Nonce-Str": "N", "X-Timestamp": "1700000000"}
    hint = parse_notify(method="POST", body=body, headers=headers, public_key=public_pem)
    assert (hint.order_id, hint.order_id_text, hint.customer_id) == ("KTA5R3", "KTA5R3", None)
    assert (hint.claimed_status, hint.claimed_amount_minor, hint.claimed_currency) == ("SUCCESS", 100, "MYR")
    assert (hint.event_type, hint.signature) == ("PAYMENT_WEB_ONLINE", SignatureCheck.VALID)
    forged = parse_notify(method="POST", body=body.replace(b"100", b"999"), headers=headers, public_key=public_pem)
    assert forged.signature is SignatureCheck.INVALID


@pytest.fixture(params=["default", "hostile"])
def simulator(request: pytest.FixtureRequest) -> Iterator[SimulatorProcess]:
    with SimulatorProcess(profile=request.param, seed=2) as process:
        yield process


def test_payment_is_found_by_our_own_order_id(simulator: SimulatorProcess) -> None:
    client = client_of(simulator)
    made = client.create_checkout(wanted())
    with pytest.raises(NotFound):
        client.get_transaction_by_order("KT4Q7ZP1M2XC9D")
    assert client.get_checkout(made.checkout_id).status is CheckoutStatus.UNRECOGNISED
    hint = parse_checkout_redirect(simulator.use_checkout(made.url).partition("?")[2])
    assert (hint.order_id, hint.claimed_outcome) == ("KT4Q7ZP1M2XC9D", CheckoutStatus.SUCCESS)
    paid = client.get_transaction_by_order(hint.order_id)
    assert (paid.status, paid.amount_minor, paid.currency) == (TransactionStatus.SUCCESS, 4990, "MYR")
    assert (paid.order_id, paid.order_additional_data) == ("KT4Q7ZP1M2XC9D", "KT4Q7ZP1M2XC9D")
    assert client.get_transaction(paid.transaction_id) == paid
    assert client.get_transaction_by_order(hint.order_id) == paid
    with pytest.raises(Throttled):
        client.get_transaction_by_order(hint.order_id)
    with pytest.raises(Unknown) as refused:
        client.create_checkout(wanted())
    assert refused.value.code == "ORDER_ID_DUPLICATE"
    client.close()
