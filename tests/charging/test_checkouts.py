"""An invoice is paid on the gateway's page: once, whatever comes back, and beside a card only one is kept."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from billing.charging.checkouts import open as opening
from billing.charging.checkouts.look import look_now
from billing.charging.checkouts.open import CheckoutError, open_checkout
from billing.charging.checkouts.work import look_at_due
from billing.charging.collecting.expire import expire_unpaid
from billing.charging.protocol import permission
from billing.charging.reading.refresh import check_with_gateway
from billing.charging.reading.report_days import record
from billing.charging.refunds.ask import request_refund
from billing.domain.checkouts import CheckoutState
from billing.domain.decisions import Decision
from billing.gateway.connection import Gateway, GatewayUnavailableError, ReadTransaction, gateway_for
from billing.models import Checkout, Event, FoundPayment, Invoice, PaymentAttempt, Subscription, Transition
from billing.models.bulk.arming import invoices_being_paid
from billing.models.clock import database_now
from rm_gateway.simulator.process import SimulatorProcess
from tests.conftest import Shop
from tests.factories import (
    make_account,
    make_card,
    make_checkout,
    make_customer,
    make_invoice,
    make_plan,
    make_subscription,
    make_unpaid,
)

pytestmark = pytest.mark.django_db(transaction=True)
MINUTE = timedelta(minutes=1)


def owed(shop: Shop, **columns: Any) -> Invoice:
    """A one-off invoice that is due now, on a good card."""
    return make_invoice(shop.card(), next_attempt_at=database_now(), **columns)


@pytest.fixture(autouse=True)
def _prompt(simulator: SimulatorProcess) -> None:
    """Tests ask more often than the gateway lets anybody ask."""
    simulator.set(order_query_limit=0)


def opened(invoice: Invoice, now: Any = None) -> Checkout:
    return open_checkout(invoice=invoice, actor="siti", now=now or database_now())


def look(shop: Shop, later: timedelta = timedelta(0)) -> int:
    """Looks at what is due so much later; the gateway takes any time stamp meanwhile."""
    shop.simulator.set(timestamp_window=0)
    return look_at_due(tuning=shop.tuning, clock=lambda: database_now() + later, should_stop=lambda: False).read


def attempt_of(checkout: Checkout) -> PaymentAttempt:
    return PaymentAttempt.objects.get(checkout=checkout)


def standing(invoice: Invoice) -> tuple[str, list[str]]:
    states = PaymentAttempt.objects.filter(invoice=invoice).order_by("number").values_list("state", flat=True)
    return Invoice.objects.get(pk=invoice.pk).state, list(states)


def test_paid_page_pays_the_invoice(shop: Shop) -> None:
    invoice = owed(shop)
    checkout = opened(invoice)
    assert checkout.state == "open"
    assert checkout.url.startswith("http")
    shop.simulator.use_checkout(checkout.url, method="FPX")
    assert look(shop, MINUTE) == 1
    assert standing(invoice) == ("paid", ["succeeded"])
    attempt = attempt_of(checkout)
    assert (attempt.payment_method, attempt.charge_path, attempt.marker) == (None, "checkout", checkout.marker)
    assert attempt.gateway_order_id == checkout.order_id
    assert Checkout.objects.get().state == "paid"
    assert Event.objects.filter(kind="invoice.paid").count() == 1
    shop.collect()
    assert [charge["path"] for charge in shop.taken(invoice)] == ["checkout"]


def test_the_same_page_is_handed_out_again_while_it_can_be_used(shop: Shop) -> None:
    invoice = owed(shop)
    now = database_now()
    first = opened(invoice, now)
    assert opened(invoice, now + 7 * MINUTE).pk == first.pk
    assert len(shop.simulator.checkouts()) >= 1
    assert Checkout.objects.count() == 1


def test_an_old_page_is_looked_at_before_another_one_is_made(shop: Shop) -> None:
    invoice = owed(shop)
    now = database_now()
    first = opened(invoice, now)
    with pytest.raises(CheckoutError, match="another page"):
        opened(invoice, now + 12 * MINUTE)
    second = opened(invoice, now + 16 * MINUTE)
    assert second.pk != first.pk
    assert list(Checkout.objects.order_by("pk").values_list("state", flat=True)) == ["closed", "open"]


def test_cancelled_page_gives_way_to_another_one_at_once(shop: Shop) -> None:
    invoice = owed(shop)
    now = database_now()
    first = opened(invoice, now)
    shop.simulator.use_checkout(first.url, action="cancel")
    assert look_now(first, tuning=shop.tuning, now=now) is CheckoutState.CLOSED
    assert opened(invoice, now).pk != first.pk


def test_paid_page_is_not_paid_again(shop: Shop) -> None:
    invoice = owed(shop)
    now = database_now()
    shop.simulator.use_checkout(opened(invoice, now).url)
    with pytest.raises(CheckoutError, match="was paid a moment ago"):
        opened(invoice, now + 9 * MINUTE)
    with pytest.raises(CheckoutError, match="must be open or uncollectible; it is paid"):
        opened(invoice, now + 9 * MINUTE)


def test_card_is_not_charged_while_a_page_may_be_being_paid(shop: Shop) -> None:
    invoice = owed(shop)
    checkout = opened(invoice)
    shop.collect()
    invoice.refresh_from_db()
    assert (invoice.refusal, standing(invoice)) == ("checkout_open", ("open", []))
    assert invoice.next_attempt_at is not None
    look(shop, 16 * MINUTE)
    checkout.refresh_from_db()
    invoice.refresh_from_db()
    assert (checkout.state, checkout.state_reason) == ("closed", "page_over")
    assert invoice.next_attempt_at <= database_now() + 16 * MINUTE


def test_invoice_whose_page_is_over_is_charged_on_its_card(shop: Shop) -> None:
    invoice = owed(shop)
    checkout = opened(invoice)
    shop.collect()
    shop.simulator.use_checkout(checkout.url, action="cancel")
    look_now(checkout, tuning=shop.tuning, now=database_now())
    invoice.refresh_from_db()
    assert invoice.refusal is None, "it is woken with its page"
    shop.collect()
    assert standing(invoice) == ("paid", ["succeeded"])
    assert [charge["path"] for charge in shop.taken(invoice)] == ["customer"]


def test_no_page_is_opened_while_a_charge_is_unresolved(shop: Shop) -> None:
    invoice = owed(shop)
    shop.simulator.set(outcome=["lost_after"])
    shop.collect()
    assert standing(invoice) == ("open", ["unknown"])
    with pytest.raises(CheckoutError, match="is unknown and may have taken the money"):
        opened(invoice)
    assert Checkout.objects.count() == 0


def test_late_payment_of_a_closed_page_is_an_overpayment(shop: Shop) -> None:
    invoice = owed(shop)
    checkout = opened(invoice)
    shop.simulator.use_checkout(checkout.url, action="cancel")
    look_now(checkout, tuning=shop.tuning, now=database_now())
    shop.collect()
    assert standing(invoice) == ("paid", ["succeeded"])
    shop.simulator.pay_checkout(checkout.order_id)
    look(shop, 30 * MINUTE)
    assert standing(invoice) == ("paid", ["succeeded", "surplus"])
    surplus = attempt_of(checkout)
    assert Event.objects.get(kind="attempt.surplus").payload["proposal"] == "refund"
    assert (surplus.amount_refunded_minor, Checkout.objects.get().state) == (0, "paid")


def test_overpayment_pays_when_the_charge_that_held_the_place_took_nothing(shop: Shop) -> None:
    """The page is closed by its time, a charge becomes unknown, the bank confirms the page, and the charge failed."""
    invoice = owed(shop)
    checkout = opened(invoice)
    look(shop, 16 * MINUTE)
    shop.simulator.set(outcome=["in_process_failed"], settle_after=3600)
    shop.collect()
    assert standing(invoice) == ("open", ["in_process"])
    shop.simulator.pay_checkout(checkout.order_id)
    look(shop, 20 * MINUTE)
    assert standing(invoice) == ("open", ["in_process", "surplus"])
    shop.simulator.clock(advance=3601)
    shop.reconcile(database_now() + timedelta(hours=1))
    shop.simulator.clock(real=True)
    assert standing(invoice) == ("paid", ["declined", "succeeded"])


def test_bank_that_confirms_later_keeps_the_card_waiting(shop: Shop) -> None:
    invoice = owed(shop)
    checkout = opened(invoice)
    shop.simulator.set(settle_after=3600)
    shop.simulator.use_checkout(checkout.url, action="later")
    look(shop, 16 * MINUTE)
    checkout.refresh_from_db()
    assert checkout.state == "open", "the payment is under way"
    shop.collect()
    assert standing(invoice) == ("open", [])
    shop.simulator.clock(advance=3601)
    look(shop, 61 * MINUTE)
    shop.simulator.clock(real=True)
    assert standing(invoice) == ("paid", ["succeeded"])


def test_card_does_not_wait_longer_than_a_day(shop: Shop) -> None:
    invoice = owed(shop)
    checkout = opened(invoice)
    shop.simulator.use_checkout(checkout.url, action="later")
    shop.simulator.set(query_delay=10**6)
    look(shop, timedelta(hours=24))
    checkout.refresh_from_db()
    assert (checkout.state, checkout.next_check_at is None) == ("closed", False)


def test_only_a_look_ends_a_page_and_after_a_day_any_look_does(shop: Shop) -> None:
    """After an outage of a day the gateway is asked before the card is charged."""
    invoice = owed(shop)
    checkout = opened(invoice)
    shop.simulator.use_checkout(checkout.url, action="later")
    look(shop, timedelta(hours=23))
    assert invoices_being_paid([invoice.pk]) == {invoice.pk}
    look(shop, timedelta(hours=24))
    checkout.refresh_from_db()
    assert (checkout.state, invoices_being_paid([invoice.pk])) == ("closed", set())


def test_page_that_was_paid_is_not_over_after_a_day(shop: Shop) -> None:
    """Also where its last look is the one that would have ended it."""
    invoice = owed(shop)
    checkout = opened(invoice)
    shop.simulator.use_checkout(checkout.url)
    look(shop, timedelta(hours=24))
    checkout.refresh_from_db()
    assert (checkout.state, standing(invoice)) == ("paid", ("paid", ["succeeded"]))


@pytest.mark.parametrize("outcome", ["system_error_after", "system_error_before", "lost_after"])
def test_lost_answer_is_a_page_that_nobody_was_shown(shop: Shop, outcome: str) -> None:
    invoice = owed(shop)
    shop.simulator.set(checkout_outcome=outcome)
    with pytest.raises(GatewayUnavailableError):
        opened(invoice)
    (row,) = Checkout.objects.all()
    assert (row.state, row.state_reason, row.url) == ("closed", "page_not_made", "")
    assert row.next_check_at is not None, "it is looked at all the same"
    shop.simulator.set(checkout_outcome="auto")
    assert opened(invoice).order_id != row.order_id


def test_page_whose_process_died_before_it_was_handed_out_ends(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    invoice = owed(shop)

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("billing.charging.checkouts.open._hand_out", die)
        with pytest.raises(KeyboardInterrupt):
            opened(invoice)
    assert Checkout.objects.get().state == "creating"
    shop.collect()
    assert standing(invoice) == ("open", [])
    look(shop, 4 * MINUTE)
    assert Checkout.objects.get().state == "closed"


def test_page_that_was_closed_while_its_process_slept_is_shown_to_nobody(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoice = owed(shop)
    hand_out = opening._hand_out

    def sleep(*args: Any) -> Any:
        look(shop, 4 * MINUTE)
        return hand_out(*args)

    monkeypatch.setattr(opening, "_hand_out", sleep)
    with pytest.raises(CheckoutError, match="came too late"):
        opened(invoice)
    assert Checkout.objects.get().url == ""


@pytest.mark.parametrize("state", ["uncollectible", "void"])
def test_payment_counts_in_whatever_state_the_invoice_is(shop: Shop, state: str) -> None:
    invoice = owed(shop)
    checkout = opened(invoice)
    shop.simulator.use_checkout(checkout.url)
    Invoice.objects.filter(pk=invoice.pk).update(state=state, next_attempt_at=None, closed_at=database_now())
    look(shop, MINUTE)
    expected = {"uncollectible": ("paid", ["succeeded"]), "void": ("void", ["surplus"])}
    assert standing(invoice) == expected[state]


def test_second_payment_on_one_page_is_an_overpayment(shop: Shop) -> None:
    invoice = owed(shop)
    checkout = opened(invoice)
    shop.simulator.use_checkout(checkout.url)
    look(shop, MINUTE)
    second = shop.simulator.pay_checkout(checkout.order_id, method="TNG")
    read = gateway_for(shop.account).read_transaction(second)
    assert record(shop.account.pk, [read], shop.tuning, database_now()) == (1, "")
    assert record(shop.account.pk, [read], shop.tuning, database_now()) == (0, "")
    assert standing(invoice) == ("paid", ["succeeded", "surplus"])


def test_another_amount_than_was_asked_for_is_for_a_person(shop: Shop) -> None:
    invoice = owed(shop)
    checkout = opened(invoice)
    transaction = shop.simulator.pay_checkout(checkout.order_id)
    with connection.cursor() as cursor:  # what the page asked for, had the books been other books
        cursor.execute("ALTER TABLE billing_checkout DISABLE TRIGGER checkouts_never_change")
        cursor.execute("UPDATE billing_checkout SET amount_minor = amount_minor + 1")
        cursor.execute("ALTER TABLE billing_checkout ENABLE TRIGGER checkouts_never_change")
    look(shop, MINUTE)
    assert standing(invoice) == ("open", [])
    (found,) = FoundPayment.objects.all()
    assert (found.kind, found.gateway_transaction_id, found.invoice) == ("checkout_differs", transaction, invoice)
    assert Event.objects.filter(kind="payment.unexplained").count() == 1


def test_payment_is_recorded_once_however_often_it_is_seen(shop: Shop) -> None:
    invoice = owed(shop)
    checkout = opened(invoice)
    shop.simulator.use_checkout(checkout.url)
    for later in (1, 2, 4, 8):
        look(shop, later * MINUTE)
    assert standing(invoice) == ("paid", ["succeeded"])
    assert Transition.objects.filter(subject_type="checkout").count() == 3


def test_history_says_what_became_of_the_page(shop: Shop) -> None:
    invoice = owed(shop)
    checkout = opened(invoice)
    shop.simulator.use_checkout(checkout.url)
    look(shop, MINUTE)
    lines = Transition.objects.filter(subject_type="checkout", subject_id=checkout.pk).order_by("pk")
    assert [(line.to_state, line.actor) for line in lines] == [
        ("creating", "siti"),
        ("open", "engine"),
        ("paid", "engine"),
    ]


def test_reversed_payment_of_a_page_opens_the_invoice_again(shop: Shop) -> None:
    invoice = owed(shop)
    checkout = opened(invoice)
    shop.simulator.pay_checkout(checkout.order_id, outcome="success_then_reversed")
    look(shop, MINUTE)
    assert standing(invoice) == ("paid", ["succeeded"])
    shop.simulator.clock(advance=10)
    look(shop, 15 * MINUTE)
    shop.simulator.clock(real=True)
    assert standing(invoice) == ("open", ["reversed"])


# --- beside the rest of the engine ------------------------------------------------------------------------


def first_payment(shop: Shop) -> Invoice:
    plan = make_plan(shop.account, activates_on="payment", interval="MONTHLY", target=-1)
    return make_unpaid(shop.card(), plan, now=database_now())


def test_subscription_does_not_expire_while_its_first_payment_may_be_being_paid(shop: Shop) -> None:
    invoice = first_payment(shop)
    checkout = opened(invoice)
    Invoice.objects.update(next_attempt_at=None)
    much_later = database_now() + timedelta(hours=23)
    Subscription.objects.update(first_payment_ends_at=database_now())
    assert expire_unpaid(now=much_later) == 0
    shop.simulator.use_checkout(checkout.url)
    look(shop, MINUTE)
    assert Subscription.objects.get().state == "active"
    assert standing(invoice) == ("paid", ["succeeded"])


def test_subscription_whose_page_is_over_expires(shop: Shop) -> None:
    invoice = first_payment(shop)
    checkout = opened(invoice)
    Invoice.objects.update(next_attempt_at=None)
    Subscription.objects.update(first_payment_ends_at=database_now())
    shop.simulator.use_checkout(checkout.url, action="cancel")
    look(shop, MINUTE)
    assert expire_unpaid(now=database_now() + timedelta(hours=1)) == 1
    shop.simulator.pay_checkout(checkout.order_id)
    look(shop, timedelta(hours=2))
    assert standing(invoice) == ("void", ["surplus"])


def test_payment_ends_the_tries_of_a_declined_invoice(shop: Shop) -> None:
    card = shop.card("4000000000000002")
    invoice = make_invoice(card, make_subscription(card), next_attempt_at=database_now())
    shop.collect()
    assert standing(invoice) == ("open", ["declined"])
    shop.simulator.use_checkout(opened(invoice).url)
    look(shop, MINUTE)
    assert standing(invoice) == ("paid", ["declined", "succeeded"])
    assert Invoice.objects.get(pk=invoice.pk).next_attempt_at is None
    assert Subscription.objects.get().state == "active"


def test_payment_is_found_in_the_daily_report_when_nobody_looks_any_more(shop: Shop) -> None:
    invoice = owed(shop)
    checkout = opened(invoice)
    shop.simulator.use_checkout(checkout.url, action="cancel")
    look(shop, MINUTE)
    Checkout.objects.update(next_check_at=None)
    transaction = shop.simulator.pay_checkout(checkout.order_id)
    read = gateway_for(shop.account).read_transaction(transaction)
    assert record(shop.account.pk, [read], shop.tuning, database_now()) == (1, "")
    assert standing(invoice) == ("paid", ["succeeded"])
    assert not FoundPayment.objects.exists(), "it is explained"


def test_payment_of_a_page_that_the_database_has_lost_names_its_invoice(shop: Shop) -> None:
    """After a restore the order id is nobody's; its words say whose money it is, and nobody is charged for it."""
    invoice = owed(shop)
    checkout = opened(invoice)
    transaction = shop.simulator.pay_checkout(checkout.order_id)
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("DELETE FROM billing_checkout")
        cursor.execute("SET session_replication_role = origin")
    read = gateway_for(shop.account).read_transaction(transaction)
    record(shop.account.pk, [read], shop.tuning, database_now())
    (found,) = FoundPayment.objects.all()
    assert (found.kind, found.invoice, found.marker) == ("unknown_marker", invoice, checkout.marker)
    shop.collect()
    assert Invoice.objects.get(pk=invoice.pk).refusal == "card_held"


