"""A small shop runs for three months through the simulator, and its mail is what its ledger says; nothing is sent twice
by two workers, or by one that is killed."""

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from billing.mailing.send import send_due
from billing.models import Customer, Invoice, Message, PaymentAttempt, PaymentMethod, Subscription
from billing.models.clock import database_now
from billing.subscriptions.lifecycle import cancel, pause
from billing.subscriptions.start import start_subscription
from tests.charging.refunding import ask
from tests.conftest import Shop
from tests.factories import make_customer, make_invoice, make_mail, make_message, make_plan, make_subscription
from tests.faults.recovery import environment
from tests.mailing.sink import Sink

pytestmark = pytest.mark.django_db(transaction=True)


def send() -> int:
    return send_due(clock=database_now, should_stop=lambda: False)


def kinds(customer: Customer) -> Counter[str]:
    return Counter(Message.objects.filter(customer=customer, state="sent").values_list("kind", flat=True))


def begin(shop: Shop, number: str, plan: Any, **columns: Any) -> Subscription:
    """Started by the API's own use case, and due for three months."""
    card = shop.card(number)
    subscription = start_subscription(
        customer=card.customer, plan=plan, reference=card.public_id, now=database_now(), **columns
    )
    now = database_now()
    Subscription.objects.filter(pk=subscription.pk).update(
        anchor_date=(now - timedelta(days=92)).date(), occurrence=0, next_due_at=now - timedelta(days=70)
    )
    return subscription


def run_the_month(shop: Shop) -> None:
    """Opens what is due, and charges it until nothing is left but what needs another card; sends mail all the while."""
    send()
    shop.open()
    for _ in range(6):
        shop.collect()
        send()
        waiting = Invoice.objects.filter(state="open", hold=None, next_attempt_at__gt=database_now())
        # Five days on: that is past the next retry day each time.
        first = F("first_tried_at") - timedelta(days=5)
        PaymentMethod.objects.update(rests_until=None)
        if not waiting.update(next_attempt_at=database_now(), look_from_at=None, first_tried_at=first):
            return


@pytest.mark.slow
def test_three_months_of_mail_are_what_the_ledger_says(shop: Shop, sink: Sink) -> None:
    make_mail(shop.account, sender_name="Kedai Kopi")
    plan = make_plan(shop.account, interval="MONTHLY", target=1)
    good = begin(shop, "4111111111111111", plan)
    bad = begin(shop, "4000000000000002", plan)
    once = begin(shop, "4000000000000366", plan)
    without = start_subscription(
        customer=make_customer(shop.account), plan=plan, reference="no card", now=database_now()
    )
    run_the_month(shop)
    refund = ask(PaymentAttempt.objects.filter(invoice__subscription=good, state="succeeded").earliest("pk"))
    shop.refund()
    pause(subscription=Subscription.objects.get(pk=good.pk), reason="holiday", actor="mei", now=database_now())
    cancel(subscription=Subscription.objects.get(pk=once.pk), reason="moves away", actor="mei", now=database_now())
    Message.objects.filter(state="pending").update(next_try_at=database_now())
    send()

    paid = Counter(
        PaymentAttempt.objects.get(marker=str(charge["title"]).split()[-1]).invoice.customer_id
        for charge in shop.simulator.charges()
        if (charge["status"] == "SUCCESS" or charge["refunded"])
        and PaymentAttempt.objects.filter(marker=str(charge["title"]).split()[-1]).exists()
    )
    assert sum(paid.values()) >= 4
    for subscription in (good, bad, once):
        customer = subscription.customer
        assert kinds(customer)["receipt"] == paid[customer.pk]
        assert kinds(customer)["enrolled"] == 1
    declined = PaymentAttempt.objects.filter(state="declined")
    told = Message.objects.filter(kind__in=["payment_failed", "last_warning"])
    last = declined.filter(invoice__state="uncollectible").values("invoice").distinct().count()
    assert last >= 1
    assert told.count() == declined.count() - 1  # the last one of the first invoice ended the subscription
    assert kinds(good.customer)["paused"] == 1
    assert kinds(good.customer)["refunded"] == 1
    assert kinds(once.customer)["ended"] == kinds(bad.customer)["ended"] == 1
    assert kinds(without.customer) == Counter({"card_needed": 1})
    assert f"RM {refund.amount_minor / 100:.2f}" in Message.objects.get(kind="refunded").text
    assert not Message.objects.filter(state__in=["pending", "sending", "refused", "unknown"]).exists()
    assert set(sink.ids().values()) == {1}
    assert sum(sink.ids().values()) == Message.objects.filter(state="sent").count()


def test_two_workers_send_each_message_once(sink: Sink) -> None:
    invoice = paid_invoice()
    for _ in range(60):
        make_message(invoice)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            send()
        except BaseException as error:  # noqa: BLE001
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert Message.objects.filter(state="sent", tries=1).count() == 60
    assert Counter(sink.ids().values()) == Counter({1: 60})


def paid_invoice() -> Invoice:
    invoice = make_invoice(state="paid", closed_at=database_now(), next_attempt_at=None)
    make_mail(invoice.account)
    return invoice


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "state"), [("receipt", "unknown"), ("card_switched_off", "sent")])
def test_a_worker_killed_while_it_sends(sink: Sink, kind: str, state: str) -> None:
    invoice = paid_invoice()
    card = PaymentMethod.objects.get()
    PaymentMethod.objects.update(state="inactive")
    make_subscription(card, make_plan(card.account), next_due_at=database_now() + timedelta(days=3))
    on_card = {"subject_type": "card", "subject_id": card.pk}
    make_message(invoice, kind=kind, **({} if kind == "receipt" else on_card))
    sink.slow = 1.0
    worker = subprocess.Popen(
        [sys.executable, "manage.py", "tick"],
        env={**environment(), "EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": str(sink.port), "EMAIL_USE_TLS": "0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: Message.objects.filter(state="sending").exists())
        wait_for(lambda: sink.mails)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    assert Message.objects.get().state == "sending"
    sink.slow = 0.0
    assert send() == 0
    Message.objects.update(next_try_at=database_now())  # the lease is over
    send()
    assert Message.objects.get().state == state
    assert set(sink.ids().values()) == {1 if state == "unknown" else 2}


def wait_for(condition: Any) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
