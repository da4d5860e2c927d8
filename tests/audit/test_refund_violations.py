"""What the invariants say of money that goes back, broken one by one: the audit finds it, and it alone."""

import pytest

from billing.accounts.gateway_accounts import start_account, stop_account
from billing.audit.invariants import violations
from billing.charging.cases.resolve import collect_held
from billing.domain.attempts import Source
from billing.domain.decisions import Decision
from billing.domain.refunds import RefundSource, RefundVerdict
from billing.models import Event, PaymentAttempt, Refund, Subscription, Transition
from billing.subscriptions.lifecycle import cancel
from tests.audit.books import Books
from tests.audit.test_violations import asleep, audit, only, rearm, without
from tests.conftest import SHORT
from tests.factories import make_refund_evidence
from tests.promises.attacks import make_gateway_order

pytestmark = pytest.mark.django_db


@pytest.fixture
def paid(books: Books) -> PaymentAttempt:
    return books.pay(books.armed())


def surplus(books: Books) -> PaymentAttempt:
    """Money that came late, after another attempt had paid."""
    first = books.decline(books.armed())
    cancel(subscription=first.invoice.subscription, reason="moved", actor="siti", now=books.now)
    collect_held(invoice=first.invoice, decision=Decision("siti", "still owed"), now=books.wait(days=3))
    (second,) = books.arm()
    books.pay(second)
    return books.pay(first, Source.ORDER_LIST)


def test_whatever_becomes_of_refunds_breaks_nothing(books: Books) -> None:
    """In parts, in the portal, refused, withdrawn by the portal, unknown, with a person, reversed."""
    attempts = [books.pay(books.armed()) for _ in range(5)]
    parts, portal, refused, lost, reversed_ = attempts
    books.give_back(parts, 500)
    books.give_back(parts)
    books.see_in_the_portal(portal, 700)
    books.hear_back(books.send_back(books.ask_back(refused)), RefundVerdict.REFUSED, "UNSUPPORTED_REFUND")
    books.give_back(reversed_, reverse=True)
    refund = books.send_back(books.ask_back(lost))
    assert audit(books) == []
    books.wait(seconds=30)
    books.sweep()
    assert audit(books) == []
    books.hear_back(refund, RefundVerdict.NOTHING_AT_LAST, "unchanged", RefundSource.TRANSACTION_QUERY)
    assert audit(books) == []
    books.hear_back(refund, RefundVerdict.PERSON_NOT_REFUNDED, "decided by siti: asked them", RefundSource.OPERATOR)
    assert audit(books) == []
    states = set(Refund.objects.values_list("origin", "state"))
    assert states == {
        ("engine", "succeeded"), ("engine", "refused"), ("engine", "not_refunded"), ("gateway", "succeeded"),
    }  # fmt: skip


def test_s1_overpayment_counts_until_it_is_fully_refunded(books: Books) -> None:
    late = surplus(books)
    broken = ("S1", late.invoice.public_id, "took money 2 times, and no more than one may stay.")
    assert only(books) == broken
    books.give_back(late, 500)
    assert only(books) == broken, "a part of it is still here"
    books.give_back(late)
    assert audit(books) == []


def test_s1_second_order_counts_until_the_gateway_refunded_it(books: Books) -> None:
    late = surplus(books)
    books.give_back(late)
    order = make_gateway_order(late, gateway_order_id=late.gateway_order_id)
    assert audit(books) == [], "the list was read before"
    order.status = "FULL_REFUNDED"
    order.save()
    assert audit(books) == []


def test_s1_more_refunded_than_taken(books: Books, paid: PaymentAttempt) -> None:
    books.give_back(paid, 1500)
    without("refunds_never_exceed_the_attempt")
    asleep("UPDATE billing_refund SET amount_minor = 1991")
    found = [(one.invariant, one.subject, one.text) for one in audit(books) if one.invariant == "S1"]
    assert found == [("S1", paid.public_id, "took 1990 MYR, and 1991 of it was refunded or still may be.")]


