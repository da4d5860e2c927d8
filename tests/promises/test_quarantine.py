"""Nothing is armed in a database that may have forgotten charges; what was found of them is written down."""

from datetime import timedelta

import pytest

from billing.domain.attempts import AttemptState
from billing.models import GatewayAccount, PaymentAttempt
from tests.factories import (
    NOW,
    make_attempt,
    make_invoice,
    make_refund,
    move_attempt,
    move_refund,
)
from tests.promises.attacks import attacks, insert_another, refused, update

pytestmark = pytest.mark.django_db


def quarantine(attempt: PaymentAttempt) -> None:
    GatewayAccount.objects.filter(pk=attempt.account_id).update(
        quarantined_at=NOW, quarantine_reason="attempts_forgotten"
    )


@attacks("nothing_is_armed_in_quarantine")
def test_in_quarantine_no_attempt_is_born_but_one_that_was_found() -> None:
    attempt = make_attempt()
    insert_another(attempt)
    quarantine(attempt)
    with refused("nothing_is_armed_in_quarantine"):
        insert_another(attempt)
    insert_another(attempt, recovered_at=NOW)


@attacks("only_a_quarantine_doubts_its_clock")
def test_only_a_quarantine_doubts_its_clock() -> None:
    account = make_attempt().account
    with refused("only_a_quarantine_doubts_its_clock"):
        update(account, quarantine_clock_doubted=True)


@attacks("nothing_is_given_back_in_quarantine")
def test_in_quarantine_no_refund_is_armed_but_open_ones_settle() -> None:
    refund = make_refund()
    quarantine(refund.attempt)
    with refused("nothing_is_given_back_in_quarantine"):
        move_refund(refund, "sending")
    GatewayAccount.objects.update(quarantined_at=None)
    move_refund(refund, "sending")
    quarantine(refund.attempt)
    move_refund(refund, "unknown")
    assert refund.state == "unknown"


@pytest.mark.parametrize("state", sorted(set(AttemptState) - {AttemptState.SENDING, AttemptState.NOT_CHARGED}))
def test_recovered_attempt_is_born_sending_or_not_charged(state: AttemptState) -> None:
    attempt = make_attempt()
    insert_another(attempt, state="not_charged", recovered_at=NOW)
    with refused("attempts_are_born_sending"):
        insert_another(attempt, state=state, recovered_at=NOW)


def test_recovered_attempt_may_be_of_a_closed_invoice() -> None:
    paid = move_attempt(make_attempt(), "succeeded")
    type(paid.invoice).objects.filter(pk=paid.invoice_id).update(state="paid", closed_at=NOW)
    same = {"state": "not_charged", "gateway_transaction_id": None}
    with refused("attempts_ask_for_what_is_owed"):
        insert_another(paid, "invoice_id", "payment_method_id")
    insert_another(paid, "invoice_id", "payment_method_id", recovered_at=NOW, **same)
    other = make_invoice(paid.payment_method, amount_minor=500)
    with refused("attempts_ask_for_what_is_owed"):
        insert_another(paid, "payment_method_id", invoice_id=other.pk, recovered_at=NOW, **same)


def test_whether_an_attempt_was_found_never_changes() -> None:
    attempt = make_attempt()
    with refused("armed_requests_never_change"):
        update(attempt, recovered_at=NOW)
    found = PaymentAttempt.objects.get(pk=insert_another(attempt, recovered_at=NOW))
    for other in (None, NOW + timedelta(seconds=1)):
        with refused("armed_requests_never_change"):
            update(found, recovered_at=other)
