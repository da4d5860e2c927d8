"""Payments from elsewhere: of what is owed, beside no charge, once, for ever; and proposals about one thing each."""

from typing import Any

import pytest

from billing.models import Invoice, OutsidePayment
from tests.factories import (
    NOW,
    make_account,
    make_attempt,
    make_card,
    make_invoice,
    make_outside_payment,
    make_proposal,
    move_attempt,
)
from tests.promises.attacks import attacks, delete, insert_copy, other_value, refused, run, table, update

pytestmark = pytest.mark.django_db
CLOSED = {"closed_at": NOW, "next_attempt_at": None}

CHECKS: list[tuple[str, dict[str, Any]]] = [
    ("outside_payment_method_known", {"method": "shells"}),
    ("an_outside_payment_names_where_it_is_found", {"reference": ""}),
    ("an_outside_payment_names_where_it_is_found", {"method": "gateway"}),
    ("an_outside_payment_names_where_it_is_found", {"gateway_transaction_id": "2001"}),
    ("an_outside_payment_says_who_and_why", {"recorded_by": ""}),
    ("an_outside_payment_says_who_and_why", {"reason": ""}),
]


@attacks(*(name for name, _ in CHECKS))
@pytest.mark.parametrize(("name", "wrong"), CHECKS)
def test_a_payment_that_breaks_a_promise_is_refused(name: str, wrong: dict[str, Any]) -> None:
    with refused(name):
        make_outside_payment(**wrong)


@attacks("an_outside_payment_pays_what_is_owed")
@pytest.mark.parametrize("state", ["paid", "void"])
def test_what_is_not_owed_is_not_paid_elsewhere(state: str) -> None:
    with refused("an_outside_payment_pays_what_is_owed"):
        make_outside_payment(make_invoice(state=state, **CLOSED))


@pytest.mark.parametrize("wrong", [{"amount_minor": 1989}, {"currency": "SGD"}])
def test_all_that_is_owed_is_paid_elsewhere_and_nothing_else(wrong: dict[str, Any]) -> None:
    with refused("an_outside_payment_pays_what_is_owed"):
        make_outside_payment(**wrong)
    with refused("an_outside_payment_pays_what_is_owed"):
        make_outside_payment(make_invoice(), account=make_account())


@attacks("an_outside_payment_excludes_a_charge")
@pytest.mark.parametrize("states", [(), ("unknown",), ("in_process",), ("needs_review",), ("succeeded",)])
def test_what_was_charged_or_may_be_is_not_paid_elsewhere(states: tuple[str, ...]) -> None:
    attempt = move_attempt(make_attempt(), *states)
    with refused("an_outside_payment_excludes_a_charge"):
        make_outside_payment(attempt.invoice)


def test_an_attempts_transaction_pays_nothing_else() -> None:
    attempt = move_attempt(make_attempt(), "succeeded", gateway_transaction_id="2001")
    other = make_invoice(attempt.payment_method)
    with refused("an_outside_payment_excludes_a_charge"):
        make_outside_payment(other, method="gateway", gateway_transaction_id="2001", reference="")


@attacks("what_was_paid_outside_is_not_charged")
def test_an_attempt_does_not_succeed_on_what_was_paid_elsewhere() -> None:
    attempt = move_attempt(make_attempt(), "declined")
    make_outside_payment(attempt.invoice)
    with refused("what_was_paid_outside_is_not_charged"):
        move_attempt(attempt, "succeeded")
    assert move_attempt(attempt, "surplus").state == "surplus"


@attacks("what_was_paid_outside_stays_paid", "paid_elsewhere_names_its_payment")
def test_invoice_paid_elsewhere_names_its_payment_and_stays_paid() -> None:
    invoice = make_invoice()
    with refused("paid_elsewhere_names_its_payment"):
        update(invoice, state="paid", state_reason="paid_elsewhere", **CLOSED)
    make_outside_payment(invoice)
    with refused("paid_elsewhere_names_its_payment"):
        update(invoice, state="paid", state_reason="paid", **CLOSED)
    update(invoice, state="paid", state_reason="paid_elsewhere", **CLOSED)
    with refused("what_was_paid_outside_stays_paid"):
        update(invoice, state="open", closed_at=None)


