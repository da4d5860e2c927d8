"""Cancelling on the customer page: two steps, one act, and honest about what stays owed."""

from typing import Any

import pytest
from django.test import Client

from billing.models import Event, GatewayAccount, Invoice, Subscription, Transition
from tests.factories import (
    NOW,
    make_account,
    make_attempt,
    make_card,
    make_customer,
    make_invoice,
    make_mail,
    make_plan,
    make_subscription,
    make_unpaid,
)
from tests.payer.parts import forms, note_of, page, path_of, press

pytestmark = pytest.mark.django_db
YES = "Yes, cancel it"


def running(**columns: Any) -> Subscription:
    card = make_card()
    make_mail(card.account)
    return make_subscription(card, make_plan(card.account), **{"next_due_at": None, **columns})


def ask(client: Client, row: Subscription, query: str = "") -> Any:
    return client.get(f"{path_of(row.customer)}cancel/{row.public_id}/{query}")


def form_of(client: Client, row: Subscription) -> str:
    return forms(ask(client, row).content.decode())[YES]


def test_the_first_step_changes_nothing_and_the_second_cancels(client: Client) -> None:
    row = running()
    assert f"/cancel/{row.public_id}/" in page(client, row.customer)
    text = ask(client, row).content.decode()
    assert "Cancel Coffee club?" in text
    assert "stays owed" not in text
    row.refresh_from_db()
    assert row.state == "active"
    assert note_of(press(client, row.customer, forms(text)[YES])) == "canceled"
    row.refresh_from_db()
    assert row.state == "canceled"
    line = Transition.objects.get(subject_type="subscription")
    assert (line.actor, line.reason) == ("payer", "requested on the customer page")
    assert Event.objects.filter(kind="subscription.canceled").count() == 1
    assert "Coffee club" not in page(client, row.customer)


def test_what_stays_owed_is_said_and_left_to_staff_and_can_be_paid(client: Client) -> None:
    row = running()
    invoice = make_invoice(row.customer.payment_methods.get(), row)
    text = ask(client, row).content.decode()
    assert "RM 19.90 from before stays owed." in text
    assert "RM 19.90 daripada sebelum ini masih perlu dibayar." in ask(client, row, "?lang=ms").content.decode()
    press(client, row.customer, forms(text)[YES])
    invoice.refresh_from_db()
    assert (invoice.state, invoice.hold) == ("open", "subscription_canceled")
    assert Event.objects.filter(kind="invoice.held").count() == 1
    assert "Pay RM 19.90 now" in forms(page(client, row.customer))


def test_a_charge_that_is_under_way_is_said(client: Client) -> None:
    row = running()
    card = row.customer.payment_methods.get()
    make_attempt(make_invoice(card, row), card)
    assert "A payment that is being processed is not stopped." in ask(client, row).content.decode()


def test_what_has_not_started_owes_nothing(client: Client) -> None:
    invoice = make_unpaid()
    row = invoice.subscription
    assert row is not None
    text = ask(client, row).content.decode()
    assert "stays owed" not in text
    press(client, row.customer, forms(text)[YES])
    assert Invoice.objects.get().state == "void"


def test_one_form_is_one_act(client: Client) -> None:
    row = running()
    form = form_of(client, row)
    assert [note_of(press(client, row.customer, form)) for _ in range(2)] == ["canceled", "changed"]
    assert Event.objects.filter(kind="subscription.canceled").count() == 1


def test_an_account_may_keep_it_to_itself(client: Client) -> None:
    row = running()
    form = form_of(client, row)
    GatewayAccount.objects.update(payers_may_cancel=False)
    text = page(client, row.customer)
    assert "Coffee club" in text
    assert "Cancel subscription" not in text
    assert note_of(ask(client, row)) == "changed"
    assert note_of(press(client, row.customer, form)) == "changed"
    row.refresh_from_db()
    assert row.state == "active"


@pytest.mark.parametrize("named", ["another customer's", "nobody's", "NUL", "ended", "the gateway's"])
def test_nobody_elses_subscription_is_cancelled(named: str, client: Client) -> None:
    account = make_account()
    card = make_card(make_customer(account))
    mine = make_subscription(card, make_plan(account), next_due_at=None)
    other = make_subscription(make_card(make_customer(account)), make_plan(account), next_due_at=None)
    ended = make_subscription(card, make_plan(account), next_due_at=None, state="canceled", ended_at=NOW)
    theirs = make_subscription(card, make_plan(account), next_due_at=None, collector="gateway")
    name = {
        "another customer's": other.public_id,
        "nobody's": "sub_x",
        "NUL": "sub_%00",
        "ended": ended.public_id,
        "the gateway's": theirs.public_id,
    }[named]
    assert note_of(client.get(f"{path_of(mine.customer)}cancel/{name}/")) == "changed"
    text = page(client, mine.customer)
    assert text.count("/cancel/") == 1
    form = form_of(client, mine)
    assert note_of(press(client, other.customer, form)) == "changed"
    assert Subscription.objects.filter(state="active").count() == 3
