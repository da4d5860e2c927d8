"""An account with a key, and customers with everything."""

from dataclasses import dataclass

import pytest

from billing.models import (
    Checkout,
    Customer,
    DunningPolicy,
    Event,
    GatewayAccount,
    Invoice,
    Message,
    PaymentAttempt,
    PaymentMethod,
    Plan,
    Refund,
    Subscription,
    WebhookDelivery,
    WebhookEndpoint,
)
from tests.api.calls import Api, api_for
from tests.factories import (
    NOW,
    make_account,
    make_attempt,
    make_card,
    make_checkout,
    make_customer,
    make_invoice,
    make_message,
    make_plan,
    make_published_event,
    make_refund,
    make_subscription,
    move_attempt,
    move_checkout,
)
from tests.notifying.rows import make_delivery, make_endpoint, make_try


@dataclass(slots=True)
class Merchant:
    """An account with one of everything."""

    account: GatewayAccount
    api: Api
    customer: Customer
    card: PaymentMethod
    plan: Plan
    subscription: Subscription
    invoice: Invoice
    attempt: PaymentAttempt
    refund: Refund
    event: Event
    endpoint: WebhookEndpoint
    delivery: WebhookDelivery
    message: Message
    policy: DunningPolicy
    checkout: Checkout


def make_merchant() -> Merchant:
    account = make_account()
    customer = make_customer(account)
    card = make_card(customer)
    plan = make_plan(account)
    subscription = make_subscription(card, plan)
    invoice = make_invoice(card)
    checkout = move_checkout(make_checkout(invoice), "closed")
    attempt = move_attempt(make_attempt(invoice, card), "unknown", "succeeded")
    refund = make_refund(attempt)
    event = make_published_event(invoice)
    endpoint = make_endpoint(account)
    delivery = make_try(make_delivery(endpoint, event)).delivery
    message = make_message(invoice, state="sent", next_try_at=None, sent_at=NOW)
    rows = (customer, card, plan, subscription, invoice, attempt, refund, event, endpoint, delivery, message)
    policy = account.dunning_policies.get(code="default")
    return Merchant(account, api_for(account), *rows, policy, checkout)


@pytest.fixture
def merchant(_installation: None) -> Merchant:
    return make_merchant()


def attempt_in_review(merchant: Merchant) -> PaymentAttempt:
    """Another attempt of the merchant's, which evidence could not settle."""
    card = make_card(merchant.customer, is_default=False)
    return move_attempt(make_attempt(make_invoice(card), card), "needs_review")


@pytest.fixture
def stranger(_installation: None) -> Merchant:
    return make_merchant()
