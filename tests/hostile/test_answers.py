"""Answers know their attempt, a due date is charged once, and one subscription never holds up another."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db import connection, transaction

from billing.audit.invariants import violations
from billing.charging.attempts.arm import arm
from billing.charging.attempts.settle import Asked, AttemptFinding, AttemptGoneError, settle
from billing.charging.reading.fetch import fetch
from billing.charging.reading.known import load
from billing.charging.reading.orphans import OrphanError, close_orphan, match_orphans
from billing.charging.reading.record import record
from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.decisions import Decision
from billing.gateway.connection import clock as gateway_clock
from billing.gateway.connection import gateway_for
from billing.models import (
    Event,
    Evidence,
    GatewayAccount,
    Invoice,
    OrphanAnswer,
    PaymentAttempt,
    PaymentMethod,
    Subscription,
    Transition,
)
from billing.models.clock import database_now
from billing.operating import witness
from billing.operating.health import check
from billing.subscriptions.lifecycle import cancel, pause, resume
from billing.subscriptions.renew import TRIED_AGAIN_AFTER, TRIED_AGAIN_BY, open_due
from billing.subscriptions.start import SubscriptionError
from tests.conftest import SHORT, Shop
from tests.factories import NOW, make_attempt, make_card, make_invoice, make_plan, make_subscription
from tests.promises.attacks import make_orphan_answer, run

PATIENT = replace(SHORT, window=timedelta(seconds=20), total=timedelta(seconds=60), senders=10, canary=10)
CUSTOMERS = 10
SENDING_SECONDS = 6


def wait_for(condition: Any, seconds: float = 60) -> None:
    pause_between, waited = 0.05, threading.Event()
    for _ in range(int(seconds / pause_between)):
        if condition():
            return
        waited.wait(pause_between)
    raise AssertionError("it did not happen in time")


def put_back(attempts: list[PaymentAttempt]) -> None:
    """The database is that of before the attempts were armed: their rows are gone, and their ids come again."""
    ids = [attempt.pk for attempt in attempts]
    with transaction.atomic():
        run("SET LOCAL session_replication_role = replica")
        run("DELETE FROM billing_evidence WHERE attempt_id = ANY(%s)", [ids])
        run("DELETE FROM billing_transition WHERE subject_type = 'attempt' AND subject_id = ANY(%s)", [ids])
        run("DELETE FROM billing_paymentattempt WHERE id = ANY(%s)", [ids])
        run(
            """UPDATE billing_invoice SET attempt_count = 0, next_attempt_at = NULL, hold = 'reversed'
               WHERE id = ANY(%s)""",
            [[attempt.invoice_id for attempt in attempts]],
        )
        run("SELECT setval('billing_paymentattempt_id_seq', %s, false)", [min(ids)])


def put_back_with_the_witness(attempts: list[PaymentAttempt]) -> None:
    """As when a snapshot of the whole machine is put back: nothing outside of the database remembers either."""
    put_back(attempts)
    for file in witness.folder().glob("*.json"):
        file.unlink()


@contextmanager
def waiting_for_answers(shop: Shop) -> Iterator[list[PaymentAttempt]]:
    """A worker has sent a charge for each due invoice, and waits; at the end of the block its answers have come."""
    shop.tuning = PATIENT
    GatewayAccount.objects.update(max_in_flight=None)
    shop.simulator.set(latency=SENDING_SECONDS)

    def work() -> None:
        try:
            shop.collect()
        finally:
            connection.close()

    before = len(shop.simulator.charges())
    worker = threading.Thread(target=work)
    worker.start()
    try:
        wait_for(lambda: len(shop.simulator.charges()) == before + CUSTOMERS)
        yield list(PaymentAttempt.objects.order_by("pk"))
    finally:
        worker.join(90)
    assert not worker.is_alive()


def due_invoices(shop: Shop, next_attempt_at: datetime | None, hold: str | None = None) -> list[Invoice]:
    return [
        make_invoice(shop.card(), next_attempt_at=next_attempt_at, hold=hold, amount_minor=1990)
        for _ in range(CUSTOMERS)
    ]


def unaccounted() -> list[str]:
    """The markers of which the audit says that no row accounts for the answer."""
    found = violations(now=database_now(), tuning=PATIENT)
    return [one.subject for one in found if "accounts for the answer" in one.text]


def spoken(problems: tuple[str, ...]) -> list[str]:
    return [problem for problem in problems if "belongs to nothing" in problem]


# --- A5: an answer knows its attempt ------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_answer_never_pays_an_invoice_that_reused_its_id(patience: None, shop: Shop) -> None:
    """A5: ids are used again while a worker waits for its answers, and the gateway echoes nothing.

    No quarantine stands before it here: the witness was put back too."""
    shop.simulator.set(echo=False)
    mine = due_invoices(shop, database_now())
    others = due_invoices(shop, None, "reversed")
    with waiting_for_answers(shop) as forgotten:
        assert len(forgotten) == CUSTOMERS
        put_back_with_the_witness(forgotten)
        Invoice.objects.filter(pk__in=[one.pk for one in others]).update(hold=None, next_attempt_at=database_now())
        gateway = gateway_for(shop.account)
        gateway.ensure_token()
        now = database_now()
        gateway_clock.align(now)
        again = arm(
            account_id=shop.account.pk, gateway=gateway, run_id=None, tuning=PATIENT, now=now, count=CUSTOMERS
        ).armed
        assert {one.attempt_id for one in again} == {one.pk for one in forgotten}, "the ids mean others now"

    assert set(PaymentAttempt.objects.values_list("state", flat=True)) == {"sending"}
    assert {one.state for one in Invoice.objects.filter(pk__in=[one.pk for one in others])} == {"open"}
    assert not Evidence.objects.exists()
    orphans = OrphanAnswer.objects.filter(matched_at=None)
    assert {one.marker for one in orphans} == {one.marker for one in forgotten}
    ledger = {str(charge["title"]).split()[-1]: charge["transaction_id"] for charge in shop.simulator.charges()}
    assert {one.marker: one.transaction_id for one in orphans} == {one.marker: ledger[one.marker] for one in forgotten}
    assert Event.objects.filter(kind="attempt.orphan_answer").count() == CUSTOMERS
    assert sorted(unaccounted()) == sorted(one.marker for one in forgotten)
    assert spoken(check(database_now()).problems)

    # Whoever finds the charges writes them down again, by their markers; then each answer pays its own invoice.
    Invoice.objects.filter(pk__in=[one.pk for one in mine]).update(hold=None)
    for number, attempt in enumerate(forgotten):
        attempt.pk, attempt.request_nonce = None, f"written-down-again-{number}"
        attempt.save(force_insert=True)
    assert match_orphans(tuning=PATIENT, now=database_now()) == CUSTOMERS
    paid = PaymentAttempt.objects.filter(state="succeeded")
    assert {(one.marker, one.gateway_transaction_id) for one in paid} == {
        (one.marker, ledger[one.marker]) for one in forgotten
    }
    assert {one.state for one in Invoice.objects.filter(pk__in=[one.pk for one in mine])} == {"paid"}
    assert {one.state for one in Invoice.objects.filter(pk__in=[one.pk for one in others])} == {"open"}
    assert unaccounted() == []
    assert spoken(check(database_now()).problems) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_orphan_answer_is_kept_until_a_card_read_finds_the_money(patience: None, shop: Shop) -> None:
    """A5: the rows are gone when the answers come: ten charges were recorded nowhere."""
    due_invoices(shop, database_now())
    with waiting_for_answers(shop) as forgotten:
        put_back(forgotten)

    assert not PaymentAttempt.objects.exists()
    assert OrphanAnswer.objects.filter(verdict="paid", matched_at=None).count() == CUSTOMERS
    assert len(unaccounted()) == CUSTOMERS
    assert match_orphans(tuning=PATIENT, now=database_now()) == 0, "nothing of it is known yet"

    gateway = gateway_for(shop.account)
    for card in load(list(PaymentMethod.objects.values_list("pk", flat=True))).values():
        read = fetch(gateway, card)
        record(read, read.findings, tuning=PATIENT, now=database_now())
    assert PaymentMethod.objects.filter(held_reason="unexplained_order").count() == CUSTOMERS
    assert shop.sweep() == 0
    assert set(OrphanAnswer.objects.values_list("matched_how", flat=True)) == {"transaction"}
    assert unaccounted() == []


PAID = Finding(Verdict.PAID, Source.ANSWER, amount_minor=1990, currency="MYR", transaction_id="2001", order_id="1001")


def asked_by(attempt: PaymentAttempt, **changes: Any) -> Asked:
    asked = Asked(
        account_id=attempt.account_id,
        nonce=attempt.request_nonce,
        gateway_customer_id=attempt.gateway_customer_id,
        amount_minor=attempt.amount_minor,
        currency=attempt.currency,
        title=attempt.title,
        description=attempt.description,
    )
    return replace(asked, **changes)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "other"},
        {"amount_minor": 2990},
        {"gateway_customer_id": "other"},
        {"account_id": 0},
        {"currency": "SGD"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_an_answer_to_another_request_is_not_the_attempts(changes: dict[str, Any]) -> None:
    """A5: a row with the marker that asked for something else takes no answer over."""
    attempt, other = make_attempt(), make_attempt()
    told = [
        AttemptFinding(attempt.marker, PAID, asked_by(attempt, **changes)),
        AttemptFinding(other.marker, replace(PAID, transaction_id="2002", order_id="1002"), asked_by(other)),
    ]
    assert settle(told, tuning=SHORT, now=NOW) == {"succeeded": 1}, "the others of the batch are settled"
    attempt.refresh_from_db()
    assert attempt.state == "sending"
    (orphan,) = OrphanAnswer.objects.all()
    assert (orphan.marker, orphan.transaction_id, orphan.matched_at) == (attempt.marker, "2001", None)


@pytest.mark.django_db
def test_the_same_orphan_is_recorded_and_reported_once() -> None:
    """A5: a commit whose acknowledgement was lost is done again."""
    attempt = make_attempt()
    told = [AttemptFinding("GONEGONEGONE", PAID, asked_by(attempt))]
    for _ in range(2):
        assert settle(told, tuning=SHORT, now=NOW) == {}
    assert OrphanAnswer.objects.count() == Event.objects.filter(kind="attempt.orphan_answer").count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("verdict", [Verdict.DECLINED, Verdict.NOT_SENT])
def test_orphan_that_moved_no_money_is_recorded_without_an_alarm(verdict: Verdict) -> None:
    """A5: what the gateway refused is nobody's money."""
    settle(
        [AttemptFinding("GONEGONEGONE", Finding(verdict, Source.ANSWER), asked_by(make_attempt()))],
        tuning=SHORT,
        now=NOW,
    )
    assert OrphanAnswer.objects.get().matched_how == "no_money"
    assert not Event.objects.exists()
    assert spoken(check(NOW).problems) == []


