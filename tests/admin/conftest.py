"""People of different rights, and a world with a row of every noun."""

import itertools
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db.models import Model
from django.test import Client

from billing.accounts.api_keys import create_api_key
from billing.models import (
    ChargeRun,
    Event,
    FailedPayment,
    GatewayAccount,
    GatewayOrder,
    GatewayTransaction,
    Heartbeat,
    IdempotencyRecord,
    Installation,
    Invoice,
    OrphanAnswer,
    ReportDay,
    Transition,
)
from tests.factories import (
    NOW,
    make_account,
    make_attempt,
    make_card,
    make_checkout,
    make_customer,
    make_decline_ruling,
    make_evidence,
    make_found_payment,
    make_invoice,
    make_message,
    make_plan,
    make_policy,
    make_proposal,
    make_refund,
    make_refund_evidence,
    make_subscription,
    move_attempt,
)
from tests.notifying.rows import make_delivery, make_endpoint, make_try


@pytest.fixture
def boss(db: None) -> Client:
    """Logged in as a superuser called *aisyah*."""
    return _logged_in(_person("aisyah", is_superuser=True))


@pytest.fixture
def viewer(db: None) -> Client:
    """Logged in as *farid*, who may look at everything and do nothing."""
    user = _person("farid")
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    return _logged_in(user)


@pytest.fixture
def stranger(db: None) -> Client:
    """Logged in as staff without any permission."""
    return _logged_in(_person("guest"))


def _person(name: str, **columns: bool) -> User:
    return User.objects.create(username=name, is_staff=True, password="!", **columns)  # hashing one takes long


def _logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@dataclass
class World:
    account: GatewayAccount
    rows: dict[type[Model], Any] = field(default_factory=dict)

    def add(self, *rows: Any) -> None:
        for row in rows:
            self.rows[type(row)] = row


_codes = itertools.count(1)


def make_declined(account: GatewayAccount, **columns: Any) -> Invoice:
    """An open invoice of a subscription, once declined for lack of money; tried again after three days."""
    card = make_card(make_customer(account, name="Nurul binti Hassan", email="nurul@example.com"))
    subscription = make_subscription(card, make_plan(account, name="Tea club"), state="past_due")
    invoice = make_invoice(card, subscription)
    move_attempt(make_attempt(invoice, card), "declined", state_reason="51")
    changes = {
        "tries": 1,
        "first_tried_at": NOW,
        "decline_code": "51",
        "next_attempt_at": NOW + timedelta(days=3),
        "dunning_policy": account.dunning_policies.get(code="default"),
        **columns,
    }
    Invoice.objects.filter(pk=invoice.pk).update(**changes)
    invoice.refresh_from_db()
    return invoice


@pytest.fixture
def world(db: None) -> World:
    return make_world()


def make_world(account: GatewayAccount | None = None) -> World:
    """One of everything, which belongs together."""
    account = account or make_account()
    found = World(account)
    customer = make_customer(account)
    card = make_card(customer, label="411111******1111", activated_at=NOW)
    subscription = make_subscription(card, make_plan(account))
    invoice = make_invoice(card, subscription)
    attempt = make_attempt(invoice, card)
    evidence = make_evidence(attempt, content={"code": "SUCCESS"})
    second = make_card(make_customer(account, name="Tan Wei Ming", email="tan@example.com"))
    waiting = move_attempt(make_attempt(make_invoice(second), second), "needs_review")
    found.add(make_proposal(waiting))
    key, _ = create_api_key(account=account, name="shop", scopes=["read"], now=NOW)
    found.add(account, customer, card, subscription, subscription.plan, invoice, attempt, evidence, key)
    refund = make_refund(
        move_attempt(
            make_attempt(make_invoice(make_card(make_customer(account, name="Badrul", email="badrul@example.org")))),
            "surplus",
        )
    )
    found.add(
        refund,
        make_refund_evidence(refund),
        make_message(invoice),
        make_decline_ruling(account, code=f"R{next(_codes)}"),
    )
    found.add(make_policy(account))
    found.add(FailedPayment.objects.get(pk=make_declined(account).pk))
    found.add(make_checkout(make_invoice(make_card(make_customer(account, name="Lim Mei", email="mei@example.org")))))
    found.add(
        Transition.objects.create(
            account_id=account.pk,
            subject_type="subscription",
            subject_id=subscription.pk,
            from_state="incomplete",
            to_state="active",
            reason="activated",
            actor="engine",
            at=NOW,
        ),
        Event.objects.create(
            public_id=f"evt_{attempt.public_id[4:]}",
            account_id=account.pk,
            kind="invoice.paid",
            subject_type="invoice",
            subject_id=invoice.pk,
            payload={"invoice": invoice.public_id},
            created_at=NOW,
        ),
        GatewayOrder.objects.create(
            account=account,
            payment_method=card,
            gateway_order_id=f"order-{attempt.pk}",
            status="SUCCESS",
            amount_minor=1990,
            currency="MYR",
            ordered_at=NOW,
            attempt=attempt,
            first_seen_at=NOW,
            last_seen_at=NOW,
        ),
        GatewayTransaction.objects.create(
            account=account,
            gateway_transaction_id=f"transaction-{attempt.pk}",
            status="SUCCESS",
            amount_minor=1990,
            currency="MYR",
            content={"status": "SUCCESS"},
            first_seen_at=NOW,
            last_seen_at=NOW,
        ),
        ChargeRun.objects.create(worker="host:1", started_at=NOW, ended_at=NOW + timedelta(seconds=3), armed=1),
        Heartbeat.objects.create(queue=f"charge-{attempt.pk}", worker="host:1", beat_at=NOW),
        IdempotencyRecord.objects.create(account=account, key=f"key-{attempt.pk}", request_hash="hash", created_at=NOW),
        Installation.objects.get_or_create(pk=1)[0],
        ReportDay.objects.create(account=account, day=NOW.date() + timedelta(days=attempt.pk), read_at=NOW, payments=3),
        make_found_payment(
            account,
            kind="after_the_end",
            gateway_transaction_id=f"late-{attempt.pk}",
            gateway_order_id=f"late-{attempt.pk}",
            attempt=attempt,
        ),
        OrphanAnswer.objects.create(
            account_id=account.pk,
            kind="charge",
            marker="ORPHAN000001",
            nonce=f"orphan-{attempt.pk}",
            amount_minor=1990,
            currency="MYR",
            source="answer",
            verdict="paid",
            content={"transaction_id": "2001"},
            digest="digest",
            recorded_at=NOW,
        ),
    )
    endpoint = make_endpoint(account, description="shop backend")
    delivery = make_try(make_delivery(endpoint, found.rows[Event], sequence=1)).delivery
    found.add(endpoint, delivery)
    return found
