"""What arm re-checks: everything that could have changed between due and charge."""

from typing import Any

import pytest
from django.test import override_settings

from billing.accounts.gateway_accounts import start_account, start_installation, stop_account, stop_installation
from billing.domain.arming import LOOK_AGAIN, Refusal
from billing.domain.decisions import Decision
from billing.models import Invoice, PaymentAttempt, PaymentMethod, Subscription
from billing.models.clock import database_now
from tests.conftest import Shop
from tests.factories import make_card, make_customer, make_invoice, make_subscription, move_attempt

pytestmark = pytest.mark.django_db


def refused(shop: Shop, invoice: Invoice) -> str | None:
    assert shop.collect().armed == 0
    invoice.refresh_from_db()
    assert invoice.attempts.count() == 0
    if invoice.refusal:
        assert invoice.next_attempt_at is not None
        assert invoice.refused_at is not None
        if wait := LOOK_AGAIN[Refusal(invoice.refusal)]:
            assert invoice.next_attempt_at == invoice.refused_at + wait
    return invoice.refusal


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"state": "inactive"}, "card_not_active"),
        ({"state": "revoked"}, "card_not_active"),
        ({"kind": "recurring"}, "card_has_gateway_schedule"),
        ({"environment": "live"}, "environment_differs"),
        ({"held_at": "2026-01-01T00:00Z", "held_reason": "unexplained_order"}, "card_held"),
        ({"gateway_customer_id": "not / an id"}, "request_impossible"),
    ],
)
def test_a_card_that_may_not_be_charged_is_not(shop: Shop, columns: dict[str, Any], reason: str) -> None:
    invoice = make_invoice(make_card(make_customer(shop.account)), next_attempt_at=database_now())
    PaymentMethod.objects.filter(pk=invoice.payment_method_id).update(**columns)
    assert refused(shop, invoice) == reason


@pytest.mark.parametrize("state", ["paused", "canceled", "completed"])
def test_a_subscription_that_does_not_run_is_not_charged(shop: Shop, state: str) -> None:
    subscription = make_subscription(make_card(make_customer(shop.account)), state=state, next_due_at=None)
    invoice = make_invoice(subscription.customer.payment_methods.get(), subscription, next_attempt_at=database_now())
    assert refused(shop, invoice) == "subscription_not_usable"


def test_a_customer_without_a_card_is_not_charged(shop: Shop) -> None:
    card = make_card(make_customer(shop.account), is_default=False)
    subscription = make_subscription(card, next_due_at=None)
    invoice = make_invoice(card, subscription, next_attempt_at=database_now())
    assert refused(shop, invoice) == "no_card"


def test_what_the_gateway_collects_is_not_charged_by_us(shop: Shop) -> None:
    card = make_card(make_customer(shop.account))
    subscription = make_subscription(card, collector="gateway", next_due_at=None)
    invoice = make_invoice(card, subscription, next_attempt_at=database_now())
    assert refused(shop, invoice) == "collected_by_gateway"


def test_more_than_the_accounts_limit_is_not_charged(shop: Shop) -> None:
    type(shop.account).objects.filter(pk=shop.account.pk).update(charge_limit_minor=1000)
    invoice = make_invoice(make_card(make_customer(shop.account)), next_attempt_at=database_now())
    assert refused(shop, invoice) == "above_limit"


def test_a_refunded_invoice_is_never_charged_again(shop: Shop) -> None:
    invoice = make_invoice(
        make_card(make_customer(shop.account)), next_attempt_at=database_now(), amount_refunded_minor=5
    )
    assert refused(shop, invoice) == "already_refunded"


def test_the_stop_switches_stop_everything_and_let_go_again(shop: Shop) -> None:
    invoice = make_invoice(shop.card(), next_attempt_at=database_now())
    switches = (
        (stop_installation, start_installation, {}),
        (stop_account, start_account, {"account": shop.account}),
    )
    for stop, start, which in switches:
        assert stop(reason="drill", actor="siti", now=database_now(), **which)  # type: ignore[operator]
        assert not stop(reason="drill", actor="siti", now=database_now(), **which)  # type: ignore[operator]
        assert refused(shop, invoice) is None
        assert start(reason="over", actor="siti", now=database_now(), **which)  # type: ignore[operator]
    assert shop.collect().armed == 1