def test_s3_a_refund_armed_twice(books: Books, paid: PaymentAttempt) -> None:
    refund = books.give_back(paid)
    born = Transition.objects.get(subject_type="refund", to_state="sending")
    Transition.objects.create(
        account_id=born.account_id, subject_type="refund", subject_id=refund.pk, from_state="sending",
        to_state="sending", evidence_id=born.evidence_id, actor="nobody", at=books.now,
    )  # fmt: skip
    found = audit(books)
    text = "was armed 2 times by its history, and has one request."
    assert [(one.invariant, one.text) for one in found if one.invariant == "S3"] == [("S3", text)]


def test_s3_two_answers_to_one_request(books: Books, paid: PaymentAttempt) -> None:
    refund = books.give_back(paid)
    make_refund_evidence(refund, verdict="unclear")
    assert only(books) == ("S3", refund.public_id, "has 2 answers to its one request.")


def test_s3_a_refund_that_moved_without_evidence(books: Books, paid: PaymentAttempt) -> None:
    refund = books.send_back(books.ask_back(paid))
    asleep("DELETE FROM billing_refundevidence")
    assert only(books) == ("S3", refund.public_id, "went from requested to sending without evidence about it.")


def test_s4_two_open_refunds_of_one_payment(books: Books, paid: PaymentAttempt) -> None:
    first = books.give_back(paid, 500)
    books.ask_back(paid, 100)
    without("one_open_refund_per_attempt", index=True)
    asleep("UPDATE billing_refund SET state = 'requested', next_check_at = %s WHERE id = %s", [books.now, first.pk])
    found = [(one.invariant, one.subject, one.text) for one in audit(books) if one.invariant == "S4"]
    assert found == [("S4", paid.public_id, "has 2 refunds whose outcome is open.")]


def test_s4_an_invoice_charged_again_after_its_payment_went_back(books: Books, paid: PaymentAttempt) -> None:
    refund = books.give_back(paid)
    Subscription.objects.update(next_due_at=None)
    without("one_attempt_holds_the_place", index=True)
    asleep("UPDATE billing_invoice SET amount_refunded_minor = 0")
    again = rearm(books, paid, state="succeeded")
    books.decline(again)
    text = f"was armed for invoice {paid.invoice.public_id}, of which refund {refund.public_id} had refunded money."
    assert ("S4", again.public_id, text) in [(one.invariant, one.subject, one.text) for one in audit(books)]


def test_s4_charge_after_reversal_or_overpayment_refund_is_fine(books: Books) -> None:
    late = surplus(books)
    books.give_back(late)
    holder = late.invoice.attempts.get(state="succeeded")
    books.give_back(holder, reverse=True)
    assert late.state == "surplus"
    collect_held(invoice=holder.invoice, decision=Decision("siti", "still owed"), now=books.wait(minutes=1))
    (again,) = books.arm()
    books.pay(again)
    assert audit(books) == []


def test_s7_a_move_of_a_refund_that_is_not_in_the_table(books: Books, paid: PaymentAttempt) -> None:
    refund = books.give_back(paid)
    asleep(
        "UPDATE billing_transition SET from_state = 'requested' WHERE from_state = 'sending' AND to_state = 'succeeded'"
        " AND subject_type = 'refund'"
    )
    assert only(books) == ("S7", refund.public_id, "went from requested to succeeded (it stood at sending).")


def test_s7_a_refund_whose_state_is_not_where_its_history_ends(books: Books, paid: PaymentAttempt) -> None:
    refund = books.hear_back(books.send_back(books.ask_back(paid)), RefundVerdict.REFUSED, "UNSUPPORTED_REFUND")
    asleep("UPDATE billing_refund SET state = 'not_sent'")
    assert only(books) == ("S7", refund.public_id, "is not_sent, and its history ends at refused.")


