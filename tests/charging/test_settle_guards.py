"""Each guard of settling where another would usually step in before it, or that is seen only from the side."""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from billing.charging.attempts.settle import AttemptFinding, settle
from billing.charging.collecting.sweep import sweep
from billing.domain.attempts import AttemptState, Finding, Source, Verdict
from billing.models import Event, Evidence, Invoice, PaymentAttempt, Subscription, Transition
from billing.models.bulk import settling
from billing.models.bulk.checking import LEASE
from tests.charging.held_rows import has_to_wait
from tests.charging.test_settle import paid, settle_one
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
LATER = NOW + SHORT.ladder[0]
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
    settle_one(first, paid(first, order_id="1001"))
    settle_one(second, paid(second, order_id="1001"))
    assert (second.state, second.state_reason) == ("needs_review", "transaction_id_claimed")


def test_a_transaction_that_was_claimed_before_is_known(caplog: pytest.LogCaptureFixture) -> None:
    first = make_attempt()
    second = sibling(first)
    settle_one(first, paid(first, transaction_id="2001", order_id=None))
    with caplog.at_level(logging.WARNING):
        settle_one(second, paid(second, transaction_id="2001", order_id=None))
    assert (second.state, second.state_reason) == ("needs_review", "transaction_id_claimed")
    assert caplog.records == [], "no constraint had to refuse it"