def test_periods_are_opened_even_while_charging_is_stopped(shop: Shop) -> None:
    now = database_now()
    make_subscription(make_card(make_customer(shop.account)), next_due_at=now, anchor_date=now.date())
    stop_installation(reason="drill", actor="siti", now=now)
    assert shop.open() == 1
    assert shop.collect().armed == 0


def test_live_account_is_not_charged_until_it_is_allowed(shop: Shop) -> None:
    invoice = make_invoice(make_card(make_customer(shop.account)), next_attempt_at=database_now())
    type(shop.account).objects.filter(pk=shop.account.pk).update(environment="live")
    PaymentMethod.objects.filter(pk=invoice.payment_method_id).update(environment="live")
    assert refused(shop, invoice) is None
    with override_settings(KITARAN_ALLOW_LIVE=True):
        # The URLs are still the simulator's: account, host and card must agree.
        assert refused(shop, invoice) == "environment_differs"


def test_without_a_token_nothing_is_armed(shop: Shop) -> None:
    invoice = make_invoice(make_card(make_customer(shop.account)), next_attempt_at=database_now())
    type(shop.account).objects.filter(pk=shop.account.pk).update(oauth_url="http://127.0.0.1:9/v1")
    assert refused(shop, invoice) == "gateway_unavailable"
    assert PaymentAttempt.objects.count() == 0


def test_invoice_with_an_unresolved_attempt_skips_another_card(shop: Shop) -> None:
    from tests.factories import make_attempt

    card = shop.card()
    attempt = move_attempt(make_attempt(make_invoice(card), card), "unknown")
    other = shop.card(customer=card.customer)
    Invoice.objects.filter(pk=attempt.invoice_id).update(payment_method=other, next_attempt_at=database_now())
    shop.collect()

    attempt.invoice.refresh_from_db()
    assert attempt.invoice.refusal == "invoice_has_holder"
    assert attempt.invoice.attempts.count() == 1


def test_the_default_card_is_charged_unless_another_is_named(shop: Shop) -> None:
    default = shop.card()
    named = shop.card(customer=default.customer)
    by_default = make_subscription(default, next_due_at=None)
    make_invoice(default, by_default, next_attempt_at=database_now())
    by_name = make_subscription(named, next_due_at=None, payment_method=named)
    make_invoice(named, by_name, next_attempt_at=database_now())
    shop.collect()

    charged = dict(PaymentAttempt.objects.values_list("invoice__subscription_id", "payment_method_id"))
    assert charged == {by_default.pk: default.pk, by_name.pk: named.pk}


def test_a_batch_that_breaks_a_constraint_is_armed_one_by_one(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from billing.charging.attempts import arm

    for _ in range(3):
        make_invoice(shop.card(), next_attempt_at=database_now())
    markers = iter(["AAAAAAAAAAAA", "AAAAAAAAAAAA", "BBBBBBBBBBBB", "CCCCCCCCCCCC", "CCCCCCCCCCCC", "DDDDDDDDDDDD"])
    monkeypatch.setattr(arm, "new_marker", lambda: next(markers))

    shop.collect()

    assert PaymentAttempt.objects.filter(state="succeeded").count() == 2
    assert Invoice.objects.get(state="open").refusal == "constraint"


def test_a_subscription_paused_in_between_is_not_charged(shop: Shop) -> None:
    from billing.subscriptions.lifecycle import pause, resume

    now = database_now()
    subscription = make_subscription(shop.card(), next_due_at=now, anchor_date=now.date())
    shop.open()
    pause(subscription=subscription, reason="holiday", actor="siti", now=now)
    assert shop.collect().armed == 0
    assert Invoice.objects.get().refusal == "subscription_not_usable"

    resume(subscription=subscription, reason="back", actor="siti", now=database_now())
    assert shop.collect().armed == 1
    assert Subscription.objects.get().state == "active"


def test_held_invoice_is_charged_when_collected_after_canceling(shop: Shop) -> None:
    from billing.charging.cases.resolve import collect_held
    from billing.subscriptions.lifecycle import cancel

    now = database_now()
    subscription = make_subscription(shop.card(), next_due_at=now, anchor_date=now.date())
    shop.open()
    cancel(subscription=subscription, reason="moved away", actor="siti", now=now)
    assert shop.collect().armed == 0

    invoice = Invoice.objects.get()
    collect_held(invoice=invoice, decision=Decision("siti", "agreed on the phone"), now=database_now())
    assert shop.collect().armed == 1
    invoice.refresh_from_db()
    assert invoice.state == "paid"
