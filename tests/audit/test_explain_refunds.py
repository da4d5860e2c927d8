"""Money that goes back, in the life of an invoice and in the answer to the customer, word for word."""

from datetime import timedelta

import pytest

from billing.charging.cases.resolve import collect_held
from billing.charging.refunds.ask import RefundResolution, resolve_refund, withdraw
from billing.domain.attempts import Source
from billing.domain.decisions import Decision
from billing.domain.refunds import RefundEnd, RefundSource, RefundState, RefundVerdict
from billing.explaining.explain import Answer
from billing.explaining.refund_life import refund_consequence, refund_shown_by
from billing.models import PaymentAttempt, Refund
from billing.subscriptions.lifecycle import cancel
from tests.audit.books import Books
from tests.audit.test_explain import answer, story
from tests.charging.refund_rows import gateway_shows
from tests.conftest import SHORT

pytestmark = pytest.mark.django_db

QUERY = RefundSource.TRANSACTION_QUERY
CHARGED = "The card was charged RM 19.90 once for period 1 of Coffee club, on Monday, 2 March 2026 at 09:00"


@pytest.fixture
def paid(books: Books) -> PaymentAttempt:
    attempt = books.pay(books.armed())
    books.wait(minutes=5)
    return attempt


def of_the_refund(books: Books, attempt: PaymentAttempt, *, to_staff: bool = True) -> list[str]:
    """The sentences behind the one in which the charge was answered, without the last."""
    return story(books, attempt.invoice, to_staff=to_staff)[5:-1]


def test_all_of_a_payment_that_went_back(books: Books, paid: PaymentAttempt) -> None:
    refund = books.ask_back(paid)
    assert answer(books, paid.invoice) == (
        Answer.CHARGED,
        f"{CHARGED}. RM 19.90 of it is to be refunded: the refund is requested, and not sent yet.",
    )
    assert of_the_refund(books, paid)[-2:] == [
        "now: The invoice is paid.",
        "next: Refund of RM 19.90: it is sent as soon as a worker takes it up.",
    ]
    books.wait(seconds=2)
    books.send_back(refund)
    assert of_the_refund(books, paid)[-1] == (
        "next: Refund of RM 19.90: it is being sent; nothing else happens before its outcome."
    )
    assert answer(books, paid.invoice)[1] == f"{CHARGED}. Whether RM 19.90 of it was refunded is not known yet."
    books.wait(seconds=3)
    books.hear_back(refund, RefundVerdict.REFUNDED)
    assert of_the_refund(books, paid) == [
        "refund_asked: siti requested a refund of all RM 19.90 of attempt 1: cancelled in time.",
        "armed: Refund of RM 19.90: a request was recorded, to be sent once.",
        (
            "given_back: Refund of RM 19.90: the gateway answered that the money was refunded, 3 seconds after it "
            "was recorded."
        ),
        "now: The invoice is paid. RM 19.90 of it was refunded.",
    ]
    assert answer(books, paid.invoice) == (Answer.GIVEN_BACK, f"{CHARGED}, and all of it was refunded.")


def test_parts_of_it_and_one_in_the_portal(books: Books, paid: PaymentAttempt) -> None:
    books.give_back(paid, 500)
    books.wait(hours=1)
    books.see_in_the_portal(paid, 300)
    assert of_the_refund(books, paid)[0] == (
        "refund_asked: siti requested a refund of RM 5.00 of attempt 1: cancelled in time."
    )
    assert of_the_refund(books, paid)[-2:] == [
        "given_back: RM 3.00 of attempt 1 was refunded in the gateway's own portal, and found there.",
        "now: The invoice is paid. RM 8.00 of it was refunded.",
    ]
    assert answer(books, paid.invoice) == (Answer.CHARGED, f"{CHARGED}. RM 8.00 of it was refunded.")


