"""Each invariant, broken by plain SQL with every constraint and trigger asleep: the audit finds it, and it alone."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from billing.accounts.gateway_accounts import start_account, start_installation, stop_account, stop_installation
from billing.audit.invariants import INVARIANTS, Violation, violations
from billing.charging.cases.resolve import collect_held, release_card
from billing.charging.collecting.expire import expire_unpaid
from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.decisions import Decision
from billing.domain.doubts import Doubt
from billing.models import Event, Invoice, PaymentAttempt, PaymentMethod, Subscription, Transition
from billing.notifying.publish import publish
from billing.operating import quarantine
from billing.operating.troubles import note
from billing.subscriptions import lifecycle
from billing.subscriptions.lifecycle import cancel, pause, resume
from tests.audit.books import Books
from tests.conftest import SHORT
from tests.factories import make_evidence, make_found_payment
from tests.promises.attacks import make_gateway_order

pytestmark = pytest.mark.django_db

BROKEN: set[str] = set()


def breaks(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Notes which invariant the decorated test breaks."""
    BROKEN.add(name)
    return lambda test: test


def asleep(query: str, parameters: list[Any] | None = None) -> None:
    """Runs a statement with triggers and foreign keys asleep."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(query, parameters)
        cursor.execute("SET LOCAL session_replication_role = origin")


def without(constraint: str, table: str = "billing_paymentattempt", *, index: bool = False) -> None:
    """Drops a constraint, or a unique index with a condition, until the test's transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"DROP INDEX {constraint}" if index else f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")


def audit(books: Books) -> list[Violation]:
    """What the audit finds but for what the test had to drop."""
    found = violations(now=books.now, tuning=SHORT)
    return [one for one in found if one.invariant != "catalogue"]


def only(books: Books) -> tuple[str, str, str]:
    (one,) = audit(books)
    return one.invariant, one.subject, one.text


# --- money ------------------------------------------------------------------------------------------------


@breaks("S1")
def test_s1_an_invoice_that_was_paid_twice(books: Books) -> None:
    first = books.decline(books.armed())
    cancel(subscription=first.invoice.subscription, reason="moved", actor="siti", now=books.now)
    collect_held(invoice=first.invoice, decision=Decision("siti", "still owed"), now=books.wait(days=3))
    (second,) = books.arm()
    books.pay(second)
    assert audit(books) == []
    books.pay(first, Source.ORDER_LIST)
    assert first.state == "surplus"
    assert only(books) == ("S1", first.invoice.public_id, "took money 2 times, and no more than one may stay.")


def test_s1_a_second_success_that_only_the_order_list_shows(books: Books) -> None:
    attempt = books.pay(books.armed())
    for number in (1, 2):
        make_gateway_order(attempt, gateway_order_id=f"100{number}")
    assert [(one.invariant, one.subject) for one in audit(books)] == [("S1", attempt.invoice.public_id)]


@breaks("S2")
def test_s2_a_success_whose_evidence_is_of_another_amount(books: Books) -> None:
    attempt = books.pay(books.armed())
    asleep("UPDATE billing_evidence SET content = jsonb_set(content, '{amount_minor}', '1') WHERE verdict = 'paid'")
    invariant, subject, text = only(books)
    assert (invariant, subject) == ("S2", attempt.public_id)
    assert (
        text == f"is succeeded, and no evidence says that transaction {attempt.gateway_transaction_id} took its amount."
    )


def test_s2_a_success_whose_invoice_is_open(books: Books) -> None:
    attempt = books.pay(books.armed())
    asleep("UPDATE billing_invoice SET state = 'open', closed_at = NULL")
    assert only(books) == ("S2", attempt.public_id, f"succeeded, and its invoice {attempt.invoice.public_id} is open.")


def test_s2_a_paid_invoice_without_a_success(books: Books) -> None:
    invoice = books.armed().invoice
    books.decline(invoice.attempts.get())
    asleep("UPDATE billing_invoice SET state = 'paid', next_attempt_at = NULL, closed_at = %s", [books.now])
    assert only(books) == (
        "S2",
        invoice.public_id,
        "is paid, 0 of its attempts succeeded, and it has 0 payments from elsewhere.",
    )


