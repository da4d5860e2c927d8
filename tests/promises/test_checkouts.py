"""A checkout is made for what is owed, excludes charges while it may be being paid, and keeps what it was made for."""

from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest

from billing.domain.checkouts import CHECKOUT_MOVES, CheckoutState
from billing.models import Checkout, GatewayAccount, Invoice, PaymentAttempt
from tests.factories import (
    NOW,
    make_account,
    make_attempt,
    make_card,
    make_checkout,
    make_customer,
    make_evidence,
    make_invoice,
    move_attempt,
    move_checkout,
)
from tests.promises.attacks import (
    attacks,
    columns,
    delete,
    insert_copy,
    other_value,
    refused,
    rewrite,
    run,
    table,
    update,
)

pytestmark = pytest.mark.django_db
migration = import_module("billing.migrations.0032_checkouts")
FREE_COLUMNS = {
    *("state", "state_reason", "gateway_checkout_id", "url", "closed_at"),
    *("next_check_at", "looked_at", "failures"),
}
FRESH: dict[str, Any] = {"public_id": "chk_2", "order_id": "KT2", "marker": "MARKER000002"}


def paid(checkout: Checkout, **changes: Any) -> PaymentAttempt:
    """A payment on the page, as it is written down."""
    attempt = make_attempt(checkout.invoice, checkout=checkout, **changes)
    return move_attempt(attempt, "succeeded", gateway_transaction_id="3001")


def test_the_database_and_the_domain_have_the_same_moves() -> None:
    listed = {(old, new) for old, news in migration.CHECKOUT_MOVES.items() for new in news}
    assert listed == {(str(old), str(new)) for old, new in CHECKOUT_MOVES}


def test_every_column_is_either_frozen_or_known_to_change() -> None:
    assert {*migration.FROZEN_CHECKOUT_COLUMNS, *FREE_COLUMNS} == set(columns(Checkout))


@attacks("checkouts_are_born_creating")
def test_checkout_is_on_record_before_its_page() -> None:
    checkout = move_checkout(make_checkout(), "closed")
    with refused("checkouts_are_born_creating"):
        insert_copy(checkout, **FRESH)


@attacks("one_open_checkout_per_invoice")
def test_invoice_has_one_open_page() -> None:
    with refused("one_open_checkout_per_invoice"):
        insert_copy(make_checkout(), **FRESH)


@attacks("a_checkout_is_for_what_is_owed")
@pytest.mark.parametrize("changes", [{"amount_minor": 1}, {"currency": "SGD"}, {"state": "void"}])
def test_page_asks_for_what_is_owed(changes: dict[str, Any]) -> None:
    checkout = move_checkout(make_checkout(), "closed")
    if "state" in changes:
        Invoice.objects.update(state="void", closed_at=NOW, next_attempt_at=None)
        changes = {}
    with refused("a_checkout_is_for_what_is_owed"):
        insert_copy(checkout, **FRESH, **changes, state="creating", closed_at=None, next_check_at=NOW)


@attacks("no_checkout_is_opened_while_a_charge_is_open")
@pytest.mark.parametrize("states", [(), ("unknown",), ("in_process",), ("needs_review",)])
def test_no_page_is_opened_beside_an_open_charge(states: tuple[str, ...]) -> None:
    invoice = make_invoice()
    move_attempt(make_attempt(invoice), *states)
    with refused("no_checkout_is_opened_while_a_charge_is_open"):
        make_checkout(invoice)


@attacks("no_card_is_charged_while_a_checkout_is_open")
@pytest.mark.parametrize("state", ["creating", "open"])
def test_no_card_is_charged_beside_an_open_page(state: str) -> None:
    checkout = make_checkout()
    if state == "open":
        move_checkout(checkout, "open")
    with refused("no_card_is_charged_while_a_checkout_is_open"):
        make_attempt(checkout.invoice)
    with refused("no_card_is_charged_while_a_checkout_is_open"):
        make_attempt(checkout.invoice, armed_at=checkout.excludes_until + timedelta(days=1))


def test_card_is_charged_once_the_page_is_over() -> None:
    checkout = move_checkout(make_checkout(), "closed")
    assert make_attempt(checkout.invoice).state == "sending"


@attacks("no_checkout_is_opened_in_quarantine")
def test_no_page_is_opened_in_quarantine() -> None:
    invoice = make_invoice()
    GatewayAccount.objects.update(quarantined_at=NOW, quarantine_reason="database_differs")
    with refused("no_checkout_is_opened_in_quarantine"):
        make_checkout(invoice)


@attacks("an_order_id_is_used_once", "billing_checkout_marker_key", "billing_checkout_public_id_key")
@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("order_id", "an_order_id_is_used_once"),
        ("marker", "billing_checkout_marker_key"),
        ("public_id", "billing_checkout_public_id_key"),
    ],
)
def test_names_of_a_checkout_are_its_own(column: str, name: str) -> None:
    checkout = move_checkout(make_checkout(), "closed")
    born = {"state": "creating", "closed_at": None, "next_check_at": NOW}
    with refused(name):
        insert_copy(checkout, **{key: value for key, value in FRESH.items() if key != column}, **born)


