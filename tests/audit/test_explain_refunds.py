"""Money that goes back, in the life of an invoice and in the answer to the customer, word for word."""

from datetime import timedelta

import pytest

from billing.audit.explain import Answer
from billing.audit.refund_life import refund_consequence, refund_told
from billing.audit.wording import REFUND_ENDS, REFUND_WAITS
from billing.charging.refund import RefundResolution, resolve_refund, withdraw
from billing.charging.resolve import collect_held
from billing.domain.attempts import Source
from billing.domain.refunds import RefundEnd, RefundSource, RefundState, RefundVerdict, RefundWait
from billing.models import PaymentAttempt, Refund
from billing.subscriptions.lifecycle import cancel
from tests.audit.books import Books
from tests.audit.test_explain import answer, story
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
        f"{CHARGED}. RM 19.90 of it is to be given back: that was asked for, and not sent yet.",
    )
    assert of_the_refund(books, paid)[-2:] == [
        "now: The invoice is paid.",
        "next: Refund of RM 19.90: it is sent as soon as a worker takes it up.",
    ]
    books.wait(seconds=2)
    books.send_back(refund)
    assert of_the_refund(books, paid)[-1] == (
        "next: Refund of RM 19.90: it is being sent; its answer, or the lack of one, comes first."
    )
    assert answer(books, paid.invoice)[1] == f"{CHARGED}. Whether RM 19.90 of it was given back is not known yet."
    books.wait(seconds=3)
    books.hear_back(refund, RefundVerdict.REFUNDED)
    assert of_the_refund(books, paid) == [
        "refund_asked: siti asked for all RM 19.90 of attempt 1 to be given back: cancelled in time.",
        "armed: Refund of RM 19.90: a request was written down, to be sent once.",
        (
            "given_back: Refund of RM 19.90: the gateway answered that the money went back, 3 seconds after it was "
            "written down."
        ),
        "now: The invoice is paid. RM 19.90 of it was given back.",
    ]
    assert answer(books, paid.invoice) == (Answer.GIVEN_BACK, f"{CHARGED}, and all of it was given back.")


def test_parts_of_it_and_one_in_the_portal(books: Books, paid: PaymentAttempt) -> None:
    books.give_back(paid, 500)
    books.wait(hours=1)
    books.see_in_the_portal(paid, 300)
    assert of_the_refund(books, paid)[0] == (
        "refund_asked: siti asked for RM 5.00 of attempt 1 to be given back: cancelled in time."
    )
    assert of_the_refund(books, paid)[-2:] == [
        "given_back: RM 3.00 of attempt 1 was given back in the gateway's own portal, and seen there.",
        "now: The invoice is paid. RM 8.00 of it was given back.",
    ]
    assert answer(books, paid.invoice) == (Answer.CHARGED, f"{CHARGED}. RM 8.00 of it was given back.")


def test_a_payment_that_was_reversed(books: Books, paid: PaymentAttempt) -> None:
    books.give_back(paid, reverse=True)
    assert of_the_refund(books, paid) == [
        (
            "refund_asked: siti asked for attempt 1 to be taken back, all RM 19.90 of it, as if it had not been: "
            "cancelled in time."
        ),
        "armed: Reversal of RM 19.90: a request was written down, to be sent once.",
        (
            "given_back: Reversal of RM 19.90: the gateway answered that the money went back, less than a second "
            "after it was written down."
        ),
        (
            "reversed: Attempt 1: the payment was taken back, as it had been asked for. The money went back to the "
            "customer. The invoice is open again, and is collected only if a person decides so."
        ),
        "now: The invoice is open: RM 19.90 is still owed.",
    ]
    assert answer(books, paid.invoice) == (Answer.GIVEN_BACK, f"{CHARGED}, and all of it was given back.")


