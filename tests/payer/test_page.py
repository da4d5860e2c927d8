"""What the page shows, and what opening it does not do."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from billing.models import Customer, PaymentMethod, VisitCount
from billing.models.clock import database_now
from tests.api.calls import snapshot
from tests.factories import (
    NOW,
    make_account,
    make_attempt,
    make_card,
    make_customer,
    make_evidence,
    make_invoice,
    make_mail,
    make_outside_payment,
    make_plan,
    make_subscription,
    move_attempt,
)
from tests.payer.parts import forms, page, path_of

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(days=3650)


def owing(**columns: Any) -> Customer:
    """A customer whose card was declined for want of money, and who is tried again in a week."""
    card = make_card(make_customer(name="Zulkifli", email="zul@example.com", phone_number="19999888"))
    make_mail(card.account)
    invoice = make_invoice(card, description="March beans", **columns)
    declined(invoice, "51")
    return card.customer


def declined(invoice: Any, code: str) -> None:
    attempt = move_attempt(make_attempt(invoice), "declined", state_reason=code, settled_at=NOW)
    assert attempt.state_reason == code
    invoice.next_attempt_at = database_now() + timedelta(days=7)
    invoice.tries = invoice.attempt_count = 1
    invoice.save(update_fields=["next_attempt_at", "tries", "attempt_count"])


def test_the_page_says_what_is_owed_and_why(client: Client) -> None:
    text = page(client, owing())
    for words in (
        "March beans",
        "RM 19.90",
        "Due 2 March 2026",
        "Declined on 2 March 2026. There was not enough money on your card.",
        "We try again on ",
        "Charged to the card ending in 1111.",
        "Card ending in 1111",
        "Pay RM 19.90 now",
        '<p class="merchant">Kedai Kopi</p>',
    ):
        assert words in text, words


def test_the_page_names_no_one(client: Client) -> None:
    customer = owing()
    text = page(client, customer)
    for word in (customer.name, customer.email, customer.phone_number, customer.reference, "411111"):
        assert word not in text, word


def test_opening_any_page_changes_nothing(client: Client) -> None:
    customer = owing()
    paid = make_invoice(customer.payment_methods.get(), state="paid", closed_at=NOW, next_attempt_at=None)
    before = everything()
    address = path_of(customer)
    for path in (address, f"{address}?lang=ms", f"{address}receipts/{paid.public_id}/"):
        for method in (client.get, client.head, client.get):
            assert method(path).status_code == 200
    assert everything() == before
    assert not client.cookies


def everything() -> dict[str, Any]:
    """Every row but the counters of visitors."""
    return {model: rows for model, rows in snapshot().items() if "visit" not in model.lower()}


@pytest.mark.parametrize("name", ["page", "receipt"])
def test_pages_are_kept_by_nobody_and_lead_nowhere(name: str, client: Client) -> None:
    customer = owing()
    paid = make_invoice(customer.payment_methods.get(), state="paid", closed_at=NOW, next_attempt_at=None)
    path = path_of(customer) + (f"receipts/{paid.public_id}/" if name == "receipt" else "")
    response = client.get(path)
    assert response["Referrer-Policy"] == "no-referrer"
    assert response["X-Robots-Tag"] == "noindex, nofollow"
    assert "no-store" in response["Cache-Control"]
    policy = response["Content-Security-Policy"]
    assert "form-action 'self' https:" in policy
    assert "frame-ancestors 'none'" in policy
    text = response.content.decode()
    assert "http://" not in text
    assert "https://" not in text
    assert "<script" not in text


def test_the_page_is_in_the_customers_language_and_in_the_other_one(client: Client) -> None:
    customer = owing()
    assert '<html lang="en">' in page(client, customer)
    customer.language = "ms"
    customer.save()
    text = page(client, customer)
    assert '<html lang="ms">' in text
    assert "Baki kad anda tidak mencukupi." in text
    assert "Bayar RM 19.90 sekarang" in text
    assert 'href="?lang=en"' in text
    english = page(client, customer, "?lang=en")
    assert "Pay RM 19.90 now" in english
    assert f'action="{path_of(customer)[:30]}' in english
    assert '?lang=en"><input' in english
    assert '<html lang="ms">' in page(client, customer, "?lang=xx")


@pytest.mark.parametrize(
    ("state", "words", "refreshes"),
    [
        ("sending", "This payment is being processed.", True),
        ("unknown", "We are checking with the bank whether this payment went through.", True),
        ("needs_review", "We are checking with the bank whether this payment went through.", True),
    ],
)
def test_a_charge_that_is_under_way_is_said_and_not_offered_again(
    state: str, words: str, refreshes: bool, client: Client
) -> None:
    card = make_card()
    attempt = make_attempt(make_invoice(card), card, armed_at=database_now())
    if state != "sending":
        move_attempt(attempt, state)
    text = page(client, card.customer)
    assert words in text
    assert ('http-equiv="refresh"' in text) is refreshes
    assert "Check again" in text
    assert "now</button>" not in text


def test_a_charge_on_the_same_card_comes_first(client: Client) -> None:
    card = make_card()
    declined(make_invoice(card, description="Second"), "51")
    attempt = move_attempt(make_attempt(make_invoice(card, description="First"), card), "unknown")
    text = page(client, card.customer)
    assert "Another payment with this card is being processed first." in text
    assert "now</button>" not in text
    move_attempt(attempt, "needs_review", released_at=NOW, released_by="mei", released_reason="x")
    assert "Pay RM 19.90 now" in page(client, card.customer)


def test_a_page_is_not_refreshed_for_ever(client: Client) -> None:
    card = make_card()
    move_attempt(make_attempt(make_invoice(card), card, armed_at=NOW), "unknown")
    text = page(client, card.customer)
    assert "http-equiv" not in text
    assert "Check again" in text


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"hold": "reversed", "next_attempt_at": None}, "The merchant is looking into this payment."),
        ({"hold": "catch_up", "next_attempt_at": None}, "The merchant is looking into this payment."),
        ({"state": "uncollectible", "closed_at": NOW, "next_attempt_at": None}, "Pay RM 19.90 now"),
        ({"hold": "subscription_canceled", "next_attempt_at": None}, "Pay RM 19.90 now"),
        ({"next_attempt_at": NOW}, "This payment is being processed."),
    ],
)
def test_what_can_be_done_about_an_invoice(columns: dict[str, Any], words: str, client: Client) -> None:
    card = make_card()
    make_invoice(card, **columns)
    text = page(client, card.customer)
    assert words in text
    assert ("now</button>" in text) is ("Pay" in words)


@pytest.mark.parametrize(
    "columns",
    [
        {"state": "void", "closed_at": NOW, "next_attempt_at": None},
        {"state": "uncollectible", "state_reason": "written_off", "closed_at": NOW, "next_attempt_at": None},
    ],
)
def test_what_staff_closed_is_not_asked_for(columns: dict[str, Any], client: Client) -> None:
    card = make_card()
    make_invoice(card, description="Old beans", **columns)
    text = page(client, card.customer)
    assert "Old beans" not in text
    assert "You owe nothing." in text


def test_an_account_that_is_stopped_takes_no_payments(client: Client) -> None:
    customer = owing()
    type(customer.account).objects.filter(pk=customer.account_id).update(stopped_at=NOW, stopped_reason="x")
    text = page(client, customer)
    assert "Payments cannot be made at the moment." in text
    assert "now</button>" not in text


@pytest.mark.parametrize(
    ("columns", "needed"),
    [
        ({"frozen_at": NOW, "frozen_by": "54"}, True),
        ({"capped_until": LATER}, True),
        ({"capped_until": NOW}, False),
        ({"rests_until": LATER}, False),  # our own limit, not the network's: who asks for a try has one
    ],
)
def test_a_card_that_nobody_may_try_is_not_offered(columns: dict[str, Any], needed: bool, client: Client) -> None:
    card = make_card()
    declined(make_invoice(card), "51")
    type(card).objects.filter(pk=card.pk).update(**columns)
    text = page(client, card.customer)
    assert ("To pay this, save a card below." in text) is needed
    assert ("now</button>" in text) is not needed


@pytest.mark.parametrize(
    ("state", "button"), [("active", "Use another card"), ("inactive", "Save a card"), ("revoked", "Save a card")]
)
def test_the_card_in_use_is_shown_and_can_be_replaced(state: str, button: str, client: Client) -> None:
    card = make_card(state=state, is_default=state == "active")
    make_card(card.customer, label="522222******2222", is_default=False)
    text = page(client, card.customer)
    assert ("Card ending in 1111" in text) is (state == "active")
    assert "2222" not in text
    assert button in forms(text)


@pytest.mark.parametrize(
    ("columns", "trial_days", "at_once"),
    [
        ({"state": "incomplete", "charge_at_start": True}, 0, True),
        ({"state": "incomplete", "charge_at_start": True}, 14, False),
        ({"state": "incomplete", "charge_at_start": False}, 0, False),
        ({"state": "active", "charge_at_start": True}, 0, False),
    ],
)
def test_the_page_says_when_the_card_is_charged_at_once(
    columns: dict[str, Any], trial_days: int, at_once: bool, client: Client
) -> None:
    card = make_card()
    due = {} if columns["state"] == "active" else {"next_due_at": None}
    make_subscription(card, make_plan(card.account, trial_days=trial_days), **columns, **due)
    text = page(client, card.customer)
    assert ("Your first payment is charged to it at once" in text) is at_once
    assert ("Nothing is charged when you save it" in text) is not at_once


def test_one_customer_never_sees_another(client: Client) -> None:
    account = make_account()
    customer, other = make_customer(account), make_customer(account)
    card = make_card(other, label="522222******2222")
    make_invoice(card, description="Other beans")
    make_subscription(card, make_plan(account, name="Other club"))
    paid = make_invoice(card, description="Paid beans", state="paid", closed_at=NOW, next_attempt_at=None)
    text = page(client, customer)
    for word in ("Other beans", "Other club", "Paid beans", "2222"):
        assert word not in text
    assert client.get(f"{path_of(customer)}receipts/{paid.public_id}/").status_code == 404


def test_the_page_reads_as_much_for_many_invoices_as_for_one(
    client: Client, django_assert_max_num_queries: Any
) -> None:
    card = make_card()
    make_mail(card.account)
    for number in range(12):
        declined(make_invoice(card, description=f"Beans {number}"), "51")
        make_invoice(card, state="paid", closed_at=NOW, next_attempt_at=None)
        make_subscription(card, make_plan(card.account))
    path = path_of(card.customer)
    with django_assert_max_num_queries(16):
        assert "Beans 11" in client.get(path).content.decode()


def test_a_receipt_of_a_charge(client: Client) -> None:
    card = make_card()
    make_mail(card.account, sender_name="Kedai Kopi Bangsar")
    lines = [
        {"description": "Beans", "quantity": 1, "amount_minor": 1500},
        {"description": "Milk", "amount_minor": 490},
    ]
    invoice = make_invoice(card, lines=lines)
    move_attempt(make_attempt(invoice, card), "succeeded")
    close(invoice, amount_refunded_minor=500)
    text = client.get(f"{path_of(card.customer)}receipts/{invoice.public_id}/").content.decode()
    for words in (
        invoice.public_id, "Kedai Kopi Bangsar", "2 March 2026", "Beans", "RM 15.00", "Milk", "RM 4.90", "RM 19.90",
        "Card ending in 1111", "Refunded", "RM 5.00", "RM 14.90",
    ):  # fmt: skip
        assert words in text, words
    for word in (card.customer.name, card.customer.email):
        assert word not in text


@pytest.mark.parametrize(
    ("method", "words", "in_malay"),
    [("cash", "Cash", "Tunai"), ("bank_transfer", "Bank transfer", "Pindahan bank"), ("other", "Another", "lain")],
)
def test_a_receipt_of_a_payment_made_elsewhere(method: str, words: str, in_malay: str, client: Client) -> None:
    card = make_card()
    invoice = make_invoice(card)
    make_outside_payment(invoice, method=method, reference="from Ali's account 1234")
    close(invoice, state_reason="paid_elsewhere")
    address = f"{path_of(card.customer)}receipts/{invoice.public_id}/"
    text = client.get(address).content.decode()
    assert words in text
    assert "1 March 2026" in text
    assert "Ali" not in text
    assert in_malay in client.get(f"{address}?lang=ms").content.decode()


@pytest.mark.parametrize("named", ["open", "inv_x", "%00", "other"])
def test_no_receipt_of_what_is_not_paid(named: str, client: Client) -> None:
    invoice = make_invoice()
    name = invoice.public_id if named == "open" else named
    assert client.get(f"{path_of(invoice.customer)}receipts/{name}/").status_code == 404


def close(invoice: Any, **columns: Any) -> None:
    changes = {"state": "paid", "closed_at": NOW, "next_attempt_at": None, **columns}
    type(invoice).objects.filter(pk=invoice.pk).update(**changes)


def test_nothing_is_kept_of_a_visitor_but_a_digest(client: Client) -> None:
    customer = make_customer()
    client.get(path_of(customer), REMOTE_ADDR="203.0.113.7")
    keys = list(VisitCount.objects.values_list("key", flat=True))
    assert len(keys) == 2
    assert all(len(key) == 64 and "203" not in key[:3] + customer.public_id for key in keys)
    assert not PaymentMethod.objects.exists()


def test_evidence_is_not_read(client: Client) -> None:
    customer = owing()
    attempt = customer.payment_methods.get().paymentattempt_set.get()
    make_evidence(attempt, content={"message": "internal words"})
    assert "internal words" not in page(client, customer)
