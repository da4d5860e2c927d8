"""After a cancellation nothing open is left without an owner."""

from typing import Any

import pytest

from billing.audit.invariants import violations
from billing.charging.cases.cancel import cancel
from billing.charging.cases.holds import ResolutionError, collect_held
from billing.domain.decisions import Decision
from billing.domain.subscriptions import OpenInvoices
from billing.models import Event, GatewayAccount, Invoice, Proposal, Subscription, Transition
from billing.subscriptions import lifecycle
from tests.factories import (
    NOW,
    make_attempt,
    make_card,
    make_invoice,
    make_plan,
    make_proposal,
    make_subscription,
    move_attempt,
)

pytestmark = pytest.mark.django_db
WHO = Decision("mei", "moved away")
O = OpenInvoices  # noqa: E741


def owing(**columns: Any) -> Invoice:
    """The open invoice of a running subscription, which falls due tomorrow."""
    card = make_card()
    subscription = make_subscription(card, make_plan(card.account), next_due_at=None)
    return make_invoice(card, subscription, **columns)


def end(invoice: Invoice, wish: OpenInvoices) -> Invoice:
    cancel(subscription=invoice.subscription, open_invoices=wish, decision=WHO, now=NOW)
    invoice.refresh_from_db()
    return invoice


@pytest.mark.parametrize(
    ("wish", "state", "hold", "next_at", "regardless"),
    [
        (O.REVIEW, "open", "subscription_canceled", None, False),
        (O.COLLECT, "open", None, NOW, True),
        (O.VOID, "void", None, None, False),
        (O.WRITE_OFF, "uncollectible", None, None, False),
    ],
)
def test_who_cancels_says_what_becomes_of_open_invoices(
    wish: OpenInvoices, state: str, hold: str | None, next_at: Any, regardless: bool
) -> None:
    invoice = end(owing(), wish)
    found = (invoice.state, invoice.hold, invoice.next_attempt_at, invoice.collect_regardless)
    assert found == (state, hold, next_at, regardless)
    assert Subscription.objects.get().state == "canceled"


def test_every_wish_is_tried() -> None:
    assert set(OpenInvoices) == {O.REVIEW, O.COLLECT, O.VOID, O.WRITE_OFF}


def test_what_is_left_to_staff_is_told() -> None:
    invoice = end(owing(), O.REVIEW)
    event = Event.objects.get(kind="invoice.held", subject_id=invoice.pk)
    assert event.payload["hold"] == "subscription_canceled"
    assert event.payload["changes"]["state"] == {"from": "open", "to": "open (subscription_canceled)"}
    line = Transition.objects.get(subject_type="invoice", subject_id=invoice.pk)
    assert (line.actor, line.reason) == ("mei", "subscription_canceled")
    collect_held(invoice=invoice, decision=WHO, now=NOW)
    assert Event.objects.filter(kind="invoice.released", subject_id=invoice.pk).count() == 1


def test_each_invoice_is_held_once() -> None:
    first = owing()
    second = make_invoice(
        first.payment_method, first.subscription, period_index=1, hold="reversed", next_attempt_at=None
    )
    end(first, O.REVIEW)
    held = Event.objects.filter(kind="invoice.held").values_list("subject_id", "payload__changes__state__from")
    assert sorted(held) == [(first.pk, "open"), (second.pk, "open (reversed)")]


@pytest.mark.parametrize("wish", [O.VOID, O.WRITE_OFF])
@pytest.mark.parametrize("state", ["sending", "unknown", "needs_review"])
def test_an_invoice_whose_attempt_may_have_the_money_is_left_to_staff(wish: OpenInvoices, state: str) -> None:
    invoice = owing()
    attempt = make_attempt(invoice, invoice.customer.payment_methods.get())
    if state != "sending":
        move_attempt(attempt, state)
    left = cancel(subscription=invoice.subscription, open_invoices=wish, decision=WHO, now=NOW)
    invoice.refresh_from_db()
    assert left == [invoice]
    assert (invoice.state, invoice.hold) == ("open", "subscription_canceled")


def test_closing_above_the_amount_waits_for_a_second_person(django_user_model: Any) -> None:
    invoice = owing()
    GatewayAccount.objects.update(second_person_above_minor=100)
    for name in ("mei", "siti"):
        django_user_model.objects.create(username=name, is_staff=True, is_superuser=True, password="!")
    cancel(
        subscription=invoice.subscription,
        open_invoices=O.VOID,
        decision=Decision("mei", "x", django_user_model.objects.get(username="mei").pk),
        now=NOW,
    )
    invoice.refresh_from_db()
    proposal = Proposal.objects.get()
    assert (invoice.state, invoice.hold, proposal.kind) == ("open", "proposal", "void")
    assert proposal.details["hold_before"] == "subscription_canceled"


def test_what_another_person_is_to_decide_stays_theirs() -> None:
    invoice = owing(hold="proposal", next_attempt_at=None)
    make_proposal(account=invoice.account, invoice=invoice, kind="write_off")
    assert end(invoice, O.VOID).state == "open"
    assert Proposal.objects.get().outcome == "open"


def test_what_was_on_hold_stays_so_when_the_rest_is_collected() -> None:
    invoice = end(owing(hold="reversed", next_attempt_at=None), O.COLLECT)
    assert (invoice.hold, invoice.next_attempt_at) == ("reversed", None)


def test_a_reason_is_needed() -> None:
    invoice = owing()
    with pytest.raises(ResolutionError, match="reason"):
        cancel(subscription=invoice.subscription, open_invoices=O.VOID, decision=Decision("mei", " "), now=NOW)
    assert Subscription.objects.get().state == "active"


@pytest.mark.parametrize("wish", list(OpenInvoices))
def test_the_books_are_in_order_afterwards(wish: OpenInvoices) -> None:
    end(owing(), wish)
    assert [one for one in violations(now=NOW) if one.invariant == "L6"] == []


def test_ended_subscriptions_are_not_cancelled() -> None:
    invoice = end(owing(), O.REVIEW)
    with pytest.raises(ValueError, match="must not have ended"):
        lifecycle.cancel(subscription=invoice.subscription, reason="x", actor="mei", now=NOW)
