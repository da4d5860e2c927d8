"""Closing invoices and clearing holds over the API: what comes of it, what is refused, and what a key only proposes."""

from typing import Any

import pytest

from billing.models import GatewayAccount, Invoice, OutsidePayment, PaymentMethod, Proposal, Subscription
from tests.api.calls import Api, api_for, problem, snapshot
from tests.api.conftest import Merchant, attempt_in_review
from tests.charging.test_ways_out import lost, person
from tests.conftest import Shop
from tests.factories import make_card, make_invoice

pytestmark = pytest.mark.django_db
WHY = {"reason": "seen on the statement"}
CASH = {"method": "cash", "reference": "receipt 12", "paid_date": "2026-03-01", **WHY}
CLOSINGS: dict[str, tuple[dict[str, Any], str, str]] = {
    "paid-elsewhere": (CASH, "paid", "paid_elsewhere"),
    "void": (WHY, "void", "voided"),
    "write-off": (WHY, "uncollectible", "written_off"),
}
ALL = pytest.mark.parametrize("way", list(CLOSINGS))


def path(invoice: Invoice, way: str) -> str:
    return f"/invoices/{invoice.public_id}/{way}/"


@ALL
def test_closing_an_invoice_returns_how_it_was_closed(merchant: Merchant, way: str) -> None:
    invoice = make_invoice(make_card(merchant.customer, is_default=False))
    body, state, why = CLOSINGS[way]
    told = merchant.api.post(path(invoice, way), body).json()
    assert (told["state"], told["state_reason"], told["next_attempt_at"]) == (state, why, None)
    if way == "paid-elsewhere":
        assert told["paid_elsewhere"] | {"id": "", "recorded_at": "", "recorded_by": ""} == {
            "id": "",
            "method": "cash",
            "reference": "receipt 12",
            "transaction_id": None,
            "paid_date": "2026-03-01",
            "recorded_by": "",
            "confirmed_by": "",
            "recorded_at": "",
        }
    else:
        assert told["paid_elsewhere"] is None
    if way != "write-off":
        assert problem(merchant.api.post(path(invoice, "void"), WHY))[:2] == (409, "state_conflict")


@ALL
def test_the_same_request_closes_it_once(merchant: Merchant, way: str) -> None:
    invoice = make_invoice(make_card(merchant.customer, is_default=False))
    body = CLOSINGS[way][0]
    first = merchant.api.post(path(invoice, way), body, Idempotency_Key="k")
    after = snapshot()
    again = merchant.api.post(path(invoice, way), body, Idempotency_Key="k")
    assert (first.status_code, again.json(), snapshot()) == (200, first.json(), after)


@ALL
def test_above_the_amount_a_key_only_proposes(merchant: Merchant, way: str) -> None:
    GatewayAccount.objects.update(second_person_above_minor=0)
    for name in ("siti", "mei"):
        person(name)
    invoice = make_invoice(make_card(merchant.customer, is_default=False))
    told = merchant.api.post(path(invoice, way), CLOSINGS[way][0]).json()
    assert (told["state"], told["hold"], told["next_attempt_at"]) == ("open", "proposal", None)
    assert told["proposal"]["decision"] == way.replace("-", "_")
    assert Proposal.objects.get().proposed_by.startswith("api:key_")


@ALL
def test_nothing_is_closed_while_the_attempt_needs_review(merchant: Merchant, way: str) -> None:
    invoice = attempt_in_review(merchant).invoice
    before = snapshot()
    assert problem(merchant.api.post(path(invoice, way), CLOSINGS[way][0]))[:2] == (409, "state_conflict")
    assert snapshot()["Invoice"] == before["Invoice"]


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({**CASH, "method": "gateway"}, "method", "invalid_choice"),
    ({**CASH, "method": "shells"}, "method", "invalid_choice"),
    ({**CASH, "reference": ""}, "reference", "blank"),
    ({**CASH, "paid_date": "2026-02-30"}, "paid_date", "invalid"),
    ({**CASH, "paid_date": 20260301}, "paid_date", "invalid"),
    ({**CASH, "paid_date": "2999-01-01"}, "paid_date", "future"),
    ({**CASH, "reason": ""}, "reason", "blank"),
    ({**CASH, "amount_minor": 5}, "amount_minor", "unknown"),
]