@breaks("S6")
def test_s6_one_transaction_for_two_attempts(books: Books) -> None:
    first, second = books.pay(books.armed()), books.armed()
    without("a_transaction_explains_one_attempt")
    asleep("UPDATE billing_paymentattempt SET gateway_transaction_id = %s", [first.gateway_transaction_id])
    text = f"carries transaction {first.gateway_transaction_id}, and so does {first.public_id}."
    assert only(books) == ("S6", second.public_id, text)


def test_s6_an_order_put_down_to_another_attempt(books: Books) -> None:
    first, second = books.pay(books.armed()), books.armed()
    make_gateway_order(second, gateway_transaction_id=first.gateway_transaction_id, status="FAILED")
    assert [(one.invariant, one.subject) for one in audit(books)] == [("S6", first.public_id)]


@breaks("S10")
def test_s10_a_decline_whose_money_the_gateway_has(books: Books) -> None:
    attempt = books.decline(books.armed())
    make_gateway_order(attempt)
    assert only(books) == ("S10", attempt.public_id, "is declined, and the gateway has its order 1001 as SUCCESS.")


def test_s10_payment_seen_before_its_requested_reversal_is_fine(books: Books) -> None:
    attempt = books.pay(books.armed())
    order = make_gateway_order(attempt)
    order.last_seen_at = books.now
    order.save()
    books.give_back(attempt, reverse=True)
    assert audit(books) == []
    order.last_seen_at = books.wait(minutes=1)
    order.save()
    assert only(books) == ("S10", attempt.public_id, "is reversed, and the gateway has its order 1001 as SUCCESS.")


def test_s10_unexplained_paid_order_without_an_alert(books: Books) -> None:
    attempt = books.pay(books.armed())
    order = make_gateway_order(attempt)
    order.attempt = None
    order.save()
    card = attempt.payment_method.public_id
    text = "has order 1001 over 1990 MYR, which took money, explains no attempt, and raised no alarm."
    assert only(books) == ("S10", card, text)
    order.in_baseline = True
    order.save()
    assert audit(books) == []


def test_s10_a_payment_of_a_report_that_nobody_has_decided_about(books: Books) -> None:
    attempt = books.pay(books.armed())
    payment = make_found_payment(attempt.account)
    assert only(books) == ("S10", "2001", "took 1990 MYR at the gateway, and no attempt explains it.")
    payment.decided_at, payment.decided_by, payment.decided_reason = books.now, "siti", "the other shop's"
    payment.save()
    assert audit(books) == []


# --- attempts ---------------------------------------------------------------------------------------------


@breaks("S3")
def test_s3_an_attempt_that_left_sending_without_evidence(books: Books) -> None:
    attempt = books.lose(books.armed())
    asleep("DELETE FROM billing_evidence")
    assert only(books) == ("S3", attempt.public_id, "left sending for unknown without evidence about it.")


def test_s3_two_answers_to_one_request(books: Books) -> None:
    attempt = books.pay(books.armed())
    make_evidence(attempt, verdict="unclear")
    assert only(books) == ("S3", attempt.public_id, "has 2 answers to its one request.")


def test_s3_an_attempt_that_was_never_armed(books: Books) -> None:
    attempt = books.armed()
    asleep("DELETE FROM billing_transition WHERE subject_type = 'attempt'")
    assert only(books) == ("S3", attempt.public_id, "was armed 0 times by its history.")


def rearm(books: Books, attempt: PaymentAttempt, **changes: Any) -> PaymentAttempt:
    """Arms the invoice of the attempt once more, past everything that forbids it."""
    Invoice.objects.filter(pk=attempt.invoice_id).update(
        next_attempt_at=books.now, state="open", closed_at=None, look_from_at=None
    )
    asleep(
        "UPDATE billing_paymentattempt SET state = 'declined', released_at = NULL WHERE id = %s",
        [attempt.pk],
    )
    (again,) = books.arm()
    state = changes.pop("state")
    asleep("UPDATE billing_paymentattempt SET state = %s WHERE id = %s", [state, attempt.pk])
    return again


