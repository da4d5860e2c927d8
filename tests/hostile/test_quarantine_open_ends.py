"""What may go wrong on the way out of a quarantine: lost cards, wrong clocks, cards that are never shown."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from billing.audit.invariants import violations
from billing.charging.cases.clear_hold import clear_hold, preview_hold
from billing.charging.cases.found_payments import decide_found
from billing.charging.cases.holds import ResolutionError, found_payments_of, go_on_without
from billing.charging.cases.ways_out import record_found_payment
from billing.charging.reading import preflight
from billing.charging.reading.late_money import watch
from billing.charging.recovery import from_cards
from billing.charging.recovery.from_cards import read_quarantined
from billing.domain.decisions import Decision
from billing.gateway.connection import GatewayUnavailableError
from billing.gateway.sending_clock import machine
from billing.ids import new_id
from billing.models import (
    Event,
    FoundPayment,
    GatewayAccount,
    GatewayClock,
    GatewayTransaction,
    Invoice,
    PaymentMethod,
    Transition,
)
from billing.models.clock import database_now
from billing.operating import clocks, quarantine
from tests.conftest import Shop
from tests.factories import make_attempt, make_found_payment, make_invoice, move_attempt
from tests.hostile.test_quarantine_way_out import LATER, begin, charged_elsewhere, due, lift, lost_card, read

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]
WHY = {"decision": Decision("mei", "looked")}


@pytest.fixture(autouse=True)
def _played(shop: Shop) -> None:
    shop.simulator.reset()  # the reports list what earlier tests paid
    shop.simulator.set(timestamp_window=0)


def paid_by_a_lost_card(shop: Shop, invoice: Invoice) -> None:
    charged_elsewhere(shop, PaymentMethod(gateway_customer_id=lost_card(shop)), invoice.public_id)


def times_taken(shop: Shop, invoice: Invoice) -> int:
    charges = [one for one in shop.simulator.charges() if one["status"] == "SUCCESS"]
    return sum(invoice.public_id in str(one["description"]) for one in charges)


# --- A1: the payment of a card that was lost ------------------------------------------------------------------


def found_in_reports(shop: Shop) -> tuple[Invoice, PaymentMethod, FoundPayment]:
    """After a quarantine that is lifted: an invoice that a lost card has paid, and its customer's other card."""
    invoice = due(shop)
    begin(shop)
    paid_by_a_lost_card(shop, invoice)
    read(shop)
    lift(shop)
    card = PaymentMethod.objects.get(pk=invoice.payment_method_id)
    assert card.held_reason == "payment_in_reports"
    return invoice, card, FoundPayment.objects.get()


def test_lost_cards_payment_outlasts_quarantine_and_is_reported(shop: Shop) -> None:
    """A1: the payment names its invoice, as a row and as an event."""
    invoice, _, payment = found_in_reports(shop)
    assert (payment.kind, payment.invoice_id, payment.decided_at) == ("unknown_marker", invoice.pk, None)
    event = Event.objects.get(kind="payment.unexplained")
    assert event.payload["invoice"] == invoice.public_id
    assert [one.invariant for one in violations(now=database_now())] == ["S10"]


def test_a_hold_of_the_reports_is_not_cleared_by_the_way(shop: Shop) -> None:
    """A1: the invoice would be charged a second time."""
    invoice, card, payment = found_in_reports(shop)
    (one,) = preview_hold(card, now=database_now()).candidates
    assert (one.order, one.invoice, one.named) == (payment, invoice, payment.gateway_order_id)
    with pytest.raises(ResolutionError, match="may be the payment of"):
        clear_hold(card=card, now=database_now(), **WHY)
    shop.collect()
    assert times_taken(shop, invoice) == 1
    record_found_payment(invoice=invoice, transaction_id=payment.gateway_transaction_id, now=database_now(), **WHY)
    payment.refresh_from_db()
    assert payment.decided_reason == f"it pays the invoice {invoice.public_id}"
    clear_hold(card=card, now=database_now(), **WHY)
    shop.collect()
    assert times_taken(shop, invoice) == 1
    assert violations(now=database_now()) == []


@pytest.mark.parametrize("by", ["gateway_order_id", "gateway_transaction_id"])
def test_who_names_the_payment_charges_although_it_is_there(shop: Shop, by: str) -> None:
    """A1: a person may say that it is something else, by the order or by the transaction."""
    _, card, payment = found_in_reports(shop)
    clear_hold(card=card, charge_although=[getattr(payment, by)], now=database_now(), **WHY)
    card.refresh_from_db()
    assert card.held_at is None