@pytest.mark.django_db
def test_finding_about_an_attempt_that_is_gone_is_not_recorded() -> None:
    """A5: a read of the database as it was before says nothing about the one that is there now."""
    here = make_attempt()
    gone = AttemptFinding("GONEGONEGONE", Finding(Verdict.ABSENT_AT_LAST, Source.ORDER_LIST))
    there = AttemptFinding(here.marker, Finding(Verdict.UNCLEAR, Source.SWEEPER, reason="sender_lost"))
    assert settle([gone, there], tuning=SHORT, now=NOW) == {"unknown": 1}
    assert not OrphanAnswer.objects.exists()


@pytest.mark.django_db
def test_card_read_is_not_recorded_for_attempts_that_reused_ids(shop: Shop) -> None:
    """A5: between reading a card and writing it down the database was put back."""
    make_invoice(shop.card(), next_attempt_at=database_now())
    shop.collect()
    attempt = PaymentAttempt.objects.get()
    card = load([attempt.card_id])[attempt.card_id]
    read = fetch(gateway_for(shop.account), card)
    assert read.explained_by
    run("SET LOCAL session_replication_role = replica")
    run("UPDATE billing_paymentattempt SET marker = 'ANOTHER00001' WHERE id = %s", [attempt.pk])
    run("SET LOCAL session_replication_role = origin")
    with pytest.raises(AttemptGoneError):
        record(read, read.findings, tuning=SHORT, now=database_now())


