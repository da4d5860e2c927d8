"""Refunds that something else was faster with, and dead ends that people had no door out of."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from billing.audit.invariants import ledger_violations, violations
from billing.charging.reading.fetch import fetch
from billing.charging.reading.known import load
from billing.charging.reading.record import record
from billing.charging.refunds.ask import RefundResolution, resolve_refund
from billing.domain.attempts import charge_description, charge_title
from billing.domain.decisions import Decision
from billing.domain.refunds import RefundKind
from billing.explaining.explain import Answer, explain
from billing.gateway.connection import Charge, GiveBack, gateway_for
from billing.ids import new_marker
from billing.models import GatewayAccount, GatewayOrder, Invoice, PaymentAttempt, PaymentMethod, Refund
from billing.models.clock import database_now
from tests.admin.test_actions import action, message_of, send
from tests.charging.refunding import LAST, ask, at_gateway, check_until_the_end, in_the_portal, paid, posts
from tests.conftest import SHORT, Shop
from tests.factories import make_invoice

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("_patience")]
TEN_RINGGIT = 1000
LAG = timedelta(hours=1)
AFTER_THE_LAG = LAG + timedelta(minutes=5)


@pytest.fixture
def _patience(settings: Any) -> None:
    """Nothing ends by a deadline of the gateway's, however slow the machine is."""
    settings.KITARAN_GATEWAY_TOTAL_SECONDS = 100


@pytest.fixture
def boss(db: None) -> Client:
    """Logged in as a superuser called *aisyah*."""
    client = Client()
    user = User.objects.create(username="aisyah", is_staff=True, is_superuser=True, password="!")
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def payment(shop: Shop) -> PaymentAttempt:
    """RM 30.00, of which the gateway gives back parts in either profile."""
    shop.simulator.set(refund_partial=True)
    GatewayAccount.objects.update(list_lag_seconds=int(LAG.total_seconds()))
    return paid(shop, amount_minor=3000)


def judged(shop: Shop, attempt: PaymentAttempt) -> int:
    """What the gateway gave back of the payment, once our books agree with it."""
    attempt.refresh_from_db()
    given_back = int(at_gateway(shop, attempt)["refunded"])
    assert attempt.amount_refunded_minor == given_back
    assert violations(now=database_now(), tuning=SHORT, account_id=shop.account.pk) == []
    return given_back


# --- refunds ------------------------------------------------------------------------------------------------


def test_part_refunded_in_the_portal_first_is_refunded_once(shop: Shop, profile: str) -> None:
    """A8: a refund whose look shows just that part already given back is not sent."""
    attempt, before = payment(shop), posts(shop)
    refund = ask(attempt, TEN_RINGGIT)
    in_the_portal(shop, attempt, TEN_RINGGIT)
    assert shop.refund().armed == 0
    refund.refresh_from_db()
    assert (refund.state, refund.state_reason) == ("not_sent", "already_given_back")
    assert (judged(shop, attempt), posts(shop)) == (TEN_RINGGIT, before + 1)


def test_smaller_part_refunded_in_the_portal_ends_the_request(shop: Shop, profile: str) -> None:
    """A8: never the whole of it, and no other amount than a person asked for."""
    attempt = payment(shop)
    refund = ask(attempt, TEN_RINGGIT)
    in_the_portal(shop, attempt, 400)
    assert shop.refund().armed == 0
    refund.refresh_from_db()
    assert (refund.state, refund.state_reason) == ("not_sent", "partly_given_back")
    assert judged(shop, attempt) == 400
    ask(attempt, 600)
    assert shop.refund().states == {"succeeded": 1}
    assert judged(shop, attempt) == TEN_RINGGIT


def test_refund_sent_by_a_lost_process_is_found_and_not_resent(shop: Shop, profile: str) -> None:
    """A8: the request is on the gateway's books and, in ours, still waits to be sent."""
    attempt = payment(shop)
    refund = ask(attempt, TEN_RINGGIT)
    gateway = gateway_for(attempt.account)
    gateway.ensure_token()
    the_same = GiveBack(
        RefundKind.PARTIAL, attempt.gateway_transaction_id or "", "", TEN_RINGGIT, "MYR", refund.public_id
    )
    frozen = gateway.freeze_refund(the_same, timestamp=int(database_now().timestamp()))
    gateway.send_refund(frozen, kind=RefundKind.PARTIAL)
    assert shop.refund().armed == 0
    refund.refresh_from_db()
    assert (refund.state, refund.state_reason) == ("not_sent", "already_given_back")
    assert judged(shop, attempt) == TEN_RINGGIT


def test_request_repeated_after_a_late_one_is_refunded_once(shop: Shop, profile: str) -> None:
    """A8: the answer said that nothing was executed, a person asked again, and then the first one was executed."""
    attempt = payment(shop)
    shop.simulator.set(refund_outcome="throttled")
    ask(attempt, TEN_RINGGIT)
    assert shop.refund().states == {"not_sent": 1}
    shop.simulator.set(refund_outcome="auto")
    again = ask(attempt, TEN_RINGGIT)
    assert shop.refund().armed == 0, "what the first one did may not be shown yet"
    again.refresh_from_db()
    assert (again.state, again.state_reason) == ("requested", "earlier_may_have_acted")
    in_the_portal(shop, attempt, TEN_RINGGIT)  # the first one, carried out after all
    assert shop.refund(database_now() + AFTER_THE_LAG).armed == 0
    again.refresh_from_db()
    assert (again.state, again.state_reason) == ("not_sent", "already_given_back")
    assert judged(shop, attempt) == TEN_RINGGIT