def test_an_unknown_refund_that_a_person_decides(books: Books, paid: PaymentAttempt) -> None:
    refund = books.send_back(books.ask_back(paid))
    books.wait(seconds=2)
    books.hear_back(refund, RefundVerdict.UNCLEAR, "timeout")
    refund.next_check_at = books.now + timedelta(minutes=2)
    refund.save()
    assert of_the_refund(books, paid)[-1] == (
        "next: Refund of RM 19.90: the gateway is asked again on Monday, 2 March 2026 at 09:07; it is never sent again."
    )
    books.wait(minutes=2)
    books.hear_back(refund, RefundVerdict.UNCHANGED, "", QUERY)
    books.wait(hours=1)
    books.hear_back(refund, RefundVerdict.NOTHING_AT_LAST, "unchanged_at_the_gateway", QUERY)
    assert answer(books, paid.invoice)[1] == f"{CHARGED}. Whether RM 19.90 of it was given back is not known yet."
    assert of_the_refund(books, paid)[2:] == [
        (
            "answered: Refund of RM 19.90: what came of the request is not known: there was no answer in time. It is "
            "never sent again; the gateway is asked until it is known."
        ),
        (
            "checked: Refund of RM 19.90: the gateway's record of the payment showed no change. That alone does not "
            "prove that no money goes back."
        ),
        (
            "with_a_person: Refund of RM 19.90: the payment was looked at for the last time: nothing had changed, and "
            "nothing proves that nothing will. A person has to decide."
        ),
        "now: The invoice is paid.",
        "next: Refund of RM 19.90: nothing happens by itself; a person decides whether the money went back.",
    ]
    given = {"reason": "asked the gateway", "actor": "mei", "limits": SHORT, "now": books.wait(hours=1)}
    resolve_refund(refund=refund, resolution=RefundResolution.NOT_REFUNDED, **given)
    assert of_the_refund(books, paid)[-2:] == [
        (
            "decided: Refund of RM 19.90: mei decided that no money went back: asked the gateway. No money went back "
            "by it, and it may be asked for again."
        ),
        "now: The invoice is paid.",
    ]
    assert answer(books, paid.invoice) == (Answer.CHARGED, f"{CHARGED}.")
    books.hear_back(refund, RefundVerdict.REFUNDED, "refunded", QUERY)
    assert of_the_refund(books, paid)[-2] == (
        "alarm: Refund of RM 19.90: the gateway's record of the payment showed that the money went back. That does "
        "not fit what is recorded, so a person was told."
    )


def test_a_refund_whose_sender_was_lost_and_which_the_gateway_shows(books: Books, paid: PaymentAttempt) -> None:
    refund = books.send_back(books.ask_back(paid))
    books.wait(seconds=30)
    books.sweep()
    books.wait(seconds=1)
    books.hear_back(refund, RefundVerdict.REFUNDED, "refunded", QUERY)
    assert of_the_refund(books, paid)[2:4] == [
        (
            "lost: Refund of RM 19.90: the program that was to send the request was lost, so nobody knows whether it "
            "left. It is never sent again; the gateway is asked until it is known."
        ),
        "given_back: Refund of RM 19.90: the gateway's record of the payment showed that the money went back.",
    ]


