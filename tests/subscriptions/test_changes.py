"""Changes of what people and programs may edit: who, what before and after, and nothing that is private."""

from collections.abc import Callable
from typing import Any

import pytest

from billing.accounts.api_keys import create_api_key, revoke_api_key
from billing.accounts.change_account import change_account
from billing.domain.catch_up import CatchUp
from billing.domain.money import Price
from billing.domain.recurrence import Recurrence
from billing.domain.schedules import Interval
from billing.models import Event, Transition
from billing.subscriptions.cards import make_default
from billing.subscriptions.customers import create_customer, update_customer
from billing.subscriptions.plans import create_plan
from billing.subscriptions.update import update_subscription
from tests.factories import NOW, make_account, make_card, make_customer, make_subscription

pytestmark = pytest.mark.django_db
BY: dict[str, Any] = {"actor": "siti", "now": NOW}


def written() -> tuple[Transition, Event]:
    """The only line of history and the only event, by the same person and about the same row."""
    line, event = Transition.objects.get(), Event.objects.get()
    assert (line.actor, line.at, event.created_at) == ("siti", NOW, NOW)
    assert (line.subject_type, line.subject_id) == (event.subject_type, event.subject_id)
    assert line.account_id == event.account_id
    return line, event


def test_a_new_customer_has_a_history_and_an_event() -> None:
    account = make_account()
    customer = create_customer(
        account=account, reference="r", name="Aminah", email="a@example.com", phone_number="123456789", **BY
    )
    line, event = written()
    assert (line.from_state, line.to_state, line.subject_id) == ("", "created", customer.pk)
    assert (event.kind, event.subject_id) == ("customer.created", customer.pk)


def test_an_edited_customer_shows_no_address_and_no_phone() -> None:
    customer = make_customer(name="Aminah", metadata={"branch": "Bangsar"})
    changes = {
        "name": "Aminah Ali",
        "email": "new-address@example.com",
        "phone_number": "198765432",
        "country_code": customer.country_code,
        "metadata": {"branch": "Cheras"},
    }
    update_customer(customer=customer, changes=changes, **BY)
    line, event = written()
    assert event.kind == "customer.updated"
    assert event.payload["changes"] == {
        "email": {"changed": True},
        "metadata": {"from": {"branch": "Bangsar"}, "to": {"branch": "Cheras"}},
        "name": {"from": "Aminah", "to": "Aminah Ali"},
        "phone_number": {"changed": True},
    }
    assert line.reason == (
        'email changed; metadata: {"branch": "Bangsar"} → {"branch": "Cheras"}; name: Aminah → Aminah Ali; '
        "phone_number changed"
    )
    for private in (customer.email, "new-address", customer.phone_number, "198765432"):
        assert private not in f"{event.payload} {line.reason}"


def test_an_edit_that_changes_nothing_is_no_event() -> None:
    customer = make_customer()
    update_customer(customer=customer, changes={"name": customer.name}, **BY)
    assert not Transition.objects.exists()
    assert not Event.objects.exists()


def test_another_default_card_names_the_one_before() -> None:
    first = make_card()
    second = make_card(first.customer, is_default=False)
    make_default(card=second, **BY)
    line, event = written()
    assert (event.kind, event.subject_id) == ("payment_method.default_changed", second.pk)
    assert event.payload["changes"] == {"default_payment_method": {"from": first.public_id, "to": second.public_id}}
    assert line.reason == f"default_payment_method: {first.public_id} → {second.public_id}"
    make_default(card=second, **BY)
    assert Event.objects.count() == 1, "it was the default already"


def test_a_changed_subscription_shows_before_and_after() -> None:
    card = make_card()
    subscription = make_subscription(card, metadata={"tier": "a"})
    update_subscription(subscription=subscription, catch_up=CatchUp.SKIP, metadata={"tier": "b"}, **BY)
    line, event = written()
    assert (event.kind, line.from_state, line.to_state) == ("subscription.updated", "active", "active")
    assert event.payload["changes"] == {
        "catch_up": {"from": "all", "to": "skip"},
        "metadata": {"from": {"tier": "a"}, "to": {"tier": "b"}},
    }


def test_another_card_of_a_subscription_is_an_event() -> None:
    card = make_card()
    subscription = make_subscription(card)
    update_subscription(subscription=subscription, payment_method=card, **BY)
    line, event = written()
    assert line.reason == f"charged on {card.public_id}"
    assert event.payload["changes"] == {"payment_method": {"from": None, "to": card.public_id}}


def test_a_new_plan_has_a_history_and_an_event() -> None:
    recurrence = Recurrence.parse(interval="DAILY", target=None, every=1, charge_time="09:00", zone="Asia/Kuala_Lumpur")
    assert recurrence.interval is Interval.DAILY
    plan = create_plan(account=make_account(), code="club", name="Club", price=Price(1990), recurrence=recurrence, **BY)
    line, event = written()
    assert (event.kind, line.subject_id, line.reason) == ("plan.created", plan.pk, "version 1")


def test_changed_settings_show_before_and_after_but_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.accounts.change_account.prove_credentials", lambda *_, **__: True)
    account = make_account()
    changes = {"name": "Kedai Teh", "list_lag_seconds": 60, "client_secret": "canary-secret", "client_id": "canary-id"}
    change_account(account=account, changes=changes, reason="a new name", **BY)
    line, event = written()
    assert event.kind == "account.updated"
    assert event.payload == {
        "changes": {
            "client_id": {"changed": True},
            "client_secret": {"changed": True},
            "list_lag_seconds": {"from": 0, "to": 60},
            "name": {"from": "Kedai Kopi", "to": "Kedai Teh"},
        },
        "reason": "a new name",
    }
    assert "canary" not in line.reason
    assert line.reason.endswith("client_secret changed: a new name")


@pytest.mark.parametrize(
    ("act", "states"),
    [
        (lambda _: None, [("", "live", "may charge, read")]),
        (
            lambda key: [revoke_api_key(api_key=key, **BY) for _ in range(2)],
            [("", "live", "may charge, read"), ("live", "revoked", "")],
        ),
    ],
    ids=["created", "revoked"],
)
def test_a_key_has_a_history_and_no_event(act: Callable[[Any], Any], states: list[Any]) -> None:
    row, key = create_api_key(account=make_account(), name="shop", scopes=["read", "charge"], **BY)
    act(row)
    lines = Transition.objects.filter(subject_type="api_key", subject_id=row.pk, actor="siti").order_by("pk")
    assert list(lines.values_list("from_state", "to_state", "reason")) == states
    assert key not in str(list(lines.values()))
    assert not Event.objects.exists()