def test_watched_payment_that_the_cards_explain_holds_nobody(shop: Shop) -> None:
    """A1: the watch may read the day's report before the card is read, which has the charge all the same."""
    invoice = due(shop)
    begin(shop)
    charged_elsewhere(shop, invoice.payment_method, invoice.public_id)
    make_watched(shop)
    PaymentMethod.objects.update(next_watch_at=None)
    watch(tuning=shop.tuning, clock=lambda: database_now() + timedelta(days=1), should_stop=lambda: False)
    card = PaymentMethod.objects.get(pk=invoice.payment_method_id)
    assert card.held_reason == "payment_in_reports"
    assert read(shop, timedelta(days=1)) == 1
    card.refresh_from_db()
    assert card.held_at is None
    assert GatewayAccount.objects.get(pk=shop.account.pk).quarantine_reports["found"] == []


def test_card_saved_in_place_of_the_lost_one_is_held_too(shop: Shop) -> None:
    """A1: the invoice would be charged on it."""
    invoice, card, _ = found_in_reports(shop)
    new = shop.card(customer=invoice.customer)
    new.refresh_from_db()
    assert new.held_reason == "payment_in_reports"
    PaymentMethod.objects.filter(pk=card.pk).update(held_at=None, held_reason="")
    PaymentMethod.objects.filter(pk=new.pk).update(held_at=None, held_reason="")
    another = shop.card(customer=invoice.customer)
    another.refresh_from_db()
    assert another.held_at is None


def test_found_payment_waits_only_while_its_invoice_is_owed(shop: Shop) -> None:
    """A1: what cannot be charged again any more holds nothing up."""
    invoice, now = due(shop), database_now()
    account, customer = shop.account, invoice.customer_id
    payment = make_found_payment(account, invoice=invoice)
    assert list(found_payments_of(customer)) == [payment]
    attempt = move_attempt(make_attempt(make_invoice(invoice.payment_method)), "succeeded")
    assert attempt.gateway_transaction_id is not None
    make_found_payment(account, invoice=invoice, gateway_transaction_id=attempt.gateway_transaction_id)
    closed = make_invoice(invoice.payment_method, state="void", closed_at=now, next_attempt_at=None)
    make_found_payment(account, invoice=closed, gateway_transaction_id="a")
    decided = {"decided_at": now, "decided_by": "mei", "decided_reason": "another shop's"}
    make_found_payment(account, invoice=invoice, gateway_transaction_id="b", **decided)
    assert list(found_payments_of(customer)) == [payment]


def test_explained_card_keeps_its_hold_while_a_payment_was_found(shop: Shop) -> None:
    """A1: the order that was explained is not all that may have paid."""
    invoice = due(shop)
    other = make_invoice(invoice.payment_method, next_attempt_at=invoice.next_attempt_at, due_at=invoice.due_at)
    payment = make_found_payment(shop.account, invoice=other, gateway_transaction_id="b")
    begin(shop)
    charged_elsewhere(shop, invoice.payment_method, new_id("inv", database_now()))
    read(shop)
    card = PaymentMethod.objects.get()
    assert card.held_reason == "unexplained_order", "two invoices fit alike"
    (charge,) = shop.simulator.charges()
    record_found_payment(invoice=invoice, transaction_id=str(charge["transaction_id"]), now=database_now(), **WHY)
    card.refresh_from_db()
    assert card.held_at is not None
    PaymentMethod.objects.update(quarantine_read_at=None)
    read(shop, LATER * 2)
    card.refresh_from_db()
    assert card.held_at is not None
    decide_found(payment=payment, now=database_now(), **WHY)
    PaymentMethod.objects.update(quarantine_read_at=None)
    read(shop, LATER * 2)
    card.refresh_from_db()
    assert card.held_at is None


def test_card_page_names_the_payment_and_the_way_to_record_it(shop: Shop, admin_client: Client) -> None:
    """A1: staff see it before they clear the hold."""
    invoice, card, payment = found_in_reports(shop)
    for address in (f"paymentmethod/{card.pk}", f"foundpayment/{payment.pk}"):
        text = admin_client.get(f"/admin/billing/{address}/change/").content.decode()
        assert payment.gateway_transaction_id in text
        assert f"/admin/billing/invoice/{invoice.pk}/change/" in text
    assert invoice.customer.name in admin_client.get("/admin/").content.decode()


