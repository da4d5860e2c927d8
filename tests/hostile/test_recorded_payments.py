"""Money that a person recorded as the payment of an invoice, and that goes back at the gateway later."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from billing.audit.invariants import violations
from billing.charging.cases.found_payments import decide_found
from billing.charging.cases.ways_out import record_found_payment
from billing.charging.reading import report_days
from billing.charging.reading.fetch import fetch
from billing.charging.reading.known import CardRead, load
from billing.charging.reading.record import record
from billing.gateway.connection import Gateway, GatewayUnavailableError, gateway_for
from billing.models import Event, FoundPayment, GatewayTransaction, Invoice, PaymentMethod
from billing.models.bulk import watching
from billing.models.clock import database_now
from rm_gateway.prepared import RefundKind
from tests.charging.test_resolve import give_back
from tests.charging.test_ways_out import WHY, lost
from tests.conftest import Shop
from tests.factories import make_account, make_card, make_customer, make_invoice, make_outside_payment

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]


def recorded(shop: Shop) -> tuple[Invoice, str]:
    """An invoice whose payment was found at the gateway and recorded by a person; its transaction."""
    invoice, transaction_id = lost(shop)
    record_found_payment(invoice=invoice, transaction_id=transaction_id, now=database_now(), **WHY)
    return invoice, transaction_id


def read(shop: Shop) -> CardRead:
    card = PaymentMethod.objects.get()
    seen = fetch(gateway_for(shop.account), load([card.pk])[card.pk])
    record(seen, seen.findings, tuning=shop.tuning, now=database_now())
    return seen


def events() -> list[tuple[str, int]]:
    rows = Event.objects.filter(kind="payment.went_back").order_by("id")
    return [(one.payload["status"], one.payload["amount_minor"]) for one in rows]


def test_next_read_of_the_card_finds_a_refund(shop: Shop, admin_client: Client) -> None:
    """A5: no attempt has it, and its order counts as explained: nobody would see it."""
    invoice, transaction_id = recorded(shop)
    read(shop)
    assert events() == []
    assert PaymentMethod.objects.get().next_watch_at is not None, "nothing else would have it read"
    give_back(shop, transaction_id, 1990)
    read(shop)
    read(shop)
    found = FoundPayment.objects.get()
    assert (found.kind, found.invoice, found.amount_minor) == ("went_back", invoice, 1990)
    assert events() == [("FULL_REFUNDED", 1990)]
    assert violations(now=database_now()) == []
    text = admin_client.get(f"/admin/billing/foundpayment/{found.pk}/change/").content.decode()
    assert "the invoice still counts as paid" in text
    assert invoice.customer.name in text
    decide_found(payment=found, now=database_now(), **WHY)
    invoice.refresh_from_db()
    assert invoice.state == "paid"


def test_each_further_refunded_part_is_reported(shop: Shop) -> None:
    """A5: what a person decided about the first part says nothing of the rest."""
    _, transaction_id = recorded(shop)
    give_back(shop, transaction_id, 700, RefundKind.PARTIAL)
    read(shop)
    give_back(shop, transaction_id, 1290, RefundKind.PARTIAL)
    read(shop)
    assert events() == [("PARTIAL_REFUNDED", 700), ("FULL_REFUNDED", 1990)]
    assert list(FoundPayment.objects.order_by("pk").values_list("amount_minor", flat=True)) == [700, 1990]


def test_a_recorded_payment_that_cannot_be_read_holds_nothing_up(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A5: it is looked at the next time."""
    recorded(shop)

    def away(*_: Any) -> None:
        raise GatewayUnavailableError("SYSTEM_ERROR")

    monkeypatch.setattr(Gateway, "read_transaction", away)
    assert read(shop).doubts == []


def test_a_daily_report_finds_it_where_the_card_is_lost(shop: Shop) -> None:
    """A5: it was asked about as money before, and is asked about again for as long as its report is read."""
    invoice, transaction_id = recorded(shop)
    read(shop)
    assert GatewayTransaction.objects.get().status == "SUCCESS"
    give_back(shop, transaction_id, 1990)
    gateway, now = gateway_for(shop.account), database_now()
    day = watching.Day(0, shop.account.pk, (now + timedelta(hours=8)).date(), 0, now)
    listed = [one for one in gateway.read_report(day.day) if one.transaction_id == transaction_id]
    (name,) = report_days.not_known_yet(day, listed)
    assert name == transaction_id
    report_days.record(shop.account.pk, [gateway.read_transaction(name)], shop.tuning, now)
    assert FoundPayment.objects.get().kind == "went_back", "and it is no payment that nothing explains"
    assert events() == [("FULL_REFUNDED", 1990)]
    assert FoundPayment.objects.get().invoice == invoice


def test_a_payment_of_another_account_is_not_taken_for_ours(shop: Shop) -> None:
    """A5: two accounts' gateways may number their transactions alike."""
    card = shop.card()
    other = make_account(name="Kedai Teh", client_id="another")
    theirs = make_invoice(make_card(make_customer(other)))
    make_outside_payment(theirs, method="gateway", gateway_transaction_id="2001", reference="")
    assert load([card.pk])[card.pk].recorded == ()
    assert report_days.went_back.recorded_by_a_person(shop.account.pk, ["2001"]) == set()
    assert report_days.went_back.recorded_by_a_person(other.pk, ["2001"]) == {"2001"}
