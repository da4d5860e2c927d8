"""Giving money back from the admin: the consequence in words, one act a form, and never by who may only look."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from billing.models import PaymentAttempt, Refund, Transition
from tests.admin.test_actions import (
    WHY,
    action,
    message_of,
    money_with_an_order,
    refund_with_a_person,
    send,
    surplus,
    token,
)
from tests.admin.test_pages import url
from tests.charging.refunding import at_gateway, in_the_portal, paid
from tests.conftest import Shop
from tests.factories import make_attempt, make_refund, move_attempt

pytestmark = pytest.mark.django_db


def test_a_part_is_asked_for_in_the_name_of_who_did_it(boss: Client) -> None:
    attempt = money_with_an_order()
    page = message_of(boss.get(action(attempt, "refund")))
    assert "Refunds up to RM 19.90 of the payment" in page
    assert "never charged again" in page
    response = send(boss, action(attempt, "refund"), {"amount": "5.00"})
    refund = Refund.objects.get()
    assert response["Location"] == url(Refund, "change", refund.pk)
    assert (refund.kind, refund.amount_minor, refund.requested_by, refund.requested_reason) == (
        "partial", 500, "aisyah", WHY,
    )  # fmt: skip
    assert Transition.objects.get(subject_type="refund").actor == "aisyah"
    assert "requested" in message_of(boss.get(response["Location"], follow=True))


def test_empty_amount_refunds_the_rest_once_when_submitted_twice(boss: Client) -> None:
    attempt = money_with_an_order()
    address = action(attempt, "refund")
    form = {"token": token(boss, address), "reason": WHY, "amount": ""}
    assert [boss.post(address, form).status_code for _ in range(3)] == [302, 302, 302]
    assert Refund.objects.get().amount_minor == 1990


def test_outdated_page_cannot_refund_after_another_refund(boss: Client) -> None:
    """Two people with the same complaint on the table: the second one's page says that nothing went back yet."""
    attempt = money_with_an_order()
    address = action(attempt, "refund")
    old = boss.get(address).context["form"].initial
    make_refund(attempt, kind="partial", amount_minor=500, origin="gateway", state="succeeded", next_check_at=None)
    PaymentAttempt.objects.filter(pk=attempt.pk).update(amount_refunded_minor=500)
    answered = boss.post(address, {**old, "reason": WHY, "amount": "5.00"})
    assert answered.status_code == 422
    assert "Part of it was refunded after this page was opened" in message_of(answered)
    boss.post(address, {**boss.get(address).context["form"].initial, "reason": WHY, "amount": "5.00"})
    assert list(Refund.objects.order_by("pk").values_list("state", flat=True)) == ["succeeded", "requested"]


def test_a_fresh_payment_is_reversed_from_here(boss: Client) -> None:
    attempt = money_with_an_order()
    assert "/reverse/" in message_of(boss.get(url(PaymentAttempt, "change", attempt.pk)))
    assert "Cancels the whole payment" in message_of(boss.get(action(attempt, "reverse")))
    send(boss, action(attempt, "reverse"))
    assert Refund.objects.get().kind == "reverse"


def test_refund_needs_money_and_reversal_a_recent_payment(boss: Client) -> None:
    declined = message_of(boss.get(url(PaymentAttempt, "change", move_attempt(make_attempt(), "declined").pk)))
    assert "/change/refund/" not in declined
    old = message_of(boss.get(url(PaymentAttempt, "change", move_attempt(make_attempt(), "succeeded").pk)))
    assert "/change/refund/" in old
    assert "/change/reverse/" not in old


def test_overpayment_offers_its_refund_and_shows_when_refunded(boss: Client) -> None:
    attempt = surplus()
    page = message_of(boss.get(url(PaymentAttempt, "change", attempt.pk)))
    assert "Refund it" in page
    assert "/change/refund/" in page
    assert "of the overpayment" in message_of(boss.get(action(attempt, "refund")))
    PaymentAttempt.objects.update(amount_refunded_minor=1990)
    page = message_of(boss.get(url(PaymentAttempt, "change", attempt.pk)))
    assert "It was refunded" in page
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


def test_refund_that_needs_review_is_on_the_dashboard(boss: Client) -> None:
    refund = refund_with_a_person()
    assert "refund needs review" in message_of(boss.get("/admin/"))
    page = message_of(boss.get(url(Refund, "change", refund.pk)))
    assert "It needs review" in page
    assert "/change/resolve/" in page
    assert "No evidence yet" not in page


@pytest.mark.django_db(transaction=True)
def test_checking_from_the_invoice_finds_a_portal_refund(shop: Shop, boss: Client) -> None:
    attempt = paid(shop)
    in_the_portal(shop, attempt)
    response = send(boss, action(attempt.invoice, "look"))
    assert response.status_code == 302
    page = message_of(boss.get(response["Location"]))
    assert "1 card read at the gateway" in page
    assert "refunded" in page
    assert Refund.objects.get().origin == "gateway"
    assert at_gateway(shop, attempt)["refunded"] == 1990
