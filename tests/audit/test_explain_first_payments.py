"""The story of a first payment, in sentences."""

from datetime import timedelta

import pytest

from billing.charging.collecting.expire import expire_unpaid
from billing.domain.attempts import Finding, Source, Verdict
from billing.models import Invoice, PaymentAttempt, Subscription
from billing.subscriptions.lifecycle import cancel
from tests.audit.books import Books
from tests.audit.test_explain import answer, story

pytestmark = pytest.mark.django_db
DECLINED = Finding(Verdict.DECLINED, Source.ANSWER, reason="51", transaction_id="t-1")
RULE = (
    "rule: The subscription to Coffee club began: RM 19.90 every day at 09:00, Asia/Kuala_Lumpur. Its first charge is "
    "made at the start. It is active once that is paid."
)


def first_charge(books: Books) -> PaymentAttempt:
    books.subscribe(activates_on="payment")
    books.wait(seconds=2)
    (attempt,) = books.arm()
    return attempt


def test_the_payment_that_starts_it(books: Books) -> None:
    attempt = first_charge(books)
    books.wait(seconds=1)
    books.pay(attempt)
    told = story(books, attempt.invoice)
    assert told[0] == RULE
    assert told[1] == "due: Period 1 was due on Monday, 2 March 2026 at 09:00: the subscription began then."
    assert [line for line in told if "This paid the invoice. The subscription is active by it." in line]
    assert told[-1] == (
        "next: Nothing more will be charged for this invoice automatically. The next period of the subscription is "
        "due on Tuesday, 3 March 2026 at 09:00."
    )


def test_a_decline_says_what_it_waits_for(books: Books) -> None:
    attempt = first_charge(books)
    books.tell(attempt, DECLINED)
    told = story(books, attempt.invoice)
    assert told[0] == RULE
    assert told[-1] == (
        "next: It is not tried again automatically: the customer has to save another card until Tuesday, 3 March 2026 "
        "at 08:00, or the subscription expires."
    )
    assert not any(line.startswith("refused:") for line in told)
    assert answer(books, attempt.invoice)[1] == (
        "The card was not charged RM 19.90 for period 1 of Coffee club: the first charge was declined, and waits for "
        "another card or a retry."
    )


def test_one_that_expired_says_so(books: Books) -> None:
    attempt = first_charge(books)
    books.tell(attempt, DECLINED)
    expire_unpaid(now=books.wait(hours=24))
    told = story(books, attempt.invoice)
    text = "subscription: It was not paid in time: it is void, and the subscription expired without having started."
    assert text in told
    assert told[-2] == "now: The invoice is void: nothing is owed for it."
    assert answer(books, attempt.invoice)[1] == (
        "The card was not charged RM 19.90 for period 1 of Coffee club: its first charge was not paid in time."
    )


def test_one_that_was_cancelled_before_it_paid(books: Books) -> None:
    attempt = first_charge(books)
    books.tell(attempt, DECLINED)
    cancel(subscription=Subscription.objects.get(), reason="no", actor="siti", now=books.wait(hours=1))
    told = story(books, Invoice.objects.get())
    assert "subscription: siti cancelled the subscription: no." in told
    assert [line for line in told if line.startswith("decided: siti made it void: nothing is owed for it")]


def test_a_later_period_begins_with_the_charge_that_paid(books: Books) -> None:
    attempt = first_charge(books)
    books.pay(attempt)
    books.wait(days=1)
    (second,) = books.open()
    told = story(books, second)
    assert told[0] == RULE
    assert "the subscription began then" not in told[1]
    assert Subscription.objects.get().activated_at == attempt.armed_at < books.now - timedelta(hours=20)