@breaks("S4")
def test_s4_an_attempt_armed_while_another_held_the_place(books: Books) -> None:
    first = books.lose(books.armed())
    books.wait(minutes=1)
    PaymentAttempt.objects.filter(pk=first.pk).update(next_check_at=None)
    without("one_attempt_holds_the_place", index=True)
    without("one_unresolved_attempt_per_card", index=True)
    second = rearm(books, first, state="unknown")
    books.tell(first, Finding(Verdict.DECLINED, Source.ORDER_LIST, reason="9010"))
    books.decline(second)
    found = audit(books)
    assert [(one.invariant, one.subject) for one in found] == [("S4", second.public_id), ("S5", second.public_id)]
    assert (
        found[0].text == f"was armed for invoice {first.invoice.public_id} while attempt {first.public_id} was unknown."
    )


def test_s4_a_paid_invoice_that_was_armed_again(books: Books) -> None:
    first = books.pay(books.armed())
    books.wait(days=1)
    without("one_attempt_holds_the_place", index=True)
    Subscription.objects.update(next_due_at=None)
    again = rearm(books, first, state="succeeded")
    books.decline(again)
    asleep("UPDATE billing_invoice SET state = 'paid', next_attempt_at = NULL, closed_at = %s", [books.now])
    assert ("S4", again.public_id) in [(one.invariant, one.subject) for one in audit(books)]


@breaks("S5")
def test_s5_two_open_attempts_on_one_card(books: Books) -> None:
    card = books.card()
    first = books.lose(books.armed(card))
    PaymentAttempt.objects.filter(pk=first.pk).update(next_check_at=None)
    without("one_unresolved_attempt_per_card", index=True)
    books.subscribe(card)
    books.open()
    asleep("UPDATE billing_paymentattempt SET state = 'declined'")
    (second,) = books.arm()
    asleep(
        "UPDATE billing_paymentattempt SET state = 'unknown', next_check_at = %s WHERE id = %s", [books.now, first.pk]
    )
    found = audit(books)
    assert [(one.invariant, one.subject) for one in found] == [("S5", second.public_id), ("S5", card.public_id)]
    assert found[1].text == "has 2 attempts whose outcome is open."


def test_s5_released_card_may_be_armed_again(books: Books) -> None:
    card = books.card()
    first = books.give_to_a_person(books.lose(books.armed(card)))
    release_card(attempt=first, decision=Decision("siti", "the customer waits"), now=books.wait(minutes=1))
    second = books.armed(card)
    assert second.invoice_id != first.invoice_id
    assert audit(books) == []


@breaks("S7")
def test_s7_a_way_out_of_succeeded(books: Books) -> None:
    attempt = books.pay(books.armed())
    asleep("UPDATE billing_paymentattempt SET state = 'not_charged'")
    asleep("UPDATE billing_invoice SET state = 'open', closed_at = NULL, next_attempt_at = %s", [books.now])
    assert only(books) == ("S7", attempt.public_id, "is not_charged, and its history ends at succeeded.")


def test_s7_a_move_that_is_not_in_the_table(books: Books) -> None:
    attempt = books.pay(books.armed())
    Transition.objects.create(
        account_id=attempt.account_id,
        subject_type="attempt",
        subject_id=attempt.pk,
        from_state="succeeded",
        to_state="unknown",
        evidence_id=attempt.last_evidence_id,
        actor="nobody",
        at=books.now,
    )
    asleep("UPDATE billing_paymentattempt SET state = 'unknown', next_check_at = %s", [books.now])
    asleep("UPDATE billing_invoice SET state = 'open', closed_at = NULL")
    assert only(books) == ("S7", attempt.public_id, "went from succeeded to unknown (no such move).")


def test_s7_evidence_of_money_that_was_not_recorded(books: Books) -> None:
    attempt = books.decline(books.armed())
    told = make_evidence(attempt, source="order_list", verdict="paid")
    assert only(books) == ("S7", attempt.public_id, f"is declined, and evidence {told.pk} shows that it was paid.")