def test_what_the_daily_watch_found_first_holds_the_customer_too(shop: Shop) -> None:
    """A1: it runs in quarantine as ever, and once it has asked about a payment nobody would ask again."""
    invoice = due(shop)
    begin(shop)
    shop.collect()
    paid_by_a_lost_card(shop, invoice)
    make_watched(shop)
    watch(tuning=shop.tuning, clock=lambda: database_now() + timedelta(days=1), should_stop=lambda: False)
    assert FoundPayment.objects.get().invoice_id == invoice.pk
    card = PaymentMethod.objects.get(pk=invoice.payment_method_id)
    assert card.held_reason == "payment_in_reports"
    read(shop)
    (named,) = GatewayAccount.objects.get(pk=shop.account.pk).quarantine_reports["found"]
    assert named["invoice"] == invoice.public_id


def make_watched(shop: Shop) -> None:
    """Reports are read of accounts that have charged."""
    GatewayAccount.objects.update(quarantined_at=None)
    card = shop.card()
    move_attempt(make_attempt(make_invoice(card, next_attempt_at=None, hold="catch_up"), card), "declined")
    GatewayAccount.objects.update(quarantined_at=database_now())


# --- A2: clocks ---------------------------------------------------------------------------------------------


@pytest.fixture
def clock_behind(shop: Shop, settings: Any) -> GatewayClock:
    """Another machine found the database's clock two hours behind the gateway's."""
    settings.KITARAN_CLOCK_TOLERANCE_SECONDS = 10
    clocks.ask_gateways(now=database_now())
    return GatewayClock.objects.create(
        api_url=shop.account.api_url,
        machine=f"not {machine()}",
        started_earliest=database_now(),
        started_latest=database_now(),
        uptime=timedelta(0),
        ahead=timedelta(hours=-2),
        checked_at=database_now(),
    )


def test_quarantine_started_by_a_slow_clock_begins_anew(shop: Shop, settings: Any, clock_behind: GatewayClock) -> None:
    """A2: the hour in which lists may lag would be over at once."""
    GatewayAccount.objects.update(list_lag_seconds=3600)
    due(shop)
    begin(shop)
    behind = database_now() - timedelta(hours=2)
    GatewayAccount.objects.update(quarantined_at=behind)
    read(shop, timedelta(0))
    assert PaymentMethod.objects.get().quarantine_read_at is None, "nothing is read by a clock that is wrong"
    clock_behind.delete()  # it is right again
    read(shop, timedelta(0))
    account = GatewayAccount.objects.get()
    assert account.quarantined_at is not None
    assert account.quarantined_at > behind + timedelta(hours=1)
    assert not account.quarantine_clock_doubted
    with pytest.raises(quarantine.QuarantineError, match="may be late"):
        lift(shop, database_now() + timedelta(seconds=10))
    assert Transition.objects.filter(subject_type="quarantine", from_state="quarantined").count() == 1
    settings.KITARAN_CLOCK_TOLERANCE_SECONDS = 0  # the hours are played
    read(shop)
    lift(shop)


def test_quarantine_started_before_the_clock_check_begins_anew(shop: Shop, settings: Any) -> None:
    """A2: a machine that was just restored is behind, and its clock is set right before anybody looks."""
    due(shop)
    settings.KITARAN_CLOCK_TOLERANCE_SECONDS = 10
    GatewayClock.objects.all().delete()
    account = begin(shop)
    assert account.quarantine_clock_doubted
    GatewayAccount.objects.update(quarantined_at=database_now() - timedelta(hours=2))
    with pytest.raises(quarantine.QuarantineError, match="the quarantine restarts"):
        lift(shop)
    began = database_now()
    read(shop, timedelta(0))
    account.refresh_from_db()
    assert account.quarantined_at is not None
    assert account.quarantined_at >= began


def test_breaker_that_moves_between_two_reads_leaves_it_doubtful(shop: Shop, clock_behind: GatewayClock) -> None:
    """A2: whoever notices that the clock is off, or right again, writes it down for those who read."""
    clock_behind.delete()
    begin(shop)
    GatewayAccount.objects.update(quarantine_clock_doubted=False)
    GatewayClock.objects.filter(machine=machine()).update(
        ahead=timedelta(hours=-2), agrees_since=timedelta(0), checked_at=database_now() - timedelta(hours=1)
    )
    with pytest.raises(quarantine.QuarantineError, match="the quarantine restarts"):
        lift(shop, database_now())
    assert shop.account.api_url not in clocks.addresses_off(database_now())
    assert GatewayAccount.objects.get().quarantine_clock_doubted


