"""The dashboard's numbers are right, and what needs review comes first."""

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse

from billing.ids import new_id
from billing.models import Heartbeat, Installation, PaymentAttempt
from billing.models.clock import database_now
from tests.factories import (
    make_account,
    make_attempt,
    make_card,
    make_customer,
    make_invoice,
    make_subscription,
    move_attempt,
)

pytestmark = pytest.mark.django_db


def tiles(client: Client) -> dict[str, tuple[str, str]]:
    shown = client.get(reverse("admin:index")).context["tiles"]
    return {tile.name: (tile.value, tile.more) for tile in shown}


def settled(state: str, at: datetime, *, minor: int, begun_at: datetime | None = None) -> PaymentAttempt:
    begun_at = begun_at or at
    card = make_card()
    invoice = make_invoice(card, amount_minor=minor, next_attempt_at=None)
    attempt = make_attempt(invoice, card, public_id=new_id("att", begun_at), armed_at=begun_at)
    return move_attempt(attempt, state, settled_at=at)


def test_empty_installation_shows_the_first_step(boss: Client) -> None:
    page = boss.get(reverse("admin:index")).content.decode()
    assert "No accounts yet" in page
    assert "No worker is running" in page
    assert "No unresolved charges" in page
    assert set(tiles(boss)) == {"Needs review", "Unknown", "Still due today", "Paid today", "Declined today"}


def test_today_is_counted_and_summed(boss: Client) -> None:
    now = database_now()
    settled("succeeded", now, minor=1990)
    settled("succeeded", now, minor=510, begun_at=now - timedelta(days=1))  # closed today, begun yesterday
    settled("succeeded", now - timedelta(days=2), minor=99999)
    settled("declined", now, minor=700)
    shown = tiles(boss)
    assert shown["Paid today"] == ("2", "RM 25.00")
    assert shown["Declined today"] == ("1", "RM 7.00")


def test_today_is_the_accounts_own_day(boss: Client) -> None:
    """21:00 UTC is tomorrow in Kuala Lumpur and still today in New York."""
    from unittest.mock import patch

    late = datetime(2026, 3, 2, 21, 0, tzinfo=UTC)
    for zone in ("Asia/Kuala_Lumpur", "America/New_York"):
        card = make_card(make_customer(make_account(time_zone=zone)))
        invoice = make_invoice(card, next_attempt_at=None)
        at = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)  # the 2nd in both
        move_attempt(make_attempt(invoice, card, public_id=new_id("att", at)), "succeeded", settled_at=at)
    with patch("billing.admin.dashboard.database_now", return_value=late):
        assert tiles(boss)["Paid today"] == ("1", "RM 19.90")


def test_what_is_due_today_are_periods_and_open_invoices(boss: Client) -> None:
    now = database_now()
    make_subscription(next_due_at=now)
    make_subscription(next_due_at=now + timedelta(days=2))
    make_invoice(next_attempt_at=now, amount_minor=1000)
    make_invoice(next_attempt_at=now + timedelta(days=3))
    make_invoice(state="paid", next_attempt_at=None, closed_at=now)
    assert tiles(boss)["Still due today"] == ("2", "RM 29.90")


def test_attempts_that_need_review_come_before_unknown_ones(boss: Client) -> None:
    unknown = move_attempt(make_attempt(), "unknown")
    person = move_attempt(make_attempt(), "needs_review")
    released = move_attempt(make_attempt(), "needs_review")
    PaymentAttempt.objects.filter(pk=released.pk).update(
        released_at=database_now(), released_by="me", released_reason="x"
    )
    shown = tiles(boss)
    assert shown["Needs review"][0] == "2"  # a released card leaves the decision open
    assert shown["Unknown"][0] == "1"
    page = boss.get(reverse("admin:index")).content.decode()
    assert page.index("Unresolved charges") < page.index("Next due")
    assert page.index(f"/paymentattempt/{person.pk}/") < page.index(f"/paymentattempt/{unknown.pk}/")


def test_workers_and_switches_are_shown(boss: Client) -> None:
    now = database_now()
    account = make_account(name="Kedai Teh", stopped_at=now, stopped_reason="too many declines", stopped_by="engine")
    Heartbeat.objects.create(queue="charge", worker="host:1", beat_at=now)
    Heartbeat.objects.create(queue="reconcile", worker="host:1", beat_at=now - timedelta(minutes=5))
    page = boss.get(reverse("admin:index")).content.decode()
    assert "No heartbeat for a minute from: housekeeping, mail, notify, reconcile." in page
    assert f"{account.name} was stopped on" in page
    assert "too many declines" in page
    assert "Stop everything" in page
    Installation.objects.update(stopped_at=now, stopped_reason="drill", stopped_by="aisyah")
    assert "Charge again" in boss.get(reverse("admin:index")).content.decode()


def test_the_next_that_fall_due_are_listed_in_order(boss: Client) -> None:
    now = database_now()
    for days, name in ((3, "Later"), (1, "Sooner")):
        make_subscription(make_card(make_customer(name=name)), next_due_at=now + timedelta(days=days))
    page = boss.get(reverse("admin:index")).content.decode()
    assert page.index("Sooner") < page.index("Later")


def test_who_may_not_see_money_sees_none(stranger: Client) -> None:
    make_subscription()
    page = stranger.get(reverse("admin:index")).content.decode()
    assert "RM " not in page
    assert "Aminah" not in page


def test_a_viewer_gets_no_switch(viewer: Client) -> None:
    assert "Stop everything" not in viewer.get(reverse("admin:index")).content.decode()


def test_overpayments_and_held_cards_are_listed_until_handled(boss: Client) -> None:
    now = database_now()
    surplus = settled("surplus", now, minor=1990)
    held = make_card(make_customer(make_account(), name="Tan Wei Ming"), held_at=now, held_reason="unexplained_order")
    of_a_case = settled("needs_review", now, minor=700)
    type(held).objects.filter(pk=of_a_case.payment_method_id).update(held_at=now, held_reason="two_candidate_orders")

    page = boss.get(reverse("admin:index")).content.decode()
    assert "overpayment: refund it" in page
    assert "card on hold: the gateway shows an unexplained order" in page
    assert "two orders could belong to this attempt</span>" not in page, "its case is listed already"
    assert "does not show" not in page
    unreadable = {"unread_since": now, "unreadable_at": now}
    type(held).objects.filter(pk=held.pk).update(**unreadable)
    page = boss.get(reverse("admin:index")).content.decode()
    assert "card whose orders the gateway does not show" in page
    type(held).objects.filter(pk=held.pk).update(given_up_at=now)

    PaymentAttempt.objects.filter(pk=surplus.pk).update(amount_refunded_minor=1990)
    type(held).objects.filter(pk=held.pk).update(held_at=None, held_reason="")
    assert "Also needs review" not in boss.get(reverse("admin:index")).content.decode()


@pytest.mark.parametrize(
    ("hold", "said"),
    [
        ("price_jumped", "a hundred times what the subscription paid before"),
        ("always_refused", "the gateway rejects its request as invalid every time"),
        ("reversed", "the payment was reversed"),
    ],
)
def test_invoice_stopped_by_itself_is_listed_until_decided(boss: Client, hold: str, said: str) -> None:
    invoice = make_invoice(next_attempt_at=None, hold=hold)
    page = boss.get(reverse("admin:index")).content.decode()
    assert "Also needs review" in page
    assert said in page
    type(invoice).objects.filter(pk=invoice.pk).update(state="void", closed_at=database_now())
    assert "Also needs review" not in boss.get(reverse("admin:index")).content.decode()
