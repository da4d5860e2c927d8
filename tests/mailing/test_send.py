"""Messages are written with their cause, and sent once, whatever the server, the customer and the worker do."""

import logging
import re
from datetime import datetime, timedelta
from smtplib import SMTPServerDisconnected
from types import SimpleNamespace
from typing import Any

import pytest

from billing.domain.messages import RETRY_WAITS, MessageKind
from billing.mailing import send as sending
from billing.mailing.bounces import note
from billing.mailing.letters import letter_of
from billing.mailing.send import send_due
from billing.mailing.send_again import MessageError, send_again
from billing.models import AccountTrouble, Customer, MailSettings, Message, Transition
from billing.models.bulk import mailing
from billing.models.bulk.history import NewEvent, record_events
from billing.subscriptions.payment_links import customer_of
from tests.factories import (
    NOW,
    make_account,
    make_attempt,
    make_card,
    make_customer,
    make_invoice,
    make_mail,
    make_message,
    make_subscription,
    move_attempt,
)
from tests.mailing.sink import Sink

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(minutes=30)


def happen(kind: str, subject: Any, occasion: str = "1", **payload: Any) -> None:
    subject_type = {"Invoice": "invoice", "Subscription": "subscription", "PaymentMethod": "card", "Refund": "refund"}
    event = NewEvent(
        account_id=subject.account_id,
        kind=kind,
        subject_type=subject_type[type(subject).__name__],
        subject_id=subject.pk,
        occasion=occasion,
        payload=payload,
    )
    record_events([event], now=NOW)


def send(now: datetime = LATER) -> int:
    return send_due(clock=lambda: now, should_stop=lambda: False)


def paid_invoice(**columns: Any) -> Any:
    return make_invoice(make_card(**columns), state="paid", closed_at=NOW, next_attempt_at=None)


def expired_subscription(card: Any = None) -> Any:
    now_over = {"first_payment_ends_at": NOW, "activates_on": "payment", "charge_at_start": True, "period_index": 1}
    return make_subscription(card, state="expired", ended_at=NOW, next_due_at=None, **now_over)


def state_of(kind: str = "receipt") -> tuple[str, str]:
    message = Message.objects.get(kind=kind)
    return message.state, message.state_reason


def test_a_payment_causes_one_receipt(sink: Sink) -> None:
    invoice = paid_invoice()
    make_mail(invoice.account, reply_to="help@kedai.example")
    for _ in range(2):
        happen("invoice.paid", invoice)
    assert send() == 1
    assert send() == 0
    (mail,) = sink.mails
    assert (mail["To"], mail["From"]) == (invoice.customer.email, "Kedai Kopi <billing@kedai.example>")
    assert (mail["Reply-To"], mail["Auto-Submitted"]) == ("help@kedai.example", "auto-generated")
    message = Message.objects.get()
    assert mail["Message-ID"] == f"<{message.public_id}@kedai.example>"
    assert (message.state, message.sent_at, message.to_address) == ("sent", LATER, invoice.customer.email)
    assert message.subject == mail["Subject"] == "Receipt for RM 19.90: Coffee club"
    assert message.text.strip() == mail.get_body(("plain",)).get_content().replace("\r\n", "\n").strip()
    assert "RM 19.90" in mail.get_body(("html",)).get_content()


def test_an_account_without_mail_writes_no_message() -> None:
    happen("invoice.paid", paid_invoice())
    invoice = paid_invoice()
    make_mail(invoice.account, enabled=False)
    happen("invoice.paid", invoice)
    third = paid_invoice()
    make_mail(third.account, kinds_off=["receipt"])
    happen("invoice.paid", third)
    assert not Message.objects.exists()


@pytest.mark.parametrize(
    ("customer", "account", "subject"), [("ms", "en", "Resit"), ("", "ms", "Resit"), ("", "en", "Receipt")]
)
def test_the_language_is_the_customers_or_the_accounts(sink: Sink, customer: str, account: str, subject: str) -> None:
    invoice = paid_invoice()
    make_mail(invoice.account, language=account)
    Customer.objects.update(language=customer or None)
    happen("invoice.paid", invoice)
    send()
    assert sink.to(invoice.customer.email)[0].startswith(subject)


