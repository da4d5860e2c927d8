"""Evidence on its way in: repeats, late money, surplus, reversals, and two claims on one transaction."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from billing.charging.attempts.settle import Asked, AttemptFinding, settle
from billing.charging.cases.resolve import Resolution, ResolutionError, collect_held, release_card, resolve
from billing.charging.collecting.sweep import sweep
from billing.charging.reading.orphans import match_orphans
from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.decisions import Decision
from billing.models import Event, Evidence, GatewayTransaction, Invoice, OrphanAnswer, PaymentAttempt, Transition
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


def settle_one(attempt: PaymentAttempt, finding: Finding, **changes: Any) -> dict[str, int]:
    counts = settle([AttemptFinding(attempt.marker, finding)], tuning=SHORT, now=changes.pop("now", NOW), **changes)
    attempt.refresh_from_db()
    attempt.invoice.refresh_from_db()
    return counts


def test_repeated_evidence_changes_nothing() -> None:
    attempt = make_attempt()
    assert settle_one(attempt, paid(attempt)) == {"succeeded": 1}
    before = (Transition.objects.count(), Evidence.objects.count(), Event.objects.count())

    assert settle_one(attempt, paid(attempt)) == {}

    assert (Transition.objects.count(), Evidence.objects.count(), Event.objects.count()) == before


def test_a_batch_settles_each_attempt_by_its_own_evidence() -> None:
    good, bad, odd = make_attempt(), make_attempt(), make_attempt()
    told = [
        AttemptFinding(good.marker, paid(good)),
        AttemptFinding(bad.marker, Finding(Verdict.DECLINED, Source.ANSWER, reason="51", transaction_id="t-bad")),
        AttemptFinding(odd.marker, Finding(Verdict.UNCLEAR, Source.ANSWER, reason="timeout")),
    ]
    assert settle(told, tuning=SHORT, now=NOW) == {"succeeded": 1, "declined": 1, "unknown": 1}


def test_one_transaction_never_pays_two_invoices() -> None:
    first = make_attempt()
    second_invoice = make_invoice(make_card(first.payment_method.customer, is_default=False))
    second = make_attempt(second_invoice, second_invoice.payment_method)
    told = [
        AttemptFinding(first.marker, paid(first, transaction_id="same")),
        AttemptFinding(second.marker, paid(second, transaction_id="same")),
    ]

    settle(told, tuning=SHORT, now=NOW)

    states = sorted(PaymentAttempt.objects.filter(pk__in=[first.pk, second.pk]).values_list("state", flat=True))
    assert states == ["needs_review", "succeeded"]
    loser = PaymentAttempt.objects.get(pk__in=[first.pk, second.pk], state="needs_review")
    assert (loser.state_reason, loser.gateway_transaction_id) == ("transaction_id_claimed", None)


def test_sweeper_calls_a_lost_sender_unknown_and_never_arms_it() -> None:
    attempt = make_attempt()
    assert sweep(tuning=SHORT, now=attempt.deadline_at - timedelta(seconds=1)) == 0
    assert sweep(tuning=SHORT, now=attempt.deadline_at) == 1
    attempt.refresh_from_db()
    assert (attempt.state, attempt.state_reason) == ("unknown", "sender_lost")
    assert attempt.next_check_at == attempt.deadline_at


def test_an_answer_that_comes_after_the_sweeper_still_counts() -> None:
    attempt = make_attempt()
    sweep(tuning=SHORT, now=attempt.deadline_at)
    settle_one(attempt, paid(attempt))
    assert (attempt.state, attempt.invoice.state) == ("succeeded", "paid")


def test_late_money_pays_an_invoice_that_was_given_up() -> None:
    attempt = make_attempt()
    subscription = make_subscription(attempt.payment_method)
    assert subscription.state == "active"
    settle_one(attempt, Finding(Verdict.DECLINED, Source.ANSWER, reason="51"))
    Invoice.objects.filter(pk=attempt.invoice_id).update(state="uncollectible", next_attempt_at=None, closed_at=NOW)

    settle_one(attempt, paid(attempt, source=Source.ORDER_LIST))

    assert (attempt.state, attempt.state_reason, attempt.invoice.state) == ("succeeded", "late_money", "paid")


def test_second_payment_is_an_overpayment_and_alerts_once() -> None:
    first = make_attempt()
    settle_one(first, Finding(Verdict.DECLINED, Source.ANSWER, reason="51"))
    second = make_attempt(first.invoice, first.payment_method)
    settle_one(second, paid(second))

    settle_one(first, paid(first, source=Source.ORDER_LIST))
    settle_one(first, paid(first, source=Source.TRANSACTION_QUERY))

    assert (first.state, second.state, first.invoice.state) == ("surplus", "succeeded", "paid")
    assert Event.objects.get(kind="attempt.surplus").payload["proposal"] == "refund"


def test_overpayment_pays_in_the_settle_that_ends_the_holder() -> None:
    first = make_attempt()
    settle_one(first, Finding(Verdict.DECLINED, Source.ANSWER, reason="51"))
    holder = make_attempt(first.invoice, first.payment_method)
    settle_one(first, paid(first, source=Source.ORDER_LIST))
    assert first.state == "surplus"

    settle_one(holder, Finding(Verdict.DECLINED, Source.ANSWER, reason="51"))

    first.refresh_from_db()
    assert (first.state, holder.state, holder.invoice.state) == ("succeeded", "declined", "paid")


def test_reversal_opens_the_invoice_again_and_holds_it() -> None:
    attempt = make_attempt()
    settle_one(attempt, paid(attempt))
    settle_one(attempt, Finding(Verdict.REVERSED, Source.ORDER_LIST))

    invoice = attempt.invoice
    assert (attempt.state, invoice.state, invoice.hold, invoice.next_attempt_at) == (
        "reversed",
        "open",
        "reversed",
        None,
    )
    assert Event.objects.filter(kind="attempt.reversed", subject_id=attempt.pk).count() == 1
    collect_held(invoice=invoice, decision=Decision("siti", "the customer agreed"), now=NOW)
    invoice.refresh_from_db()
    assert (invoice.hold, invoice.next_attempt_at) == (None, NOW)


def test_a_first_answer_of_reversed_is_unknown_until_it_has_aged() -> None:
    attempt = make_attempt()
    settle_one(attempt, Finding(Verdict.REVERSED, Source.ANSWER))
    assert attempt.state == "unknown"
    assert attempt.next_check_at == attempt.armed_at + SHORT.reversed_settles_after

    settle_one(attempt, Finding(Verdict.REVERSED, Source.ORDER_LIST), now=NOW + timedelta(seconds=5))
    assert attempt.state == "not_charged"
    assert attempt.invoice.next_attempt_at is not None


def test_answer_that_cannot_be_stored_is_unknown_and_blocks_none() -> None:
    good, odd = make_attempt(), make_attempt()
    told = [AttemptFinding(odd.marker, paid(odd, transaction_id="nul\x00")), AttemptFinding(good.marker, paid(good))]
    assert settle(told, tuning=SHORT, now=NOW) == {"succeeded": 1, "unknown": 1}


def test_answer_that_cannot_be_stored_is_kept_and_settled_later() -> None:
    """PostgreSQL stores no NUL in a text; the payment counts all the same."""
    odd = make_attempt()
    asked = Asked(
        odd.account_id,
        odd.request_nonce,
        odd.gateway_customer_id,
        odd.amount_minor,
        odd.currency,
        odd.title,
        odd.description,
    )
    found = AttemptFinding(odd.marker, paid(odd, transaction_id="2001\x00"), asked)
    assert settle([found], tuning=SHORT, now=NOW) == {"unknown": 1}
    assert OrphanAnswer.objects.get().transaction_id == "2001"

    assert match_orphans(tuning=SHORT, now=NOW) == 1
    odd.refresh_from_db()
    assert (odd.state, odd.gateway_transaction_id) == ("succeeded", "2001")
    assert match_orphans(tuning=SHORT, now=NOW) == 0


def test_contradicting_evidence_is_an_alarm_that_pauses_the_card() -> None:
    attempt = make_attempt()
    settle_one(attempt, paid(attempt))
    settle_one(attempt, Finding(Verdict.DECLINED, Source.ORDER_LIST, reason="51"))

    attempt.payment_method.refresh_from_db()
    assert attempt.state == "succeeded"
    assert attempt.payment_method.held_reason == "declined_after_money"
    assert Event.objects.filter(kind="attempt.alarm").count() == 1


def attempt_in_review() -> PaymentAttempt:
    attempt = make_attempt()
    settle_one(attempt, Finding(Verdict.UNCLEAR, Source.ANSWER, reason="timeout"))
    settle_one(attempt, Finding(Verdict.ABSENT_AT_LAST, Source.ORDER_LIST, reason="absent_no_report"))
    assert attempt.state == "needs_review"
    return attempt


def test_a_released_card_is_charged_for_later_invoices_only() -> None:
    attempt = attempt_in_review()
    release_card(attempt=attempt, decision=Decision("siti", "the customer waits"), now=NOW)
    later = make_attempt(make_invoice(attempt.payment_method), attempt.payment_method)
    assert later.state == "sending"
    with pytest.raises(ResolutionError, match="already released"):
        release_card(attempt=attempt, decision=Decision("siti", "again"), now=NOW)


def test_case_is_alerted_once_with_the_invoices_it_blocks() -> None:
    attempt = make_attempt()
    card = attempt.payment_method
    settle_one(attempt, Finding(Verdict.UNCLEAR, Source.ANSWER, reason="timeout"))
    due = make_invoice(card, due_at=NOW - timedelta(days=1))
    refused = make_invoice(card, next_attempt_at=NOW + timedelta(minutes=15), refusal="card_held", amount_minor=500)
    make_invoice(card, next_attempt_at=NOW + timedelta(days=3), tries=1)  # waits for its day
    make_invoice(make_card(card.customer, is_default=False))  # on another card
    for _ in range(2):
        settle_one(attempt, Finding(Verdict.ABSENT_AT_LAST, Source.ORDER_LIST, reason="absent_no_report"))
    settle_one(attempt, Finding(Verdict.CONTRADICTION, Source.ORDER_LIST, reason="two_candidate_orders"))

    payload = Event.objects.get(kind="attempt.needs_review").payload
    assert (payload["attempt"], payload["invoice"]) == (attempt.public_id, attempt.invoice.public_id)
    assert (payload["amount_minor"], payload["currency"], payload["holds_up_count"]) == (1990, "MYR", 2)
    assert [one["invoice"] for one in payload["holds_up"]] == [due.public_id, refused.public_id]
    assert [one["amount_minor"] for one in payload["holds_up"]] == [1990, 500]
    assert payload["holds_up"][0]["due_at"] == due.due_at.isoformat()


def test_money_that_a_decision_denied_is_recorded_when_seen() -> None:
    attempt = make_attempt()
    settle_one(attempt, Finding(Verdict.UNCLEAR, Source.ANSWER, reason="timeout"))
    settle_one(attempt, Finding(Verdict.ABSENT_AT_LAST, Source.ORDER_LIST, reason="absent_no_report"))
    seen = paid(attempt, source=Source.ORDER_LIST)
    settle_one(attempt, seen)
    assert attempt.state == "needs_review"
    said: dict[str, Any] = {"resolution": Resolution.NOT_CHARGED, "decision": Decision("siti", "sure")}
    resolve(attempt=attempt, tuning=SHORT, now=NOW, **said, **NOTHING_TO_SEE)

    settle_one(attempt, seen)
    assert (attempt.state, attempt.state_reason, attempt.invoice.state) == ("succeeded", "late_money", "paid")


@pytest.mark.django_db(transaction=True)
def test_two_settlements_at_once_of_one_attempt_move_it_once() -> None:
    attempt = make_attempt()
    finding = paid(attempt)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            settle([AttemptFinding(attempt.marker, finding)], tuning=SHORT, now=NOW)
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
    attempt = move_attempt(make_attempt(), "unknown", "needs_review", "not_charged", "succeeded", "reversed")
    assert attempt.state == "reversed"


def test_overpayment_pays_when_the_holder_is_reversed() -> None:
    first = make_attempt()
    settle_one(first, Finding(Verdict.DECLINED, Source.ANSWER, reason="51"))
    holder = make_attempt(first.invoice, first.payment_method)
    settle_one(holder, paid(holder))
    settle_one(first, paid(first, source=Source.ORDER_LIST))
    assert (first.state, holder.state) == ("surplus", "succeeded")

    settle_one(holder, Finding(Verdict.REVERSED, Source.ORDER_LIST))

    first.refresh_from_db()
    assert (first.state, holder.state) == ("succeeded", "reversed")
    assert (holder.invoice.state, holder.invoice.hold) == ("paid", None)


def test_paid_period_does_not_hide_another_that_is_declined() -> None:
    card = make_card()
    subscription = make_subscription(card, state="past_due")
    declined = make_invoice(card, subscription, tries=1, period_index=0, next_attempt_at=NOW + timedelta(days=3))
    attempt = make_attempt(make_invoice(card, subscription, period_index=1), card)
    settle_one(attempt, paid(attempt))
    subscription.refresh_from_db()
    assert subscription.state == "past_due"

    late = make_attempt(declined, card)
    settle_one(late, paid(late))
    subscription.refresh_from_db()
    assert subscription.state == "active"


def test_other_open_invoices_are_held_when_retries_end() -> None:
    card = make_card()
    subscription = make_subscription(card, period_index=2, next_due_at=NOW + timedelta(days=30))
    other = make_invoice(card, subscription, period_index=1)
    attempt = make_attempt(make_invoice(card, subscription, tries=3, first_tried_at=NOW - timedelta(days=14)), card)
    settle_one(attempt, Finding(Verdict.DECLINED, Source.ANSWER, reason="51"))

    subscription.refresh_from_db()
    other.refresh_from_db()
    assert (attempt.invoice.state, subscription.state, subscription.next_due_at) == ("uncollectible", "canceled", None)
    assert (other.hold, other.next_attempt_at) == ("subscription_canceled", None)


def test_due_period_not_opened_yet_is_held_when_retries_end() -> None:
    card = make_card()
    subscription = make_subscription(card, period_index=1, periods_charged=1)
    first_tried_at = NOW - timedelta(days=14)
    invoice = make_invoice(card, subscription, tries=3, due_at=first_tried_at, first_tried_at=first_tried_at)
    attempt = make_attempt(invoice, card)
    settle_one(attempt, Finding(Verdict.DECLINED, Source.ANSWER, reason="51"), now=NOW + timedelta(minutes=3))

    subscription.refresh_from_db()
    unopened = Invoice.objects.get(subscription=subscription, period_index=1)
    assert (subscription.state, subscription.next_due_at, subscription.period_index) == ("canceled", None, 2)
    assert (unopened.due_at, unopened.state, unopened.hold) == (NOW, "open", "subscription_canceled")


def test_releasing_a_card_keeps_what_holds_it_for_another_reason() -> None:
    attempt = make_attempt()
    settle_one(attempt, Finding(Verdict.UNCLEAR, Source.ANSWER, reason="timeout"))
    settle_one(attempt, Finding(Verdict.ABSENT_AT_LAST, Source.ORDER_LIST, reason="absent_no_report"))
    type(attempt.payment_method).objects.update(held_at=NOW, held_reason="unexplained_order")
    release_card(attempt=attempt, decision=Decision("siti", "the customer waits"), now=NOW)
    attempt.payment_method.refresh_from_db()
    assert attempt.payment_method.held_reason == "unexplained_order"


@pytest.mark.parametrize("states", [(), ("unknown",)])
def test_answer_does_not_pay_with_money_seen_reversed_before(states: tuple[str, ...]) -> None:
    attempt = move_attempt(make_attempt(), *states)
    before, answer = attempt.state, paid(attempt)
    GatewayTransaction.objects.create(
        account=attempt.account, gateway_transaction_id=answer.transaction_id, status="REVERSED", amount_minor=1990,
        currency="MYR", content={}, words="", gateway_order_id="", first_seen_at=NOW, last_seen_at=NOW,
    )  # fmt: skip
    settle_one(attempt, answer, now=NOW + timedelta(minutes=1))
    assert (attempt.state, attempt.invoice.state) == (before, "open")
    assert Event.objects.get(kind="attempt.alarm", subject_id=attempt.pk).occasion == "paid_after_reversal"


def test_kept_answer_does_not_pay_with_money_reversed_since() -> None:
    attempt = make_attempt()
    answer = paid(attempt)
    long_after = NOW + timedelta(hours=1)
    sweep(tuning=SHORT, now=long_after)
    found = {"transaction_id": answer.transaction_id, "order_id": answer.order_id, "reason": "reversed"}
    settle_one(attempt, Finding(Verdict.REVERSED, Source.ORDER_LIST, **found), now=long_after)
    assert (attempt.state, attempt.invoice.state) == ("not_charged", "open")

    settle_one(attempt, answer, now=long_after + timedelta(minutes=1))

    assert (attempt.state, attempt.invoice.state) == ("not_charged", "open")
    alarm = Event.objects.get(kind="attempt.alarm", subject_id=attempt.pk)
    assert alarm.occasion == "paid_after_reversal"
    attempt.payment_method.refresh_from_db()
    assert attempt.payment_method.held_reason == "paid_after_reversal"