def test_s7_money_that_went_back_and_was_not_recorded(books: Books, paid: PaymentAttempt) -> None:
    refund = books.hear_back(books.send_back(books.ask_back(paid)), RefundVerdict.REFUSED, "UNSUPPORTED_REFUND")
    told = make_refund_evidence(refund, source="transaction_query")
    assert only(books) == (
        "S7",
        refund.public_id,
        f"is refused, and evidence {told.pk} shows that the money was refunded.",
    )
    Event.objects.create(
        public_id="evt_1", account_id=refund.account_id, kind="refund.alarm", subject_type="refund",
        subject_id=refund.pk, payload={}, created_at=books.now,
    )  # fmt: skip
    assert audit(books) == [], "a person knows"


@pytest.mark.parametrize(("table", "whose"), [("paymentattempt", "attempt"), ("invoice", "invoice")])
def test_s7_a_sum_that_is_not_what_went_back(books: Books, paid: PaymentAttempt, table: str, whose: str) -> None:
    books.give_back(paid, 500)
    asleep(f"UPDATE billing_{table} SET amount_refunded_minor = 400")  # noqa: S608
    found = {(one.invariant, one.subject, one.text) for one in audit(books)}
    paid_by = ("S7", paid.invoice.public_id, "counts {} as refunded, and the attempt that paid it {}.")
    if whose == "attempt":
        said = {("S7", paid.public_id, "counts 400 as refunded, and its refunds come to 500.")}
        assert found == said | {(*paid_by[:2], paid_by[2].format(500, 400))}
    else:
        assert found == {(*paid_by[:2], paid_by[2].format(400, 500))}


def test_s7_a_reversal_whose_payment_stands(books: Books, paid: PaymentAttempt) -> None:
    refund = books.give_back(paid, reverse=True)
    asleep("UPDATE billing_refund SET kind = 'reverse'")
    asleep("UPDATE billing_paymentattempt SET state = 'succeeded'")
    asleep("UPDATE billing_invoice SET state = 'paid', hold = NULL, closed_at = %s", [books.now])
    text = f"took its payment back, and attempt {paid.public_id} is succeeded."
    assert ("S7", refund.public_id, text) in [(one.invariant, one.subject, one.text) for one in audit(books)]


@pytest.mark.parametrize("reverse", [False, True], ids=["refund", "reverse"])
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("request_body = '{}'", "its request does not have the digest that it was armed with."),
        ("request_url = request_url || '?'", "its request does not have the digest that it was armed with."),
        ("armed_at = armed_at - interval '1 hour'", "its request is not of the time when it was armed."),
        ("deadline_at = armed_at", "its window and deadline do not follow its arming."),
    ],
)
def test_s8_a_sent_refund_that_was_changed(
    books: Books, paid: PaymentAttempt, change: str, text: str, reverse: bool
) -> None:
    refund = books.send_back(books.ask_back(paid, reverse=reverse))
    asleep(f"UPDATE billing_refund SET {change}")  # noqa: S608
    assert ("S8", refund.public_id, text) in [(one.invariant, one.subject, one.text) for one in audit(books)]


def test_s8_refund_differs_from_its_request_in_amount_or_kind(books: Books, paid: PaymentAttempt) -> None:
    refund = books.hear_back(books.send_back(books.ask_back(paid)), RefundVerdict.REFUSED, "UNSUPPORTED_REFUND")
    text = "its request asks for something else than the refund."
    for change in ("amount_minor = 100", "amount_minor = 1990, kind = 'partial'", "kind = 'reverse'"):
        asleep(f"UPDATE billing_refund SET {change}")  # noqa: S608
        assert only(books) == ("S8", refund.public_id, text)


def test_s9_a_refund_armed_while_the_account_was_stopped(books: Books, paid: PaymentAttempt) -> None:
    stop_account(account=books.account, reason="audit", actor="siti", now=books.now)
    asleep("UPDATE billing_gatewayaccount SET stopped_at = NULL")
    refund = books.give_back(paid)
    asleep("UPDATE billing_gatewayaccount SET stopped_at = %s", [books.now])
    start_account(account=books.account, reason="audit", actor="siti", now=books.now)
    assert only(books) == ("S9", refund.public_id, "was armed while the account was stopped.")