@breaks("S8")
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("request_body = '{}'", "its request does not have the digest that it was armed with."),
        ("request_url = request_url || '?'", "its request does not have the digest that it was armed with."),
        ("title = 'Coffee club'", "its request asks for something else than the attempt."),
        ("gateway_customer_id = '1'", "its request goes to something else than its card."),
        ("marker = 'AAAAAAAAAAA1'", "its texts do not carry its marker."),
        ("armed_at = armed_at - interval '1 hour'", "its request is not of the time when it was armed."),
        ("deadline_at = armed_at", "its window and deadline do not follow its arming."),
    ],
)
def test_s8_an_armed_request_that_was_changed(books: Books, change: str, text: str) -> None:
    attempt = books.pay(books.armed())
    asleep(f"UPDATE billing_paymentattempt SET {change}")  # noqa: S608
    assert only(books) == ("S8", attempt.public_id, text)


@breaks("S9")
def test_s9_an_attempt_armed_while_the_account_was_stopped(books: Books) -> None:
    stop_account(account=books.account, reason="audit", actor="siti", now=books.now)
    asleep("UPDATE billing_gatewayaccount SET stopped_at = NULL")
    attempt = books.pay(books.armed())
    asleep("UPDATE billing_gatewayaccount SET stopped_at = %s", [books.now])
    assert only(books) == ("S9", attempt.public_id, "was armed while the account was stopped.")
    start_account(account=books.account, reason="audit", actor="siti", now=books.now)
    assert only(books)[0] == "S9"


def test_s9_an_attempt_armed_while_everything_was_stopped(books: Books) -> None:
    stop_installation(reason="audit", actor="siti", now=books.now)
    asleep("UPDATE billing_installation SET stopped_at = NULL")
    attempt = books.pay(books.armed())
    asleep("UPDATE billing_installation SET stopped_at = %s", [books.now])
    start_installation(reason="audit", actor="siti", now=books.now)
    assert only(books) == ("S9", attempt.public_id, "was armed while everything was stopped.")


def test_s9_a_switch_that_was_thrown_without_a_trace(books: Books) -> None:
    asleep("UPDATE billing_gatewayaccount SET stopped_at = %s", [books.now])
    assert only(books) == ("S9", books.account.public_id, "is stopped, and its history says nothing of it.")


# --- time -------------------------------------------------------------------------------------------------


@breaks("L1")
def test_l1_a_period_without_an_invoice(books: Books) -> None:
    subscription = books.subscribe()
    Subscription.objects.update(
        period_index=1, periods_charged=1, occurrence=1, next_due_at=books.now + timedelta(days=1)
    )
    books.wait(minutes=9)
    assert {one.invariant for one in audit(books)} == {"L5"}
    books.wait(minutes=1)
    missing = [one for one in audit(books) if one.invariant == "L1"]
    assert missing == [
        Violation("L1", subscription.public_id, "has no invoice for the period due at 2026-03-02 01:00:00 UTC.")
    ]


def test_l1_absent_workers_leave_due_periods_without_invoices(books: Books) -> None:
    subscription = books.subscribe()
    books.wait(days=2, hours=1)
    text = "has no invoice for the period due at 2026-03-02 01:00:00 UTC and 2 more."
    assert only(books) == ("L1", subscription.public_id, text)
    books.open()
    assert audit(books) == []


def test_l1_nothing_is_owed_for_paused_time_and_after_the_end(books: Books) -> None:
    subscription = books.subscribe(at_start=False)
    pause(subscription=subscription, reason="holiday", actor="siti", now=books.wait(hours=1))
    books.wait(days=9)
    assert audit(books) == []
    resume(subscription=subscription, reason="back", actor="siti", now=books.now)
    assert audit(books) == []
    books.wait(days=1)
    assert only(books)[0] == "L1"
    books.open()
    assert audit(books) == []
    cancel(subscription=subscription, reason="moved", actor="siti", now=books.wait(hours=1))
    books.wait(days=30)
    assert audit(books) == []