def test_refund_of_a_payment_on_a_page(shop: Shop) -> None:
    invoice = owed(shop)
    checkout = opened(invoice)
    shop.simulator.use_checkout(checkout.url)
    look(shop, MINUTE)
    attempt = attempt_of(checkout)
    request_refund(attempt=attempt, amount_minor=None, decision=Decision("siti", "cancelled"), now=database_now())
    shop.refund()
    attempt.refresh_from_db()
    assert attempt.amount_refunded_minor == 1990
    assert [charge["refunded"] for charge in shop.simulator.charges() if charge["order_id"] == checkout.order_id] == [
        1990
    ]


def test_refund_in_the_portal_is_seen_by_the_next_look(shop: Shop) -> None:
    invoice = owed(shop)
    checkout = opened(invoice)
    shop.simulator.use_checkout(checkout.url)
    look(shop, MINUTE)
    attempt = attempt_of(checkout)
    refund = request_refund(attempt=attempt, amount_minor=None, decision=Decision("siti", "x"), now=database_now())
    shop.refund()
    with connection.cursor() as cursor:  # as if it had been made in the portal, and our books knew nothing
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("DELETE FROM billing_refundevidence; DELETE FROM billing_refund")
        cursor.execute("UPDATE billing_paymentattempt SET amount_refunded_minor = 0")
        cursor.execute("UPDATE billing_invoice SET amount_refunded_minor = 0")
        cursor.execute("SET session_replication_role = origin")
    assert refund.pk
    look(shop, 2 * MINUTE)
    attempt.refresh_from_db()
    assert (attempt.amount_refunded_minor, attempt.state) == (1990, "succeeded")