def test_a_payment_that_was_reversed(books: Books, paid: PaymentAttempt) -> None:
    books.give_back(paid, reverse=True)
    assert of_the_refund(books, paid) == [
        ("refund_asked: siti requested the reversal of attempt 1, of all RM 19.90: cancelled in time."),
        "armed: Reversal of RM 19.90: a request was recorded, to be sent once.",
        (
            "given_back: Reversal of RM 19.90: the gateway answered that the money was refunded, less than a second "
            "after it was recorded."
        ),
        (
            "reversed: Attempt 1: the payment was reversed, as requested. The money was returned to the customer. "
            "The invoice is open again, and is collected only if a person decides so."
        ),
        "now: The invoice is open: RM 19.90 is still owed.",
    ]
    assert answer(books, paid.invoice) == (Answer.GIVEN_BACK, f"{CHARGED}, and all of it was refunded.")


def test_unknown_refund_resolved_by_staff_is_explained(
    books: Books, paid: PaymentAttempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    refund = books.send_back(books.ask_back(paid))
    books.wait(seconds=2)
    books.hear_back(refund, RefundVerdict.UNCLEAR, "timeout")
    refund.next_check_at = books.now + timedelta(minutes=2)
    refund.save()
    assert of_the_refund(books, paid)[-1] == (
        "next: Refund of RM 19.90: the gateway is checked again on Monday, 2 March 2026 at 09:07; it is never sent "
        "again."
    )
    books.wait(minutes=2)
    books.hear_back(refund, RefundVerdict.UNCHANGED, "", QUERY)
    books.wait(hours=1)
    books.hear_back(refund, RefundVerdict.NOTHING_AT_LAST, "unchanged_at_the_gateway", QUERY)
    assert answer(books, paid.invoice)[1] == f"{CHARGED}. Whether RM 19.90 of it was refunded is not known yet."
    assert of_the_refund(books, paid)[2:] == [
        (
            "answered: Refund of RM 19.90: the outcome of the request is not known: no response in time. It is never "
            "sent again; the gateway is checked until the outcome is known."
        ),
        (
            "checked: Refund of RM 19.90: the gateway's record of the payment showed no change. That alone does not "
            "prove that no money was refunded."
        ),
        (
            "with_a_person: Refund of RM 19.90: the payment was checked for the last time: nothing had changed, and "
            "nothing proves that nothing will. A person has to decide."
        ),
        "now: The invoice is paid.",
        "next: Refund of RM 19.90: nothing happens automatically; it needs review.",
    ]
    given = {"decision": Decision("mei", "asked the gateway"), "tuning": SHORT, "now": books.wait(hours=1)}
    gateway_shows(monkeypatch, paid, "SUCCESS")
    resolve_refund(refund=refund, resolution=RefundResolution.NOT_REFUNDED, **given)
    assert of_the_refund(books, paid)[-2:] == [
        (
            "decided: Refund of RM 19.90: mei decided that no money was refunded: asked the gateway. It refunded no "
            "money, and may be requested again."
        ),
        "now: The invoice is paid.",
    ]
    assert answer(books, paid.invoice) == (Answer.CHARGED, f"{CHARGED}.")
    books.hear_back(refund, RefundVerdict.REFUNDED, "refunded", QUERY)
    assert of_the_refund(books, paid)[-2] == (
        "alarm: Refund of RM 19.90: the gateway's record of the payment showed that the money was refunded. That "
        "contradicts what is recorded, so an alarm was raised."
    )


def test_refund_of_a_lost_sender_is_explained_by_the_gateway(books: Books, paid: PaymentAttempt) -> None:
    refund = books.send_back(books.ask_back(paid))
    books.wait(seconds=30)
    books.sweep()
    books.wait(seconds=1)
    books.hear_back(refund, RefundVerdict.REFUNDED, "refunded", QUERY)
    assert of_the_refund(books, paid)[2:4] == [
        (
            "lost: Refund of RM 19.90: the program that was to send the request was lost, so it is not known whether "
            "it left. It is never sent again; the gateway is checked until the outcome is known."
        ),
        "given_back: Refund of RM 19.90: the gateway's record of the payment showed that the money was refunded.",
    ]


def test_refunds_that_gave_nothing_back(books: Books, paid: PaymentAttempt) -> None:
    refused = books.send_back(books.ask_back(paid, 500))
    books.hear_back(refused, RefundVerdict.REFUSED, "UNSUPPORTED_REFUND")
    books.wait(minutes=1)
    withdrawn = books.ask_back(paid)
    Refund.objects.filter(pk=withdrawn.pk).update(state_reason="account_stopped")
    assert of_the_refund(books, paid)[-1] == (
        "next: Refund of RM 19.90: it waits to be sent, because the account is stopped; it is checked again "
        "automatically."
    )
    given = {"decision": Decision("mei", "the customer stays"), "tuning": SHORT, "now": books.wait(minutes=1)}
    withdraw(refund=withdrawn, **given)
    books.wait(minutes=1)
    late = books.ask_back(paid)
    books.hear_back(late, RefundVerdict.CANNOT, RefundEnd.PARTLY_GIVEN_BACK.value, RefundSource.ENGINE)
    assert [said for said in of_the_refund(books, paid) if said.startswith(("not_given_back", "decided"))] == [
        (
            "not_given_back: Refund of RM 5.00: the gateway answered that it is refused (code UNSUPPORTED_REFUND), "
            "less than a second after it was recorded. It refunded no money, and may be requested again."
        ),
        (
            "decided: Refund of RM 19.90: mei withdrew the request before it was sent: the customer stays. It "
            "refunded no money, and may be requested again."
        ),
        (
            "not_given_back: Refund of RM 19.90: it was not sent: part of it was refunded at the gateway meanwhile. "
            "Nothing was sent; the rest of it was not refunded, and may be requested again."
        ),
    ]
    assert answer(books, paid.invoice) == (Answer.CHARGED, f"{CHARGED}.")


def test_refunded_overpayment_is_no_longer_a_double_charge(books: Books) -> None:
    first = books.decline(books.armed())
    cancel(subscription=first.invoice.subscription, reason="moved", actor="siti", now=books.now)
    collect_held(invoice=first.invoice, decision=Decision("siti", "still owed"), now=books.wait(days=3))
    (second,) = books.arm()
    books.pay(second)
    books.pay(first, Source.ORDER_LIST)
    assert answer(books, first.invoice)[0] is Answer.CHARGED_TOO_OFTEN
    books.give_back(first, 500)
    assert answer(books, first.invoice) == (
        Answer.CHARGED_TOO_OFTEN,
        (
            "The card was charged RM 19.90 twice for period 1 of Coffee club. Only one of the charges may stay. RM "
            "5.00 of it was refunded."
        ),
    )
    books.give_back(first)
    assert answer(books, first.invoice) == (
        Answer.CHARGED,
        (
            "The card was charged RM 19.90 once for period 1 of Coffee club, on Thursday, 5 March 2026 at 09:00. "
            "Another charge of RM 19.90 was refunded."
        ),
    )
    books.give_back(second)
    assert answer(books, first.invoice) == (
        Answer.GIVEN_BACK,
        "The card was charged RM 19.90 twice for period 1 of Coffee club, and all of it was refunded.",
    )


def test_refund_explanation_hides_staff_names_from_others(
    books: Books, paid: PaymentAttempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    refund = books.send_back(books.ask_back(paid))
    books.hear_back(refund, RefundVerdict.UNCLEAR, "timeout")
    books.hear_back(refund, RefundVerdict.NOTHING_AT_LAST, "unchanged_at_the_gateway", QUERY)
    given = {"decision": Decision("siti", "Aminah said so"), "tuning": SHORT, "now": books.wait(hours=1)}
    gateway_shows(monkeypatch, paid, "FULL_REFUNDED")
    resolve_refund(refund=refund, resolution=RefundResolution.REFUNDED, **given)
    said = of_the_refund(books, paid, to_staff=False)
    assert said[0] == "refund_asked: A person requested a refund of all RM 19.90 of attempt 1."
    assert said[-2] == "decided: Refund of RM 19.90: a person decided that the money was refunded."
    assert not {word for word in ("siti", "Aminah", "cancelled") if word in " ".join(said)}


def test_every_refund_finding_wait_and_end_has_a_sentence() -> None:
    for source in RefundSource:
        for verdict in RefundVerdict:
            said = refund_shown_by(source, verdict, "timeout", None)
            assert said.endswith(".")
            assert "_" not in said
    assert refund_shown_by(QUERY, RefundVerdict.REFUNDED, "", 2).startswith("at check 2 the gateway's record")
    assert {refund_consequence(state)[-1:] for state in RefundState} == {"", "."}