def test_l1_a_period_that_was_due_before_the_pause_is_still_owed(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    subscription = books.subscribe(at_start=False)
    books.wait(days=1, minutes=9)
    monkeypatch.setattr(lifecycle, "open_before_ending", lambda **_: False)
    pause(subscription=subscription, reason="holiday", actor="siti", now=books.now)
    assert audit(books) == [], "the workers may have been about to open it"
    asleep("UPDATE billing_transition SET at = at + interval '1 minute' WHERE to_state = 'paused'")
    books.wait(minutes=1)
    assert only(books)[0] == "L1"


def test_l1_a_trial_and_a_last_repetition(books: Books) -> None:
    books.subscribe(trial_days=3, repetitions=2)
    for day in range(9):
        books.open()
        for attempt in books.arm():
            books.pay(attempt)
        assert audit(books) == [], day
        books.wait(days=1)
    assert Invoice.objects.count() == 2


@breaks("L2")
def test_l2_an_attempt_that_stays_sending(books: Books) -> None:
    attempt = books.armed()
    books.wait(seconds=9 + 120)
    assert audit(books) == []
    books.wait(seconds=1)
    assert only(books) == ("L2", attempt.public_id, "is sending since 2026-03-02 01:00:00 UTC.")
    books.sweep()
    assert audit(books) == []


@breaks("L3")
def test_l3_an_unknown_attempt_that_nobody_asks_about(books: Books) -> None:
    attempt = books.lose(books.armed())
    PaymentAttempt.objects.update(next_check_at=None)
    assert only(books) == ("L3", attempt.public_id, "is unknown, and no check is planned.")


def test_l3_an_unknown_attempt_that_was_not_asked_about_in_time(books: Books) -> None:
    attempt = books.lose(books.armed())
    books.wait(minutes=11)
    assert only(books) == ("L3", attempt.public_id, "is unknown, and its check is late.")


def test_l3_an_attempt_that_was_unknown_for_days(books: Books) -> None:
    attempt = books.lose(books.armed())
    Subscription.objects.update(next_due_at=None)
    books.wait(days=3, hours=1)
    PaymentAttempt.objects.update(next_check_at=books.now)
    found = [one for one in audit(books) if one.invariant == "L3"]
    assert found == [Violation("L3", attempt.public_id, "is unknown, and has been so since 2026-03-02.")]


@breaks("L4")
def test_l4_attempt_that_needed_review_without_an_alert(books: Books) -> None:
    attempt = books.give_to_a_person(books.lose(books.armed()))
    asleep("DELETE FROM billing_event")
    assert only(books) == ("L4", attempt.public_id, "needed a person, and raised no alert.")


def test_l4_an_alert_about_nothing(books: Books) -> None:
    attempt = books.pay(books.armed())
    Event.objects.create(
        public_id="evt_1",
        account_id=attempt.account_id,
        kind="attempt.needs_review",
        subject_type="attempt",
        subject_id=attempt.pk,
        payload={},
        created_at=books.now,
    )
    assert only(books) == ("L4", attempt.public_id, "raised an alert, and never needed a person.")


@breaks("L5")
@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            "next_due_at = next_due_at + interval '1 day', occurrence = occurrence + 1",
            "is next due 2026-03-04 01:00:00 UTC, and its schedule says 2026-03-03 01:00:00 UTC.",
        ),
        ("next_due_at = NULL", "is next due never, and its schedule says 2026-03-03 01:00:00 UTC."),
        ("occurrence = 7", "is at occurrence 7 of its schedule, and should be at 1."),
        ("period_index = 2", "opened 2 periods, and its invoices are numbered 0."),
        ("periods_charged = 0", "counts 0 periods charged, and has 1."),
    ],
)
def test_l5_a_subscription_that_strayed_from_its_anchor(books: Books, change: str, text: str) -> None:
    subscription = books.subscribe()
    books.open()
    asleep(f"UPDATE billing_subscription SET {change}")  # noqa: S608
    assert only(books) == ("L5", subscription.public_id, text)


def test_l5_an_invoice_that_is_due_when_no_period_is(books: Books) -> None:
    subscription = books.subscribe()
    books.open()
    asleep("UPDATE billing_invoice SET due_at = due_at + interval '1 minute'")
    found = audit(books)
    text = "has an invoice due at 2026-03-02 01:01:00 UTC, where no period of it is due."
    assert Violation("L5", subscription.public_id, text) in found
    assert {one.invariant for one in found} == {"L5"}


