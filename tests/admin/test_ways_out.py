"""Pages on which people close invoices and release holds: what they say before it happens, and what they do."""

from typing import Any

import pytest
from django.test import Client

from billing.models import GatewayAccount, GatewayOrder, Invoice, OutsidePayment, PaymentMethod
from tests.admin.conftest import _logged_in, _person
from tests.admin.test_actions import WHY, action, message_of, send
from tests.admin.test_pages import url
from tests.charging.test_ways_out import lost
from tests.conftest import Shop
from tests.factories import make_attempt, make_invoice, move_attempt

pytestmark = pytest.mark.django_db
PAID = {"method": "cash", "reference": "receipt 12", "paid_date": "2026-03-01"}
WAYS: dict[str, tuple[dict[str, str], str, str]] = {
    "paid-elsewhere": (PAID, "paid", "RM 19.90 was paid without this card"),
    "void": ({}, "void", "Nothing is owed: the invoice of RM 19.90 becomes void"),
    "write-off": ({}, "uncollectible", "RM 19.90 stays owed but is no longer collected"),
}
ALL = pytest.mark.parametrize("way", list(WAYS))


@pytest.fixture
def second(db: None) -> Client:
    """Logged in as *mei*, who may decide too."""
    return _logged_in(_person("mei", is_superuser=True))


def page_of_invoice(client: Client, invoice: Invoice) -> str:
    return message_of(client.get(url(Invoice, "change", invoice.pk)))


@ALL
def test_invoice_page_lists_the_actions_and_their_consequences(boss: Client, way: str) -> None:
    invoice = make_invoice()
    form, state, causes = WAYS[way]
    page = page_of_invoice(boss, invoice)
    assert "Available actions" in page
    assert causes in page
    assert causes in message_of(boss.get(action(invoice, way)))
    send(boss, action(invoice, way), form)
    invoice.refresh_from_db()
    assert (invoice.state, invoice.next_attempt_at) == (state, None)
    after = page_of_invoice(boss, invoice)
    assert "Available actions" not in after or state == "uncollectible"
    if way == "paid-elsewhere":
        assert "in cash on 1 March 2026 (receipt 12), recorded by aisyah" in after
        assert OutsidePayment.objects.get().reason == WHY
    if way == "write-off":
        assert "Collect again" in after


def test_invoice_page_explains_why_it_waits_for_its_attempt(boss: Client) -> None:
    attempt = move_attempt(make_attempt(), "unknown")
    page = page_of_invoice(boss, attempt.invoice)
    assert f"Attempt {attempt.public_id} is unknown and may have taken the money" in page
    assert "/change/void/" not in page


def test_viewer_cannot_close_an_invoice(viewer: Client) -> None:
    invoice = make_invoice()
    assert "/change/void/" not in page_of_invoice(viewer, invoice)
    for way in (*WAYS, "found-payment", "collect-again", "confirm", "reject"):
        assert viewer.get(action(invoice, way)).status_code == 403


@ALL
def test_action_above_the_limit_needs_a_second_person(boss: Client, second: Client, way: str) -> None:
    GatewayAccount.objects.update(second_person_above_minor=0)
    invoice = make_invoice()
    GatewayAccount.objects.update(second_person_above_minor=1000)
    assert "needs a second person" in message_of(boss.get(action(invoice, way)))
    send(boss, action(invoice, way), WAYS[way][0])
    invoice.refresh_from_db()
    assert (invoice.state, invoice.hold) == ("open", "proposal")
    start = message_of(second.get("/admin/"))
    assert f"awaiting approval: {way.replace('-', ' ')}" in start
    page = page_of_invoice(second, invoice)
    assert "aisyah proposed on" in page
    assert "/change/confirm/" in page
    assert "/change/confirm/" not in page_of_invoice(boss, invoice)
    send(second, action(invoice, "confirm"))
    invoice.refresh_from_db()
    assert invoice.state == WAYS[way][1]


def hidden(client: Client, address: str) -> dict[str, Any]:
    """What the page keeps in its form, which a person's browser sends back."""
    form = client.get(address).context["form"]
    return {field.name: form.initial[field.name] for field in form.hidden_fields()}


@ALL
def test_what_is_confirmed_is_what_the_page_showed(boss: Client, second: Client, way: str) -> None:
    """Who proposed takes it back and proposes something else while the other person still looks at the page."""
    invoice = make_invoice()
    GatewayAccount.objects.update(second_person_above_minor=1000)
    send(boss, action(invoice, way), WAYS[way][0])
    address = action(invoice, "confirm")
    shown = hidden(second, address)
    send(boss, action(invoice, "reject"))
    send(boss, action(invoice, "write-off" if way == "void" else "void"))
    answered = second.post(address, {**shown, "reason": WHY})
    invoice.refresh_from_db()
    assert (answered.status_code, invoice.state, invoice.hold) == (422, "open", "proposal")
    assert "Was replaced after this page was opened" in message_of(answered)
    second.post(address, {**hidden(second, address), "reason": WHY})
    invoice.refresh_from_db()
    assert invoice.state == ("uncollectible" if way == "void" else "void")


def test_what_is_rejected_is_collected_as_before(boss: Client, second: Client) -> None:
    invoice = make_invoice()
    GatewayAccount.objects.update(second_person_above_minor=1000)
    send(boss, action(invoice, "void"))
    send(second, action(invoice, "reject"))
    invoice.refresh_from_db()
    assert (invoice.state, invoice.hold, invoice.next_attempt_at is None) == ("open", None, False)


def test_held_card_page_shows_its_charges_and_the_likely_payment(shop: Shop, boss: Client) -> None:
    invoice, transaction_id = lost(shop)
    card = PaymentMethod.objects.get()
    for page in (
        message_of(boss.get(url(PaymentMethod, "change", card.pk))),
        message_of(boss.get(action(card, "free"))),
    ):
        assert "Possible payments" in page
        assert "it names this invoice" in page
        assert f"found-payment/?transaction_id={transaction_id}" in page
        assert "Charged when the hold is released" in page
    assert "The card is charged RM 19.90 now, for 1 invoice" in page
    refused: Any = send(boss, action(card, "free"))
    assert refused.status_code == 422
    assert "may be the payment of" in message_of(refused)
    form = message_of(boss.get(f"{action(invoice, 'found-payment')}?transaction_id={transaction_id}"))
    assert f'value="{transaction_id}"' in form
    assert "Nobody is charged" in form
    send(boss, action(invoice, "found-payment"), {"transaction_id": transaction_id})
    invoice.refresh_from_db()
    card.refresh_from_db()
    assert (invoice.state, card.held_at) == ("paid", None)


def test_hold_is_released_when_the_order_is_set_aside(shop: Shop, boss: Client) -> None:
    lost(shop)
    card, order = PaymentMethod.objects.get(), GatewayOrder.objects.get().gateway_order_id
    send(boss, action(card, "free"), {"although": "on", "seen_orders": order})
    card.refresh_from_db()
    assert card.held_at is None
