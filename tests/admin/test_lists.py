"""Finding rows by what a person has at hand, and narrowing lists."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from billing.admin.site import MENU
from billing.admin.toolkit import formats
from billing.admin.toolkit.base import HAVE_EVENTS
from billing.domain.attempts import AttemptState
from billing.domain.subscriptions import CardState, InvoiceState, SubscriptionState
from billing.ids import new_id
from billing.models import (
    Customer,
    Event,
    Evidence,
    GatewayOrder,
    GatewayTransaction,
    Invoice,
    PaymentAttempt,
    PaymentMethod,
    Plan,
    Subscription,
    Transition,
)
from tests.admin.conftest import World, make_world
from tests.admin.test_pages import url
from tests.factories import (
    NOW,
    make_account,
    make_card,
    make_customer,
    make_invoice,
    make_published_event,
    make_subscription,
    move_attempt,
)

pytestmark = pytest.mark.django_db


def found(client: Client, model: type[Model], **query: object) -> set[int]:
    response = client.get(url(model, "changelist"), query)
    assert response.status_code == 200, response["Location"] if response.status_code == 302 else ""
    return {row.pk for row in response.context["cl"].result_list}


TERMS = {
    Customer: ("public_id", "reference", "name", "email", "gateway_customer_id"),
    PaymentMethod: ("public_id", "reference", "name", "email", "gateway_customer_id"),
    Subscription: ("public_id", "subscription_reference", "reference", "name", "email", "gateway_customer_id"),
    Invoice: ("public_id", "reference", "name", "email", "gateway_customer_id"),
    PaymentAttempt: ("public_id", "marker", "reference", "name", "gateway_customer_id", "transaction", "card"),
    Evidence: ("attempt", "marker", "transaction"),
    Transition: ("subscription",),
    Event: ("invoice", "public_id"),
    GatewayOrder: ("order", "card", "name", "gateway_customer_id"),
    GatewayTransaction: ("transaction_row",),
    Plan: ("public_id", "code", "plan_name"),
}


def test_a_row_is_found_by_what_people_know_of_it(boss: Client, world: World) -> None:
    make_world()  # somebody else's
    rows = world.rows
    customer, card, attempt = rows[Customer], rows[PaymentMethod], rows[PaymentAttempt]
    Customer.objects.filter(pk=customer.pk).update(name="Zulaikha Omar", email="zu@example.com", reference="REF-1")
    PaymentAttempt.objects.filter(pk=attempt.pk).update(gateway_transaction_id="180701025439234567")
    Plan.objects.filter(pk=rows[Plan].pk).update(name="Rare plan")
    said = {
        "reference": "REF-1",
        "name": "zulaikha",
        "email": "zu@",
        "gateway_customer_id": card.gateway_customer_id,
        "subscription_reference": rows[Subscription].reference,
        "marker": attempt.marker,
        "transaction": "180701025439234567",
        "card": card.public_id,
        "attempt": attempt.public_id,
        "subscription": rows[Subscription].public_id,
        "invoice": rows[Invoice].public_id,
        "order": rows[GatewayOrder].gateway_order_id,
        "transaction_row": rows[GatewayTransaction].gateway_transaction_id,
        "code": rows[Plan].code,
        "plan_name": "rare",
    }
    for model, terms in TERMS.items():
        for term in terms:
            query = rows[model].public_id if term == "public_id" else said[term]
            assert found(boss, model, q=query) == {rows[model].pk}, (model, term)


@pytest.mark.parametrize("term", ["nobody", "inv_01k9zzzzzzzzzzzzzzzzzzzzzz", "%", "O'Nobody", "a" * 5000, "日本"])
def test_what_is_not_there_is_not_found_and_breaks_nothing(term: str, boss: Client, world: World) -> None:
    for model in TERMS:
        assert found(boss, model, q=term) == set()


def test_lists_are_filtered_by_state_account_customer_and_day(boss: Client) -> None:
    first, second = make_account(), make_account(name="Kedai Teh")
    mine = make_card(make_customer(first))
    theirs = make_card(make_customer(second))
    open_one = make_invoice(mine, public_id=new_id("inv", NOW))
    paid = make_invoice(
        theirs, state="paid", next_attempt_at=None, closed_at=NOW, public_id=new_id("inv", NOW + timedelta(days=1))
    )
    assert found(boss, Invoice, state__exact="paid") == {paid.pk}
    assert found(boss, Invoice, account__id__exact=first.pk) == {open_one.pk}
    assert found(boss, Invoice, customer__id__exact=theirs.customer_id) == {paid.pk}
    # 01:00 UTC is 09:00 of the same day in Kuala Lumpur.
    assert found(boss, Invoice, from_day="2026-03-02", to_day="2026-03-02") == {open_one.pk}
    assert found(boss, Invoice, from_day="2026-03-03") == {paid.pk}
    assert found(boss, Invoice, to_day="2026-03-01") == set()
    assert found(boss, Invoice, from_day="nonsense", to_day="") == {open_one.pk, paid.pk}
    assert found(boss, Invoice, from_day="0001-01-01", to_day="9999-12-31") == {open_one.pk, paid.pk}


def test_links_from_a_page_to_its_lists_are_allowed(boss: Client, world: World) -> None:
    subscription = world.rows[Subscription]
    assert found(boss, Invoice, subscription__id__exact=subscription.pk) == {world.rows[Invoice].pk}
    assert found(boss, Subscription, plan__id__exact=subscription.plan_id) == {subscription.pk}


def test_customers_and_plans_are_found_by_name(boss: Client, world: World) -> None:
    customer = world.rows[Customer]
    address = reverse("admin:autocomplete")
    query = {"app_label": "billing", "model_name": "subscription", "field_name": "customer", "term": "amin"}
    answer = boss.get(address, query).json()
    assert answer["results"] == [{"id": str(customer.pk), "text": f"Aminah binti Ali ({customer.reference})"}]
    assert answer["pagination"]["more"] is False


def test_customers_cannot_be_searched_without_permission(stranger: Client, world: World) -> None:
    query = {"app_label": "billing", "model_name": "subscription", "field_name": "customer", "term": "amin"}
    assert stranger.get(reverse("admin:autocomplete"), query).status_code == 403


def test_every_state_has_a_word_and_a_colour() -> None:
    assert set(formats.SUBSCRIPTION_LABELS) == set(SubscriptionState)
    assert set(formats.INVOICE_LABELS) == set(InvoiceState)
    assert set(formats.ATTEMPT_LABELS) == set(AttemptState)
    assert set(formats.CARD_LABELS) == set(CardState)
    for labels in formats.LABELS.values():
        assert {label.colour for label in labels.values()} <= {"success", "danger", "warning", "info", ""}


@pytest.mark.parametrize("state", sorted(AttemptState))
def test_every_state_of_an_attempt_has_a_page(state: str, boss: Client, world: World) -> None:
    attempt = world.rows[PaymentAttempt]
    through = {"not_charged": ["unknown"], "reversed": ["succeeded"]}.get(state, [])
    if state != AttemptState.SENDING:
        move_attempt(attempt, *through, state)
    page = boss.get(url(PaymentAttempt, "change", attempt.pk)).content.decode()
    assert formats.ATTEMPT_LABELS[state].text in page


@pytest.mark.parametrize("state", sorted(SubscriptionState))
def test_every_state_of_a_subscription_has_a_page(state: str, boss: Client) -> None:
    running = state in ("trialing", "active", "past_due")
    columns: dict[str, object] = {} if running else {"next_due_at": None}
    if state == "expired":
        columns |= {"activates_on": "payment", "charge_at_start": True, "first_payment_ends_at": NOW, "period_index": 1}
    row = make_subscription(state=state, **columns)
    page = boss.get(url(Subscription, "change", row.pk)).content.decode()
    assert formats.SUBSCRIPTION_LABELS[state].text in page


# The stop switch is one row, whose list leads to its page.
NAMED = [(title, model) for _, entries in MENU for title, _, model in entries if model != "installation"]


def test_list_is_called_what_the_menu_calls_it(boss: Client) -> None:
    for title, model in NAMED:
        context = boss.get(reverse(f"admin:billing_{model}_changelist")).context
        named = context["opts"].verbose_name_plural
        assert f"{named[:1].upper()}{named[1:]}" == title


def test_events_are_narrowed_by_account_type_and_object(boss: Client, world: World) -> None:
    other = make_published_event(make_invoice(), "invoice.voided")
    second = make_published_event(world.rows[Invoice], "invoice.voided")
    first = world.rows[Event].pk
    account = world.rows[Event].account_id
    assert found(boss, Event, account=account) == {first, second.pk}
    assert found(boss, Event, account="no number") == found(boss, Event)
    assert found(boss, Event, type="invoice.voided") == {other.pk, second.pk}
    assert found(boss, Event, type="invoice.voided", account=account) == {second.pk}
    assert found(boss, Event, q=world.rows[Invoice].public_id) == {first, second.pk}


def test_each_object_leads_to_its_events(boss: Client, viewer: Client, world: World) -> None:
    published = make_published_event(world.rows[Invoice])
    for model in HAVE_EVENTS:
        row = world.rows[model]
        address = f"{url(Event, 'changelist')}?q={row.public_id}"
        for who in (boss, viewer):
            assert f'href="{address}"' in who.get(url(model, "change", row.pk)).content.decode(), model
        assert boss.get(address).status_code == 200
    page = boss.get(url(Event, "change", published.pk)).content.decode()
    assert "Place in the feed" in page
    assert "object_sequence" in page


def test_who_may_not_see_events_is_not_led_there(world: World, client: Client) -> None:
    user = User.objects.create(username="nur", password="!", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_invoice"))
    client.force_login(user)
    page = client.get(url(Invoice, "change", world.rows[Invoice].pk)).content.decode()
    assert url(Event, "changelist") not in page
    assert client.get(url(Event, "changelist")).status_code == 403