@pytest.mark.django_db
def test_answer_that_cannot_be_settled_is_kept_and_settled_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A5: one result that fails in an unexpected way loses neither itself nor the others."""
    sick, well = make_attempt(), make_attempt()
    real = settle.__globals__["Settlement"].apply

    def fails_for_one(self: Any, attempt_id: int, finding: Finding, evidence_id: int) -> None:
        if attempt_id == sick.pk:
            raise RuntimeError("a bug")
        real(self, attempt_id, finding, evidence_id)

    told = [
        AttemptFinding(sick.marker, PAID, asked_by(sick)),
        AttemptFinding(well.marker, replace(PAID, transaction_id="2002", order_id="1002"), asked_by(well)),
    ]
    with monkeypatch.context() as broken, caplog.at_level(logging.CRITICAL):
        broken.setattr(settle.__globals__["Settlement"], "apply", fails_for_one)
        assert settle(told, tuning=SHORT, now=NOW) == {"succeeded": 1}
        assert match_orphans(tuning=SHORT, now=NOW) == 0
    assert OrphanAnswer.objects.get().matched_at is None
    assert match_orphans(tuning=SHORT, now=NOW) == 1
    sick.refresh_from_db()
    assert (sick.state, sick.gateway_transaction_id) == ("succeeded", "2001")


@pytest.mark.django_db
def test_unmatched_orphan_is_closed_by_staff_with_a_reason() -> None:
    """A5: a timeout of a charge that never reached the gateway belongs to nothing."""
    orphan = make_orphan_answer(verdict="unclear")
    with pytest.raises(OrphanError, match="reason"):
        close_orphan(orphan=orphan, decision=Decision("siti", " "), now=NOW)
    close_orphan(orphan=orphan, decision=Decision("siti", "not in the portal"), now=NOW)
    orphan.refresh_from_db()
    assert (orphan.matched_how, orphan.matched_by, orphan.matched_note) == ("person", "siti", "not in the portal")
    with pytest.raises(OrphanError, match="already explained"):
        close_orphan(orphan=orphan, decision=Decision("siti", "again"), now=NOW)


# --- A6: one charge for a due date --------------------------------------------------------------------------


def invoices_by_due_date(subscription: Subscription) -> list[datetime]:
    return list(Invoice.objects.filter(subscription=subscription).order_by("due_at").values_list("due_at", flat=True))


@pytest.mark.django_db
def test_resumed_subscription_goes_on_after_what_was_opened() -> None:
    """A6: the database's clock steps back, then five subscriptions are paused and resumed."""
    subscriptions = [make_subscription(next_due_at=NOW) for _ in range(5)]
    open_due(now=NOW + timedelta(days=3))
    back = NOW + timedelta(hours=1)
    for one in subscriptions:
        pause(subscription=one, reason="holiday", actor="siti", now=back)
        resumed = resume(subscription=one, reason="back", actor="siti", now=back + timedelta(minutes=1))
        assert resumed.next_due_at == NOW + timedelta(days=4)
    for day in range(1, 6):
        open_due(now=NOW + timedelta(days=day))
    for one in subscriptions:
        assert invoices_by_due_date(one) == [NOW + timedelta(days=day) for day in range(6)]