def test_refunds_that_gave_nothing_back(books: Books, paid: PaymentAttempt) -> None:
    refused = books.send_back(books.ask_back(paid, 500))
    books.hear_back(refused, RefundVerdict.REFUSED, "UNSUPPORTED_REFUND")
    books.wait(minutes=1)
    withdrawn = books.ask_back(paid)
    Refund.objects.filter(pk=withdrawn.pk).update(state_reason="account_stopped")
    assert of_the_refund(books, paid)[-1] == (
        "next: Refund of RM 19.90: it waits to be sent, because the account is stopped; it is looked at again by "
        "itself."
    )
    given = {"reason": "the customer stays", "actor": "mei", "limits": SHORT, "now": books.wait(minutes=1)}
    withdraw(refund=withdrawn, **given)
    books.wait(minutes=1)
    late = books.ask_back(paid)
    books.hear_back(late, RefundVerdict.CANNOT, RefundEnd.NOT_THAT_MUCH.value, RefundSource.ENGINE)
    assert [said for said in of_the_refund(books, paid) if said.startswith(("not_given_back", "decided"))] == [
        (
            "not_given_back: Refund of RM 5.00: the gateway answered that it is not given back (code "
            "UNSUPPORTED_REFUND), less than a second after it was written down. No money went back by it, and it may "
            "be asked for again."
        ),
        (
            "decided: Refund of RM 19.90: mei took the request back before it was sent: the customer stays. No money "
            "went back by it, and it may be asked for again."
        ),
        (
            "not_given_back: Refund of RM 19.90: it was not sent: more was given back meanwhile, and that much is not "
            "left. No money went back by it, and it may be asked for again."
        ),
    ]
    assert answer(books, paid.invoice) == (Answer.CHARGED, f"{CHARGED}.")


def test_a_surplus_that_went_back_is_no_charge_too_many_any_more(books: Books) -> None:
    first = books.decline(books.armed())
    cancel(subscription=first.invoice.subscription, reason="moved", actor="siti", now=books.now)
    collect_held(invoice=first.invoice, reason="still owed", actor="siti", now=books.wait(days=3))
    (second,) = books.arm()
    books.pay(second)
    books.pay(first, Source.ORDER_LIST)
    assert answer(books, first.invoice)[0] is Answer.CHARGED_TOO_OFTEN
    books.give_back(first, 500)
    assert answer(books, first.invoice) == (
        Answer.CHARGED_TOO_OFTEN,
        (
            "The card was charged RM 19.90 twice for period 1 of Coffee club. Only one of the charges may stay. RM "
            "5.00 of it was given back."
        ),
    )
    books.give_back(first)
    assert answer(books, first.invoice) == (
        Answer.CHARGED,
        (
            "The card was charged RM 19.90 once for period 1 of Coffee club, on Thursday, 5 March 2026 at 09:00. "
            "Another charge of RM 19.90 was given back."
        ),
    )
    books.give_back(second)
    assert answer(books, first.invoice) == (
        Answer.GIVEN_BACK,
        "The card was charged RM 19.90 twice for period 1 of Coffee club, and all of it was given back.",
    )


def test_to_others_than_staff_nobody_who_asked_or_decided_is_named(books: Books, paid: PaymentAttempt) -> None:
    refund = books.send_back(books.ask_back(paid))
    books.hear_back(refund, RefundVerdict.UNCLEAR, "timeout")
    books.hear_back(refund, RefundVerdict.NOTHING_AT_LAST, "unchanged_at_the_gateway", QUERY)
    given = {"reason": "Aminah said so", "actor": "siti", "limits": SHORT, "now": books.wait(hours=1)}
    resolve_refund(refund=refund, resolution=RefundResolution.REFUNDED, **given)
    said = of_the_refund(books, paid, to_staff=False)
    assert said[0] == "refund_asked: A person asked for all RM 19.90 of attempt 1 to be given back."
    assert said[-2] == "decided: Refund of RM 19.90: a person decided that the money went back."
    assert not {word for word in ("siti", "Aminah", "cancelled") if word in " ".join(said)}


def test_everything_that_can_be_told_of_a_refund_has_its_sentence() -> None:
    for source in RefundSource:
        for verdict in RefundVerdict:
            said = refund_told(source, verdict, "timeout", None)
            assert said.endswith(".")
            assert "_" not in said
    assert refund_told(QUERY, RefundVerdict.REFUNDED, "", 2).startswith("at look 2 the gateway's record")
    assert {refund_consequence(state)[-1:] for state in RefundState} == {"", "."}
    assert set(REFUND_WAITS) == set(RefundWait)
    assert set(RefundEnd) <= set(REFUND_ENDS)