def test_refund_wrongly_called_not_refunded_is_refunded_once(shop: Shop, profile: str) -> None:
    """A8: an unknown refund ended with a person, who overlooked that it came through."""
    attempt = payment(shop)
    shop.simulator.set(refund_outcome="dropped_before")
    first = ask(attempt, TEN_RINGGIT)
    shop.refund()
    check_until_the_end(shop)
    first.refresh_from_db()
    assert first.state == "needs_review"
    shop.simulator.set(refund_outcome="auto")
    given = {"decision": Decision("mei", "the portal shows nothing"), "tuning": SHORT, "now": database_now() + LAST}
    resolve_refund(refund=first, resolution=RefundResolution.NOT_REFUNDED, **given)
    in_the_portal(shop, attempt, TEN_RINGGIT)  # late, after the last look and the person's
    again = ask(attempt, TEN_RINGGIT)
    shop.refund(database_now() + LAST)
    shop.refund(database_now() + AFTER_THE_LAG)
    again.refresh_from_db()
    assert (again.state, again.state_reason) == ("not_sent", "already_given_back")
    assert Refund.objects.filter(origin="gateway").count() == 1
    assert judged(shop, attempt) == TEN_RINGGIT


def test_refund_not_carried_out_is_sent_once_lists_would_show_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A8: waiting is not forgetting."""
    attempt = payment(shop)
    GatewayAccount.objects.update(list_lag_seconds=0)
    shop.simulator.set(refund_outcome="throttled")
    ask(attempt, TEN_RINGGIT)
    shop.refund()
    shop.simulator.set(refund_outcome="auto")
    ask(attempt, TEN_RINGGIT)
    assert shop.refund().armed == 0
    assert shop.refund(database_now() + timedelta(seconds=90)).states == {"succeeded": 1}
    assert judged(shop, attempt) == TEN_RINGGIT


# --- after a restore: held cards ----------------------------------------------------------------------------


def forgotten(shop: Shop) -> Invoice:
    """An invoice that was charged before the backup: the gateway has the charge, our books have not.

    The gateway echoes nothing: an order with words of ours would be written down by a quarantine's reading."""
    shop.simulator.set(echo=False)
    card = shop.card()
    invoice = make_invoice(card, next_attempt_at=database_now() + timedelta(days=9), due_at=database_now())
    marker = new_marker()
    gateway = gateway_for(shop.account)
    gateway.ensure_token()
    charge = Charge(
        card.gateway_customer_id or "",
        invoice.amount_minor,
        invoice.currency,
        charge_title(invoice.description, marker),
        charge_description(invoice.description, invoice.public_id, marker),
    )
    frozen = gateway.freeze(charge, timestamp=int(database_now().timestamp()), charge_path="customer_order")
    assert gateway.send(frozen, marker=marker).transaction_id
    read = fetch(gateway, load([card.pk])[card.pk])
    record(read, read.findings, tuning=shop.tuning, now=database_now())
    card.refresh_from_db()
    assert card.held_reason == "unexplained_order"
    assert GatewayAccount.objects.get().quarantined_at is None
    Invoice.objects.filter(pk=invoice.pk).update(next_attempt_at=database_now(), asked_for=True)
    return invoice


def charges_of(shop: Shop, invoice: Invoice) -> int:
    """How often the gateway took money from the invoice's customer."""
    cards = set(PaymentMethod.objects.filter(customer=invoice.customer).values_list("gateway_customer_id", flat=True))
    return sum(one["customer_id"] in cards and one["status"] == "SUCCESS" for one in shop.simulator.charges())


def test_found_payment_is_offered_and_charges_nobody_again(shop: Shop, boss: Client) -> None:
    """A11: after a restore the only button charged again, 5 of 5."""
    invoices = [forgotten(shop) for _ in range(5)]
    assert shop.collect().armed == 0
    for invoice in invoices:
        card = PaymentMethod.objects.get(customer=invoice.customer)
        refused = send(boss, action(card, "free"))
        assert (refused.status_code, PaymentMethod.objects.get(pk=card.pk).held_at is None) == (422, False)
        page = message_of(boss.get(action(card, "free")))
        (offered,) = re.findall(r'href="([^"]*found-payment/\?transaction_id=[^"]+)"', page)
        assert "RM 19.90 now, for 1 invoice" in page
        form = boss.get(offered).context["form"]
        send(boss, offered.partition("?")[0], {"transaction_id": form["transaction_id"].value()})
    for _ in range(2):
        assert shop.collect().armed == 0
    for invoice in invoices:
        invoice.refresh_from_db()
        assert (invoice.state, charges_of(shop, invoice)) == ("paid", 1)
        assert PaymentMethod.objects.get(customer=invoice.customer).held_at is None
        assert explain(invoice=invoice, now=database_now(), to_staff=False).answer is Answer.CHARGED
    assert violations(now=database_now(), tuning=SHORT, account_id=shop.account.pk) == []
    found = ledger_violations(account_id=shop.account.pk, charges=shop.simulator.charges(), posts={})
    assert found == []


def test_held_card_is_charged_only_if_its_order_is_no_payment(shop: Shop, boss: Client) -> None:
    """A11: charging although an order is there takes a word of its own."""
    invoice = forgotten(shop)
    card = PaymentMethod.objects.get(customer=invoice.customer)
    order = GatewayOrder.objects.get(payment_method=card).gateway_order_id
    send(boss, action(card, "free"), {"although": "on", "seen_orders": "another"})
    assert shop.collect().armed == 0
    send(boss, action(card, "free"), {"although": "on", "seen_orders": order})
    assert shop.collect().armed == 1