@attacks("no_invoice_is_closed_over_an_open_attempt")
@pytest.mark.parametrize("states", [(), ("unknown",), ("in_process",), ("needs_review",)])
@pytest.mark.parametrize(
    ("state", "why"),
    [("void", "voided"), ("void", "first_payment_overdue"), ("uncollectible", "written_off")],
)
def test_no_invoice_is_closed_over_an_open_attempt(states: tuple[str, ...], state: str, why: str) -> None:
    attempt = move_attempt(make_attempt(), *states)
    with refused("no_invoice_is_closed_over_an_open_attempt"):
        update(attempt.invoice, state=state, state_reason=why, **CLOSED)


@attacks("one_outside_payment_per_invoice")
def test_an_invoice_has_one_payment_from_elsewhere() -> None:
    payment = make_outside_payment()
    with refused("one_outside_payment_per_invoice"):
        insert_copy(payment, public_id="pay_2")


@attacks("a_found_transaction_pays_one_invoice", "billing_outsidepayment_public_id_key")
def test_transaction_pays_one_invoice_and_an_id_is_unique() -> None:
    payment = make_outside_payment(method="gateway", gateway_transaction_id="2001", reference="")
    other = make_invoice(make_card(payment.invoice.customer, is_default=False))
    with refused("a_found_transaction_pays_one_invoice"):
        insert_copy(payment, public_id="pay_2", invoice_id=other.pk)
    with refused("billing_outsidepayment_public_id_key"):
        insert_copy(payment, invoice_id=other.pk, gateway_transaction_id="2002")


@attacks("outsidepayment_is_append_only")
def test_a_payment_from_elsewhere_is_neither_changed_nor_lost() -> None:
    payment = make_outside_payment()
    for column in ("method", "reference", "amount_minor", "recorded_by", "reason"):
        with refused("outsidepayment_is_append_only"):
            update(payment, **{column: other_value(getattr(payment, column))})
    with refused("outsidepayment_is_append_only"):
        delete(payment)


@attacks("outsidepayment_is_never_truncated")
def test_payments_from_elsewhere_are_not_emptied() -> None:
    run("SELECT set_config('kitaran.allow_truncate', 'off', true)")
    with refused("outsidepayment_is_never_truncated"):
        run(f"TRUNCATE {table(OutsidePayment)}")


# --- proposals about invoices and cards ---------------------------------------------------------------------


def about_an_invoice(invoice: Invoice | None = None, **columns: Any) -> Any:
    invoice = invoice or make_invoice()
    return make_proposal(None, **{"invoice": invoice, "account": invoice.account, "kind": "void", **columns})


def about_a_card(**columns: Any) -> Any:
    card = make_card(held_at=NOW, held_reason="unexplained_order")
    given = {"payment_method": card, "account": card.account, "kind": "clear_hold"}
    return make_proposal(None, **{**given, **columns})


@attacks("a_proposal_is_about_one_thing")
def test_a_proposal_is_about_one_thing() -> None:
    invoice = make_invoice()
    with refused("a_proposal_is_about_one_thing"):
        make_proposal(None, invoice=None, account=invoice.account)
    with refused("a_proposal_is_about_one_thing"):
        attempt = move_attempt(make_attempt(invoice), "needs_review")
        make_proposal(attempt, invoice=invoice)


@attacks("one_open_proposal_per_invoice", "one_open_proposal_per_card")
def test_invoice_or_card_has_at_most_one_open_proposal() -> None:
    with refused("one_open_proposal_per_invoice"):
        insert_copy(about_an_invoice(), public_id="prop_2")
    with refused("one_open_proposal_per_card"):
        insert_copy(about_a_card(), public_id="prop_3")


@pytest.mark.parametrize("state", ["paid", "void"])
def test_nothing_is_proposed_about_what_is_not_owed_or_not_held(state: str) -> None:
    with refused("proposals_are_about_a_case"):
        about_an_invoice(make_invoice(state=state, **CLOSED))
    with refused("proposals_are_about_a_case"):
        about_an_invoice(account=make_account())
    free = make_card()
    with refused("proposals_are_about_a_case"):
        about_a_card(payment_method=free, account=free.account)
