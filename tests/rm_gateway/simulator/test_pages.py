"""The bind page and the redirect back."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from rm_gateway.simulator.cards import CARDS
from rm_gateway.simulator.pages import with_parameters
from rm_gateway.simulator.process import SimulatorError, SimulatorProcess


def test_binding_makes_the_customer_active_and_keeps_the_query(simulator: SimulatorProcess, caller: Any) -> None:
    customer = caller.customer()
    assert customer["isActive"] is False
    assert customer["label"] == ""
    assert customer["name"] == " Aminah Tan"
    location = simulator.bind(customer["paymentUrl"])
    assert location == (f"https://shop.example/back?session=a%20b&status=SUCCESS&customerId={customer['id']}#done")
    read = caller.call("GET", f"/v3/customer/{customer['id']}").item
    assert read["isActive"] is True
    assert read["label"] == "411111******1111"


@pytest.mark.parametrize(
    ("action", "status", "reason"), [("decline", "FAILED", ["CARD_DECLINED"]), ("cancel", "CANCELLED", None)]
)
def test_a_refused_binding_can_be_tried_again(
    simulator: SimulatorProcess, caller: Any, action: str, status: str, reason: list[str] | None
) -> None:
    customer = caller.customer()
    query = parse_qs(urlsplit(simulator.bind(customer["paymentUrl"], action=action)).query)
    assert query["status"] == [status]
    assert query["customerId"] == [customer["id"]]
    assert query.get("reason") == reason
    assert caller.call("GET", f"/v3/customer/{customer['id']}").status == 400
    assert "status=SUCCESS" in simulator.bind(customer["paymentUrl"])


def test_only_test_cards_are_taken_and_no_number_is_echoed(simulator: SimulatorProcess, caller: Any) -> None:
    url = caller.customer()["paymentUrl"]
    with pytest.raises(SimulatorError, match="422"):
        simulator.bind(url, card="4539578763621486")
    assert simulator.customers()[0]["card"] == ""


def test_invalid_form_shows_errors_by_field_and_no_card_number(simulator: SimulatorProcess, caller: Any) -> None:
    wrong = {"number": "4539578763621486", "name": "", "expiry": "13/39", "cvv": "987654", "action": "bind"}
    request = urllib.request.Request(caller.customer()["paymentUrl"], urlencode(wrong).encode())  # noqa: S310
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)  # noqa: S310
    text = caught.value.read().decode()
    assert caught.value.code == 422
    assert 'role="alert"' in text
    for field in ("number", "name", "expiry", "cvv"):
        assert f'aria-invalid="true" aria-describedby="{field}-wrong"><p class="wrong" id="{field}-wrong">' in text
    assert "4539578763621486" not in text
    assert "987654" not in text


def test_a_card_can_refuse_to_be_bound(simulator: SimulatorProcess, caller: Any) -> None:
    location = simulator.bind(caller.customer()["paymentUrl"], card=CARDS["cannot_bind"].number)
    assert "status=FAILED" in location
    assert "reason=CARD_NOT_SUPPORTED" in location


def test_the_page_is_plain_and_escapes_what_it_shows(simulator: SimulatorProcess, caller: Any) -> None:
    customer = caller.customer(productName="<script>alert(1)</script>", name='"><b>x')
    with urllib.request.urlopen(customer["paymentUrl"]) as page:  # noqa: S310
        text = page.read().decode()
    assert "<script" not in text
    assert "<b>x" not in text
    for field in ("number", "name", "expiry", "cvv"):
        assert f'<label for="{field}">' in text
    assert 'name="viewport"' in text
    assert all(card.spaced in text for card in CARDS.values())


def test_the_redirect_can_fail_be_cancelled_or_never_come(simulator: SimulatorProcess, caller: Any) -> None:
    customer = caller.customer()
    simulator.set(redirect="failed", redirect_reason="THREE_DS")
    assert "reason=THREE_DS" in simulator.bind(customer["paymentUrl"])
    simulator.set(redirect="cancelled")
    assert "status=CANCELLED" in simulator.bind(customer["paymentUrl"])
    simulator.set(redirect="never")
    assert simulator.bind(customer["paymentUrl"]) == ""
    assert caller.call("GET", f"/v3/customer/{customer['id']}").item["isActive"] is True


@pytest.mark.parametrize(
    ("url", "merged"),
    [
        ("https://a.example", "https://a.example?status=OK"),
        ("https://a.example/?x", "https://a.example/?x&status=OK"),
        ("https://a.example/p?x=1&y=%2F#f", "https://a.example/p?x=1&y=%2F&status=OK#f"),
        ("https://a.example/p?st%61tus=old&x=", "https://a.example/p?x=&status=OK"),
        ("shop://bind/done", "shop://bind/done?status=OK"),
    ],
)
def test_parameters_merge_into_any_query(url: str, merged: str) -> None:
    assert with_parameters(url, {"status": "OK"}) == merged


def test_every_card_has_its_own_label() -> None:
    assert len({card.label for card in CARDS.values()}) == len(CARDS)