@breaks("L6")
def test_l6_a_decline_without_a_next_try(books: Books) -> None:
    attempt = books.decline(books.armed())
    Invoice.objects.update(next_attempt_at=None)
    invariant, subject, text = only(books)
    assert (invariant, subject) == ("L6", attempt.invoice.public_id)
    assert text.startswith("is open, and nothing will happen")


def test_l6_quarantine_explains_why_nothing_is_charged(books: Books) -> None:
    books.subscribe()
    (invoice,) = books.open()
    quarantine.enter([books.account.pk], Doubt.DATABASE_DIFFERS, "a restore", now=books.now)
    books.wait(days=1)
    assert invoice.public_id not in of_progress(books)
    PaymentMethod.objects.update(quarantine_read_at=books.now)
    quarantine.lift(account=books.account, reason="all was read", actor="siti", now=books.now)
    assert invoice.public_id not in of_progress(books), "the workers are about to come"
    books.wait(minutes=11)
    assert invoice.public_id in of_progress(books)


def of_progress(books: Books) -> list[str]:
    return [one.subject for one in audit(books) if one.invariant == "L6"]


def test_l6_an_invoice_that_was_due_and_is_charged_by_nobody(books: Books) -> None:
    books.subscribe()
    (invoice,) = books.open()
    books.wait(minutes=11)
    text = "waits for an attempt since 2026-03-02 01:00:00 UTC, and nothing says why there was none."
    assert only(books) == ("L6", invoice.public_id, text)
    stop_account(account=books.account, reason="a drill", actor="siti", now=books.now)
    assert audit(books) == [], "the account says why"
    books.wait(days=1)
    start_account(account=books.account, reason="the drill is over", actor="siti", now=books.now)
    books.open()
    assert audit(books) == [], "the workers are about to come"


def test_l6_refusal_without_a_time_for_the_next_try(books: Books) -> None:
    books.subscribe()
    (invoice,) = books.open()
    Invoice.objects.update(refusal="card_held", next_attempt_at=books.now + timedelta(hours=1))
    assert only(books) == ("L6", invoice.public_id, "was refused for card_held, and nothing says when.")


def test_l6_held_invoice_on_the_work_list(books: Books) -> None:
    books.subscribe()
    (invoice,) = books.open()
    without("only_open_unheld_invoices_are_collected", "billing_invoice")
    Invoice.objects.update(hold="catch_up")
    assert only(books) == ("L6", invoice.public_id, "is open, and is still on the work list.")


@breaks("E1")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("DELETE FROM billing_event WHERE sequence = 1", "with a gap"),
        ("UPDATE billing_event SET id = id + 1000 WHERE object_sequence = 1", "not in the order"),
        ("UPDATE billing_event SET body = jsonb_set(body, '{id}', '\"evt_2\"') WHERE sequence = 1", "not its own"),
    ],
)
def test_e1_a_feed_that_is_not_whole(books: Books, change: str, told: str) -> None:
    books.pay(books.armed())
    publish(now=books.now)
    assert audit(books) == []
    asleep(change)
    found = audit(books)
    assert {one.invariant for one in found} == {"E1"}
    assert any(told in one.text for one in found)


@breaks("L7")
def test_l7_a_first_payment_that_did_not_start_its_subscription(books: Books) -> None:
    books.subscribe(activates_on="payment")
    (attempt,) = books.arm()
    books.pay(attempt)
    assert audit(books) == []
    subscription = Subscription.objects.get()
    asleep("UPDATE billing_subscription SET state = 'incomplete', next_due_at = NULL")
    assert only(books) == ("L7", subscription.public_id, f"is incomplete, and {attempt.invoice.public_id} is paid.")


@pytest.mark.parametrize("state", ["open", "uncollectible", "paid"])
def test_l7_one_that_expired_with_money_owed_or_paid(books: Books, state: str) -> None:
    subscription = books.subscribe(activates_on="payment")
    asleep("UPDATE billing_subscription SET state = 'expired', ended_at = now()")
    closed_at = None if state == "open" else books.now
    asleep("UPDATE billing_invoice SET state = %s, next_attempt_at = NULL, closed_at = %s", [state, closed_at])
    invoice = Invoice.objects.get()
    found = [(one.subject, one.text) for one in audit(books) if one.invariant == "L7"]
    assert found == [(subscription.public_id, f"is expired, and {invoice.public_id} is {state}.")]


