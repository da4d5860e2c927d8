"""The button "pay now": one form is one act, and it never makes a second charge of one."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from billing.charging.cases.pay_now import as_shown, pay_now
from billing.charging.cases.retry_now import RetryError
from billing.domain.subscriptions import Hold
from billing.models import GatewayAccount, Invoice, PaymentAttempt, PaymentMethod, Transition
from billing.models.clock import database_now
from billing.payer.forms import VALID, Act, Form, read_form, token_of
from billing.subscriptions.payment_links import end_links
from tests.conftest import Shop
from tests.factories import (
    NOW,
    make_attempt,
    make_card,
    make_customer,
    make_invoice,
    make_plan,
    make_proposal,
    make_subscription,
    move_attempt,
)
from tests.payer.parts import forms, note_of, page, path_of, press

pytestmark = pytest.mark.django_db
BUTTON = "Pay RM 19.90 now"


def waiting(card: PaymentMethod | None = None, **columns: Any) -> Invoice:
    """An invoice that was declined, and is tried again in a week."""
    return make_invoice(card, **{"next_attempt_at": database_now() + timedelta(days=7), **columns})


def pay(invoice: Invoice) -> None:
    """As by the button of a page that is as new as can be."""
    fresh = Invoice.objects.get(pk=invoice.pk)
    pay_now(invoice=fresh, seen=as_shown(fresh), now=database_now())


def is_due(invoice: Invoice) -> bool:
    invoice.refresh_from_db()
    return invoice.next_attempt_at is not None and invoice.next_attempt_at <= database_now()


def test_the_button_has_the_invoice_charged_now(client: Client) -> None:
    invoice = waiting()
    token = forms(page(client, invoice.customer))[BUTTON]
    assert note_of(press(client, invoice.customer, token)) == "paying"
    assert is_due(invoice)
    line = Transition.objects.get(subject_type="invoice", subject_id=invoice.pk)
    assert (line.actor, line.reason) == ("payer", "requested on the customer page")
    assert "This payment is being processed." in page(client, invoice.customer)


def test_two_clicks_are_one_act(client: Client) -> None:
    invoice = waiting()
    token = forms(page(client, invoice.customer))[BUTTON]
    assert [note_of(press(client, invoice.customer, token)) for _ in range(3)] == ["paying", "changed", "changed"]
    assert Transition.objects.filter(subject_type="invoice").count() == 1


def test_what_cannot_be_paid_any_more_is_said(client: Client) -> None:
    invoice = waiting()
    token = forms(page(client, invoice.customer))[BUTTON]
    GatewayAccount.objects.update(stopped_at=NOW, stopped_reason="x")
    response = press(client, invoice.customer, token)
    assert note_of(response) == "not_possible"
    assert (
        "That is not possible at the moment. Nothing was changed." in client.get(response["Location"]).content.decode()
    )
    assert not is_due(invoice)


def test_back_and_a_second_submit_after_a_decline_do_nothing(client: Client) -> None:
    invoice = waiting()
    token = forms(page(client, invoice.customer))[BUTTON]
    press(client, invoice.customer, token)
    move_attempt(make_attempt(invoice), "declined", state_reason="51", settled_at=NOW)
    Invoice.objects.filter(pk=invoice.pk).update(next_attempt_at=database_now() + timedelta(days=7))
    assert note_of(press(client, invoice.customer, token)) == "changed"
    assert not is_due(invoice)
    fresh = forms(page(client, invoice.customer))[BUTTON]
    assert note_of(press(client, invoice.customer, fresh)) == "paying"


def test_what_the_payer_chose_in_another_language_stays_chosen(client: Client) -> None:
    invoice = waiting()
    token = forms(page(client, invoice.customer, "?lang=ms"))["Bayar RM 19.90 sekarang"]
    response = client.post(f"{path_of(invoice.customer)}?lang=ms", {"form": token})
    assert response["Location"].endswith("/?lang=ms&note=paying")
    assert "Terima kasih. Kad anda akan dicaj sekali" in client.get(response["Location"]).content.decode()


@pytest.mark.parametrize("state", ["sending", "unknown", "in_process", "needs_review", "surplus"])
def test_nothing_is_tried_beside_an_attempt_that_may_have_money(state: str) -> None:
    invoice = waiting()
    attempt = make_attempt(invoice)
    if state != "sending":
        move_attempt(attempt, state)
    invoice.refresh_from_db()
    with pytest.raises(RetryError):
        pay(invoice)
    invoice.refresh_from_db()
    assert invoice.next_attempt_at is None
    assert not Transition.objects.filter(subject_type="invoice").exists()


@pytest.mark.parametrize("hold", [one for one in Hold if one is not Hold.SUBSCRIPTION_CANCELED])
def test_a_hold_is_the_merchants_to_end(hold: Hold) -> None:
    invoice = waiting(hold=hold.value, next_attempt_at=None)
    with pytest.raises(RetryError):
        pay(invoice)
    invoice.refresh_from_db()
    assert (invoice.hold, invoice.next_attempt_at) == (hold.value, None)


def test_nothing_is_tried_while_a_second_person_decides_about_it() -> None:
    invoice = waiting(hold="subscription_canceled", next_attempt_at=None)
    make_proposal(account=invoice.account, invoice=invoice, kind="void")
    with pytest.raises(RetryError):
        pay(invoice)
    invoice.refresh_from_db()
    assert invoice.next_attempt_at is None


CLOSED = {"closed_at": NOW, "next_attempt_at": None}


@pytest.mark.parametrize(
    "columns",
    [
        {"state": "paid", **CLOSED},
        {"state": "void", **CLOSED},
        {"state": "uncollectible", "state_reason": "written_off", **CLOSED},
        {"amount_refunded_minor": 100},
    ],
)
def test_what_is_not_owed_is_not_charged(columns: dict[str, Any]) -> None:
    invoice = waiting(**columns)
    before = Invoice.objects.values().get(pk=invoice.pk)
    with pytest.raises(RetryError):
        pay(invoice)
    assert Invoice.objects.values().get(pk=invoice.pk) == before


@pytest.mark.parametrize("state", ["inactive", "revoked", "failed"])
def test_a_card_that_cannot_be_charged_is_not_tried(state: str) -> None:
    invoice = waiting(make_card(state=state, is_default=False))
    with pytest.raises(RetryError, match="card needed"):
        pay(invoice)


def test_an_account_that_is_stopped_takes_nothing() -> None:
    invoice = waiting()
    GatewayAccount.objects.filter(pk=invoice.account_id).update(stopped_at=NOW, stopped_reason="x")
    with pytest.raises(RetryError, match="not now"):
        pay(Invoice.objects.get(pk=invoice.pk))


def test_an_uncollectible_invoice_is_open_again() -> None:
    invoice = waiting(state="uncollectible", state_reason="tries_exhausted", **CLOSED)
    pay(invoice)
    assert is_due(invoice)
    assert (invoice.state, invoice.collect_regardless) == ("open", True)


@pytest.mark.parametrize(("state", "regardless"), [("active", False), ("past_due", False), ("paused", True)])
def test_what_is_owed_for_a_subscription_that_does_not_run_is_charged_too(state: str, regardless: bool) -> None:
    card = make_card()
    due = {"next_due_at": None} if state == "paused" else {}
    subscription = make_subscription(card, make_plan(card.account), state=state, **due)
    invoice = waiting(card, subscription=subscription)
    pay(invoice)
    assert is_due(invoice)
    assert invoice.collect_regardless is regardless


def test_what_stayed_owed_after_a_cancellation_can_be_paid() -> None:
    card = make_card()
    subscription = make_subscription(card, make_plan(card.account), state="canceled", next_due_at=None, ended_at=NOW)
    invoice = waiting(card, subscription=subscription, hold="subscription_canceled", next_attempt_at=None)
    pay(invoice)
    assert is_due(invoice)
    assert (invoice.hold, invoice.collect_regardless) == (None, True)


# --- forms ------------------------------------------------------------------------------------------------


def test_a_form_is_bound_to_its_link_and_its_time() -> None:
    customer, other, now = make_customer(), make_customer(), database_now()
    form = Form(Act.PAY, "inv_x", "seen")
    token = token_of(form, customer, now=now)
    assert read_form(token, customer, now=now) == form
    assert read_form(token, other, now=now) is None
    assert read_form(token, customer, now=now + VALID) is None
    assert read_form(f"{token}x", customer, now=now) is None
    assert read_form(token + "A" * 500, customer, now=now) is None
    end_links(customer=customer, reason="x", actor="mei", now=now)
    assert read_form(token, customer, now=now) is None


@pytest.mark.parametrize("sent", ["nothing", "another customer's", "a link", "NUL"])
def test_a_form_of_another_page_does_nothing(sent: str, client: Client) -> None:
    invoice, other = waiting(), waiting()
    token = {
        "nothing": "",
        "another customer's": forms(page(client, other.customer))[BUTTON],
        "a link": path_of(invoice.customer).split("/")[2],
        "NUL": "\x00",
    }[sent]
    assert note_of(press(client, invoice.customer, token)) == "changed"
    assert not is_due(invoice)
    assert not is_due(other)


def test_a_form_needs_no_cookie_and_no_session(client: Client) -> None:
    invoice = waiting()
    token = forms(page(client, invoice.customer))[BUTTON]
    strict = Client(enforce_csrf_checks=True)
    assert note_of(press(strict, invoice.customer, token)) == "paying"
    assert not strict.cookies


# --- with the gateway -------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_forms_pressed_at_once_charge_once(shop: Shop, client: Client) -> None:
    card = shop.card()
    invoice = waiting(card)
    tokens = [forms(page(client, card.customer))[BUTTON] for _ in range(6)]
    notes: list[str] = []

    def send(token: str) -> None:
        try:
            notes.append(note_of(press(Client(), card.customer, token)))
        finally:
            connection.close()

    threads = [threading.Thread(target=send, args=(token,)) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(notes) == ["changed"] * 5 + ["paying"]
    shop.collect()
    invoice.refresh_from_db()
    assert invoice.state == "paid"
    assert PaymentAttempt.objects.count() == 1
    text = page(client, card.customer)
    assert "You owe nothing." in text
    assert f"receipts/{invoice.public_id}/" in text
