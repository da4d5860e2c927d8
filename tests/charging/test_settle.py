"""Evidence on its way in: repeats, late money, surplus, reversals, and two claims on one transaction."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from billing.charging.resolve import Resolution, ResolutionError, collect_held, release_card, resolve
from billing.charging.settle import Told, settle
from billing.charging.sweep import sweep
from billing.domain.attempts import Finding, Source, Verdict
from billing.models import Event, Evidence, Invoice, PaymentAttempt, Transition
from tests.conftest import SHORT
from tests.factories import NOTHING_TO_SEE, NOW, make_attempt, make_card, make_invoice, make_subscription, move_attempt

pytestmark = pytest.mark.django_db


def paid(attempt: PaymentAttempt, **changes: Any) -> Finding:
    told = {
        "amount_minor": attempt.amount_minor,
        "currency": attempt.currency,
        "store_id": attempt.account.store_id,
        "marker": attempt.marker,
        "transaction_id": f"transaction-{attempt.pk}",
        "order_id": f"order-{attempt.pk}",
        "reason": "success",
    }
    return Finding(Verdict.PAID, changes.pop("source", Source.ANSWER), **{**told, **changes})


def tell(attempt: PaymentAttempt, finding: Finding, **changes: Any) -> dict[str, int]:
    counts = settle([Told(attempt.pk, finding)], limits=SHORT, now=changes.pop("now", NOW), **changes)
    attempt.refresh_from_db()
    attempt.invoice.refresh_from_db()
    return counts


def test_evidence_that_is_told_again_changes_nothing() -> None:
    attempt = make_attempt()
    assert tell(attempt, paid(attempt)) == {"succeeded": 1}
    before = (Transition.objects.count(), Evidence.objects.count(), Event.objects.count())

    assert tell(attempt, paid(attempt)) == {}

    assert (Transition.objects.count(), Evidence.objects.count(), Event.objects.count()) == before


def test_a_batch_settles_each_attempt_by_its_own_evidence() -> None:
    good, bad, odd = make_attempt(), make_attempt(), make_attempt()
    told = [
        Told(good.pk, paid(good)),
        Told(bad.pk, Finding(Verdict.DECLINED, Source.ANSWER, reason="51", transaction_id="t-bad")),
        Told(odd.pk, Finding(Verdict.UNCLEAR, Source.ANSWER, reason="timeout")),
    ]
    assert settle(told, limits=SHORT, now=NOW) == {"succeeded": 1, "declined": 1, "unknown": 1}


def test_one_transaction_never_pays_two_invoices() -> None:
    first = make_attempt()
    second_invoice = make_invoice(make_card(first.payment_method.customer, is_default=False))
    second = make_attempt(second_invoice, second_invoice.payment_method)
    told = [Told(first.pk, paid(first, transaction_id="same")), Told(second.pk, paid(second, transaction_id="same"))]

    settle(told, limits=SHORT, now=NOW)

    states = sorted(PaymentAttempt.objects.filter(pk__in=[first.pk, second.pk]).values_list("state", flat=True))
    assert states == ["needs_human", "succeeded"]
    loser = PaymentAttempt.objects.get(pk__in=[first.pk, second.pk], state="needs_human")
    assert (loser.state_reason, loser.gateway_transaction_id) == ("transaction_id_claimed", None)


def test_the_sweeper_calls_a_lost_sender_unknown_and_never_arms_it_again() -> None:
    attempt = make_attempt()
    assert sweep(limits=SHORT, now=attempt.deadline_at - timedelta(seconds=1)) == 0
    assert sweep(limits=SHORT, now=attempt.deadline_at) == 1
    attempt.refresh_from_db()
    assert (attempt.state, attempt.state_reason) == ("unknown", "sender_lost")
    assert attempt.next_check_at == attempt.deadline_at


def test_an_answer_that_comes_after_the_sweeper_still_counts() -> None:
    attempt = make_attempt()
    sweep(limits=SHORT, now=attempt.deadline_at)
    tell(attempt, paid(attempt))
    assert (attempt.state, attempt.invoice.state) == ("succeeded", "paid")


def test_late_money_pays_an_invoice_that_was_given_up() -> None:
    attempt = make_attempt()
    subscription = make_subscription(attempt.payment_method)
    assert subscription.state == "active"
    tell(attempt, Finding(Verdict.DECLINED, Source.ANSWER, reason="51"))
    Invoice.objects.filter(pk=attempt.invoice_id).update(state="uncollectible", next_attempt_at=None, closed_at=NOW)

    tell(attempt, paid(attempt, source=Source.ORDER_LIST))

    assert (attempt.state, attempt.state_reason, attempt.invoice.state) == ("succeeded", "late_money", "paid")


def test_money_that_arrives_twice_is_surplus_told_once_and_proposed_for_refund() -> None:
    first = make_attempt()
    tell(first, Finding(Verdict.DECLINED, Source.ANSWER, reason="51"))
    second = make_attempt(first.invoice, first.payment_method)
    tell(second, paid(second))

    tell(first, paid(first, source=Source.ORDER_LIST))
    tell(first, paid(first, source=Source.TRANSACTION_QUERY))

    assert (first.state, second.state, first.invoice.state) == ("surplus", "succeeded", "paid")
    assert Event.objects.get(kind="attempt.surplus").payload["proposal"] == "refund"


def test_when_the_holder_ends_without_money_the_surplus_is_the_payment_in_the_same_settle() -> None:
    first = make_attempt()
    tell(first, Finding(Verdict.DECLINED, Source.ANSWER, reason="51"))
    holder = make_attempt(first.invoice, first.payment_method)
    tell(first, paid(first, source=Source.ORDER_LIST))
    assert first.state == "surplus"

    tell(holder, Finding(Verdict.DECLINED, Source.ANSWER, reason="51"))

    first.refresh_from_db()
    assert (first.state, holder.state, holder.invoice.state) == ("succeeded", "declined", "paid")


def test_a_reversal_opens_the_invoice_again_and_only_a_person_collects_it() -> None:
    attempt = make_attempt()
    tell(attempt, paid(attempt))
    tell(attempt, Finding(Verdict.REVERSED, Source.ORDER_LIST))

    invoice = attempt.invoice
    assert (attempt.state, invoice.state, invoice.hold, invoice.next_attempt_at) == (
        "reversed",
        "open",
        "reversed",
        None,
    )
    assert Event.objects.filter(kind="attempt.reversed", subject_id=attempt.pk).count() == 1
    collect_held(invoice=invoice, reason="the customer agreed", actor="siti", now=NOW)
    invoice.refresh_from_db()
    assert (invoice.hold, invoice.next_attempt_at) == (None, NOW)


def test_a_first_answer_of_reversed_is_unknown_until_it_has_aged() -> None:
    attempt = make_attempt()
    tell(attempt, Finding(Verdict.REVERSED, Source.ANSWER))
    assert attempt.state == "unknown"
    assert attempt.next_check_at == attempt.armed_at + SHORT.reversed_settles_after

    tell(attempt, Finding(Verdict.REVERSED, Source.ORDER_LIST), now=NOW + timedelta(seconds=5))
    assert attempt.state == "not_charged"
    assert attempt.invoice.next_attempt_at is not None


def test_what_cannot_be_stored_is_unknown_and_holds_up_nobody_else() -> None:
    good, odd = make_attempt(), make_attempt()
    told = [Told(odd.pk, paid(odd, transaction_id="nul\x00")), Told(good.pk, paid(good))]
    assert settle(told, limits=SHORT, now=NOW) == {"succeeded": 1, "unknown": 1}


def test_contradicting_evidence_is_an_alarm_that_pauses_the_card() -> None:
    attempt = make_attempt()
    tell(attempt, paid(attempt))
    tell(attempt, Finding(Verdict.DECLINED, Source.ORDER_LIST, reason="51"))

    attempt.payment_method.refresh_from_db()
    assert attempt.state == "succeeded"
    assert attempt.payment_method.held_reason == "declined_after_money"
    assert Event.objects.filter(kind="attempt.alarm").count() == 1


def with_a_person() -> PaymentAttempt:
    attempt = make_attempt()
    tell(attempt, Finding(Verdict.UNCLEAR, Source.ANSWER, reason="timeout"))
    tell(attempt, Finding(Verdict.ABSENT_AT_LAST, Source.ORDER_LIST, reason="absent_no_report"))
    assert attempt.state == "needs_human"
    return attempt


def test_a_released_card_is_charged_for_later_invoices_only() -> None:
    attempt = with_a_person()
    release_card(attempt=attempt, reason="the customer waits", actor="siti", now=NOW)
    later = make_attempt(make_invoice(attempt.payment_method), attempt.payment_method)
    assert later.state == "sending"
    with pytest.raises(ResolutionError, match="released already"):
        release_card(attempt=attempt, reason="again", actor="siti", now=NOW)


def test_a_case_is_told_once_with_the_invoices_that_it_holds_up() -> None:
    attempt = make_attempt()
    card = attempt.payment_method
    tell(attempt, Finding(Verdict.UNCLEAR, Source.ANSWER, reason="timeout"))
    due = make_invoice(card, due_at=NOW - timedelta(days=1))
    refused = make_invoice(card, next_attempt_at=NOW + timedelta(minutes=15), refusal="card_held", amount_minor=500)
    make_invoice(card, next_attempt_at=NOW + timedelta(days=3), tries=1)  # waits for its day
    make_invoice(make_card(card.customer, is_default=False))  # on another card
    for _ in range(2):
        tell(attempt, Finding(Verdict.ABSENT_AT_LAST, Source.ORDER_LIST, reason="absent_no_report"))
    tell(attempt, Finding(Verdict.CONTRADICTION, Source.ORDER_LIST, reason="two_candidate_orders"))

    payload = Event.objects.get(kind="attempt.needs_human").payload
    assert (payload["attempt"], payload["invoice"]) == (attempt.public_id, attempt.invoice.public_id)
    assert (payload["amount_minor"], payload["currency"], payload["holds_up_count"]) == (1990, "MYR", 2)
    assert [one["invoice"] for one in payload["holds_up"]] == [due.public_id, refused.public_id]
    assert [one["amount_minor"] for one in payload["holds_up"]] == [1990, 500]
    assert payload["holds_up"][0]["due_at"] == due.due_at.isoformat()


def test_money_that_a_person_overlooked_is_recorded_when_it_is_told_again() -> None:
    attempt = make_attempt()
    tell(attempt, Finding(Verdict.UNCLEAR, Source.ANSWER, reason="timeout"))
    tell(attempt, Finding(Verdict.ABSENT_AT_LAST, Source.ORDER_LIST, reason="absent_no_report"))
    seen = paid(attempt, source=Source.ORDER_LIST)
    tell(attempt, seen)
    assert attempt.state == "needs_human"
    said: dict[str, Any] = {"resolution": Resolution.NOT_CHARGED, "reason": "sure", "actor": "siti"}
    resolve(attempt=attempt, limits=SHORT, now=NOW, **said, **NOTHING_TO_SEE)

    tell(attempt, seen)
    assert (attempt.state, attempt.state_reason, attempt.invoice.state) == ("succeeded", "late_money", "paid")


@pytest.mark.django_db(transaction=True)
def test_two_settlements_at_once_of_one_attempt_move_it_once() -> None:
    attempt = make_attempt()
    finding = paid(attempt)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            settle([Told(attempt.pk, finding)], limits=SHORT, now=NOW)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert Transition.objects.filter(subject_type="attempt", to_state="succeeded").count() == 1
    assert Evidence.objects.count() == 1


def test_moves_along_the_whole_table_keep_their_evidence() -> None:
    attempt = move_attempt(make_attempt(), "unknown", "needs_human", "not_charged", "succeeded", "reversed")
    assert attempt.state == "reversed"


def test_when_the_holder_is_reversed_the_surplus_is_the_payment() -> None:
    first = make_attempt()
    tell(first, Finding(Verdict.DECLINED, Source.ANSWER, reason="51"))
    holder = make_attempt(first.invoice, first.payment_method)
    tell(holder, paid(holder))
    tell(first, paid(first, source=Source.ORDER_LIST))
    assert (first.state, holder.state) == ("surplus", "succeeded")

    tell(holder, Finding(Verdict.REVERSED, Source.ORDER_LIST))

    first.refresh_from_db()
    assert (first.state, holder.state) == ("succeeded", "reversed")
    assert (holder.invoice.state, holder.invoice.hold) == ("paid", None)


def test_a_paid_period_does_not_hide_another_that_is_still_declined() -> None:
    card = make_card()
    subscription = make_subscription(card, state="past_due")
    declined = make_invoice(card, subscription, tries=1, period_index=0, next_attempt_at=NOW + timedelta(days=3))
    attempt = make_attempt(make_invoice(card, subscription, period_index=1), card)
    tell(attempt, paid(attempt))
    subscription.refresh_from_db()
    assert subscription.state == "past_due"

    late = make_attempt(declined, card)
    tell(late, paid(late))
    subscription.refresh_from_db()
    assert subscription.state == "active"


def test_when_trying_ends_the_other_open_invoices_wait_for_a_person() -> None:
    card = make_card()
    subscription = make_subscription(card, period_index=2, next_due_at=NOW + timedelta(days=30))
    other = make_invoice(card, subscription, period_index=1)
    attempt = make_attempt(make_invoice(card, subscription, tries=3, first_tried_at=NOW - timedelta(days=14)), card)
    tell(attempt, Finding(Verdict.DECLINED, Source.ANSWER, reason="51"))

    subscription.refresh_from_db()
    other.refresh_from_db()
    assert (attempt.invoice.state, subscription.state, subscription.next_due_at) == ("uncollectible", "canceled", None)
    assert (other.hold, other.next_attempt_at) == ("subscription_canceled", None)


def test_when_trying_ends_a_period_that_was_due_and_not_opened_yet_is_owed_and_waits_too() -> None:
    card = make_card()
    subscription = make_subscription(card, period_index=1, periods_charged=1)
    attempt = make_attempt(make_invoice(card, subscription, tries=3, first_tried_at=NOW - timedelta(days=14)), card)
    tell(attempt, Finding(Verdict.DECLINED, Source.ANSWER, reason="51"), now=NOW + timedelta(minutes=3))

    subscription.refresh_from_db()
    unopened = Invoice.objects.get(subscription=subscription, period_index=1)
    assert (subscription.state, subscription.next_due_at, subscription.period_index) == ("canceled", None, 2)
    assert (unopened.due_at, unopened.state, unopened.hold) == (NOW, "open", "subscription_canceled")


def test_releasing_a_card_keeps_what_holds_it_for_another_reason() -> None:
    attempt = make_attempt()
    tell(attempt, Finding(Verdict.UNCLEAR, Source.ANSWER, reason="timeout"))
    tell(attempt, Finding(Verdict.ABSENT_AT_LAST, Source.ORDER_LIST, reason="absent_no_report"))
    type(attempt.payment_method).objects.update(held_at=NOW, held_reason="unexplained_order")
    release_card(attempt=attempt, reason="the customer waits", actor="siti", now=NOW)
    attempt.payment_method.refresh_from_db()
    assert attempt.payment_method.held_reason == "unexplained_order"


def test_an_answer_that_was_kept_does_not_pay_with_money_that_was_found_reversed_since() -> None:
    attempt = make_attempt()
    answer = paid(attempt)
    long_after = NOW + timedelta(hours=1)
    sweep(limits=SHORT, now=long_after)
    found = {"transaction_id": answer.transaction_id, "order_id": answer.order_id, "reason": "reversed"}
    tell(attempt, Finding(Verdict.REVERSED, Source.ORDER_LIST, **found), now=long_after)
    assert (attempt.state, attempt.invoice.state) == ("not_charged", "open")

    tell(attempt, answer, now=long_after + timedelta(minutes=1))

    assert (attempt.state, attempt.invoice.state) == ("not_charged", "open")
    alarm = Event.objects.get(kind="attempt.alarm", subject_id=attempt.pk)
    assert alarm.occasion == "paid_after_reversal"
    attempt.payment_method.refresh_from_db()
    assert attempt.payment_method.held_reason == "paid_after_reversal"