def test_check_with_the_gateway_reads_payment_pages_too(shop: Shop) -> None:
    invoice = owed(shop)
    checkout = opened(invoice)
    assert check_with_gateway(invoice=invoice, tuning=shop.tuning, now=database_now()) == 0
    shop.simulator.use_checkout(checkout.url)
    assert check_with_gateway(invoice=invoice, tuning=shop.tuning, now=database_now()) == 0
    assert standing(invoice) == ("paid", ["succeeded"])
    check_with_gateway(invoice=invoice, tuning=shop.tuning, now=database_now())


def test_page_is_not_opened_by_a_database_that_has_forgotten_charges(shop: Shop, monkeypatch: Any) -> None:
    invoice = owed(shop)
    monkeypatch.setattr(permission, "ask_permission", lambda *_, **__: permission.Closed())
    with pytest.raises(CheckoutError, match="in quarantine"):
        opened(invoice)


def test_pages_of_one_account_are_looked_at_though_another_cannot_be_asked(shop: Shop) -> None:
    broken = make_account(client_id="broken")
    theirs = make_checkout(make_invoice(make_card(make_customer(broken))), next_check_at=database_now())
    invoice = owed(shop)
    shop.simulator.use_checkout(opened(invoice).url)
    look(shop, MINUTE)
    assert standing(invoice) == ("paid", ["succeeded"])
    theirs.refresh_from_db()
    assert theirs.failures == 1


def test_check_of_an_invoice_leaves_a_page_that_cannot_be_read_to_a_worker(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when somebody presses the button more often than the gateway answers."""
    invoice = owed(shop)
    checkout = opened(invoice)
    planned = checkout.next_check_at
    assert planned is not None

    def throttled(gateway: Gateway, order_id: str) -> ReadTransaction:
        raise GatewayUnavailableError("too many requests")

    monkeypatch.setattr(Gateway, "read_payment_of_order", throttled)
    now = planned - timedelta(seconds=30)
    check_with_gateway(invoice=invoice, tuning=shop.tuning, now=now)
    checkout.refresh_from_db()
    assert checkout.next_check_at == now