@pytest.mark.parametrize(("status", "part"), [("FULL_REFUNDED", 500), ("PARTIAL_REFUNDED", None)])
def test_s10_refund_at_the_gateway_that_nobody_recorded(
    books: Books, paid: PaymentAttempt, status: str, part: int | None
) -> None:
    make_gateway_order(paid, gateway_order_id=paid.gateway_order_id, status=status, last_seen_at=books.wait(hours=1))
    Subscription.objects.update(next_due_at=None)
    if part:
        books.give_back(paid, part)
    order = f"order {paid.gateway_order_id} as {status}"
    text = f"counts {part or 0} of 1990 MYR as refunded, and the gateway has its {order}."
    found = [(one.invariant, one.subject, one.text) for one in audit(books) if one.invariant == "S10"]
    assert found == [("S10", paid.public_id, text)]
    waiting = books.send_back(books.ask_back(paid, 100))
    assert "S10" not in {one.invariant for one in audit(books)}, "it may be that one"
    books.hear_back(waiting, RefundVerdict.REFUNDED)
    paid.refresh_from_db()
    books.see_in_the_portal(paid, paid.amount_minor - paid.amount_refunded_minor)
    assert "S10" not in {one.invariant for one in audit(books)}


def test_l2_a_refund_that_stays_sending(books: Books, paid: PaymentAttempt) -> None:
    refund = books.send_back(books.ask_back(paid))
    books.wait(seconds=9 + 120)
    assert audit(books) == []
    books.wait(seconds=1)
    assert only(books) == ("L2", refund.public_id, "is sending since 2026-03-02 01:00:00 UTC.")
    books.sweep()
    assert audit(books) == []


def test_l3_a_request_that_nobody_takes_up(books: Books, paid: PaymentAttempt) -> None:
    refund = books.ask_back(paid)
    books.wait(minutes=11)
    assert only(books) == ("L3", refund.public_id, "is requested, and nobody looked when it was time.")
    Refund.objects.update(next_check_at=None)
    assert only(books) == ("L3", refund.public_id, "is requested, and nobody looks at it again.")


def test_l3_unknown_refund_that_never_comes_to_review(books: Books, paid: PaymentAttempt) -> None:
    refund = books.hear_back(books.send_back(books.ask_back(paid)), RefundVerdict.UNCLEAR, "timeout")
    books.wait(minutes=11)
    assert only(books) == ("L3", refund.public_id, "is unknown, and nobody looked when it was time.")
    Subscription.objects.update(next_due_at=None)
    Refund.objects.update(next_check_at=books.wait(days=3, hours=1))
    found = [(one.subject, one.text) for one in audit(books) if one.invariant == "L3"]
    assert found == [(refund.public_id, "is unknown, and has been so since 2026-03-02.")]


def test_l4_refund_that_needed_review_without_an_alert(books: Books, paid: PaymentAttempt) -> None:
    refund = books.hear_back(books.send_back(books.ask_back(paid)), RefundVerdict.UNCLEAR, "timeout")
    query = RefundSource.TRANSACTION_QUERY
    books.hear_back(refund, RefundVerdict.NOTHING_AT_LAST, "unchanged_at_the_gateway", query)
    assert audit(books) == []
    asleep("DELETE FROM billing_event WHERE kind = 'refund.needs_review'")
    assert only(books) == ("L4", refund.public_id, "needed a person once, and raised 0 alerts.")


def test_only_refunds_of_the_requested_account_are_audited(books: Books) -> None:
    other = Books()
    refund = other.ask_back(other.pay(other.armed()))
    later = other.wait(minutes=11)
    assert violations(now=later, tuning=SHORT, account_id=books.account.pk) == []
    (found,) = violations(now=later, tuning=SHORT, account_id=other.account.pk)
    assert found.subject == refund.public_id