def test_a_customer_without_an_address_gets_none(sink: Sink) -> None:
    invoice = paid_invoice(customer=make_customer(email=""))
    make_mail(invoice.account)
    happen("invoice.paid", invoice)
    assert state_of() == ("canceled", "no e-mail address")
    assert send() == 0


def test_a_silenced_customer_gets_what_the_law_wants(sink: Sink) -> None:
    subscription = make_subscription()
    make_mail(subscription.account)
    Customer.objects.update(silenced=True)
    invoice = make_invoice(subscription=subscription, state="paid", closed_at=NOW, next_attempt_at=None)
    happen("invoice.paid", invoice)
    happen("subscription.active", subscription, changes={"state": {"from": "incomplete", "to": "active"}})
    assert state_of() == ("silenced", "the customer is silenced")
    assert send() == 1
    assert state_of("enrolled")[0] == "sent"


def test_a_customer_silenced_meanwhile_gets_none(sink: Sink) -> None:
    invoice = paid_invoice()
    make_mail(invoice.account)
    happen("invoice.paid", invoice)
    Customer.objects.update(silenced=True)
    assert send() == 0
    assert state_of()[0] == "silenced"


def test_what_is_no_longer_true_is_not_sent(sink: Sink) -> None:
    subscription = make_subscription(state="paused", next_due_at=None)
    make_mail(subscription.account)
    happen("subscription.paused", subscription)
    type(subscription).objects.update(state="active")
    assert send() == 0
    assert state_of("paused") == ("canceled", "the subscription is not paused any more")


def test_mail_switched_off_meanwhile_is_not_sent(sink: Sink) -> None:
    invoice = paid_invoice()
    make_mail(invoice.account)
    happen("invoice.paid", invoice)
    MailSettings.objects.update(enabled=False)
    assert send() == 0
    assert state_of() == ("canceled", "the account does not send it")


def test_a_refused_address_is_final_and_shown(sink: Sink, caplog: Any) -> None:
    invoice = paid_invoice()
    make_mail(invoice.account)
    address = invoice.customer.email
    sink.refuses[address] = f"550 5.1.1 <{address}> no such user"
    happen("invoice.paid", invoice)
    assert send() == 0
    assert state_of() == ("refused", f"550 5.1.1 <{address}> no such user")
    assert send(LATER + timedelta(days=3)) == 0
    assert not AccountTrouble.objects.exists()
    assert address not in caplog.text


def test_a_temporary_refusal_is_tried_for_a_day(sink: Sink, caplog: Any) -> None:
    invoice = paid_invoice()
    make_mail(invoice.account)
    address, now = invoice.customer.email, LATER
    sink.refuses[address] = f"451 <{address}> greylisted"
    happen("invoice.paid", invoice)
    for wait in RETRY_WAITS:
        assert send(now) == 0
        assert state_of()[0] == "pending"
        assert send(now + wait - timedelta(seconds=1)) == 0
        now += wait
    assert Message.objects.get().tries == len(RETRY_WAITS)
    assert timedelta(hours=12) < now - LATER < timedelta(days=2)
    send(now)
    assert state_of() == ("refused", "the mail server did not accept it for a day")
    assert not AccountTrouble.objects.exists()
    assert address not in caplog.text


