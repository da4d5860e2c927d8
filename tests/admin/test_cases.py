"""The page of a case: what it shows, what it asks, what two people and several cases make of it."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from billing.charging.cases.case import read_card_now
from billing.models import (
    GatewayAccount,
    GatewayOrder,
    PaymentAttempt,
    PaymentMethod,
    Proposal,
    Transition,
)
from billing.models.clock import database_now
from tests.admin.conftest import _logged_in, _person
from tests.admin.test_actions import WHY, action, filled, message_of, send, token
from tests.admin.test_pages import url
from tests.charging.test_resolve import a_case, foreign_charge, taken
from tests.conftest import Shop
from tests.factories import make_attempt, make_invoice, make_proposal, move_attempt

pytestmark = pytest.mark.django_db


@pytest.fixture
def second(db: None) -> Client:
    """Logged in as *mei*, who may decide too."""
    return _logged_in(_person("mei", is_superuser=True))


def page_of_case(client: Client, attempt: PaymentAttempt) -> str:
    return message_of(client.get(action(attempt, "resolve")))


def test_earlier_payment_is_explained_by_its_own_answer(shop: Shop, boss: Client) -> None:
    card = shop.card()
    make_invoice(card, next_attempt_at=database_now(), description="Last month")
    shop.collect()
    paid = PaymentAttempt.objects.get(invoice__description="Last month")
    page = page_of_case(boss, a_case(shop, card=card))
    assert f'{paid.gateway_transaction_id}</code><span class="k-sub">from its answer</span>' in page


def test_the_page_shows_all_that_a_decision_rests_on(shop: Shop, boss: Client) -> None:
    attempt = a_case(shop)
    transaction = foreign_charge(shop, attempt.payment_method)
    make_invoice(attempt.payment_method, next_attempt_at=database_now(), description="Next month", amount_minor=4200)
    before = page_of_case(boss, attempt)
    assert "Read the card at the gateway now" in before
    assert transaction not in before

    read = boss.post(action(attempt, "read-card"), {"token": token(boss, action(attempt, "read-card"))}, follow=True)

    page = message_of(read)
    assert "Unexplained: 1." in page
    assert read.redirect_chain[-1][0] == action(attempt, "resolve")
    for part in (
        attempt.invoice.description,
        attempt.invoice.customer.name,
        "RM 19.90",
        "Evidence, in order",
        "no order found",
        transaction,
        "unexplained",
        "Other invoices waiting",
        "Next month",
        "RM 42.00",
        "What each decision does",
        "The invoice is paid and is not charged again.",
        "The invoice stays open and is charged again now",
        "Next charge:",
    ):
        assert part in page or part in " ".join(page.split()), part


def test_a_case_is_resolved_beside_the_gateway(shop: Shop, boss: Client) -> None:
    attempt = a_case(shop, "lost_after")
    address = action(attempt, "resolve")
    wrong = boss.post(address, filled(boss, address, {"resolution": "charged", "transaction_id": "123"}))
    assert "be a transaction of the gateway" in str(wrong.context["form"].errors["transaction_id"])
    denied = boss.post(address, filled(boss, address, {"resolution": "not_charged", "despite": "on"}))
    assert "of this attempt" in str(denied.context["form"].errors["resolution"])
    data = {"resolution": "charged", "transaction_id": taken(shop, attempt)}
    assert boss.post(address, filled(boss, address, data)).status_code == 302
    attempt.refresh_from_db()
    assert attempt.state == "succeeded"
    assert Transition.objects.get(to_state="succeeded").actor == "aisyah"
    closed = boss.get(url(PaymentAttempt, "change", attempt.pk))
    assert "/resolve/" not in message_of(closed)


def test_a_form_that_is_sent_twice_decides_once(shop: Shop, boss: Client) -> None:
    attempt = a_case(shop)
    address = action(attempt, "resolve")
    data = filled(boss, address, {"resolution": "declined"})
    assert [boss.post(address, data).status_code for _ in range(2)] == [302, 302]
    assert Transition.objects.filter(subject_type="attempt", to_state="declined").count() == 1


def test_orders_that_were_not_shown_are_not_decided_despite_of(shop: Shop, boss: Client) -> None:
    attempt = a_case(shop)
    address = action(attempt, "resolve")
    unseen = filled(boss, address, {"resolution": "not_charged", "despite": "on"})
    foreign_charge(shop, attempt.payment_method)
    refused = boss.post(address, unseen)
    assert refused.status_code == 422
    assert "unexplained" in message_of(refused)
    read_card_now(attempt, tuning=shop.tuning, now=database_now())
    without = boss.post(address, filled(boss, address, {"resolution": "not_charged"}))
    assert without.status_code == 422
    assert boss.post(address, filled(boss, address, {"resolution": "not_charged", "despite": "on"})).status_code == 302
    attempt.refresh_from_db()
    assert attempt.state == "not_charged"


def test_one_person_proposes_and_another_confirms(shop: Shop, boss: Client, second: Client) -> None:
    GatewayAccount.objects.update(second_person_above_minor=1000)
    attempt = a_case(shop)
    assert "needs a second person" in page_of_case(boss, attempt)
    response = send(boss, action(attempt, "resolve"), {"resolution": "not_charged"})
    assert "Sent for approval" in message_of(boss.get(response["Location"]))
    own = message_of(boss.get(url(PaymentAttempt, "change", attempt.pk)))
    assert "aisyah proposed on" in own
    assert "/resolve/" not in own
    assert "/confirm/" not in own
    assert "/reject/" in own
    assert "not by its proposer" in message_of(send(boss, action(attempt, "confirm"))).lower()

    others = message_of(second.get(url(PaymentAttempt, "change", attempt.pk)))
    assert "/confirm/" in others
    confirmation = message_of(second.get(action(attempt, "confirm")))
    assert "Effect of the proposal" in confirmation
    assert send(second, action(attempt, "confirm")).status_code == 302

    attempt.refresh_from_db()
    proposal = Proposal.objects.get()
    assert (attempt.state, proposal.outcome, proposal.decided_by) == ("not_charged", "confirmed", "mei")
    assert proposal.decided_by_user_id == User.objects.get(username="mei").pk
    assert f"mei (proposed by aisyah): {WHY}" in message_of(second.get(url(PaymentAttempt, "change", attempt.pk)))
    assert "aisyah" in message_of(boss.get(url(Proposal, "change", proposal.pk)))
    assert "must be open; it is confirmed" in message_of(send(second, action(attempt, "reject"))).lower()


def test_the_other_rejects_with_a_reason(boss: Client, second: Client) -> None:
    attempt = make_proposal().attempt
    assert (
        second.post(action(attempt, "reject"), filled(second, action(attempt, "reject"), {"reason": " "})).status_code
        == 422
    )
    assert send(second, action(attempt, "reject")).status_code == 302
    assert Proposal.objects.get().decided_reason == WHY
    assert "/resolve/" in message_of(second.get(url(PaymentAttempt, "change", attempt.pk)))


def test_attempt_on_its_last_rungs_is_shown_without_a_choice(shop: Shop, boss: Client) -> None:
    attempt = move_attempt(
        make_attempt(make_invoice(card := shop.card()), card), "unknown", next_check_at=database_now()
    )
    page = message_of(boss.get(url(PaymentAttempt, "change", attempt.pk)))
    assert "Read the card at the gateway now" in page
    assert "Next check" in page
    assert "/resolve/" not in page
    read = boss.post(action(attempt, "read-card"), {"token": token(boss, action(attempt, "read-card"))}, follow=True)
    assert "All are explained" in message_of(read)


def test_viewer_sees_the_case_and_no_buttons(viewer: Client) -> None:
    attempt = move_attempt(make_attempt(), "needs_review")
    page = message_of(viewer.get(url(PaymentAttempt, "change", attempt.pk)))
    assert "Other invoices waiting" in page
    assert "Read the card at the gateway now" not in page
    for name in ("confirm", "reject", "read-card", "release"):
        assert viewer.post(action(attempt, name), {"token": "x", "reason": WHY}).status_code == 403
    assert viewer.get(several("resolve")).status_code == 403
    listed = viewer.get(url(PaymentAttempt, "changelist"))
    assert "resolve_several" not in message_of(listed)


def several(what: str) -> str:
    return reverse("admin:billing_paymentattempt_several", args=[what])


def choose(client: Client, what: str, attempts: list[PaymentAttempt]) -> Any:
    data = {"action": f"{what}_several", "_selected_action": [one.pk for one in attempts], "index": "0"}
    return client.post(url(PaymentAttempt, "changelist"), data)


def test_selected_cases_are_resolved_and_each_result_is_shown(shop: Shop, boss: Client) -> None:
    good, doubtful = a_case(shop), a_case(shop)
    foreign_charge(shop, doubtful.payment_method)
    other = move_attempt(make_attempt(), "declined")
    chosen = choose(boss, "resolve", [good, doubtful, other])
    assert chosen["Location"] == f"{several('resolve')}?ids={good.pk}-{doubtful.pk}"
    page = boss.get(chosen["Location"])
    assert "Chosen: 2" in message_of(page)
    assert 'value="charged"' not in message_of(page)
    data = filled(boss, chosen["Location"], {"resolution": "not_charged", "ids": f"{good.pk}-{doubtful.pk}"})
    result = boss.post(several("resolve"), data)
    assert "1 done, 0 sent for approval, 1 refused" in message_of(result)
    assert "unexplained" in message_of(result)
    good.refresh_from_db()
    doubtful.refresh_from_db()
    assert (good.state, doubtful.state) == ("not_charged", "needs_review")
    again = boss.post(several("resolve"), data, follow=True)
    assert "The action ran once" in message_of(again)


def test_several_cards_of_the_list_are_released(boss: Client) -> None:
    cases = [move_attempt(make_attempt(), "needs_review") for _ in range(2)]
    chosen = choose(boss, "release", cases)
    data = filled(boss, chosen["Location"], {"ids": "-".join(str(one.pk) for one in cases)})
    assert "2 done, 0 sent for approval, 0 refused" in message_of(boss.post(several("release"), data))
    assert PaymentAttempt.objects.filter(released_by="aisyah").count() == 2


@pytest.mark.parametrize("ids", ["", "x", "0", "999999999999999999999999"])
def test_several_of_nothing_leads_back_to_the_list(ids: str, boss: Client) -> None:
    assert boss.get(f"{several('resolve')}?ids={ids}")["Location"].endswith("?state__exact=needs_review")
    assert boss.get(f"{several('resolve')[:-8]}forget/").status_code in (302, 404)
    nobody = choose(boss, "resolve", [move_attempt(make_attempt(), "declined")])
    assert nobody.status_code == 302


def test_a_hold_is_released_with_what_was_unexplained_named(shop: Shop, boss: Client) -> None:
    attempt = a_case(shop)
    foreign_charge(shop, attempt.payment_method, amount_minor=7700)
    read_card_now(attempt, tuning=shop.tuning, now=database_now())
    order = GatewayOrder.objects.get(status="SUCCESS").gateway_order_id
    card = PaymentMethod.objects.get(pk=attempt.payment_method_id)
    assert order in message_of(boss.get(action(card, "free")))
    response = send(boss, action(card, "free"))
    assert order in message_of(boss.get(response["Location"]))


def test_second_person_amount_is_a_setting_of_the_account(boss: Client) -> None:
    attempt = move_attempt(make_attempt(), "needs_review")
    account = attempt.account
    address = action(account, "settings")
    for value, minor in (("500.00", 50_000), ("0", 0), ("", None)):
        assert boss.post(address, filled(boss, address, {"second_person_above": value})).status_code == 302
        account.refresh_from_db()
        assert account.second_person_above_minor == minor
    assert boss.post(address, filled(boss, address, {"second_person_above": "-1"})).status_code == 422
    changed = Transition.objects.filter(subject_type="account").earliest("pk")
    assert "second_person_above_minor" in changed.reason
