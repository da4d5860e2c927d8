"""What a quarantine keeps from being charged, what its reading finds, and how a person ends it."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from billing.audit.invariants import violations
from billing.charging.attempts.settle import AttemptFinding, settle
from billing.charging.cases.ways_out import record_found_payment
from billing.charging.reading.fetch import fetch
from billing.charging.reading.known import load
from billing.charging.reading.record import record
from billing.charging.recovery.from_cards import read_quarantined
from billing.charging.refunds.ask import request_refund
from billing.domain.attempts import Finding, Source, Verdict, charge_description, charge_title
from billing.domain.decisions import Decision
from billing.domain.doubts import Doubt
from billing.explaining.explain import explain
from billing.gateway.connection import Charge, gateway_for
from billing.gateway.connection import clock as gateway_clock
from billing.gateway.sending_clock import machine
from billing.ids import new_id, new_marker
from billing.models import (
    AccountTrouble,
    Event,
    GatewayAccount,
    GatewayClock,
    GatewayOrder,
    GatewayTransaction,
    Host,
    Installation,
    Invoice,
    PaymentAttempt,
    PaymentMethod,
    Refund,
    Transition,
)
from billing.models.bulk.sql import HeldError
from billing.models.clock import database_now
from billing.operating import clocks, health, quarantine, recognise, witness
from tests.charging.test_guards import arm_now
from tests.conftest import Shop
from tests.factories import make_account, make_card, make_customer, make_invoice, make_refund

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]
LATER = timedelta(seconds=3700)  # the lists' lag, the deadline of what was armed before, and a little


@pytest.fixture(autouse=True)
def _played(shop: Shop) -> None:
    shop.simulator.reset()  # the reports list what earlier tests paid
    shop.simulator.set(timestamp_window=0)


def due(shop: Shop, **columns: Any) -> Invoice:
    now = database_now()
    return make_invoice(shop.card(), next_attempt_at=now, due_at=now - timedelta(minutes=1), **columns)


def charged_elsewhere(
    shop: Shop, card: PaymentMethod, invoice_id: str, *, amount: int = 1990, name: str = "Coffee club"
) -> str:
    """A charge of another Kitaran with the same credentials; its marker."""
    now, marker = database_now(), new_marker()
    gateway, gateway_id = gateway_for(shop.account), card.gateway_customer_id or ""
    gateway_clock.align(now)
    gateway.ensure_token()
    charge = Charge(gateway_id, amount, "MYR", charge_title(name, marker), charge_description(name, invoice_id, marker))
    gateway.send(gateway.freeze(charge, timestamp=int(now.timestamp()), charge_path="customer_order"), marker=marker)
    return marker


def begin(shop: Shop) -> GatewayAccount:
    """A quarantine, as a witness of another database begins one."""
    recognise.watch(now=database_now())
    (witness.folder() / f"{'0' * 16}.json").write_text('{"epoch": "another", "marker": "", "nonce": ""}')
    recognise.watch(now=database_now())
    account = GatewayAccount.objects.get(pk=shop.account.pk)
    assert account.quarantine_reason == Doubt.WITNESS_DIFFERS
    return account


def read(shop: Shop, later: timedelta = LATER, **more: Any) -> int:
    at = database_now() + later
    return read_quarantined(
        tuning=shop.tuning, clock=lambda: at, should_stop=more.get("should_stop", lambda: False)
    ).attempts


def lift(shop: Shop, now: datetime | None = None, reason: str = "all was read") -> None:
    quarantine.lift(account=shop.account, reason=reason, actor="mei", now=now or database_now() + LATER)


def only_attempt(invoice: Invoice) -> PaymentAttempt:
    invoice.refresh_from_db()
    return PaymentAttempt.objects.get(invoice=invoice)


# --- nothing moves money ------------------------------------------------------------------------------------


def test_in_quarantine_nothing_is_charged_and_everything_says_so(shop: Shop) -> None:
    """A1: what moves money waits; health, start page and events speak."""
    paid = due(shop)
    shop.collect()
    refund = make_refund(only_attempt(paid), next_check_at=database_now())
    waiting = due(shop)
    account = begin(shop)
    shop.collect()
    shop.refund()
    refund.refresh_from_db()
    assert (refund.state, refund.state_reason) == ("requested", "account_stopped")
    assert shop.taken(waiting) == []
    told = explain(invoice=Invoice.objects.get(pk=waiting.pk), now=database_now(), to_staff=False).lines[-1].text
    assert told.startswith("Nothing is charged automatically: the account is in quarantine")
    assert any("has been in quarantine since" in one for one in health.check(database_now()).problems)
    assert Event.objects.filter(kind="account.quarantined", account_id=account.pk).count() == 1
    assert Transition.objects.filter(subject_type="quarantine", to_state="quarantined").count() == 1
    assert account.quarantine_point_at is not None


def test_quarantine_begins_once_for_the_same_evidence(shop: Shop) -> None:
    """A1: looking again does not begin the waiting anew."""
    began = begin(shop).quarantined_at
    for _ in range(3):
        recognise.watch(now=database_now())
    assert GatewayAccount.objects.get().quarantined_at == began


def test_missing_witnessed_marker_is_noticed_before_arming(shop: Shop) -> None:
    """A1: the witness names a marker that is not in the database."""
    first = due(shop)
    shop.collect()
    assert shop.taken(first)
    (file,) = witness.folder().glob("*.json")
    marker = only_attempt(first).marker
    assert marker in file.read_text()
    (witness.folder() / f"{'f' * 16}.json").write_text(file.read_text().replace(marker, "ZZZZ99999999"))
    second = due(shop)
    shop.collect()
    assert shop.taken(second) == []
    assert GatewayAccount.objects.get().quarantine_reason == "attempts_forgotten"


def test_where_the_witness_cannot_be_written_nothing_is_sent(shop: Shop) -> None:
    """A1: no witness, no charge; once it can be written, what is due is charged."""
    invoice = due(shop)
    shutil.rmtree(witness.folder())
    witness.folder().write_text("a file where the folder was")
    shop.collect()
    assert shop.taken(invoice) == []
    assert not PaymentAttempt.objects.exists()
    witness.folder().unlink()
    shop.collect()
    assert len(shop.taken(invoice)) == 1


def test_attempt_that_could_not_be_witnessed_is_not_sent(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A1: the disk is full between the commit and the witness."""
    invoice = due(shop)

    def full(*_: object, **__: object) -> None:
        raise witness.WitnessError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(witness, "note", full)
        assert arm_now(shop).armed == []
    attempt = only_attempt(invoice)
    assert (attempt.state, attempt.state_reason) == ("not_sent", "witness_not_written")
    assert shop.simulator.requests()["by_marker"].get(attempt.marker) is None
    shop.collect()
    assert len(shop.taken(invoice)) == 1