@attacks(
    "checkout_state_known",
    "order_id_is_well_formed",
    "an_open_checkout_has_its_page",
    "an_open_checkout_is_looked_at",
    "a_closed_checkout_says_when",
    "checkout_times_follow_each_other",
    "checkout_amount_positive",
    "checkout_currency_known",
)
@pytest.mark.parametrize(
    ("trigger", "changes", "name"),
    [
        ("checkouts_move_only_along_the_table", {"state": "perhaps", "closed_at": NOW}, "checkout_state_known"),
        ("checkouts_never_change", {"order_id": "kt 1"}, "order_id_is_well_formed"),
        ("", {"state": "open"}, "an_open_checkout_has_its_page"),
        ("", {"next_check_at": None}, "an_open_checkout_is_looked_at"),
        ("", {"closed_at": NOW}, "a_closed_checkout_says_when"),
        ("", {"state": "closed"}, "a_closed_checkout_says_when"),
        ("checkouts_never_change", {"excludes_until": NOW - timedelta(days=1)}, "checkout_times_follow_each_other"),
        ("checkouts_never_change", {"amount_minor": 0}, "checkout_amount_positive"),
        ("checkouts_never_change", {"currency": "EUR"}, "checkout_currency_known"),
    ],
)
def test_columns_of_a_checkout_agree(trigger: str, changes: dict[str, Any], name: str) -> None:
    checkout = make_checkout()
    if trigger:
        run("SET CONSTRAINTS ALL IMMEDIATE")
        run(f"ALTER TABLE {table(checkout)} DISABLE TRIGGER {trigger}")
    with refused(name):
        update(checkout, **changes)


@attacks("checkouts_move_only_along_the_table")
@pytest.mark.parametrize(
    ("before", "to"),
    [(old, new) for old in CheckoutState for new in CheckoutState if old != new and (old, new) not in CHECKOUT_MOVES],
)
def test_checkout_moves_only_along_the_table(before: CheckoutState, to: CheckoutState) -> None:
    checkout = make_checkout()
    if before is CheckoutState.PAID:
        paid(checkout)
    if before is not CheckoutState.CREATING:
        move_checkout(checkout, before)
    with refused("checkouts_move_only_along_the_table"):
        update(checkout, state=to.value, closed_at=None if to in ("creating", "open") else NOW)


@attacks("checkouts_never_change")
@pytest.mark.parametrize("column", migration.FROZEN_CHECKOUT_COLUMNS)
def test_what_a_page_was_made_for_never_changes(column: str) -> None:
    checkout = make_checkout()
    with refused("checkouts_never_change"):
        update(checkout, **{column: other_value(Checkout.objects.values_list(column, flat=True).get())})
    rewrite(checkout, column)


@attacks("a_paid_checkout_has_its_attempt")
def test_paid_checkout_has_its_attempt() -> None:
    checkout = make_checkout()
    with refused("a_paid_checkout_has_its_attempt"):
        update(checkout, state="paid", closed_at=NOW)
    paid(checkout)
    update(checkout, state="paid", closed_at=NOW)


@attacks("an_attempt_is_of_a_card_or_a_checkout")
def test_attempt_is_of_a_card_or_of_a_page() -> None:
    checkout = move_checkout(make_checkout(), "closed")
    card = checkout.invoice.payment_method
    with refused("an_attempt_is_of_a_card_or_a_checkout"):
        make_attempt(checkout.invoice, checkout=checkout, payment_method=card)
    with refused("an_attempt_is_of_a_card_or_a_checkout"):
        make_attempt(checkout.invoice, checkout=checkout, charge_path="customer_order")


@pytest.mark.parametrize("changes", [{"amount_minor": 1}, {"currency": "SGD"}])
def test_payment_on_a_page_is_of_what_the_page_asked_for(changes: dict[str, Any]) -> None:
    checkout = make_checkout()
    with refused("attempts_ask_for_what_is_owed"):
        make_attempt(checkout.invoice, checkout=checkout, **changes)
    theirs = make_invoice(make_card(make_customer(make_account(name="Kedai Teh", client_id="another"))))
    with refused("attempts_ask_for_what_is_owed"):
        make_attempt(theirs, checkout=checkout)


def test_payment_on_a_page_is_written_down_in_whatever_state_its_invoice_is() -> None:
    checkout = make_checkout()
    Invoice.objects.update(state="void", closed_at=NOW, next_attempt_at=None)
    attempt = make_attempt(checkout.invoice, checkout=checkout)
    assert make_evidence(attempt).attempt_id == attempt.pk


@attacks("checkout_is_never_deleted")
def test_no_checkout_is_deleted() -> None:
    with refused("checkout_is_never_deleted"):
        delete(make_checkout())


@attacks("checkout_is_never_truncated")
def test_the_table_of_checkouts_is_not_emptied() -> None:
    run("SELECT set_config('kitaran.allow_truncate', 'off', true)")
    with refused("checkout_is_never_truncated"):
        run("TRUNCATE billing_checkout CASCADE")
