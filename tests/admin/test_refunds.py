"""Giving money back from the admin: the consequence in words, one act a form, and never by who may only look."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from billing.models import PaymentAttempt, Refund, Transition
from tests.admin.test_actions import (
    WHY,
    action,
    money_with_an_order,
    refund_with_a_person,
    said,
    send,
    surplus,
    token,
)
from tests.admin.test_pages import url
from tests.charging.giving_back import at_gateway, in_the_portal, paid
from tests.conftest import Shop
from tests.factories import make_attempt, make_refund, move_attempt

pytestmark = pytest.mark.django_db


def test_a_part_is_asked_for_in_the_name_of_who_did_it(boss: Client) -> None:
    attempt = money_with_an_order()
    page = said(boss.get(action(attempt, "refund")))
    assert "Up to RM 19.90 of a payment goes back" in page
    assert "never charged again" in page
    response = send(boss, action(attempt, "refund"), {"amount": "5.00"})
    refund = Refund.objects.get()
    assert response["Location"] == url(Refund, "change", refund.pk)
    assert (refund.kind, refund.amount_minor, refund.requested_by, refund.requested_reason) == (
        "partial", 500, "aisyah", WHY,
    )  # fmt: skip
    assert Transition.objects.get(subject_type="refund").actor == "aisyah"
    assert "goes back" in said(boss.get(response["Location"], follow=True))


def test_no_amount_is_all_that_is_left_and_a_form_sent_twice_acts_once(boss: Client) -> None:
    attempt = money_with_an_order()
    address = action(attempt, "refund")
    form = {"token": token(boss, address), "reason": WHY, "amount": ""}
    assert [boss.post(address, form).status_code for _ in range(3)] == [302, 302, 302]
    assert Refund.objects.get().amount_minor == 1990


def test_a_fresh_payment_is_reversed_from_here(boss: Client) -> None:
    attempt = money_with_an_order()
    assert "/reverse/" in said(boss.get(url(PaymentAttempt, "change", attempt.pk)))
    assert "as if it had not been" in said(boss.get(action(attempt, "reverse")))
    send(boss, action(attempt, "reverse"))
    assert Refund.objects.get().kind == "reverse"


def test_what_has_no_money_offers_no_refund_and_what_is_old_no_reversal(boss: Client) -> None:
    declined = said(boss.get(url(PaymentAttempt, "change", move_attempt(make_attempt(), "declined").pk)))
    assert "/change/refund/" not in declined
    old = said(boss.get(url(PaymentAttempt, "change", move_attempt(make_attempt(), "succeeded").pk)))
    assert "/change/refund/" in old
    assert "/change/reverse/" not in old


def test_surplus_money_offers_its_refund_and_says_when_it_went_back(boss: Client) -> None:
    attempt = surplus()
    page = said(boss.get(url(PaymentAttempt, "change", attempt.pk)))
    assert "give it back" in page
    assert "/change/refund/" in page
    assert "money that was not owed" in said(boss.get(action(attempt, "refund")))
    PaymentAttempt.objects.update(amount_refunded_minor=1990)
    page = said(boss.get(url(PaymentAttempt, "change", attempt.pk)))
    assert "it was given back" in page
    assert "/change/refund/" not in page


@pytest.mark.parametrize(
    ("permission", "works"),
    [("add_refund", True), ("change_refund", False), ("change_paymentattempt", False)],
)
def test_who_may_give_money_back_needs_that_very_permission(permission: str, works: bool, db: None) -> None:
    user = User.objects.create(username="mei", is_staff=True, password="!")
    names = ["view_paymentattempt", permission]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    attempt = money_with_an_order()
    address = action(attempt, "refund")
    if works:
        assert client.get(address).status_code == 200
    else:
        assert client.get(address).status_code == 403
        assert client.post(address, {"reason": WHY, "token": "x"}).status_code == 403
    assert not Refund.objects.exists()


def test_a_viewer_neither_gives_back_nor_decides(viewer: Client) -> None:
    rows = [(money_with_an_order(), "refund"), (refund_with_a_person(), "resolve"), (make_refund(), "withdraw")]
    for row, name in rows:
        assert viewer.get(action(row, name)).status_code == 403


def test_a_refund_with_a_person_is_seen_on_the_start_page_and_on_its_own(boss: Client) -> None:
    refund = refund_with_a_person()
    assert "a refund that needs a person" in said(boss.get("/admin/"))
    page = said(boss.get(url(Refund, "change", refund.pk)))
    assert "a person decides" in page
    assert "/change/resolve/" in page
    assert "Nothing was heard" not in page


@pytest.mark.django_db(transaction=True)
def test_a_look_at_the_gateway_from_the_invoice_finds_a_refund_of_the_portal(shop: Shop, boss: Client) -> None:
    attempt = paid(shop)
    in_the_portal(shop, attempt)
    response = send(boss, action(attempt.invoice, "look"))
    assert response.status_code == 302
    page = said(boss.get(response["Location"]))
    assert "1 card read at the gateway" in page
    assert "given back" in page
    assert Refund.objects.get().origin == "gateway"
    assert at_gateway(shop, attempt)["refunded"] == 1990
