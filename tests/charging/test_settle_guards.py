"""Each guard of settling where another would usually step in before it, or that is seen only from the side."""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from billing.charging.settle import Told, settle, settle_in_transaction
from billing.charging.sweep import sweep
from billing.domain.attempts import NOT_SENT_LIMIT, AttemptState, Finding, Source, Verdict
from billing.models import Event, Evidence, GatewayAccount, Invoice, PaymentAttempt, Subscription, Transition
from billing.models.bulk import settling
from tests.charging.held_rows import has_to_wait, wait_until_somebody_waits
from tests.charging.test_settle import paid, tell
from tests.conftest import SHORT
from tests.factories import (
    NOW,
    make_attempt,
    make_card,
    make_customer,
    make_invoice,
    make_plan,
    make_subscription,
    move_attempt,
)
from tests.promises.test_uniques import PATHS

pytestmark = pytest.mark.django_db

DECLINED = Finding(Verdict.DECLINED, Source.ANSWER, reason="51")
NOT_SENT = Finding(Verdict.NOT_SENT, Source.ANSWER, reason="connection_refused")
UNACKNOWLEDGED = Finding(Verdict.NOT_SENT, Source.COMMIT_UNACKNOWLEDGED, reason="commit_unacknowledged")
UNCLEAR = Finding(Verdict.UNCLEAR, Source.ANSWER, reason="timeout")
ABSENT = Finding(Verdict.ABSENT, Source.ORDER_LIST, reason="absent")


def sibling(attempt: PaymentAttempt) -> PaymentAttempt:
    """An attempt of another customer of the same account."""
    card = make_card(make_customer(attempt.account))
    return make_attempt(make_invoice(card), card)


# --- claims -------------------------------------------------------------------------------------------------


def test_one_order_never_explains_two_attempts() -> None:
    first = make_attempt()
    second = sibling(first)
    tell(first, paid(first, order_id="1001"))
    tell(second, paid(second, order_id="1001"))
    assert (second.state, second.state_reason) == ("needs_human", "transaction_id_claimed")


def test_a_transaction_that_was_claimed_before_is_known(caplog: pytest.LogCaptureFixture) -> None:
    first = make_attempt()
    second = sibling(first)
    tell(first, paid(first, transaction_id="2001", order_id=None))
    with caplog.at_level(logging.WARNING):
        tell(second, paid(second, transaction_id="2001", order_id=None))
    assert (second.state, second.state_reason) == ("needs_human", "transaction_id_claimed")
    assert caplog.records == [], "no constraint had to refuse it"


