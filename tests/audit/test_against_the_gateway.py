"""Our books beside the gateway's, and beside the simulator's ledger: whatever differs is found."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections

from billing.audit.invariants import Violation, gateway_violations, ledger_violations
from billing.gateway.connection import Gateway, GatewayUnavailableError
from billing.models import PaymentAttempt, Refund
from billing.models.clock import database_now
from tests.audit.books import Books
from tests.audit.test_violations import asleep
from tests.charging.refunding import ask, ask_reverse, in_the_portal
from tests.conftest import Shop
from tests.factories import make_invoice

pytestmark = pytest.mark.django_db


def charged(shop: Shop, number: str = "4111111111111111") -> PaymentAttempt:
    invoice = make_invoice(shop.card(number), next_attempt_at=database_now(), due_at=database_now())
    shop.collect()
    return PaymentAttempt.objects.get(invoice=invoice)


def audit(shop: Shop) -> list[Violation]:
    return gateway_violations(now=database_now() + timedelta(seconds=1), account_id=shop.account.pk)


def of(found: list[Violation]) -> list[tuple[str, str]]:
    return [(one.invariant, one.subject) for one in found]


def test_a_charge_that_agrees_is_nothing_to_speak_of(shop: Shop) -> None:
    charged(shop)
    charged(shop, "4000000000000002")
    assert audit(shop) == []


def test_s1_one_invoice_that_two_orders_paid(shop: Shop) -> None:
    first = charged(shop)
    second = charged(shop)
    asleep(
        "UPDATE billing_paymentattempt SET invoice_id = %s, state = 'surplus', number = 2 WHERE id = %s",
        [first.invoice_id, second.pk],
    )
    text = "took money 2 times at the gateway, and no more than one may stay."
    assert audit(shop) == [Violation("S1", first.invoice.public_id, text)]


def test_s2_a_success_over_another_amount(shop: Shop) -> None:
    attempt = charged(shop)
    asleep("UPDATE billing_paymentattempt SET amount_minor = 100")
    text = "is succeeded, and its transaction is over 1990 MYR at the gateway."
    assert audit(shop) == [Violation("S2", attempt.public_id, text)]


def test_s2_a_success_under_a_transaction_that_was_declined(shop: Shop) -> None:
    declined = charged(shop, "4000000000000002")
    asleep("UPDATE billing_paymentattempt SET state = 'succeeded'")
    text = "is succeeded, and its transaction is FAILED at the gateway."
    assert audit(shop) == [Violation("S2", declined.public_id, text)]


def test_s6_an_order_that_two_attempts_name(shop: Shop) -> None:
    first = charged(shop)
    make_invoice(first.payment_method, next_attempt_at=database_now(), due_at=database_now())
    shop.collect()
    second = PaymentAttempt.objects.exclude(pk=first.pk).get()
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE billing_paymentattempt DROP CONSTRAINT an_order_explains_one_attempt")
    asleep("UPDATE billing_paymentattempt SET gateway_order_id = %s", [first.gateway_order_id])
    assert ("S6", f"{first.public_id} and {second.public_id}") in of(audit(shop))


def test_s10_money_that_our_books_call_declined(shop: Shop) -> None:
    attempt = charged(shop)
    asleep("UPDATE billing_paymentattempt SET state = 'declined'")
    (found,) = audit(shop)
    assert (found.invariant, found.subject) == ("S10", attempt.public_id)
    assert found.text.startswith("is declined, and the gateway took money for it by order ")


def test_s10_money_of_no_attempt(shop: Shop) -> None:
    attempt = charged(shop)
    asleep("DELETE FROM billing_paymentattempt")
    (found,) = audit(shop)
    assert (found.invariant, found.subject) == ("S10", attempt.payment_method.public_id)
    assert found.text.endswith("which took money for no attempt.")


def test_refund_recorded_on_both_sides_is_no_violation(shop: Shop) -> None:
    whole, part, reversed_ = charged(shop), charged(shop), charged(shop)
    ask(whole)
    ask(part, 500)
    ask_reverse(reversed_)
    shop.refund()
    assert set(Refund.objects.values_list("state", flat=True)) == {"succeeded"}
    assert audit(shop) == []


def test_s10_a_refund_at_the_gateway_that_our_books_do_not_know(shop: Shop) -> None:
    attempt = charged(shop)
    in_the_portal(shop, attempt, 500)
    text = "counts 0 of 1990 MYR as refunded, and the gateway shows 500."
    assert audit(shop) == [Violation("S10", attempt.public_id, text)]
    asked = ask(attempt, 300)
    assert audit(shop) == [Violation("S10", attempt.public_id, text)], "what was not sent explains nothing"
    shop.refund()
    asked.refresh_from_db()
    assert (asked.state, asked.state_reason) == ("not_sent", "already_given_back")
    assert audit(shop) == [], "the look wrote down what the portal gave back"


def test_s10_a_refund_of_ours_that_the_gateway_does_not_show(shop: Shop) -> None:
    attempt = charged(shop)
    shop.simulator.set(refund_outcome="dropped_before")
    refund = ask(attempt)
    shop.refund()
    assert audit(shop) == [], "its outcome is open"
    asleep("UPDATE billing_refund SET state = 'succeeded', settled_at = created_at, next_check_at = NULL")
    asleep("UPDATE billing_paymentattempt SET amount_refunded_minor = 1990")
    text = "counts 1990 of 1990 MYR as refunded, and the gateway shows 0."
    assert audit(shop) == [Violation("S10", attempt.public_id, text)]
    asleep("UPDATE billing_refund SET settled_at = now() + interval '1 hour'")
    assert audit(shop) == [], f"{refund} was settled while the gateway was read"


def test_s2_a_reversal_at_the_gateway_that_our_books_do_not_know(shop: Shop) -> None:
    attempt = charged(shop)
    shop.simulator.set(refund_outcome="lost_after")
    ask_reverse(attempt)
    shop.refund()
    asleep("UPDATE billing_refund SET state = 'not_refunded', settled_at = created_at, next_check_at = NULL")
    text = "is succeeded, and its transaction is REVERSED at the gateway."
    assert audit(shop) == [Violation("S2", attempt.public_id, text)]


def test_s10_a_reversal_of_ours_that_the_gateway_does_not_show(shop: Shop) -> None:
    attempt = charged(shop)
    asleep("UPDATE billing_paymentattempt SET state = 'reversed'")
    (found,) = audit(shop)
    assert (found.invariant, found.subject) == ("S10", attempt.public_id)
    assert found.text.startswith("is reversed, and the gateway took money for it by order ")


def test_payment_of_an_open_attempt_is_left_to_the_reconciler(shop: Shop) -> None:
    attempt = charged(shop, "4000000000000119")
    assert attempt.state == "unknown"
    assert audit(shop) == []


def test_a_card_that_cannot_be_read_is_reported(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = charged(shop)

    def away(self: Gateway, _: str) -> Any:
        raise GatewayUnavailableError("Unknown: no answer")

    monkeypatch.setattr(Gateway, "read_orders", away)
    text = "could not be read: Unknown: no answer."
    assert audit(shop) == [Violation("S10", attempt.payment_method.public_id, text)]


@pytest.mark.django_db(transaction=True)
def test_no_database_connection_is_held_while_asking_the_gateway(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    charged(shop)
    held: list[bool] = []
    read = Gateway.read_orders
    main = connections["default"]

    def watched(self: Gateway, customer: str) -> Any:
        held.append(main.connection is not None)
        return read(self, customer)

    monkeypatch.setattr(Gateway, "read_orders", watched)
    assert audit(shop) == []
    assert held == [False]


# --- the simulator's ledger -------------------------------------------------------------------------------


def row(attempt: PaymentAttempt, **changes: Any) -> dict[str, Any]:
    return {
        "transaction_id": attempt.gateway_transaction_id,
        "customer_id": attempt.gateway_customer_id,
        "title": attempt.title,
        "amount": attempt.amount_minor,
        "currency": attempt.currency,
        "status": "SUCCESS",
        "refunded": 0,
        **changes,
    }


def test_the_ledger_is_compared_charge_by_charge(books: Books) -> None:
    paid, declined, open_one = books.pay(books.armed()), books.decline(books.armed()), books.armed()
    posts = {attempt.marker: 1 for attempt in (paid, declined, open_one)}

    def found(*charges: dict[str, Any], **more: int) -> list[tuple[str, str]]:
        return of(ledger_violations(account_id=books.account.pk, charges=charges, posts=posts | more))

    right = row(paid)
    assert found(right, row(declined, status="FAILED"), row(open_one, transaction_id="t")) == []
    assert found(right, row(paid, transaction_id="t")) == [("S1", paid.invoice.public_id)]
    assert found() == [("S2", paid.public_id)]
    assert found(row(paid, amount=1)) == [("S2", paid.public_id)]
    assert found(row(paid, status="REVERSED")) == [("S2", paid.public_id)]
    assert found(row(paid, status="FULL_REFUNDED", refunded=1990)) == [], "in the portal, and nobody looked yet"
    books.give_back(paid, 500)
    assert found(right) == [("S10", paid.public_id)]
    assert found(row(paid, status="PARTIAL_REFUNDED", refunded=500)) == []
    right = row(paid, status="PARTIAL_REFUNDED", refunded=500)
    assert found(right, row(declined, transaction_id="t")) == [("S10", declined.public_id)]
    assert found(right, row(paid, title="Coffee", transaction_id="t")) == [("S10", "t")]
    assert found(right, **{paid.marker: 2}) == [("S3", paid.public_id)]
    assert found(right, ZZZZZZZZZZZ1=1) == [("S3", "ZZZZZZZZZZZ1")]
    stranger = row(paid, customer_id="1", title="Tea ZZZZZZZZZZZ1")
    assert found(right, stranger, ZZZZZZZZZZZ1=1) == [], "another database's card"


def test_the_ledger_knows_how_often_a_refund_was_sent(books: Books) -> None:
    first, second = books.pay(books.armed()), books.pay(books.armed())
    sent, reversed_, waiting = books.give_back(first, 500), books.give_back(second, reverse=True), books.ask_back(first)
    charges = [row(first, status="PARTIAL_REFUNDED", refunded=500), row(second, status="REVERSED")]
    order = str(second.gateway_order_id)

    def found(**posts: int) -> list[Violation]:
        names = {"sent": sent.public_id, "waiting": waiting.public_id, "order": order}
        counted = {names.get(name, name): count for name, count in posts.items()}
        account = books.account.pk
        return ledger_violations(account_id=account, charges=charges, posts={}, refund_posts=counted)

    assert found(sent=1, order=1, ref_of_somebody_else=2) == []
    assert found(sent=2) == [Violation("S3", sent.public_id, "was sent 2 times.")]
    assert found(waiting=1) == [Violation("S3", waiting.public_id, "was sent 1 times.")]
    assert found(order=2) == [Violation("S3", order, "was sent to be reversed 2 times, and 1 were armed.")]
    assert reversed_.state == "succeeded"