@pytest.mark.django_db
def test_due_date_is_not_opened_again_and_the_try_is_logged() -> None:
    """A6: whatever set the next due date back, the database and the engine refuse to ask twice."""
    subscription, other = make_subscription(next_due_at=NOW), make_subscription(next_due_at=NOW)
    open_due(now=NOW + timedelta(days=2))
    Subscription.objects.filter(pk=subscription.pk).update(next_due_at=NOW + timedelta(days=1), occurrence=1)
    result = open_due(now=NOW + timedelta(days=3))
    assert (result.subscriptions, result.failed) == (2, 0)
    for one in (subscription, other):
        assert invoices_by_due_date(one) == [NOW + timedelta(days=day) for day in range(4)]
        one.refresh_from_db()
        assert (one.next_due_at, one.period_index) == (NOW + timedelta(days=4), 4)
    seen = Transition.objects.filter(subject_type="subscription", reason__startswith="opened before")
    assert [one.subject_id for one in seen] == [subscription.pk] * 2


@pytest.mark.django_db
def test_charge_at_the_start_is_not_repeated_after_a_clock_step() -> None:
    """A6: the trial was over once already."""
    ends = NOW + timedelta(days=2)
    subscription = make_subscription(
        state="trialing", trial_ends_at=ends, charge_at_start=True, next_due_at=ends, occurrence=2
    )
    open_due(now=ends)
    back = NOW + timedelta(hours=1)
    pause(subscription=subscription, reason="holiday", actor="siti", now=back)
    resumed = resume(subscription=subscription, reason="back", actor="siti", now=back)
    assert resumed.next_due_at is not None
    assert resumed.next_due_at > ends


# --- B4: one subscription never holds up the others ---------------------------------------------------------