def test_a_server_that_is_away_is_a_trouble_and_tried_again(sink: Sink, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    invoice = paid_invoice()
    make_mail(invoice.account)
    happen("invoice.paid", invoice)
    sink.stop()
    assert send() == 0
    assert AccountTrouble.objects.get().account_id == invoice.account_id
    sink.start()
    assert send(LATER + RETRY_WAITS[0]) == 1
    assert not AccountTrouble.objects.exists()
    assert invoice.customer.email not in caplog.text
    assert "Aminah" not in caplog.text


def test_a_server_that_hangs_takes_the_time_of_one_mail(sink: Sink, monkeypatch: Any) -> None:
    invoice = paid_invoice()
    make_mail(invoice.account)
    for _ in range(4):
        make_message(invoice)
    tried: list[str] = []

    def hang(_: Any, mails: list[Any]) -> int:
        tried.append(mails[0].extra_headers["Message-ID"])
        raise SMTPServerDisconnected("Connection unexpectedly closed: timed out")

    with monkeypatch.context() as hanging:
        hanging.setattr("django.core.mail.backends.smtp.EmailBackend.send_messages", hang)
        assert send() == 0
    assert len(tried) == 1
    (first,), others = Message.objects.filter(tries=1), Message.objects.filter(tries=0)
    assert tried == [f"<{first.public_id}@kedai.example>"]
    assert {one.state for one in others} == {"pending"}
    assert len(others) == 3
    waits = [one.next_try_at for one in (*others, first) if one.next_try_at]
    assert max(waits[:3]) < waits[3], "not always behind the same mail"
    assert send(LATER + RETRY_WAITS[0]) == 4


def test_time_that_is_over_sends_no_more(sink: Sink) -> None:
    for _ in range(2):
        invoice = paid_invoice()
        make_mail(invoice.account)
        make_message(invoice)
    assert send_due(clock=lambda: LATER, should_stop=lambda: False, send_for=timedelta(0)) == 0
    assert send_due(clock=lambda: LATER, should_stop=lambda: True) == 0
    assert send() == 2


def test_one_account_does_not_wait_for_another(sink: Sink, monkeypatch: Any) -> None:
    broken, whole = paid_invoice(), paid_invoice()
    for invoice in (broken, whole):
        make_mail(invoice.account)
        happen("invoice.paid", invoice)

    def failing(message: Any, look: Any) -> Any:
        if message.account_id == broken.account_id:
            raise RuntimeError("cannot be written")
        return letter_of(message, look)

    monkeypatch.setattr(sending, "letter_of", failing)
    assert send() == 1
    assert sink.to(whole.customer.email)
    assert Message.objects.get(account=broken.account).state == "pending"


@pytest.mark.parametrize("at_start", [True, False])
def test_whoever_is_asked_for_a_card_is_told_what_is_charged(sink: Sink, at_start: bool) -> None:
    subscription = make_subscription(state="incomplete", next_due_at=None, charge_at_start=at_start)
    make_mail(subscription.account)
    happen("subscription.created", subscription)
    assert send(LATER + timedelta(hours=1)) == 1
    text = sink.mails[0].get_body(("plain",)).get_content()
    assert ("The first payment is charged to it at once" in text) is at_start
    assert ("Nothing is charged when you save it" in text) is not at_start


def test_more_than_a_batch_is_sent_in_one_go(sink: Sink) -> None:
    card = make_card()
    make_mail(card.account)
    for _ in range(23):
        happen("invoice.paid", make_invoice(card, state="paid", closed_at=NOW, next_attempt_at=None))
    assert send() == 23
    assert set(sink.ids().values()) == {1}


@pytest.mark.parametrize(("kind", "again"), [("invoice.paid", 0), ("subscription.paused", 1)])
def test_a_worker_that_dies_while_sending(sink: Sink, monkeypatch: Any, kind: str, again: int) -> None:
    subscription = make_subscription(state="paused", next_due_at=None)
    make_mail(subscription.account)
    invoice = make_invoice(subscription=subscription, state="paid", closed_at=NOW, next_attempt_at=None)
    happen(kind, invoice if kind == "invoice.paid" else subscription)
    with monkeypatch.context() as dying:
        dying.setattr(mailing, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            send()
    assert len(sink.mails) == 1
    assert send() == 0
    assert send(LATER + mailing.LEASE + timedelta(seconds=1)) == again
    assert Message.objects.get().state == ("sent" if again else "unknown")
    assert set(sink.ids().values()) == {1 + again}


@pytest.mark.parametrize(
    ("details", "kind"),
    [
        ({"tries_left": 3, "ends_subscription": False}, MessageKind.PAYMENT_FAILED),
        ({"tries_left": 1, "ends_subscription": False}, MessageKind.LAST_WARNING),
        ({"tries_left": 0, "ends_subscription": False}, MessageKind.PAYMENT_FAILED),
        ({"tries_left": 0, "ends_subscription": True}, None),
    ],
)
def test_a_decline_says_what_follows(details: dict[str, Any], kind: MessageKind | None) -> None:
    invoice = make_invoice()
    make_mail(invoice.account)
    happen("invoice.payment_failed", invoice, **details)
    assert [message.kind for message in Message.objects.all()] == ([kind.value] if kind else [])


@pytest.mark.parametrize(
    ("code", "language", "sentence"),
    [
        ("51", "en", "There was not enough money on your card."),
        ("51", "ms", "Baki kad anda tidak mencukupi."),
        ("43", "en", "This card cannot be charged any more."),
        ("9010", "en", "Please ask your bank, or save another card."),
    ],
)
def test_customer_reads_why_the_bank_declined(sink: Sink, code: str, language: str, sentence: str) -> None:
    invoice = make_invoice(next_attempt_at=LATER)
    Customer.objects.update(language=language)
    make_mail(invoice.account)
    happen("invoice.payment_failed", invoice, code=code, tries_left=2, ends_subscription=False)
    send()
    assert sentence in Message.objects.get().text


@pytest.mark.parametrize("name", ["Kedai\r\nBcc: all@example.com", "Kedai\nKopi"])
def test_a_line_break_in_the_senders_name_sends_nothing(sink: Sink, name: str) -> None:
    invoice = paid_invoice()
    make_mail(invoice.account, sender_name=name)
    happen("invoice.paid", invoice)
    assert send() == 0
    assert not sink.mails


@pytest.mark.parametrize(
    ("event_type", "message_id", "state"),
    [("bounced", "<1@provider>", "bounced"), ("delivered", "<1@provider>", "sent"), ("bounced", "<2@provider>", "sent"),
     ("bounced", None, "sent")],
)  # fmt: skip
def test_a_mail_that_comes_back_is_bounced(event_type: str, message_id: str | None, state: str) -> None:
    columns = {"next_try_at": None, "state": "sent", "sent_at": NOW}
    message = make_message(**columns, provider_id="<1@provider>")
    other = make_message(**columns)
    event = SimpleNamespace(event_type=event_type, message_id=message_id, description="550 gone", reject_reason=None)
    note(sender=None, event=event, esp_name="Provider")
    message.refresh_from_db()
    other.refresh_from_db()
    assert (message.state, other.state) == (state, "sent")
    assert message.state_reason == ("550 gone" if state == "bounced" else "")


@pytest.mark.parametrize(
    ("reason", "kinds"), [("first_payment_overdue", ["expired"]), ("invoice_voided", [])], ids=["in time", "by hand"]
)
def test_a_first_payment_that_never_came_is_said_once(sink: Sink, reason: str, kinds: list[str]) -> None:
    subscription = expired_subscription()
    make_mail(subscription.account)
    for _ in range(2):
        happen("subscription.expired", subscription, reason=reason)
    assert [message.kind for message in Message.objects.all()] == kinds
    assert send() == len(kinds)
    for mail in sink.mails:
        assert mail["Subject"] == "Coffee club: your subscription did not start"
        assert "You have not been charged" in mail.get_body(("plain",)).get_content()


def test_a_first_payment_that_comes_late_takes_the_message_back(sink: Sink) -> None:
    card = make_card()
    subscription = expired_subscription(card)
    make_mail(subscription.account)
    happen("subscription.expired", subscription, reason="first_payment_overdue")
    move_attempt(make_attempt(make_invoice(card, subscription=subscription), card), "surplus")
    assert send() == 0
    assert state_of("expired") == ("canceled", "its payment came after all")


def test_a_first_charge_that_is_declined_asks_for_another_card(sink: Sink) -> None:
    invoice = make_invoice(tries=1, next_attempt_at=None, refusal="first_charge_declined", refused_at=NOW)
    make_mail(invoice.account)
    happen("invoice.payment_failed", invoice, tries_left=0, ends_subscription=False)
    assert send() == 1
    text = sink.mails[0].get_body(("plain",)).get_content()
    assert "Your subscription starts when this payment is made" in text
    assert "/pay/" in text


def link_of(mail: Any) -> str:
    text = mail.get_body(("plain",)).get_content()
    return str(re.findall(r"http://127\.0\.0\.1:8000/pay/(\S+)/", text)[0])


@pytest.mark.parametrize("tries_left", [0, 1, 2])
def test_what_is_owed_can_be_paid_by_the_link_in_the_mail(sink: Sink, tries_left: int) -> None:
    ended = {"state": "uncollectible", "closed_at": NOW, "next_attempt_at": None}
    invoice = make_invoice(tries=1, **({} if tries_left else ended))
    make_mail(invoice.account)
    happen("invoice.payment_failed", invoice, tries_left=tries_left, ends_subscription=False)
    assert send() == 1
    assert "Pay or use another card" in sink.mails[0].get_body(("plain",)).get_content()
    assert customer_of(link_of(sink.mails[0]), now=LATER) == invoice.customer


def test_what_is_kept_of_a_mail_does_not_hold_the_link(sink: Sink) -> None:
    invoice = make_invoice(tries=1)
    make_mail(invoice.account)
    happen("invoice.payment_failed", invoice, tries_left=2, ends_subscription=False)
    send()
    kept = Message.objects.get().text
    assert "Pay or use another card:\nhttp://127.0.0.1:8000/pay/…/" in kept
    assert link_of(sink.mails[0]) not in kept


@pytest.mark.parametrize("address", ["", "https://kedai.example/cancel"])
@pytest.mark.parametrize("may", [True, False])
def test_the_mail_says_where_to_cancel(sink: Sink, may: bool, address: str) -> None:
    card = make_card(make_customer(make_account(payers_may_cancel=may)))
    make_mail(card.account, cancel_url=address)
    subscription = make_subscription(card)
    happen("subscription.active", subscription, changes={"state": {"from": "incomplete", "to": "active"}})
    assert send() == 1
    text, page = (sink.mails[0].get_body((kind,)).get_content() for kind in ("plain", "html"))
    if address:
        assert f"You can cancel at any time: {address}" in " ".join(text.split())
        assert f">{address}</a>" in page
    elif may:
        assert customer_of(link_of(sink.mails[0]), now=LATER) == card.customer
        assert ">your payment page</a>" in page
    else:
        assert "Just reply to this e-mail." in text


def lost_receipt() -> Message:
    """A receipt whose worker died while it was sending."""
    invoice = paid_invoice()
    make_mail(invoice.account)
    happen("invoice.paid", invoice)
    (claimed,) = mailing.claim(invoice.account_id, now=NOW, limit=1)
    assert mailing.give_up_interrupted(now=claimed.leased_until) == 1
    return Message.objects.get()


def test_a_person_has_an_unknown_message_sent_again(sink: Sink) -> None:
    message = lost_receipt()
    assert (message.state, send()) == ("unknown", 0)
    send_again(message=message, reason="she did not get it", actor="siti", now=LATER)
    line = Transition.objects.get(subject_type="message", subject_id=message.pk)
    assert (line.from_state, line.to_state) == ("unknown", "pending")
    assert (line.reason, line.actor, line.account_id) == ("she did not get it", "siti", message.account_id)
    assert send() == 1
    assert send() == 0
    message.refresh_from_db()
    assert (message.state, message.sent_again_at) == ("sent", LATER)
    assert sink.mails[0]["Message-ID"] == f"<{message.public_id}@kedai.example>", "a copy is recognised"


@pytest.mark.parametrize("state", ["pending", "sent", "refused", "canceled"])
def test_only_an_unknown_message_is_sent_again(state: str) -> None:
    message = make_message(state=state, next_try_at=NOW if state == "pending" else None)
    with pytest.raises(MessageError, match=f"this one is {state}"):
        send_again(message=message, reason="please", actor="siti", now=NOW)
    assert not Transition.objects.exists()


def test_a_message_that_is_lost_again_waits_for_a_person_again(sink: Sink) -> None:
    message = lost_receipt()
    send_again(message=message, reason="once more", actor="siti", now=LATER)
    (claimed,) = mailing.claim(message.account_id or 0, now=LATER, limit=1)
    assert mailing.give_up_interrupted(now=claimed.leased_until) == 1
    assert send(claimed.leased_until) == 0
    send_again(message=message, reason="and once more", actor="siti", now=claimed.leased_until)
    assert send(claimed.leased_until) == 1
