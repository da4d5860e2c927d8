"""Found payments are decided once and never lost; a day's report has one row; a watched card says since when."""

from datetime import date
from importlib import import_module
from typing import Any

import pytest

from billing.models import FoundPayment, ReportDay
from tests.factories import NOW, make_account, make_card, make_customer, make_found_payment, make_invoice
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
migration = import_module("billing.migrations.0017_found_payments")
DECIDED: dict[str, Any] = {"decided_at": NOW, "decided_by": "mei", "decided_reason": "given back"}


@attacks("found_payment_kind_known")
def test_found_payment_has_a_known_kind() -> None:
    payment = make_found_payment()
    with refused("found_payment_kind_known"):
        insert_copy(payment, gateway_transaction_id="2002", kind="perhaps")


@attacks("one_row_per_found_payment")
def test_a_payment_is_listed_once() -> None:
    with refused("one_row_per_found_payment"):
        insert_copy(make_found_payment())


@attacks("one_row_per_amount_that_went_back")
def test_refunded_money_is_listed_once_for_each_amount() -> None:
    payment = make_found_payment()
    invoice = make_invoice(make_card(make_customer(payment.account)))
    insert_copy(payment, kind="went_back", invoice_id=invoice.pk)
    back = FoundPayment.objects.get(kind="went_back")
    insert_copy(back, amount_minor=700)
    with refused("one_row_per_amount_that_went_back"):
        insert_copy(back)


@attacks("money_that_went_back_had_paid_an_invoice")
def test_money_that_went_back_names_its_invoice() -> None:
    with refused("money_that_went_back_had_paid_an_invoice"):
        insert_copy(make_found_payment(), kind="went_back")


@attacks("a_found_payment_is_of_its_accounts_invoice")
def test_a_found_payment_names_no_invoice_of_another_account() -> None:
    theirs = make_invoice(make_card(make_customer(make_account(name="Kedai Teh", client_id="another"))))
    with refused("a_found_payment_is_of_its_accounts_invoice"):
        insert_copy(make_found_payment(), gateway_transaction_id="2002", invoice_id=theirs.pk)


@attacks("a_decided_payment_says_by_whom_and_why")
@pytest.mark.parametrize("left_out", DECIDED)
def test_decision_records_by_whom_and_why(left_out: str) -> None:
    payment = make_found_payment()
    with refused("a_decided_payment_says_by_whom_and_why"):
        update(payment, **{name: value for name, value in DECIDED.items() if name != left_out})


@attacks("a_found_payment_is_decided_once")
def test_a_decision_about_a_payment_is_final() -> None:
    payment = make_found_payment()
    update(payment, **DECIDED)
    for column in DECIDED:
        with refused("a_found_payment_is_decided_once"):
            rewrite(payment, column)


@attacks("found_payments_never_change")
@pytest.mark.parametrize("column", migration.FROZEN_PAYMENT_COLUMNS)
def test_what_was_found_never_changes(column: str) -> None:
    payment = make_found_payment()
    with refused("found_payments_never_change"):
        update(payment, **{column: other_value(getattr(payment, column))})


def test_every_payment_column_is_frozen_or_the_decision() -> None:
    assert {*migration.FROZEN_PAYMENT_COLUMNS} == set(columns(FoundPayment)) - set(DECIDED)


@attacks("foundpayment_is_never_deleted")
def test_a_found_payment_is_not_deleted() -> None:
    payment = make_found_payment()
    with refused("foundpayment_is_never_deleted"):
        delete(payment)


@attacks("foundpayment_is_never_truncated")
def test_found_payments_are_not_emptied() -> None:
    run("SELECT set_config('kitaran.allow_truncate', 'off', true)")
    with refused("foundpayment_is_never_truncated"):
        run(f"TRUNCATE {table(FoundPayment)}")


@attacks("one_row_per_report_day")
def test_the_report_of_a_day_is_one_row() -> None:
    day = ReportDay.objects.create(account=make_account(), day=date(2026, 3, 2))
    with refused("one_row_per_report_day"):
        insert_copy(day)


@attacks("a_watched_card_says_since_when")
def test_a_card_is_read_again_only_since_something_ended() -> None:
    card = make_card()
    with refused("a_watched_card_says_since_when"):
        update(card, next_watch_at=NOW)