# --- A4: a card whose orders are never shown ------------------------------------------------------------------


def never_shown(monkeypatch: pytest.MonkeyPatch, card: PaymentMethod) -> None:
    real = from_cards.fetch

    def fetch(gateway: Any, known: Any, **more: Any) -> Any:
        if known.id == card.pk:
            raise GatewayUnavailableError("SYSTEM_ERROR")
        return real(gateway, known, **more)

    monkeypatch.setattr(from_cards, "fetch", fetch)
    monkeypatch.setattr(preflight, "fetch", fetch)


def read_for_days(shop: Shop, days: int) -> datetime:
    for day in range(1, days):
        read(shop, timedelta(days=day))
    return database_now() + timedelta(days=days)


def test_card_that_can_never_be_read_does_not_prevent_lifting(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, admin_client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    """A4: a person is asked about it, looks in the portal, and goes on without; then the quarantine can be lifted."""
    due(shop)
    invoice = due(shop)
    broken = invoice.payment_method
    begin(shop)
    never_shown(monkeypatch, broken)
    at = read_for_days(shop, 5)
    assert Event.objects.filter(kind="payment_method.unreadable", subject_id=broken.pk).count() == 1
    with pytest.raises(quarantine.QuarantineError, match="1 card was not read"):
        lift(shop, at)
    go_on_without(card=broken, now=at, **WHY)
    status = quarantine.status(GatewayAccount.objects.get(), now=at)
    assert ([one.pk for one in status.given_up], status.unread, status.why_not_lifted) == ([broken.pk], 0, None)
    page = admin_client.get(f"/admin/billing/gatewayaccount/{shop.account.pk}/change/quarantine/").content.decode()
    assert "set aside by a person" in page
    assert f"/admin/billing/paymentmethod/{broken.pk}/change/" in page
    call_command("quarantine")
    assert f"card {broken.public_id} could not be read; a person set it aside" in capsys.readouterr().out
    lift(shop, at)
    shop.collect()
    assert times_taken(shop, invoice) == 0, "the card itself is not charged"


def test_card_given_up_before_the_quarantine_is_reviewed_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A4: what a person saw then says nothing of charges that were lost since."""
    broken = due(shop).payment_method
    past = database_now() - timedelta(days=3)
    PaymentMethod.objects.update(unread_since=past, unreadable_at=past, given_up_at=past)
    begin(shop)
    never_shown(monkeypatch, broken)
    at = read_for_days(shop, 2)
    with pytest.raises(quarantine.QuarantineError, match="1 card was not read"):
        lift(shop, at)
    go_on_without(card=broken, now=at, **WHY)
    with pytest.raises(ResolutionError):
        go_on_without(card=broken, now=at, **WHY)
    lift(shop, at)


def test_card_content_that_cannot_be_recorded_needs_review_too(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A4: an odd row would keep the quarantine for ever just as well."""
    card = due(shop).payment_method
    begin(shop)

    def odd(*_: Any, **__: Any) -> None:
        raise ValueError("odd")

    with monkeypatch.context() as patched:
        patched.setattr(from_cards, "record", odd)
        read_for_days(shop, 4)
        card.refresh_from_db()
        assert card.unreadable_at is not None
    read(shop, timedelta(days=5))
    card.refresh_from_db()
    assert card.unreadable_at is None


def test_reports_with_unrecordable_payments_are_read_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A1: that they were read is written down only once what they showed is."""
    invoice = due(shop)
    begin(shop)
    paid_by_a_lost_card(shop, invoice)
    with monkeypatch.context() as patched:
        patched.setattr("billing.charging.reading.report_days._list", None)
        read(shop)
    assert GatewayAccount.objects.get(pk=shop.account.pk).quarantine_reports == {}
    assert not GatewayTransaction.objects.exists()
    read(shop, LATER * 2)
    assert FoundPayment.objects.get().invoice_id == invoice.pk
    at = database_now() + LATER
    read_quarantined(tuning=shop.tuning, clock=lambda: at, should_stop=lambda: False)
    assert FoundPayment.objects.count() == 1
