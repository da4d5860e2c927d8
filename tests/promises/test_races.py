"""Two transactions at the same instant: the promises hold between connections, not only within one."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from billing.models import Invoice, PaymentAttempt
from tests.factories import make_attempt, make_card, make_invoice, make_subscription, move_attempt
from tests.promises.attacks import insert_another, run

pytestmark = pytest.mark.django_db(transaction=True)


def both_at_once(first: Callable[[], object], second: Callable[[], object]) -> list[str]:
    """Runs each in a transaction of its own; neither commits before both have begun. "committed", or what refused."""
    begun = threading.Barrier(2, timeout=20)

    def side(write: Callable[[], object]) -> str:
        try:
            with transaction.atomic():
                run("SELECT 1")
                begun.wait()
                write()
        except IntegrityError as error:
            return str(error.__cause__.diag.constraint_name)
        else:
            return "committed"
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        return sorted(future.result(timeout=30) for future in [pool.submit(side, first), pool.submit(side, second)])


def test_one_of_two_simultaneous_attempts_on_an_invoice_commits() -> None:
    like = move_attempt(make_attempt(), "declined")
    cards = [make_card(like.payment_method.customer, is_default=False).pk for _ in range(2)]
    results = both_at_once(
        *(lambda card=card: insert_another(like, "invoice_id", payment_method_id=card) for card in cards)
    )
    assert results == ["committed", "one_attempt_holds_the_place"]
    assert PaymentAttempt.objects.filter(invoice=like.invoice, state="sending").count() == 1


def test_one_of_two_simultaneous_attempts_on_a_card_commits() -> None:
    like = move_attempt(make_attempt(), "declined")
    invoices = [make_invoice(like.payment_method).pk for _ in range(2)]
    results = both_at_once(
        *(lambda invoice=invoice: insert_another(like, "payment_method_id", invoice_id=invoice) for invoice in invoices)
    )
    assert results == ["committed", "one_unresolved_attempt_per_card"]
    assert PaymentAttempt.objects.filter(payment_method=like.payment_method, state="sending").count() == 1


def test_one_of_two_simultaneous_invoices_for_a_period_commits() -> None:
    card = make_card()
    like = make_invoice(card, make_subscription(card))
    results = both_at_once(*(lambda: insert_another(like, period_index=1) for _ in range(2)))
    assert results == ["committed", "one_invoice_per_period"]
    assert Invoice.objects.filter(subscription=like.subscription, period_index=1).count() == 1


def test_one_of_two_simultaneous_invoices_for_a_due_date_commits() -> None:
    card = make_card()
    like = make_invoice(card, make_subscription(card))
    again = like.due_at + timedelta(days=1)
    results = both_at_once(*(lambda: insert_another(like, due_at=again) for _ in range(2)))
    assert results == ["committed", "one_invoice_per_due_date"]
    assert Invoice.objects.filter(subscription=like.subscription, due_at=again).count() == 1


def test_one_of_two_simultaneous_claims_of_a_transaction_commits() -> None:
    attempts = [make_attempt(card=make_card()) for _ in range(2)]
    account = attempts[0].account_id
    run("SET session_replication_role = replica")  # one account, so that the transaction is the same one
    run("UPDATE billing_paymentattempt SET account_id = %s", [account])
    run("SET session_replication_role = DEFAULT")

    def claim(attempt: PaymentAttempt) -> None:
        move_attempt(attempt, "succeeded", gateway_transaction_id="2001")

    results = both_at_once(*(lambda attempt=attempt: claim(attempt) for attempt in attempts))
    assert results == ["a_transaction_explains_one_attempt", "committed"]


def test_late_money_and_new_attempt_at_once_leave_one_holder() -> None:
    late = move_attempt(make_attempt(), "declined")
    results = both_at_once(
        lambda: insert_another(late, "invoice_id", "payment_method_id"), lambda: move_attempt(late, "succeeded")
    )
    assert results == ["committed", "one_attempt_holds_the_place"]