NO_SUCH_ZONE = "Asia/Kuala_Lumpurr"


@pytest.mark.django_db
def test_subscription_that_cannot_be_opened_holds_up_no_other(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """B4: one of twenty has a time zone that does not exist."""
    now = database_now()
    every = [make_subscription(shop.card(), next_due_at=now, anchor_date=now.date()) for _ in range(20)]
    sick = every[0]
    Subscription.objects.filter(pk=sick.pk).update(time_zone=NO_SUCH_ZONE)
    with caplog.at_level(logging.CRITICAL):
        opened = open_due(now=now)
    assert (opened.invoices, opened.failed) == (19, 1)
    shop.collect()
    assert Invoice.objects.filter(state="paid").count() == 19
    sick.refresh_from_db()
    assert (sick.open_failed_at, sick.open_again_at) == (now, now + TRIED_AGAIN_AFTER)
    assert NO_SUCH_ZONE in sick.open_error
    assert Event.objects.get(kind="subscription.not_opened").subject_id == sick.pk
    assert [problem for problem in check(now).problems if sick.public_id in problem]
    found = [one for one in violations(now=now, tuning=SHORT) if one.subject == sick.public_id]
    assert [(one.invariant, NO_SUCH_ZONE in one.text) for one in found] == [("L1", True)]


@pytest.mark.django_db
def test_unopenable_subscription_is_retried_at_growing_intervals(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """B4: it is put right, and is owed for all that was due."""
    sick = make_subscription(next_due_at=NOW)
    Subscription.objects.filter(pk=sick.pk).update(time_zone=NO_SUCH_ZONE)
    tried, now = [], NOW
    with caplog.at_level(logging.CRITICAL):
        while now < NOW + timedelta(hours=6):
            tried += [now] if open_due(now=now).failed else []
            now += timedelta(seconds=30)
    gaps = [later - earlier for earlier, later in pairwise(tried)]
    assert gaps[0] == TRIED_AGAIN_AFTER
    assert gaps == sorted(gaps)
    assert gaps[-1] == TRIED_AGAIN_BY
    assert Event.objects.filter(kind="subscription.not_opened").count() == 1, "nobody is told every time"
    Subscription.objects.filter(pk=sick.pk).update(time_zone="Asia/Kuala_Lumpur")
    assert open_due(now=now + TRIED_AGAIN_BY).invoices == 1
    sick.refresh_from_db()
    assert (sick.open_failed_at, sick.open_again_at, sick.open_error) == (None, None, "")


@pytest.mark.django_db
def test_many_unopenable_subscriptions_do_not_block_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """B4: five hundred are due before the one that can be opened."""
    card = make_card()
    plan = make_plan(card.account)
    for _ in range(500):
        make_subscription(card, plan, next_due_at=NOW - timedelta(minutes=1))
    Subscription.objects.update(time_zone=NO_SUCH_ZONE)
    well = make_subscription(card, plan, next_due_at=NOW)
    with caplog.at_level(logging.CRITICAL):
        rounds = [open_due(now=NOW) for _ in range(3)]
        assert [one.subscriptions for one in rounds] == [200, 200, 101], "a task goes on while the batches are full"
        assert invoices_by_due_date(well) == [NOW]
        # All of them come again at once: the next that is due is opened in the same call.
        later = NOW + timedelta(days=1)
        assert open_due(now=later).invoices == 1
    assert invoices_by_due_date(well) == [NOW, later]


@pytest.mark.django_db
def test_subscription_that_cannot_be_opened_can_be_canceled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """B4: neither a person nor a decline is held up by it; resuming it names what is wrong."""
    ended, paused = make_subscription(next_due_at=NOW), make_subscription(next_due_at=NOW)
    Subscription.objects.update(time_zone=NO_SUCH_ZONE)
    with caplog.at_level(logging.CRITICAL):
        cancel(subscription=ended, reason="moved", actor="siti", now=NOW)
        pause(subscription=paused, reason="holiday", actor="siti", now=NOW)
    ended.refresh_from_db()
    assert (ended.state, ended.next_due_at) == ("canceled", None)
    assert NO_SUCH_ZONE in ended.open_error
    assert Event.objects.filter(kind="subscription.not_opened").count() == 2
    with pytest.raises(SubscriptionError, match=NO_SUCH_ZONE):
        resume(subscription=paused, reason="back", actor="siti", now=NOW)