@pytest.mark.parametrize("same", [{"transaction_id": "2001"}, {"order_id": "1001"}])
def test_what_is_claimed_within_a_batch_is_claimed(same: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    first = make_attempt()
    second = sibling(first)
    with caplog.at_level(logging.WARNING):
        counts = settle(
            [AttemptFinding(one.marker, paid(one, **same)) for one in (first, second)], tuning=SHORT, now=NOW
        )
    assert counts == {"succeeded": 1, "needs_review": 1}
    assert caplog.records == [], "no constraint had to refuse it"


def test_claim_that_came_in_between_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_attempt()
    second = sibling(first)
    settle_one(first, paid(first, transaction_id="2001"))
    claims, calls = settling.claims, iter(range(9))
    monkeypatch.setattr(settling, "claims", lambda *args, **kwargs: claims(*args, **kwargs) if next(calls) > 1 else {})

    settle_one(second, paid(second, transaction_id="2001"))

    assert (second.state, second.state_reason) == ("needs_review", "transaction_id_claimed")


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
            settle_one(attempt, paid(attempt))
    assert settle_one(attempt, paid(attempt)) == {"succeeded": 1}


# --- evidence -----------------------------------------------------------------------------------------------


def test_the_same_words_with_another_verdict_are_news() -> None:
    attempt = make_attempt()
    settle_one(attempt, Finding(Verdict.UNCLEAR, Source.ANSWER, reason="told"))
    settle_one(attempt, Finding(Verdict.DECLINED, Source.ANSWER, reason="told"))
    assert (attempt.state, Evidence.objects.count()) == ("declined", 2)


def test_a_move_has_its_history_and_its_event() -> None:
    attempt = make_attempt()
    settle_one(attempt, paid(attempt))
    moved = Transition.objects.get(subject_type="attempt", subject_id=attempt.pk)
    assert (moved.from_state, moved.to_state, moved.evidence_id) == ("sending", "succeeded", attempt.last_evidence_id)
    assert Event.objects.filter(kind="invoice.paid", subject_id=attempt.invoice_id).exists()


def test_attempt_keeps_its_transaction_when_another_is_named() -> None:
    attempt = make_attempt()
    settle_one(attempt, Finding(Verdict.IN_PROCESS, Source.ANSWER, transaction_id="2001"))
    settle_one(attempt, Finding(Verdict.DECLINED, Source.ORDER_LIST, reason="51", transaction_id="2002"))
    assert (attempt.state, attempt.gateway_transaction_id) == ("declined", "2001")


def test_money_is_known_by_the_transaction_that_brought_it() -> None:
    attempt = make_attempt()
    settle_one(attempt, Finding(Verdict.IN_PROCESS, Source.ANSWER, transaction_id="2001"))
    settle_one(attempt, paid(attempt, source=Source.ORDER_LIST, transaction_id="2002"))
    assert (attempt.state, attempt.gateway_transaction_id) == ("succeeded", "2002")


# --- while nothing is decided -------------------------------------------------------------------------------


@pytest.mark.parametrize("state", sorted(set(AttemptState) - {AttemptState.UNKNOWN, AttemptState.IN_PROCESS}))
def test_while_undecided_a_closed_attempt_is_not_checked_again(
    state: AttemptState, caplog: pytest.LogCaptureFixture
) -> None:
    attempt = move_attempt(make_attempt(), *PATHS[state])
    with caplog.at_level(logging.WARNING):
        assert settle_one(attempt, replace(ABSENT, read_at=LATER)) == {}
    assert (attempt.state, attempt.next_check_at, attempt.checks_done) == (state, None, 0)
    assert caplog.records == []
    assert Evidence.objects.filter(attempt_id=attempt.pk, verdict="absent").exists(), "what was told is kept"


def test_while_undecided_a_named_transaction_is_remembered() -> None:
    attempt = make_attempt()
    settle_one(attempt, UNCLEAR)
    settle_one(attempt, Finding(Verdict.IN_PROCESS, Source.ORDER_LIST, transaction_id="2001"))
    assert (attempt.state, attempt.gateway_transaction_id) == ("unknown", "2001")


@pytest.mark.parametrize(
    ("finding", "counts"),
    [
        (replace(ABSENT, read_at=LATER), 1),
        (ABSENT, 0),
        (replace(ABSENT, read_at=NOW + SHORT.ladder[0] - timedelta(microseconds=1)), 0),
        (Finding(Verdict.IN_PROCESS, Source.ORDER_LIST, read_at=LATER), 1),
        (Finding(Verdict.UNCLEAR, Source.ORDER_LIST, read_at=LATER), 1),
        (Finding(Verdict.UNCLEAR, Source.TRANSACTION_QUERY, read_at=LATER), 0),
        (Finding(Verdict.UNCLEAR, Source.ANSWER, read_at=LATER), 0),
        (Finding(Verdict.PERSON_NOT_CHARGED, Source.ORDER_LIST, read_at=LATER), 0),
    ],
)
def test_while_undecided_complete_list_reads_count_as_rungs(finding: Finding, counts: int) -> None:
    """When their time has come: the first one is due the first rung after arming."""
    attempt = move_attempt(make_attempt(), "unknown", next_check_at=NOW)
    settle_one(attempt, finding)
    assert (attempt.state, attempt.checks_done) == ("unknown", counts)
    assert attempt.rung_at == (LATER if counts else None)


def test_while_undecided_a_hint_during_a_read_asks_for_another() -> None:
    hinted, left_alone = (
        move_attempt(make_attempt(), "unknown", next_check_at=LATER + LEASE - early)
        for early in (timedelta(seconds=1), timedelta(0))
    )
    for attempt in (hinted, left_alone):
        settle_one(attempt, replace(ABSENT, read_at=LATER))
    assert hinted.next_check_at == LATER + LEASE - timedelta(seconds=1)
    assert left_alone.next_check_at == max(NOW + SHORT.rungs[1], LATER + SHORT.rungs[0])


def test_while_undecided_checks_go_on_beyond_the_ladder() -> None:
    attempt = move_attempt(
        make_attempt(), "in_process", next_check_at=NOW + LEASE, checks_done=len(SHORT.rungs), rung_at=NOW
    )
    settle_one(attempt, Finding(Verdict.IN_PROCESS, Source.ORDER_LIST, read_at=LATER))
    assert attempt.checks_done == len(SHORT.rungs), "less than the ladder's last rung has passed"
    evening = NOW + SHORT.ladder[-1]
    PaymentAttempt.objects.filter(pk=attempt.pk).update(next_check_at=evening + LEASE)
    settle_one(
        attempt, Finding(Verdict.IN_PROCESS, Source.ORDER_LIST, read_at=evening, detail={"again": True}), now=evening
    )
    assert (attempt.rung_at, attempt.next_check_at) == (evening, evening + SHORT.ladder[-1])


def test_a_card_that_is_held_keeps_its_first_reason() -> None:
    attempt = make_attempt()
    settle_one(attempt, Finding(Verdict.CONTRADICTION, Source.ORDER_LIST, reason="two_candidate_orders"))
    settle_one(attempt, paid(attempt, source=Source.ORDER_LIST))
    attempt.payment_method.refresh_from_db()
    assert Event.objects.filter(kind="attempt.alarm").exists()
    assert attempt.payment_method.held_reason == "two_candidate_orders"


# --- surplus and reversals ----------------------------------------------------------------------------------


def surplus_beside(holder_state: str) -> tuple[PaymentAttempt, PaymentAttempt]:
    """Late money, and the attempt that holds the place of the invoice meanwhile."""
    late = make_attempt()
    settle_one(late, DECLINED)
    holder = make_attempt(late.invoice, late.payment_method)
    settle_one(holder, paid(holder) if holder_state == "succeeded" else UNCLEAR)
    settle_one(late, paid(late, source=Source.ORDER_LIST))
    assert (late.state, holder.state) == ("surplus", holder_state)
    return late, holder


def test_earlier_attempts_news_does_not_bring_the_read_nearer() -> None:
    late, holder = surplus_beside("unknown")
    settle_one(holder, Finding(Verdict.NOT_SENT, Source.ANSWER, reason="TOO_MANY_REQUEST_PER_SECOND"))
    needed = NOW + SHORT.deadline
    assert (holder.state, holder.invoice.look_from_at) == ("not_charged", needed)
    late.refresh_from_db()
    settle_one(late, Finding(Verdict.REVERSED, Source.ORDER_LIST, transaction_id=late.gateway_transaction_id))
    assert (late.state, late.invoice.look_from_at) == ("reversed", needed)


def test_overpayment_stops_collection() -> None:
    late = make_attempt()
    settle_one(late, DECLINED)
    holder = make_attempt(late.invoice, late.payment_method)
    settle_one(holder, UNCLEAR)
    Invoice.objects.update(next_attempt_at=NOW)
    settle_one(late, paid(late, source=Source.ORDER_LIST))
    assert (late.state, late.invoice.next_attempt_at) == ("surplus", None)


def test_overpayment_inherits_nothing_from_a_closed_invoice() -> None:
    late, holder = surplus_beside("unknown")
    Invoice.objects.update(state="void", closed_at=NOW)
    settle_one(holder, DECLINED)
    late.refresh_from_db()
    assert (late.state, holder.state, Invoice.objects.get().state) == ("surplus", "declined", "void")


def test_reversed_overpayment_reopens_no_paid_invoice() -> None:
    late, _ = surplus_beside("succeeded")
    settle_one(late, Finding(Verdict.REVERSED, Source.ORDER_LIST))
    assert (late.state, late.invoice.state, late.invoice.hold) == ("reversed", "paid", None)


# --- tries --------------------------------------------------------------------------------------------------


def test_the_days_of_trying_are_counted_from_the_first_try() -> None:
    attempt = make_attempt()
    later = NOW + timedelta(days=3)
    settle_one(attempt, DECLINED)
    second = make_attempt(attempt.invoice, attempt.payment_method, armed_at=later)
    settle_one(second, DECLINED, now=later)
    assert second.invoice.first_tried_at == attempt.armed_at
    assert second.invoice.next_attempt_at == attempt.armed_at + timedelta(days=7)


def test_what_was_not_sent_waits_longer_each_time() -> None:
    attempt = make_attempt()
    settle_one(attempt, NOT_SENT)
    assert attempt.invoice.next_attempt_at == NOW + timedelta(minutes=1)
    second = make_attempt(attempt.invoice, attempt.payment_method)
    settle_one(second, NOT_SENT)
    assert second.invoice.next_attempt_at == NOW + timedelta(minutes=5)


def test_unsent_attempt_does_not_count_as_always_refused() -> None:
    first = make_attempt()
    settle_one(first, NOT_SENT)
    second = make_attempt(first.invoice, first.payment_method)
    settle_one(second, NOT_SENT)
    third = make_attempt(first.invoice, first.payment_method)
    settle_one(third, replace(NOT_SENT, reason="VALIDATION_ERROR", kind="validation"))
    assert (third.state, third.invoice.hold) == ("not_sent", None)


def test_what_was_not_acknowledged_is_tried_at_once() -> None:
    attempt = make_attempt()
    settle_one(attempt, UNACKNOWLEDGED)
    assert (attempt.state, attempt.invoice.next_attempt_at) == ("not_sent", NOW)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("table", ["paymentmethod", "subscription", "invoice", "paymentattempt"])
def test_simultaneous_findings_wait_for_each_other(table: str) -> None:
    card = make_card()
    attempt = make_attempt(make_invoice(card, make_subscription(card, next_due_at=None)), card)
    touch = f"SELECT 1 FROM billing_{table} FOR NO KEY UPDATE"  # noqa: S608
    with transaction.atomic():
        settling.lock_for_settlement([attempt.pk])
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
def test_held_or_closed_invoice_is_not_tried_again(
    finding: Finding, columns: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    attempt = make_attempt()
    Invoice.objects.update(**columns)
    with caplog.at_level(logging.WARNING):
        settle_one(attempt, finding)
    assert attempt.state in ("declined", "not_sent")
    assert attempt.invoice.next_attempt_at is None
    assert caplog.records == [], "no constraint had to refuse it"


# --- the subscription ---------------------------------------------------------------------------------------


def exhausted(subscription: Subscription, **columns: Any) -> PaymentAttempt:
    """The last try of an invoice of the subscription."""
    card = subscription.customer.payment_methods.get()
    before = NOW - timedelta(days=14)
    tried = {"tries": 3, "first_tried_at": before, "due_at": before, **columns}
    return make_attempt(make_invoice(card, subscription, **tried), card)


def test_when_trying_ends_a_paused_subscription_stays_as_it_is() -> None:
    subscription = make_subscription(state="paused", next_due_at=None, period_index=1)
    settle_one(exhausted(subscription), DECLINED)
    subscription.refresh_from_db()
    assert (subscription.state, subscription.ended_at) == ("paused", None)


def test_trial_that_ends_with_its_subscription_has_whole_history() -> None:
    subscription = make_subscription(state="trialing", period_index=1)
    settle_one(exhausted(subscription), DECLINED)
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
def test_subscription_is_completed_when_no_period_is_left_open(
    state: str, charged: int, open_too: bool, after: str
) -> None:
    card = make_card()
    plan = make_plan(card.account, repetitions=2)
    due: datetime | None = NOW + timedelta(days=1) if charged < 2 else None
    subscription = make_subscription(card, plan, state=state, period_index=2, periods_charged=charged, next_due_at=due)
    if open_too:
        make_invoice(card, subscription, period_index=1)
    attempt = make_attempt(make_invoice(card, subscription), card)
    settle_one(attempt, paid(attempt))
    subscription.refresh_from_db()
    assert (attempt.invoice.state, subscription.state) == ("paid", after)


def test_decline_counts_when_settled_in_one_batch_with_a_payment() -> None:
    card = make_card()
    subscription = make_subscription(card, state="past_due", period_index=3, next_due_at=NOW + timedelta(days=1))
    other = make_card(card.customer, is_default=False)
    bad = make_attempt(make_invoice(other, subscription, period_index=1), other)
    good = make_attempt(make_invoice(card, subscription, period_index=2, tries=1), card)
    settle([AttemptFinding(bad.marker, DECLINED), AttemptFinding(good.marker, paid(good))], tuning=SHORT, now=NOW)
    subscription.refresh_from_db()
    assert subscription.state == "past_due"


def test_only_what_is_being_sent_is_swept() -> None:
    attempt = make_attempt()
    settle_one(attempt, DECLINED)
    assert sweep(tuning=SHORT, now=attempt.deadline_at) == 0
    assert Evidence.objects.filter(source="sweeper").count() == 0