def test_l7_one_that_expired_while_its_outcome_was_open(books: Books) -> None:
    subscription = books.subscribe(activates_on="payment")
    (attempt,) = books.arm()
    books.lose(attempt)
    asleep("UPDATE billing_subscription SET state = 'expired', ended_at = now()")
    asleep("UPDATE billing_invoice SET state = 'void', closed_at = now()")
    found = [(one.subject, one.text) for one in audit(books) if one.invariant == "L7"]
    assert found == [(subscription.public_id, f"is expired, and {attempt.public_id} is unknown.")]


def test_l7_one_that_began_without_its_invoice(books: Books) -> None:
    subscription = books.subscribe(activates_on="payment")
    asleep("DELETE FROM billing_transition WHERE subject_type = 'invoice'")
    asleep("DELETE FROM billing_invoice")
    found = [(one.subject, one.text) for one in audit(books) if one.invariant == "L7"]
    assert found == [(subscription.public_id, "began, and has no invoice for its first payment.")]


def test_l7_one_that_did_not_expire_in_time(books: Books) -> None:
    subscription = books.subscribe(activates_on="payment")
    (attempt,) = books.arm()
    books.tell(attempt, Finding(Verdict.DECLINED, Source.ANSWER, reason="51", transaction_id="t-1"))
    assert audit(books) == [], "a first charge that was declined waits for another card"
    books.wait(hours=23, minutes=14)
    assert audit(books) == [], "the workers are about to come"
    books.wait(minutes=2)
    text = "could be paid until 2026-03-03 00:00:00 UTC, and has not expired."
    assert only(books) == ("L7", subscription.public_id, text)
    stop_account(account=books.account, reason="a drill", actor="siti", now=books.now)
    assert audit(books) == []
    start_account(account=books.account, reason="over", actor="siti", now=books.wait(days=1))
    assert audit(books) == [], "the workers are about to come"
    books.wait(minutes=16)
    assert expire_unpaid(now=books.now) == 1
    assert audit(books) == []


@breaks("T1")
def test_t1_work_that_keeps_failing(books: Books) -> None:
    for minutes in (10, 0):
        note(books.account.pk, "reconcile", RuntimeError("s3cret"), now=books.now - timedelta(minutes=minutes))
    since = books.now - timedelta(minutes=10)
    text = f"reconcile has failed since {since:%Y-%m-%d %H:%M} UTC (2 times): RuntimeError."
    assert only(books) == ("T1", books.account.public_id, text)


def test_t1_a_part_of_the_audit_that_breaks_hides_no_other(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(account_id: int | None) -> list[Violation]:
        raise KeyError("Mars/Olympus")

    monkeypatch.setattr("billing.audit.money.violations", broken)
    invariant, subject, text = only(books)
    assert (invariant, subject) == ("T1", "money")
    assert text.startswith("could not be audited: KeyError")


def test_every_invariant_is_broken_by_a_test() -> None:
    assert set(INVARIANTS) == BROKEN


def test_only_the_requested_account_is_audited(books: Books) -> None:
    other = Books()
    attempt = other.give_to_a_person(other.lose(other.armed()))
    asleep("DELETE FROM billing_event")
    assert violations(now=books.now, tuning=SHORT, account_id=books.account.pk) == []
    (found,) = violations(now=books.now, tuning=SHORT, account_id=other.account.pk)
    assert found.subject == attempt.public_id


@breaks("S9")
def test_charge_on_a_card_that_was_declined_for_good(books: Books) -> None:
    card = books.card()
    books.decline(books.armed(card), "43")
    books.wait(days=1)
    card.refresh_from_db()
    assert card.frozen_by == "43"
    assert audit(books) == []
    PaymentMethod.objects.filter(pk=card.pk).update(frozen_at=None, frozen_by=None, rests_until=None)
    attempt = books.armed(card)
    PaymentMethod.objects.filter(pk=card.pk).update(frozen_at=books.now, frozen_by="43")
    assert only(books) == ("S9", attempt.public_id, "was armed while its card was declined for good.")
