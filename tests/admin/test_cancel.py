"""Cancelling in the admin asks what becomes of open invoices, and what is left is on the dashboard."""

import pytest
from django.test import Client
from django.urls import reverse

from billing.models import Invoice, Subscription
from tests.factories import make_attempt, make_card, make_invoice, make_plan, make_subscription

pytestmark = pytest.mark.django_db


def owing() -> Invoice:
    card = make_card()
    subscription = make_subscription(card, make_plan(card.account), next_due_at=None)
    return make_invoice(card, subscription)


def cancel(boss: Client, row: Subscription, **data: str) -> str:
    address = reverse("admin:billing_subscription_change", args=[row.pk]) + "cancel/"
    asked = boss.get(address).content.decode()
    token = asked.partition('name="token" value="')[2].partition('"')[0]
    answer = boss.post(address, {"reason": "moved away", "token": token, **data}, follow=True)
    assert answer.status_code == 200
    return asked + answer.content.decode()


@pytest.mark.parametrize(
    ("wish", "state"), [("review", "open"), ("collect", "open"), ("void", "void"), ("write_off", "uncollectible")]
)
def test_the_form_asks_and_the_invoice_follows(boss: Client, wish: str, state: str) -> None:
    invoice = owing()
    assert invoice.subscription is not None
    said = cancel(boss, invoice.subscription, open_invoices=wish)
    assert "It has 1 open invoice." in said
    invoice.refresh_from_db()
    assert (invoice.state, invoice.subscription.state) == (state, "canceled")
    assert ("For review, on the dashboard: 1 open invoice" in said) is (wish == "review")


def test_what_is_left_is_on_the_dashboard_until_somebody_decides(boss: Client) -> None:
    invoice = owing()
    assert invoice.subscription is not None
    make_attempt(invoice, invoice.customer.payment_methods.get())
    cancel(boss, invoice.subscription, open_invoices="void")
    words = "invoice on hold: the subscription was cancelled"
    assert words in boss.get(reverse("admin:index")).content.decode()
    Invoice.objects.filter(pk=invoice.pk).update(hold=None)
    assert words not in boss.get(reverse("admin:index")).content.decode()


def test_without_open_invoices_nothing_is_asked(boss: Client) -> None:
    card = make_card()
    row = make_subscription(card, make_plan(card.account), next_due_at=None)
    said = cancel(boss, row)
    assert "It has no open invoice." in said
    assert 'name="open_invoices"' not in said
    row.refresh_from_db()
    assert row.state == "canceled"
