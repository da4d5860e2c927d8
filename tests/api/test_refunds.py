"""Giving money back over the API: once a key, never more than there is, and never another account's."""

from typing import Any

import pytest

from billing.domain.refunds import RefundState
from billing.models import ApiKey, Invoice, PaymentAttempt, Refund
from billing.models.clock import database_now
from tests.api.calls import api_for, problem
from tests.api.conftest import Merchant
from tests.charging.refund_rows import gateway_shows
from tests.charging.refunding import at_gateway, in_the_portal, paid, posts
from tests.conftest import Shop
from tests.factories import make_attempt, make_card, make_invoice, make_refund, move_attempt, move_refund

pytestmark = pytest.mark.django_db

WHY = {"reason": "cancelled in time"}


def money(merchant: Merchant, **columns: Any) -> PaymentAttempt:
    """A payment of the merchant of which nothing was given back."""
    card = make_card(merchant.customer, is_default=False)
    return move_attempt(make_attempt(make_invoice(card), card, **columns), "succeeded")


def body(attempt: PaymentAttempt, **more: Any) -> dict[str, Any]:
    return {"attempt": attempt.public_id, **WHY, **more}


def test_refund_without_an_amount_takes_all_that_is_left(merchant: Merchant) -> None:
    attempt = money(merchant)
    made = merchant.api.post("/refunds/", body(attempt))
    assert made.status_code == 201
    refund = made.json()
    assert refund["id"].startswith("ref_")
    key = ApiKey.objects.get(account=merchant.account)
    assert refund == refund | {
        "attempt": attempt.public_id,
        "invoice": attempt.invoice.public_id,
        "kind": "full",
        "origin": "engine",
        "amount_minor": 1990,
        "currency": "MYR",
        "state": "requested",
        "requested_by": f"api:{key.public_id}",
        "reason": "cancelled in time",
        "armed_at": None,
        "settled_at": None,
    }
    assert merchant.api.get(f"/refunds/{refund['id']}/").json() == refund


def test_sent_twice_with_one_key_it_is_asked_for_once(merchant: Merchant) -> None:
    attempt = money(merchant)
    answers = [merchant.api.post("/refunds/", body(attempt, amount_minor=500), Idempotency_Key="r-1") for _ in "12"]
    assert answers[0].json() == answers[1].json()
    assert Refund.objects.filter(attempt=attempt).count() == 1
    other = merchant.api.post("/refunds/", body(attempt, amount_minor=501), Idempotency_Key="r-1")
    assert problem(other) == (422, "idempotency_key_reused", [])


def test_while_one_is_open_no_other_is_asked_for(merchant: Merchant) -> None:
    attempt = money(merchant)
    merchant.api.post("/refunds/", body(attempt, amount_minor=500))
    second = merchant.api.post("/refunds/", body(attempt, amount_minor=500))
    assert problem(second) == (400, "invalid_request", [("attempt", "not_usable")])
    assert Refund.objects.filter(attempt=attempt).count() == 1


@pytest.mark.parametrize(
    ("wrong", "field", "rule"),
    [
        ({"amount_minor": 0}, "amount_minor", "min_value"),
        ({"amount_minor": -5}, "amount_minor", "min_value"),
        ({"amount_minor": 5.0}, "amount_minor", "invalid"),
        ({"amount_minor": "500"}, "amount_minor", "invalid"),
        ({"amount_minor": 1991}, "amount_minor", "not_usable"),
        ({"amount_minor": 500, "reverse": True}, "amount_minor", "not_usable"),
        ({"reverse": "yes"}, "reverse", "invalid"),
        ({"reverse": True}, "attempt", "not_usable"),
        ({"reason": " "}, "reason", "blank"),
        ({"reason": None}, "reason", "null"),
        ({"attempt": "att_00000000000000000000000000"}, "attempt", "not_found"),
        ({"amount": 500}, "amount", "unknown"),
    ],
)
def test_invalid_value_is_named_at_its_field(wrong: dict[str, Any], field: str, rule: str, merchant: Merchant) -> None:
    attempt = money(merchant)
    answer = merchant.api.post("/refunds/", body(attempt) | wrong)
    assert problem(answer) == (400, "invalid_request", [(field, rule)])
    assert not Refund.objects.filter(attempt=attempt).exists()


def test_only_money_goes_back(merchant: Merchant) -> None:
    declined = move_attempt(make_attempt(make_invoice(merchant.card), merchant.card), "declined")
    answer = merchant.api.post("/refunds/", body(declined))
    assert problem(answer) == (400, "invalid_request", [("attempt", "not_usable")])
    assert "is declined" in answer.json()["detail"]


def test_another_accounts_money_is_not_there(merchant: Merchant, stranger: Merchant) -> None:
    foreign = money(stranger)
    answer = merchant.api.post("/refunds/", body(foreign))
    assert problem(answer) == (400, "invalid_request", [("attempt", "not_found")])
    assert not Refund.objects.filter(attempt=foreign).exists()
    assert merchant.api.get(f"/refunds/?attempt={foreign.public_id}").json()["data"] == []