def test_what_is_wrong_about_a_payment_is_named(merchant: Merchant) -> None:
    invoice = make_invoice(make_card(merchant.customer, is_default=False))
    for body, field, rule in WRONG:
        assert problem(merchant.api.post(path(invoice, "paid-elsewhere"), body)) == (
            400, "invalid_request", [(field, rule)],
        ), body  # fmt: skip
    assert not OutsidePayment.objects.exists()


def test_what_was_written_off_or_waits_is_collected_again(merchant: Merchant) -> None:
    card = make_card(merchant.customer, is_default=False)
    written_off, held = make_invoice(card), make_invoice(card, hold="catch_up", next_attempt_at=None)
    merchant.api.post(path(written_off, "write-off"), WHY)
    for invoice in (written_off, held):
        told = merchant.api.post(path(invoice, "collect"), WHY).json()
        assert (told["state"], told["hold"], told["next_attempt_at"] is None) == ("open", None, False)
    merchant.api.post(path(held, "void"), WHY)
    assert problem(merchant.api.post(path(held, "collect"), WHY))[:2] == (409, "state_conflict")


def test_hold_lists_charges_and_the_found_payment_is_recorded(shop: Shop) -> None:
    invoice, transaction_id = lost(shop)
    api: Api = api_for(shop.account)
    card = PaymentMethod.objects.get()
    told = api.get(f"/payment-methods/{card.public_id}/hold/").json()
    assert (told["is_held"], told["reason"], told["total_minor"]) == (True, "unexplained_order", 1990)
    assert [one["invoice"] for one in told["charges"]] == [invoice.public_id]
    (found,) = told["may_be_paid"]
    assert (found["invoice"], found["transaction_id"], found["why"]) == (
        invoice.public_id, transaction_id, "names_the_invoice",
    )  # fmt: skip
    clear = f"/payment-methods/{card.public_id}/clear-hold/"
    assert problem(api.post(clear, WHY)) == (400, "invalid_request", [("charge_although", "could_be_payment")])
    answer = api.post(path(invoice, "found-payment"), {"transaction_id": transaction_id, **WHY}).json()
    assert (answer["state"], answer["paid_elsewhere"]["transaction_id"]) == ("paid", transaction_id)
    assert api.get(f"/payment-methods/{card.public_id}/hold/").json()["is_held"] is False
    assert problem(api.post(clear, WHY))[:2] == (409, "state_conflict")


def test_a_hold_is_cleared_although_an_order_is_there(shop: Shop) -> None:
    lost(shop)
    card = PaymentMethod.objects.get()
    api = api_for(shop.account)
    order = api.get(f"/payment-methods/{card.public_id}/hold/").json()["orders"][0]["gateway_order_id"]
    body = {"charge_although": [order], **WHY}
    told = api.post(f"/payment-methods/{card.public_id}/clear-hold/", body).json()
    assert (told["is_held"], told["orders"]) == (False, [])
    card.refresh_from_db()
    assert card.held_at is None


@pytest.mark.parametrize(
    ("wish", "state", "hold"),
    [
        (None, "open", "subscription_canceled"),
        ("review", "open", "subscription_canceled"),
        ("collect", "open", None),
        ("void", "void", None),
        ("write_off", "uncollectible", None),
    ],
)
def test_who_cancels_says_what_becomes_of_open_invoices(
    merchant: Merchant, wish: str | None, state: str, hold: str | None
) -> None:
    invoice = make_invoice(merchant.card, merchant.subscription)
    Subscription.objects.filter(pk=merchant.subscription.pk).update(next_due_at=None)
    body = {"open_invoices": wish} if wish else {}
    answer = merchant.api.post(f"/subscriptions/{merchant.subscription.public_id}/cancel/", body)
    assert (answer.status_code, answer.json()["state"]) == (200, "canceled")
    invoice.refresh_from_db()
    assert (invoice.state, invoice.hold) == (state, hold)


def test_closing_invoices_with_a_cancellation_takes_the_scope_charge(merchant: Merchant) -> None:
    api = api_for(merchant.account, "read", "write")
    address = f"/subscriptions/{merchant.subscription.public_id}/cancel/"
    for wish in ("collect", "void", "write_off"):
        assert problem(api.post(address, {"open_invoices": wish}))[:2] == (403, "scope_missing")
    assert problem(api.post(address, {"open_invoices": "forget"}))[0] == 400
    assert api.post(address, {"open_invoices": "review"}).status_code == 200