@pytest.mark.parametrize("same", [{"transaction_id": "2001"}, {"order_id": "1001"}])
def test_what_is_claimed_within_a_batch_is_claimed(same: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    first = make_attempt()
    second = sibling(first)
    with caplog.at_level(logging.WARNING):
        counts = settle([Told(one.pk, paid(one, **same)) for one in (first, second)], limits=SHORT, now=NOW)
    assert counts == {"succeeded": 1, "needs_human": 1}
    assert caplog.records == [], "no constraint had to refuse it"


def test_a_claim_that_came_in_between_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_attempt()
    second = sibling(first)
    tell(first, paid(first, transaction_id="2001"))
    claims, calls = settling.claims, iter(range(9))
    monkeypatch.setattr(settling, "claims", lambda *args, **kwargs: claims(*args, **kwargs) if next(calls) > 1 else {})

    tell(second, paid(second, transaction_id="2001"))

    assert (second.state, second.state_reason) == ("needs_human", "transaction_id_claimed")


@pytest.mark.parametrize("first", [OperationalError, ValueError])
def test_while_the_database_is_away_nothing_is_given_up(
    first: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is kept by whoever has it; the second time it may be the batch that failed otherwise."""
    attempt = make_attempt()
    errors = iter([first, OperationalError, OperationalError, OperationalError])

    def away(*_: object, **__: object) -> None:
        raise next(errors)

    with monkeypatch.context() as broken:
        broken.setattr(settling, "lock_for_settlement", away)
        with pytest.raises(OperationalError):
            tell(attempt, paid(attempt))
    assert tell(attempt, paid(attempt)) == {"succeeded": 1}


# --- evidence -----------------------------------------------------------------------------------------------


def test_the_same_words_with_another_verdict_are_news() -> None:
    attempt = make_attempt()
    tell(attempt, Finding(Verdict.UNCLEAR, Source.ANSWER, reason="told"))
    tell(attempt, Finding(Verdict.DECLINED, Source.ANSWER, reason="told"))
    assert (attempt.state, Evidence.objects.count()) == ("declined", 2)


def test_a_move_has_its_history_and_its_event() -> None:
    attempt = make_attempt()
    tell(attempt, paid(attempt))
    moved = Transition.objects.get(subject_type="attempt", subject_id=attempt.pk)
    assert (moved.from_state, moved.to_state, moved.evidence_id) == ("sending", "succeeded", attempt.last_evidence_id)
    assert Event.objects.filter(kind="invoice.paid", subject_id=attempt.invoice_id).exists()


def test_an_attempt_keeps_its_transaction_when_another_is_spoken_of() -> None:
    attempt = make_attempt()
    tell(attempt, Finding(Verdict.IN_PROCESS, Source.ANSWER, transaction_id="2001"))
    tell(attempt, Finding(Verdict.DECLINED, Source.ORDER_LIST, reason="51", transaction_id="2002"))
    assert (attempt.state, attempt.gateway_transaction_id) == ("declined", "2001")


def test_money_is_known_by_the_transaction_that_brought_it() -> None:
    attempt = make_attempt()
    tell(attempt, Finding(Verdict.IN_PROCESS, Source.ANSWER, transaction_id="2001"))
    tell(attempt, paid(attempt, source=Source.ORDER_LIST, transaction_id="2002"))
    assert (attempt.state, attempt.gateway_transaction_id) == ("succeeded", "2002")


# --- while nothing is decided -------------------------------------------------------------------------------


@pytest.mark.parametrize("state", sorted(set(AttemptState) - {AttemptState.UNKNOWN, AttemptState.IN_PROCESS}))
def test_while_nothing_is_decided_what_is_not_open_is_not_looked_at_again(
    state: AttemptState, caplog: pytest.LogCaptureFixture
) -> None:
    attempt = move_attempt(make_attempt(), *PATHS[state])
    with caplog.at_level(logging.WARNING):
        assert tell(attempt, ABSENT) == {}
    assert (attempt.state, attempt.next_check_at, attempt.checks_done) == (state, None, 0)
    assert caplog.records == []
    assert Evidence.objects.filter(attempt_id=attempt.pk, verdict="absent").exists(), "what was told is kept"


def test_while_nothing_is_decided_a_transaction_that_was_named_is_remembered() -> None:
    attempt = make_attempt()
    tell(attempt, UNCLEAR)
    tell(attempt, Finding(Verdict.IN_PROCESS, Source.ORDER_LIST, transaction_id="2001"))
    assert (attempt.state, attempt.gateway_transaction_id) == ("unknown", "2001")


@pytest.mark.parametrize(
    ("finding", "counts"),
    [
        (ABSENT, 1),
        (Finding(Verdict.IN_PROCESS, Source.ORDER_LIST), 1),
        (Finding(Verdict.UNCLEAR, Source.ORDER_LIST), 1),
        (Finding(Verdict.UNCLEAR, Source.TRANSACTION_QUERY), 0),
        (Finding(Verdict.UNCLEAR, Source.ANSWER), 0),
        (Finding(Verdict.PERSON_NOT_CHARGED, Source.ORDER_LIST), 0),
    ],
)
def test_while_nothing_is_decided_complete_reads_of_the_list_are_rungs(finding: Finding, counts: int) -> None:
    attempt = move_attempt(make_attempt(), "unknown", next_check_at=NOW)
    tell(attempt, finding)
    assert (attempt.state, attempt.checks_done) == ("unknown", counts)


def test_while_nothing_is_decided_it_is_asked_about_beyond_the_ladder() -> None:
    attempt = move_attempt(make_attempt(), "in_process", next_check_at=NOW, checks_done=len(SHORT.rungs))
    tell(attempt, Finding(Verdict.IN_PROCESS, Source.ORDER_LIST))
    assert attempt.next_check_at == NOW + SHORT.ladder[-1]


def test_a_card_that_is_held_keeps_its_first_reason() -> None:
    attempt = make_attempt()
    tell(attempt, Finding(Verdict.CONTRADICTION, Source.ORDER_LIST, reason="two_candidate_orders"))
    tell(attempt, paid(attempt, source=Source.ORDER_LIST))
    attempt.payment_method.refresh_from_db()
    assert Event.objects.filter(kind="attempt.alarm").exists()
    assert attempt.payment_method.held_reason == "two_candidate_orders"


# --- surplus and reversals ----------------------------------------------------------------------------------


def surplus_beside(holder_state: str) -> tuple[PaymentAttempt, PaymentAttempt]:
    """Late money, and the attempt that holds the place of the invoice meanwhile."""
    late = make_attempt()
    tell(late, DECLINED)
    holder = make_attempt(late.invoice, late.payment_method)
    tell(holder, paid(holder) if holder_state == "succeeded" else UNCLEAR)
    tell(late, paid(late, source=Source.ORDER_LIST))
    assert (late.state, holder.state) == ("surplus", holder_state)
    return late, holder


def test_surplus_stops_the_asking() -> None:
    late = make_attempt()
    tell(late, DECLINED)
    holder = make_attempt(late.invoice, late.payment_method)
    tell(holder, UNCLEAR)
    Invoice.objects.update(next_attempt_at=NOW)
    tell(late, paid(late, source=Source.ORDER_LIST))
    assert (late.state, late.invoice.next_attempt_at) == ("surplus", None)


def test_surplus_inherits_nothing_from_an_invoice_that_owes_nothing() -> None:
    late, holder = surplus_beside("unknown")
    Invoice.objects.update(state="void", closed_at=NOW)
    tell(holder, DECLINED)
    late.refresh_from_db()
    assert (late.state, holder.state, Invoice.objects.get().state) == ("surplus", "declined", "void")


def test_a_reversed_surplus_opens_no_paid_invoice() -> None:
    late, _ = surplus_beside("succeeded")
    tell(late, Finding(Verdict.REVERSED, Source.ORDER_LIST))
    assert (late.state, late.invoice.state, late.invoice.hold) == ("reversed", "paid", None)


# --- tries --------------------------------------------------------------------------------------------------


def test_the_days_of_trying_are_counted_from_the_first_try() -> None:
    attempt = make_attempt()
    later = NOW + timedelta(days=3)
    tell(attempt, DECLINED)
    second = make_attempt(attempt.invoice, attempt.payment_method, armed_at=later)
    tell(second, DECLINED, now=later)
    assert second.invoice.first_tried_at == attempt.armed_at
    assert second.invoice.next_attempt_at == attempt.armed_at + timedelta(days=7)


def test_what_was_not_sent_waits_longer_each_time() -> None:
    attempt = make_attempt()
    tell(attempt, NOT_SENT)
    assert attempt.invoice.next_attempt_at == NOW + timedelta(minutes=1)
    second = make_attempt(attempt.invoice, attempt.payment_method)
    tell(second, NOT_SENT)
    assert second.invoice.next_attempt_at == NOW + timedelta(minutes=5)


def test_what_was_not_acknowledged_is_tried_at_once_and_stops_no_account() -> None:
    attempt = make_attempt()
    GatewayAccount.objects.update(not_sent_in_a_row=NOT_SENT_LIMIT - 1)
    tell(attempt, UNACKNOWLEDGED)
    assert (attempt.state, attempt.invoice.next_attempt_at) == ("not_sent", NOW)
    account = GatewayAccount.objects.get()
    assert (account.stopped_at, account.not_sent_in_a_row) == (None, NOT_SENT_LIMIT - 1)


def test_an_account_is_stopped_once() -> None:
    attempt = make_attempt()
    GatewayAccount.objects.update(stopped_at=NOW, stopped_reason="siti: prices")
    tell(attempt, replace(NOT_SENT, stops_account=True), now=NOW + timedelta(minutes=1))
    account = GatewayAccount.objects.get()
    assert (account.stopped_at, account.stopped_reason) == (NOW, "siti: prices")
    assert not Event.objects.filter(kind="account.stopped").exists()


@pytest.mark.django_db(transaction=True)
def test_what_was_not_sent_is_counted_one_after_the_other() -> None:
    first = make_attempt()
    second = sibling(first)
    thread = in_a_thread(lambda: settle([Told(second.pk, NOT_SENT)], limits=SHORT, now=NOW))
    with transaction.atomic():
        settle_in_transaction([Told(first.pk, NOT_SENT)], limits=SHORT, now=NOW, actor="engine")
        thread.start()
        wait_until_somebody_waits()
    thread.join()
    assert GatewayAccount.objects.get().not_sent_in_a_row == 2


@pytest.mark.django_db(transaction=True)
def test_what_reached_the_gateway_sets_the_count_back_under_the_accounts_lock() -> None:
    attempt = make_attempt()
    GatewayAccount.objects.update(not_sent_in_a_row=3)
    with transaction.atomic():
        settle_in_transaction([Told(attempt.pk, UNCLEAR)], limits=SHORT, now=NOW, actor="engine")
    assert GatewayAccount.objects.get().not_sent_in_a_row == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("table", ["paymentmethod", "subscription", "invoice", "paymentattempt"])
def test_of_findings_told_at_once_one_waits_for_the_other(table: str) -> None:
    card = make_card()
    attempt = make_attempt(make_invoice(card, make_subscription(card, next_due_at=None)), card)
    touch = f"SELECT 1 FROM billing_{table} FOR NO KEY UPDATE"  # noqa: S608
    with transaction.atomic():
        settling.lock_for_settlement([attempt.pk], lock_accounts=False)
        assert has_to_wait(touch)
    assert not has_to_wait(touch)


def in_a_thread(act: Callable[[], object]) -> threading.Thread:
    def run() -> None:
        try:
            act()
        finally:
            connection.close()

    return threading.Thread(target=run)


@pytest.mark.parametrize("finding", [DECLINED, UNACKNOWLEDGED])
@pytest.mark.parametrize(
    "columns", [{"hold": "subscription_canceled"}, {"state": "void", "closed_at": NOW}], ids=["held", "void"]
)
def test_an_invoice_that_waits_for_a_person_or_is_closed_is_not_tried_again(
    finding: Finding, columns: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    attempt = make_attempt()
    Invoice.objects.update(**columns)
    with caplog.at_level(logging.WARNING):
        tell(attempt, finding)
    assert attempt.state in ("declined", "not_sent")
    assert attempt.invoice.next_attempt_at is None
    assert caplog.records == [], "no constraint had to refuse it"


# --- the subscription ---------------------------------------------------------------------------------------


def exhausted(subscription: Subscription, **columns: Any) -> PaymentAttempt:
    """The last try of an invoice of the subscription."""
    card = subscription.customer.payment_methods.get()
    tried = {"tries": 3, "first_tried_at": NOW - timedelta(days=14), **columns}
    return make_attempt(make_invoice(card, subscription, **tried), card)


def test_when_trying_ends_a_paused_subscription_stays_as_it_is() -> None:
    subscription = make_subscription(state="paused", next_due_at=None, period_index=1)
    tell(exhausted(subscription), DECLINED)
    subscription.refresh_from_db()
    assert (subscription.state, subscription.ended_at) == ("paused", None)


def test_a_trial_that_ends_while_its_subscription_is_given_up_has_an_unbroken_history() -> None:
    subscription = make_subscription(state="trialing", period_index=1)
    tell(exhausted(subscription), DECLINED)
    moves = Transition.objects.filter(subject_type="subscription").order_by("pk").values_list("from_state", "to_state")
    assert list(moves) == [("trialing", "active"), ("active", "canceled")]


@pytest.mark.parametrize(
    ("state", "charged", "open_too", "after"),
    [
        ("active", 2, False, "completed"),
        ("active", 2, True, "active"),
        ("active", 1, False, "active"),
        ("canceled", 2, False, "canceled"),
    ],
)
def test_a_subscription_is_completed_when_all_its_periods_were_opened_and_none_is_open(
    state: str, charged: int, open_too: bool, after: str
) -> None:
    card = make_card()
    plan = make_plan(card.account, repetitions=2)
    due: datetime | None = NOW + timedelta(days=1) if charged < 2 else None
    subscription = make_subscription(card, plan, state=state, period_index=2, periods_charged=charged, next_due_at=due)
    if open_too:
        make_invoice(card, subscription, period_index=1)
    attempt = make_attempt(make_invoice(card, subscription), card)
    tell(attempt, paid(attempt))
    subscription.refresh_from_db()
    assert (attempt.invoice.state, subscription.state) == ("paid", after)


def test_of_a_payment_and_a_decline_in_one_batch_the_decline_is_owed() -> None:
    card = make_card()
    subscription = make_subscription(card, state="past_due", period_index=3, next_due_at=NOW + timedelta(days=1))
    other = make_card(card.customer, is_default=False)
    bad = make_attempt(make_invoice(other, subscription, period_index=1), other)
    good = make_attempt(make_invoice(card, subscription, period_index=2, tries=1), card)
    settle([Told(bad.pk, DECLINED), Told(good.pk, paid(good))], limits=SHORT, now=NOW)
    subscription.refresh_from_db()
    assert subscription.state == "past_due"


def test_only_what_is_being_sent_is_swept() -> None:
    attempt = make_attempt()
    tell(attempt, DECLINED)
    assert sweep(limits=SHORT, now=attempt.deadline_at) == 0
    assert Evidence.objects.filter(source="sweeper").count() == 0