def test_a_payment_is_reversed_while_it_is_fresh(merchant: Merchant) -> None:
    now = database_now()
    fresh = money(merchant, gateway_order_id="1001", armed_at=now, window_ends_at=now, deadline_at=now)
    told = merchant.api.post("/refunds/", body(fresh, reverse=True)).json()
    assert (told["kind"], told["amount_minor"]) == ("reverse", 1990)


def test_one_is_withdrawn_until_it_is_sent(merchant: Merchant) -> None:
    refund = make_refund(money(merchant))
    path = f"/refunds/{refund.public_id}/withdraw/"
    assert merchant.api.post(path, {"reason": "wrong order"}).json()["state"] == "not_sent"
    assert problem(merchant.api.post(path)) == (409, "state_conflict", [])


@pytest.mark.parametrize("state", sorted(set(RefundState) - {RefundState.NEEDS_REVIEW}))
def test_only_a_refund_that_needs_review_is_resolved(state: RefundState, merchant: Merchant) -> None:
    from tests.promises.test_refunds import PATHS

    refund = move_refund(make_refund(money(merchant)), *PATHS[state])
    said = {"resolution": "refunded", "reason": "seen in the portal"}
    answer = merchant.api.post(f"/refunds/{refund.public_id}/resolve/", said)
    assert problem(answer) == (409, "state_conflict", [])
    refund.refresh_from_db()
    assert refund.state == state


@pytest.mark.parametrize(("resolution", "state"), [("refunded", "succeeded"), ("not_refunded", "not_refunded")])
def test_refund_is_resolved_by_a_decision_with_a_reason(
    resolution: str, state: str, merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    refund = move_refund(make_refund(money(merchant)), "sending", "unknown", "needs_review")
    gateway_shows(monkeypatch, refund.attempt, "FULL_REFUNDED" if state == "succeeded" else "SUCCESS")
    path = f"/refunds/{refund.public_id}/resolve/"
    unsaid = merchant.api.post(path, {"resolution": resolution})
    assert problem(unsaid) == (400, "invalid_request", [("reason", "required")])
    unknown = merchant.api.post(path, {"resolution": "perhaps", "reason": "?"})
    assert problem(unknown) == (400, "invalid_request", [("resolution", "invalid_choice")])
    assert merchant.api.post(path, {"resolution": resolution, "reason": "seen"}).json()["state"] == state
    expected = 1990 if state == "succeeded" else 0
    told = merchant.api.get(f"/attempts/{refund.attempt.public_id}/").json()
    assert told["amount_refunded_minor"] == expected


@pytest.mark.parametrize(
    ("resolution", "status", "rule"),
    [
        ("refunded", "SUCCESS", "not_refunded_at_the_gateway"),
        ("not_refunded", "FULL_REFUNDED", "refunded_at_the_gateway"),
    ],
)
def test_nobody_decides_against_what_the_gateway_shows(
    resolution: str, status: str, rule: str, merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    refund = move_refund(make_refund(money(merchant)), "sending", "unknown", "needs_review")
    gateway_shows(monkeypatch, refund.attempt, status)
    said = {"resolution": resolution, "reason": "seen"}
    refused = merchant.api.post(f"/refunds/{refund.public_id}/resolve/", said)
    assert problem(refused) == (400, "invalid_request", [("resolution", rule)])


def test_nothing_is_decided_while_the_gateway_cannot_be_asked(merchant: Merchant) -> None:
    refund = move_refund(make_refund(money(merchant)), "sending", "unknown", "needs_review")
    said = {"resolution": "refunded", "reason": "seen"}
    refused = merchant.api.post(f"/refunds/{refund.public_id}/resolve/", said)
    assert problem(refused) == (502, "gateway_unavailable", [])
    refund.refresh_from_db()
    assert refund.state == "needs_review"


@pytest.mark.django_db(transaction=True)
def test_refund_succeeds_and_refresh_finds_a_portal_refund(shop: Shop) -> None:
    api, attempt = api_for(shop.account), paid(shop)
    asked = api.post("/refunds/", body(attempt, amount_minor=500), Idempotency_Key="r-1").json()
    before = posts(shop)
    shop.refund()
    assert api.get(f"/refunds/{asked['id']}/").json()["state"] == "succeeded"
    in_the_portal(shop, attempt, 300)
    invoice = Invoice.objects.get()
    looked = api.post(f"/invoices/{invoice.public_id}/refresh/", Idempotency_Key="look-1").json()
    assert looked["amount_refunded_minor"] == 800
    rows = api.get(f"/refunds/?invoice={invoice.public_id}").json()["data"]
    assert [(row["origin"], row["amount_minor"]) for row in rows] == [("gateway", 300), ("engine", 500)]
    assert (posts(shop), at_gateway(shop, attempt)["refunded"]) == (before + 2, 800)