def test_a_witness_that_cannot_be_read_stops_nothing(shop: Shop) -> None:
    """A1: a torn file witnesses nothing."""
    invoice = due(shop)
    witness.folder().mkdir(exist_ok=True)
    for number, content in enumerate(
        (b"", b"{", b"[]", b'{"epoch": "e"}', b'{"epoch": 1, "marker": null, "nonce": ""}')
    ):
        (witness.folder() / f"{number:016}.json").write_bytes(content)
    shop.collect()
    assert len(shop.taken(invoice)) == 1


def test_two_copies_arming_at_once_see_each_other_before_sending(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A2: another process witnesses what this database does not have, between our look and our commit."""
    invoice = due(shop)
    recognise.watch(now=database_now())
    epoch = Installation.objects.get().epoch
    note = witness.note

    def beside(epoch_of_ours: str, **named: str) -> None:
        note(epoch_of_ours, **named)
        words = f'{{"epoch": "{epoch}", "marker": "ZZZZ99999999", "nonce": ""}}'
        (witness.folder() / f"{'e' * 16}.json").write_text(words)

    monkeypatch.setattr(witness, "note", beside)
    shop.collect()
    attempt = only_attempt(invoice)
    assert (attempt.state, attempt.state_reason) == ("not_sent", "another_database_at_work")
    assert shop.taken(invoice) == []
    assert GatewayAccount.objects.get().quarantine_reason == "attempts_forgotten"


def test_overtaken_process_loses_its_own_attempt_unsent(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A1: the database is put back between a commit and its witness, and another process arms in it at once."""
    invoice = due(shop)
    recognise.watch(now=database_now())
    epoch = Installation.objects.get().epoch
    before = arm_now(shop)
    (kept,) = before.armed
    note = witness.note

    def put_back(epoch_of_ours: str, **named: str) -> None:
        attempt = PaymentAttempt.objects.latest("pk")
        with connection.cursor() as cursor:  # as a restore does, past the triggers
            cursor.execute("SET session_replication_role = replica")
            cursor.execute("DELETE FROM billing_paymentattempt WHERE id = %s", [attempt.pk])
            cursor.execute("SET session_replication_role = origin")
        words = f'{{"epoch": "{epoch}", "marker": "{kept.marker}", "nonce": ""}}'
        (witness.folder() / f"{'e' * 16}.json").write_text(words)
        note(epoch_of_ours, **named)

    second = due(shop)
    with monkeypatch.context() as patched:
        patched.setattr(witness, "note", put_back)
        assert arm_now(shop).armed == []
    assert not PaymentAttempt.objects.filter(invoice=second).exists()
    assert shop.taken(second) == []
    assert PaymentAttempt.objects.get(invoice=invoice).marker == kept.marker
    assert GatewayAccount.objects.get().quarantine_reason == "attempts_forgotten"


# --- hosts --------------------------------------------------------------------------------------------------


def test_a_new_host_charges_once_a_known_one_shows_that_it_lives(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A2: a second worker machine is admitted by itself, in a database that lives."""
    first = due(shop)
    shop.collect()
    assert shop.taken(first)
    known = Host.objects.get()
    assert known.armed_at is not None
    (witness.folder() / witness.HOST_FILE).write_text("another-host")
    second = due(shop)
    shop.collect()
    assert shop.taken(second) == [], "it watches"
    Host.objects.filter(pk=known.pk).update(last_seen_at=database_now() + timedelta(seconds=1))
    shop.collect()
    assert len(shop.taken(second)) == 1
    assert GatewayAccount.objects.get().quarantined_at is None


def test_new_host_among_silent_hosts_ends_in_quarantine(shop: Shop) -> None:
    """A2: a clone on a new machine."""
    due(shop)
    shop.collect()
    (witness.folder() / witness.HOST_FILE).write_text("another-host")
    second, now = due(shop), database_now()
    recognise.watch(now=now)
    recognise.watch(now=now + timedelta(seconds=170))
    assert GatewayAccount.objects.get().quarantined_at is None
    recognise.watch(now=now + timedelta(seconds=181))
    assert GatewayAccount.objects.get().quarantine_reason == "host_unknown"
    shop.collect()
    assert shop.taken(second) == []


@pytest.mark.parametrize("introduced", ["after the step back", "before it"])
def test_sign_of_life_from_a_clock_that_was_ahead_admits_no_copy(shop: Shop, introduced: str) -> None:
    """A2, B8: the known host showed life forty days ahead; the clock was set back, and a copy was started elsewhere."""
    due(shop)
    shop.collect()
    now, ahead = database_now(), database_now() + timedelta(days=40)
    recognise.watch(now=ahead)
    (witness.folder() / witness.HOST_FILE).write_text("another-host")
    second = due(shop)
    if introduced == "before it":
        recognise.watch(now=ahead - timedelta(seconds=10))
    for seconds in (0, 90, 181):
        shop.collect()
        assert shop.taken(second) == []
        recognise.watch(now=now + timedelta(seconds=seconds))
    assert GatewayAccount.objects.get().quarantine_reason == "host_unknown"
    shop.collect()
    assert shop.taken(second) == []


# --- the gateway as a witness -------------------------------------------------------------------------------


def test_charge_this_database_never_made_begins_a_quarantine(shop: Shop) -> None:
    """A2: the gateway's list shows what another installation charged."""
    invoice = due(shop)
    GatewayAccount.objects.update(preflight_always=True)
    charged_elsewhere(shop, invoice.payment_method, invoice.public_id)
    shop.collect()
    account = GatewayAccount.objects.get()
    assert account.quarantine_reason == "order_of_another"
    assert shop.taken(invoice) == []
    assert not PaymentAttempt.objects.exists()
    assert read(shop) == 1
    assert only_attempt(invoice).state == "succeeded"
    assert PaymentMethod.objects.get(pk=invoice.payment_method_id).held_at is None, "its order is explained now"


def test_charge_of_ours_is_no_other_attempts_on_its_card(shop: Shop) -> None:
    """A2: an attempt of the same amount was armed a moment before; the read that ends it hides nothing."""
    waiting = due(shop)
    (armed,) = arm_now(shop).armed
    card = waiting.payment_method
    marker = charged_elsewhere(shop, card, new_id("inv", database_now()))
    gateway_for(shop.account).send(armed.prepared, marker=armed.marker)
    read = fetch(gateway_for(shop.account), load([card.pk])[card.pk])
    record(read, read.findings, tuning=shop.tuning, now=database_now())
    assert only_attempt(waiting).state == "succeeded"
    assert GatewayAccount.objects.get().quarantine_reason == "order_of_another"
    (order,) = GatewayOrder.objects.filter(attempt=None)
    assert marker in GatewayTransaction.objects.get(gateway_order_id=order.gateway_order_id).words
    assert Event.objects.filter(kind="payment_method.unexplained_order", occasion=order.gateway_order_id).exists()
    assert PaymentMethod.objects.get(pk=card.pk).held_reason == "unexplained_order"
    assert [str(one) for one in violations(now=database_now())] == []


def test_an_order_with_other_words_begins_none(shop: Shop) -> None:
    """A2: somebody else's order only holds its card, as ever."""
    invoice = due(shop)
    GatewayAccount.objects.update(preflight_always=True)
    charged_elsewhere(shop, invoice.payment_method, "order-4711")
    shop.collect()
    assert GatewayAccount.objects.get().quarantined_at is None
    assert PaymentMethod.objects.get(pk=invoice.payment_method_id).held_reason == "unexplained_order"


# --- what the reading finds ---------------------------------------------------------------------------------


def test_charge_is_recorded_as_payment_of_the_invoice_it_names(shop: Shop) -> None:
    """A1: by the public id; with evidence, history and an event like any payment."""
    invoice = due(shop)
    begin(shop)
    marker = charged_elsewhere(shop, invoice.payment_method, invoice.public_id)
    assert read(shop) == 1
    found = only_attempt(invoice)
    assert (found.state, found.marker, invoice.state) == ("succeeded", marker, "paid")
    assert found.recovered_at is not None
    assert found.gateway_transaction_id
    assert Event.objects.filter(kind="invoice.paid").count() == 1
    assert read(shop, LATER * 2) == 0, "it is found once"
    assert [str(one) for one in violations(now=database_now())] == []


def test_charge_of_a_reopened_invoice_is_found_by_sale_and_time(shop: Shop) -> None:
    """A1: the restored database gave the invoice another id."""
    invoice = due(shop)
    begin(shop)
    charged_elsewhere(shop, invoice.payment_method, new_id("inv", database_now()))
    assert read(shop) == 1
    assert only_attempt(invoice).state == "succeeded"


def test_decline_counts_as_a_try_and_in_process_is_followed(shop: Shop) -> None:
    """A1: states as the gateway shows them."""
    declined, working = due(shop), due(shop)
    begin(shop)
    for invoice, outcome in ((declined, "decline_9010"), (working, "in_process_forever")):
        card = invoice.payment_method
        shop.simulator.set_customer(card.gateway_customer_id, outcome=outcome)
        charged_elsewhere(shop, card, invoice.public_id)
    assert read(shop) == 2
    assert only_attempt(declined).state == "declined"
    assert (declined.tries, declined.state) == (1, "open")
    assert only_attempt(working).state == "in_process"
    assert [str(one) for one in violations(now=database_now())] == []


def test_money_for_an_invoice_paid_here_too_is_an_overpayment(shop: Shop) -> None:
    """A2: both installations charged it; the second payment is recorded and proposed for a refund."""
    invoice = due(shop)
    shop.collect()
    begin(shop)
    charged_elsewhere(shop, invoice.payment_method, invoice.public_id)
    assert read(shop) == 1
    assert sorted(PaymentAttempt.objects.values_list("state", flat=True)) == ["succeeded", "surplus"]
    assert Event.objects.filter(kind="attempt.surplus").count() == 1
    assert {one.invariant for one in violations(now=database_now())} == {"S1"}, "until it is given back"


def test_overpayment_that_became_the_payment_is_not_refunded(shop: Shop) -> None:
    """A2: one person asks for the second payment to go back, another one takes the first one back in the portal."""
    invoice = due(shop)
    shop.collect()
    begin(shop)
    charged_elsewhere(shop, invoice.payment_method, invoice.public_id)
    read(shop)
    lift(shop)
    surplus, first = PaymentAttempt.objects.get(state="surplus"), PaymentAttempt.objects.get(state="succeeded")
    refund = request_refund(attempt=surplus, amount_minor=None, decision=Decision("mei", "twice"), now=database_now())
    back = Finding(Verdict.REVERSED, Source.TRANSACTION_QUERY, transaction_id=first.gateway_transaction_id)
    settle([AttemptFinding(first.marker, back)], tuning=shop.tuning, now=database_now())
    surplus.refresh_from_db()
    assert surplus.state == "succeeded"
    assert shop.refund().armed == 0
    refund.refresh_from_db()
    assert (refund.state, refund.state_reason) == ("not_sent", "became_the_payment")
    request_refund(attempt=surplus, amount_minor=None, decision=Decision("mei", "all of it"), now=database_now())
    assert shop.refund().states == {"succeeded": 1}, "who still wants it asks again"


def test_overpayment_whose_refund_may_have_acted_is_no_payment(shop: Shop) -> None:
    """A2: the answer to its refund was lost when the first payment was taken back in the portal."""
    invoice = due(shop)
    shop.collect()
    begin(shop)
    charged_elsewhere(shop, invoice.payment_method, invoice.public_id)
    read(shop)
    lift(shop)
    surplus, first = PaymentAttempt.objects.get(state="surplus"), PaymentAttempt.objects.get(state="succeeded")
    shop.simulator.set(refund_outcome="lost_after")
    refund = request_refund(attempt=surplus, amount_minor=None, decision=Decision("mei", "twice"), now=database_now())
    shop.refund()
    back = Finding(Verdict.REVERSED, Source.TRANSACTION_QUERY, transaction_id=first.gateway_transaction_id)
    settle([AttemptFinding(first.marker, back)], tuning=shop.tuning, now=database_now())
    shop.simulator.set(refund_outcome="auto")
    for rung in range(1, 8):
        shop.refund(database_now() + timedelta(seconds=5) * rung)
    for row in (refund, surplus, invoice):
        row.refresh_from_db()
    assert (refund.state, surplus.state) == ("succeeded", "surplus")
    assert (invoice.state, invoice.hold, invoice.amount_refunded_minor) == ("open", "reversed", 0)


def test_unmatched_charge_is_listed_and_holds_every_card(shop: Shop) -> None:
    """A1: two invoices that fit alike: neither is taken, and neither is charged."""
    first = due(shop)
    second = make_invoice(first.payment_method, next_attempt_at=first.next_attempt_at, due_at=first.due_at)
    other = shop.card(customer=first.customer)
    begin(shop)
    charged_elsewhere(shop, first.payment_method, new_id("inv", database_now()))
    assert read(shop) == 0
    status = quarantine.status(GatewayAccount.objects.get(), now=database_now() + LATER)
    assert [one.payment_method_id for one in status.unmatched] == [first.payment_method_id]
    assert status.why_not_lifted is None
    assert set(PaymentMethod.objects.exclude(held_at=None).values_list("pk", flat=True)) == {
        first.payment_method_id,
        other.pk,
    }
    lift(shop)
    shop.collect()
    assert shop.taken(first) == shop.taken(second) == []


# --- the way out --------------------------------------------------------------------------------------------


def test_lifting_is_refused_until_all_cards_were_read_after_lag(shop: Shop) -> None:
    """A1: too early, unread, and without a reason."""
    GatewayAccount.objects.update(list_lag_seconds=3600)
    invoice = due(shop)
    begin(shop)
    read(shop, timedelta(0))
    with pytest.raises(quarantine.QuarantineError, match="may be late"):
        lift(shop, database_now())
    with pytest.raises(quarantine.QuarantineError, match="1 card was not read"):
        lift(shop)
    read(shop)
    with pytest.raises(quarantine.QuarantineError, match="reason"):
        lift(shop, reason=" ")
    lift(shop)
    account = GatewayAccount.objects.get()
    assert (account.quarantined_at, account.quarantine_reason) == (None, "")
    assert account.preflight_until is not None
    assert account.preflight_until > database_now() + timedelta(hours=24)
    shop.collect()
    invoice.refresh_from_db()
    assert invoice.preflight_at is not None, "first attempts are preceded by a look"
    assert len(shop.taken(invoice)) == 1
    assert [str(one) for one in violations(now=database_now())] == []


def test_clock_that_is_ahead_completes_no_read_and_lifts_nothing(shop: Shop, settings: Any) -> None:
    """A1: it says that the lists have caught up, when they have not."""
    GatewayAccount.objects.update(list_lag_seconds=3600)
    due(shop)
    begin(shop)
    ahead = database_now() + LATER
    settings.KITARAN_CLOCK_TOLERANCE_SECONDS = 10
    off = GatewayClock.objects.create(
        api_url=shop.account.api_url,
        machine=f"not {machine()}",
        started_earliest=ahead,
        started_latest=ahead,
        uptime=timedelta(0),
        ahead=LATER,
        checked_at=ahead,
    )
    read(shop)
    assert quarantine.status(GatewayAccount.objects.get(), now=ahead).unread == 1
    tomorrow = ahead + timedelta(days=1)
    PaymentMethod.objects.update(quarantine_read_at=tomorrow)
    with pytest.raises(quarantine.QuarantineError, match="clock disagrees"):
        lift(shop, ahead)
    off.delete()
    settings.KITARAN_CLOCK_TOLERANCE_SECONDS = 0  # the hours are played
    with pytest.raises(quarantine.QuarantineError, match="the quarantine restarts"):
        lift(shop, ahead)
    read(shop)
    assert PaymentMethod.objects.get().quarantine_read_at != tomorrow, "a read from the future is none"
    read(shop, LATER * 2)
    lift(shop, ahead + LATER)


@pytest.fixture
def compared_clocks(shop: Shop, settings: Any) -> None:
    """The gateway's clock was seen a moment ago."""
    settings.KITARAN_CLOCK_TOLERANCE_SECONDS = 10
    clocks.ask_gateways(now=database_now())


def test_by_a_wrong_clock_nothing_is_read_and_nobody_lifts_it(shop: Shop, compared_clocks: None) -> None:
    """A1, B8: by one that is ahead the lists seem complete, and are not."""
    due(shop)
    begin(shop)
    ahead = timedelta(days=40)
    assert read(shop, ahead) == 0
    assert PaymentMethod.objects.get().quarantine_read_at is None
    PaymentMethod.objects.update(quarantine_read_at=database_now() + ahead)
    with pytest.raises(quarantine.QuarantineError, match="clock disagrees"):
        lift(shop, database_now() + ahead)
    assert GatewayAccount.objects.get().quarantined_at is not None


def test_reading_that_is_interrupted_goes_on_where_it_was(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A1: each card says when it was read."""
    invoices = [due(shop) for _ in range(3)]
    begin(shop)
    for invoice in invoices:
        charged_elsewhere(shop, invoice.payment_method, invoice.public_id)
    monkeypatch.setattr("billing.charging.recovery.from_cards.BATCH", 1)
    asked = iter([False, False, True])
    found = read(shop, should_stop=lambda: next(asked, True))
    assert 0 < found < 3
    status = quarantine.status(GatewayAccount.objects.get(), now=database_now() + LATER)
    assert status.unread == 3 - found
    assert found + read(shop, LATER) == 3
    assert {only_attempt(invoice).state for invoice in invoices} == {"succeeded"}


def test_trouble_that_stops_the_quarantine_reading_is_reported(shop: Shop) -> None:
    """B7: nobody could lift it, and nobody would know why."""
    due(shop)
    begin(shop)
    GatewayAccount.objects.update(private_key_encrypted="nonsense")
    read(shop)
    assert AccountTrouble.objects.get(account=shop.account).work == "read in quarantine"
    GatewayAccount.objects.update(private_key_encrypted=shop.account.private_key_encrypted)
    read(shop)
    assert not AccountTrouble.objects.exists()


def test_a_card_that_cannot_be_read_keeps_the_quarantine(shop: Shop, tmp_path: Path) -> None:
    """A1: a partial read is no read."""
    due(shop)
    begin(shop)
    GatewayAccount.objects.update(api_url="http://127.0.0.1:9/v3")
    read(shop)
    with pytest.raises(quarantine.QuarantineError, match="1 card was not read"):
        lift(shop)
    assert not Refund.objects.exists()


def test_a_locked_row_makes_no_card_unreadable(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A1: the gateway showed the card; only the record waits."""
    due(shop)
    begin(shop)

    def locked(*_: Any, **__: Any) -> None:
        raise HeldError("canceling statement due to lock timeout")

    with monkeypatch.context() as patched:
        patched.setattr("billing.charging.recovery.from_cards.record", locked)
        read(shop)
    card = PaymentMethod.objects.get()
    assert (card.unread_since, card.quarantine_read_at) == (None, None)
    read(shop)
    lift(shop)


# --- the daily reports --------------------------------------------------------------------------------------


def lost_card(shop: Shop) -> str:
    """The gateway's id of a card that was bound after the backup: this database does not have it."""
    card = gateway_for(shop.account).create_tokenized_card(
        email="lost@example.com",
        name="Lost",
        country_code="60",
        phone_number="123456789",
        product_name="Coffee club",
        product_description="Coffee club",
        redirect_url="http://127.0.0.1:9/bind",
    )
    shop.simulator.bind(card.payment_url)
    return card.gateway_customer_id


def named_in_reports(shop: Shop) -> list[str]:
    """The simulator's reports list what other tests charged as well."""
    return [one["invoice"] for one in GatewayAccount.objects.get(pk=shop.account.pk).quarantine_reports["found"]]


@pytest.mark.parametrize("interrupted", [False, True])
def test_interrupted_reading_still_holds_a_lost_cards_customer(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, interrupted: bool
) -> None:
    """A1: only the reports show it; they are read also where the process that read the last card came no further."""
    invoice = due(shop)
    begin(shop)
    charged_elsewhere(shop, PaymentMethod(gateway_customer_id=lost_card(shop)), invoice.public_id)
    if interrupted:
        with monkeypatch.context() as patch:
            patch.delattr("billing.charging.recovery.from_cards.read_reports")
            read(shop)
        assert GatewayAccount.objects.get().quarantine_reports == {}
    read(shop)
    assert invoice.public_id in named_in_reports(shop)
    lift(shop)
    shop.collect()
    invoice.payment_method.refresh_from_db()
    assert (shop.taken(invoice), invoice.payment_method.held_reason) == ([], "payment_in_reports")
    (charge,) = (one for one in shop.simulator.charges() if invoice.public_id in str(one["description"]))
    transaction_id = str(charge["transaction_id"])
    record_found_payment(
        invoice=invoice, transaction_id=transaction_id, decision=Decision("mei", "in the portal"), now=database_now()
    )
    assert Invoice.objects.get(pk=invoice.pk).state == "paid"


def test_a_report_of_one_account_holds_no_card_of_another(shop: Shop) -> None:
    """A1: what one merchant's payments are called is nothing to another merchant."""
    due(shop)
    other = make_account(name="Kedai Teh", client_id="another")
    theirs = make_invoice(make_card(make_customer(other)), next_attempt_at=None, hold="catch_up")
    begin(shop)
    charged_elsewhere(shop, PaymentMethod(gateway_customer_id=lost_card(shop)), theirs.public_id)
    read(shop)
    assert theirs.public_id in named_in_reports(shop)
    assert not PaymentMethod.objects.exclude(held_at=None).exists()
