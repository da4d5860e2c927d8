"""What came of a run, counted from PostgreSQL and compared with the gateway's ledger."""

from datetime import timedelta

import pytest

from billing.audit.run_counts import (
    Outcome,
    count_run,
    double_charges,
    missed,
    missing_periods,
    outcome_of,
    start_of_run,
)
from billing.domain.attempts import AttemptState
from billing.models import Invoice, Transition
from tests.factories import (
    NOW,
    make_account,
    make_attempt,
    make_card,
    make_customer,
    make_invoice,
    make_plan,
    make_subscription,
    move_attempt,
)

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(minutes=5)


@pytest.fixture
def account():
    return make_account()


def card_of(account):
    return make_card(make_customer(account))


def ledger_row(attempt, *, status="SUCCESS", title=None):
    return {
        "customer_id": attempt.gateway_customer_id,
        "status": status,
        "title": f"Coffee club {attempt.marker}" if title is None else title,
    }


def test_outcomes_of_invoices_partition_what_is_due(account) -> None:
    start = start_of_run(account_id=account.pk, now=NOW)
    make_invoice(card_of(account), created_at=LATER)  # due and not tried
    for states in (["succeeded"], ["declined"], ["unknown"], ["unknown", "needs_review"], ["in_process"], []):
        move_attempt(make_attempt(make_invoice(card_of(account), created_at=LATER)), *states)
    Invoice.objects.filter(attempts__state="succeeded").update(state="paid", closed_at=LATER, next_attempt_at=None)
    counted = count_run(account_id=account.pk, start=start, now=LATER)
    assert counted.outcomes == {
        Outcome.UNTRIED: 1,
        Outcome.PAID: 1,
        Outcome.DECLINED: 1,
        Outcome.CHECKING: 2,
        Outcome.WITH_A_PERSON: 1,
        Outcome.SENDING: 1,
    }
    assert (counted.due, counted.paid, counted.declined, counted.unknown) == (7, 1, 1, 3)
    assert (counted.waiting, counted.in_flight, counted.finished) == (1, 1, False)


def test_invoices_open_at_the_start_count_and_closed_ones_do_not(account) -> None:
    open_one = make_invoice(card_of(account), created_at=NOW - timedelta(days=1))
    make_invoice(
        card_of(account), created_at=NOW - timedelta(days=1), state="paid", closed_at=NOW, next_attempt_at=None
    )
    make_invoice()  # of another account
    start = start_of_run(account_id=account.pk, now=NOW)
    assert start.open_invoices == {open_one.pk}
    assert count_run(account_id=account.pk, start=start, now=LATER).due == 1


def test_catch_up_put_off_is_not_due_and_a_refusal_is(account) -> None:
    start = start_of_run(account_id=account.pk, now=NOW)
    tomorrow = LATER + timedelta(days=1)
    put_off = make_invoice(card_of(account), created_at=LATER, next_attempt_at=tomorrow)
    asks = make_invoice(card_of(account), created_at=LATER, next_attempt_at=None, hold="catch_up")
    refused = make_invoice(
        card_of(account), created_at=LATER, next_attempt_at=tomorrow, refusal="card_held", refused_at=LATER
    )
    assert outcome_of(put_off, [], now=LATER) is Outcome.LATER
    assert outcome_of(asks, [], now=LATER) is Outcome.LATER
    assert outcome_of(refused, [], now=LATER) is Outcome.UNTRIED
    counted = count_run(account_id=account.pk, start=start, now=LATER)
    assert (counted.due, counted.finished) == (1, False)
    assert missed(account_id=account.pk, start=start, now=LATER) == 1


@pytest.mark.parametrize("state", AttemptState)
def test_every_state_of_an_attempt_is_an_outcome(state, account) -> None:
    assert outcome_of(make_invoice(card_of(account)), [state], now=LATER) in Outcome


def test_unresolved_attempt_decides_over_a_later_ended_one(account) -> None:
    states = [AttemptState.NEEDS_REVIEW, AttemptState.DECLINED]
    assert outcome_of(make_invoice(card_of(account)), states, now=LATER) is Outcome.WITH_A_PERSON


def test_periods_without_an_invoice_are_found_from_the_schedule(account) -> None:
    card = card_of(account)
    subscription = make_subscription(
        card, make_plan(account), activated_at=NOW - timedelta(days=3), anchor_date=NOW - timedelta(days=3)
    )
    assert missing_periods(account_id=account.pk, now=NOW) == 3  # the days after the first, up to this instant
    for period, days in enumerate((2, 0)):
        make_invoice(card, subscription, period_index=period, due_at=NOW - timedelta(days=days))
    assert missing_periods(account_id=account.pk, now=NOW) == 1
    make_invoice(card, subscription, period_index=2, due_at=NOW - timedelta(days=1))
    assert missing_periods(account_id=account.pk, now=NOW) == 0
    assert missing_periods(account_id=account.pk, now=NOW + timedelta(days=1)) == 1


def test_no_period_is_missing_while_a_subscription_is_paused(account) -> None:
    subscription = make_subscription(
        card_of(account), make_plan(account), activated_at=NOW - timedelta(days=30), next_due_at=LATER
    )
    for before, after, at in (("active", "paused", NOW - timedelta(days=30)), ("paused", "active", NOW)):
        Transition.objects.create(
            account_id=account.pk,
            subject_type="subscription",
            subject_id=subscription.pk,
            from_state=before,
            to_state=after,
            actor="test",
            at=at,
        )
    assert missing_periods(account_id=account.pk, now=NOW) == 0
    assert missing_periods(account_id=account.pk, now=NOW + timedelta(days=1)) == 1


def test_charge_at_start_is_a_period_and_repetitions_end_them(account) -> None:
    make_subscription(
        card_of(account), make_plan(account), charge_at_start=True, activated_at=NOW, next_due_at=NOW, repetitions=2
    )
    assert missing_periods(account_id=account.pk, now=NOW) == 1
    assert missing_periods(account_id=account.pk, now=NOW + timedelta(days=9)) == 2


def test_successes_beyond_one_an_invoice_are_double(account) -> None:
    attempt = make_attempt(make_invoice(card_of(account)))
    move_attempt(attempt, "declined")
    again = make_attempt(attempt.invoice)
    other = make_attempt(make_invoice(card_of(account)))
    rows = [
        ledger_row(attempt, status="FAILED"),
        ledger_row(again),
        ledger_row(other),
        ledger_row(other, status="REVERSED"),
    ]
    assert double_charges(account_id=account.pk, charges=rows) == 0
    assert double_charges(account_id=account.pk, charges=[*rows, ledger_row(attempt)]) == 1
    assert double_charges(account_id=account.pk, charges=[*rows, ledger_row(other), ledger_row(other)]) == 2


def test_unexplained_success_is_double_only_on_our_card(account) -> None:
    attempt = make_attempt(make_invoice(card_of(account)))
    unexplained = ledger_row(attempt, title="Coffee club ZZZZZZZZZZZZ")
    assert double_charges(account_id=account.pk, charges=[unexplained, ledger_row(attempt, title="")]) == 2
    assert double_charges(account_id=account.pk, charges=[unexplained | {"customer_id": "1"}]) == 0
