"""Plain makers of rows. Each takes what the test cares about and makes up the rest."""

import itertools
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from billing.accounts.gateway_accounts import open_account
from billing.charging.reading.before_decision import CARD_IS_GONE, Shown
from billing.domain.arming import Environment
from billing.ids import new_id, new_marker
from billing.models import (
    Checkout,
    Customer,
    DeclineRuling,
    DunningAssignment,
    DunningPolicy,
    Event,
    Evidence,
    FoundPayment,
    GatewayAccount,
    Invoice,
    MailSettings,
    Message,
    OutsidePayment,
    PaymentAttempt,
    PaymentMethod,
    Plan,
    Proposal,
    Refund,
    RefundEvidence,
    Subscription,
)
from billing.notifying.publish import publish_account
from billing.subscriptions.start import start_subscription

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)  # a Monday, 09:00 in Kuala Lumpur
_numbers = itertools.count(1)
# What `resolve` is told where there is no gateway to look at: a card that it forgot, and a person who knows.
NOTHING_TO_SEE: dict[str, Any] = {"seen": Shown(None, (), None), "despite_orders": [CARD_IS_GONE]}


@cache
def private_key_pem() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def make_account(**changes: Any) -> GatewayAccount:
    """A simulator account whose lists do not lag and whose one-off charges are retried like others, unless `changes`,
    which are columns written afterwards, say so."""
    changes = {"list_lag_seconds": 0, **changes}
    dunning: dict[str, Any] = {"one_off_retry_days": [3, 7, 14]}
    dunning |= {
        name: changes.pop(name) for name in ("retry_days", "one_off_retry_days", "final_action") if name in changes
    }
    opening: dict[str, Any] = {
        "name": "Kedai Kopi",
        "environment": Environment.SIMULATOR,
        "client_id": "client",
        "client_secret": "secret",
        "private_key_pem": private_key_pem(),
        "store_id": "1602660043994159611",
        "oauth_url": "http://127.0.0.1:1/v1",
        "api_url": "http://127.0.0.1:1/v3",
        "now": NOW,
    }
    opening |= {name: changes.pop(name) for name in list(changes) if name in opening}
    account = open_account(**opening)
    if changes:
        GatewayAccount.objects.filter(pk=account.pk).update(**changes)
    set_dunning(account, **dunning)
    return GatewayAccount.objects.get(pk=account.pk)


def set_dunning(
    account: GatewayAccount,
    *,
    retry_days: list[int] | None = None,
    one_off_retry_days: list[int] | None = None,
    final_action: str | None = None,
    **columns: Any,
) -> None:
    """Changes the account's own two policies; `columns` are those of the policy of its subscriptions."""
    policies = DunningPolicy.objects.filter(account=account)
    if final_action is not None:
        policies.update(final_action=final_action)
    if one_off_retry_days is not None:
        policies.filter(code="one-offs").update(retry_days=one_off_retry_days)
    if retry_days is not None:
        columns["retry_days"] = retry_days
    if columns:
        policies.filter(code="default").update(**columns)


def make_policy(account: GatewayAccount | None = None, **columns: Any) -> DunningPolicy:
    """A policy that is assigned to nothing."""
    number = next(_numbers)
    return DunningPolicy.objects.create(
        **{
            "public_id": new_id("dpol", NOW),
            "account": account or make_account(),
            "code": f"policy-{number}",
            "name": f"Policy {number}",
            "retry_days": [3, 7, 14],
            "final_action": "cancel",
            "created_at": NOW,
            **columns,
        }
    )


def make_assignment(policy: DunningPolicy | None = None, **columns: Any) -> DunningAssignment:
    """Assigns a policy to a plan that need not exist."""
    policy = policy or make_policy()
    return DunningAssignment.objects.create(
        **{
            "account": policy.account,
            "scope": "plan",
            "plan_code": f"plan-{next(_numbers)}",
            "policy": policy,
            "assigned_at": NOW,
            **columns,
        }
    )


def make_customer(account: GatewayAccount | None = None, **columns: Any) -> Customer:
    number = next(_numbers)
    return Customer.objects.create(
        **{
            "public_id": new_id("cus", NOW),
            "account": account or make_account(),
            "reference": f"customer-{number}",
            "name": "Aminah binti Ali",
            "email": f"aminah{number}@example.com",
            "country_code": "60",
            "phone_number": "123456789",
            "created_at": NOW,
            **columns,
        }
    )


def make_mail(account: GatewayAccount | None = None, **columns: Any) -> MailSettings:
    """Mail that is on, in English."""
    return MailSettings.objects.create(
        **{
            "account": account or make_account(),
            "enabled": True,
            "sender_name": "Kedai Kopi",
            "sender_address": "billing@kedai.example",
            **columns,
        }
    )


def make_message(invoice: Invoice | None = None, **columns: Any) -> Message:
    """A receipt that is due at NOW."""
    invoice = invoice or make_invoice()
    number = next(_numbers)
    return Message.objects.create(
        **{
            "public_id": new_id("msg", NOW),
            "account": invoice.account,
            "customer": invoice.customer,
            "kind": "receipt",
            "occasion": f"occasion-{number}",
            "subject_type": "invoice",
            "subject_id": invoice.pk,
            "language": "en",
            "state": "pending",
            "created_at": NOW,
            "next_try_at": NOW,
            **columns,
        }
    )


def make_card(customer: Customer | None = None, **columns: Any) -> PaymentMethod:
    """An active default card; name another state or `is_default=False` to get that."""
    customer = customer or make_customer()
    number = next(_numbers)
    return PaymentMethod.objects.create(
        **{
            "public_id": new_id("pm", NOW),
            "account": customer.account,
            "customer": customer,
            "kind": "tokenized",
            "state": "active",
            "environment": customer.account.environment,
            "gateway_customer_id": f"17952248447020{number:05}",
            "label": "411111******1111",
            "return_token": f"token-{number}",
            "is_default": True,
            "baseline_read_at": NOW,
            "created_at": NOW,
            **columns,
        }
    )


def make_plan(account: GatewayAccount | None = None, **columns: Any) -> Plan:
    number = next(_numbers)
    return Plan.objects.create(
        **{
            "public_id": new_id("plan", NOW),
            "account": account or make_account(),
            "code": f"plan-{number}",
            "version": 1,
            "name": "Coffee club",
            "amount_minor": 1990,
            "currency": "MYR",
            "interval": "DAILY",
            "target": None,
            "every": 1,
            "charge_time": "09:00",
            "time_zone": "Asia/Kuala_Lumpur",
            "trial_days": 0,
            "created_at": NOW,
            **columns,
        }
    )


def make_subscription(card: PaymentMethod | None = None, plan: Plan | None = None, **columns: Any) -> Subscription:
    """An active subscription, due at NOW."""
    card = card or make_card()
    plan = plan or make_plan(card.account)
    number = next(_numbers)
    copied = ("amount_minor", "currency", "interval", "target", "every", "charge_time", "time_zone", "repetitions")
    return Subscription.objects.create(
        **{
            "public_id": new_id("sub", NOW),
            "account": card.account,
            "customer": card.customer,
            "plan": plan,
            "reference": f"subscription-{number}",
            "state": "active",
            "collector": "engine",
            "catch_up": "all",
            **{name: getattr(plan, name) for name in copied},
            "anchor_date": date(2026, 3, 2),
            "occurrence": 0,
            "next_due_at": NOW,
            "period_index": 0,
            "periods_charged": 0,
            "created_at": NOW - timedelta(days=1),
            "activated_at": NOW - timedelta(days=1),
            **columns,
        }
    )


def make_invoice(
    card: PaymentMethod | None = None, subscription: Subscription | None = None, **columns: Any
) -> Invoice:
    """An open invoice, to be collected at NOW; a one-off unless a subscription is given."""
    if card is None and subscription is not None:
        card = subscription.customer.payment_methods.first()
    card = card or make_card()
    return Invoice.objects.create(
        **{
            "public_id": new_id("inv", NOW),
            "account": card.account,
            "customer": card.customer,
            "subscription": subscription,
            "period_index": 0 if subscription else None,
            "payment_method": None if subscription else card,
            "state": "open",
            "description": "Coffee club",
            "lines": [],
            "amount_minor": 1990,
            "currency": "MYR",
            "due_at": NOW + timedelta(seconds=columns.get("period_index") or 0),
            "next_attempt_at": NOW,
            "created_at": NOW,
            **columns,
        }
    )


def make_unpaid(card: PaymentMethod | None = None, plan: Plan | None = None, **given: Any) -> Invoice:
    """The open first invoice of a subscription that is active once it is paid; it began at NOW. `given` as for
    `start_subscription`."""
    card = card or make_card()
    plan = plan or make_plan(card.account, activates_on="payment")
    subscription = start_subscription(
        **{
            "customer": card.customer,
            "plan": plan,
            "reference": f"unpaid-{next(_numbers)}",
            "now": NOW,
            "charge_at_start": True,
            **given,
        }
    )
    return Invoice.objects.select_related("subscription").get(subscription=subscription)


def make_attempt(invoice: Invoice | None = None, card: PaymentMethod | None = None, **columns: Any) -> PaymentAttempt:
    """An attempt born *sending*; use `move_attempt` for any other state. With a `checkout` it was paid on its page."""
    if columns.get("checkout"):
        columns = {"payment_method": None, "charge_path": "checkout", "gateway_customer_id": "", **columns}
    card = card or (invoice.payment_method if invoice else None) or make_card()
    invoice = invoice or make_invoice(card)
    number = PaymentAttempt.objects.filter(invoice=invoice).count() + 1
    Invoice.objects.filter(pk=invoice.pk).update(next_attempt_at=None, attempt_count=number)
    unique = next(_numbers)
    return PaymentAttempt.objects.create(
        **{
            "public_id": new_id("att", NOW),
            "account": invoice.account,
            "invoice": invoice,
            "payment_method": card,
            "number": number,
            "state": "sending",
            "marker": new_marker(),
            "amount_minor": invoice.amount_minor,
            "currency": invoice.currency,
            "gateway_customer_id": card.gateway_customer_id,
            "charge_path": "customer_order",
            "title": "Coffee club",
            "description": "Coffee club",
            "request_method": "POST",
            "request_url": "http://127.0.0.1:1/v3/customer/1/order",
            "request_body": b"{}",
            "request_nonce": f"nonce-{unique}",
            "request_timestamp": int(NOW.timestamp()),
            "request_signature": "signature",
            "request_hash": "hash",
            "armed_at": NOW,
            "window_ends_at": NOW + timedelta(seconds=20),
            "deadline_at": NOW + timedelta(seconds=125),
            **columns,
        }
    )


def make_checkout(invoice: Invoice | None = None, **columns: Any) -> Checkout:
    """A checkout born *creating*; use `move_checkout` for any other state."""
    invoice = invoice or make_invoice()
    number = next(_numbers)
    return Checkout.objects.create(
        **{
            "public_id": new_id("chk", NOW),
            "account": invoice.account,
            "invoice": invoice,
            "state": "creating",
            "order_id": f"KT{number}",
            "marker": new_marker(),
            "amount_minor": invoice.amount_minor,
            "currency": invoice.currency,
            "title": "Coffee club",
            "description": "Coffee club",
            "requested_by": "siti",
            "created_at": NOW,
            "expires_at": NOW + timedelta(minutes=10),
            "excludes_until": NOW + timedelta(hours=24),
            "next_check_at": NOW + timedelta(minutes=1),
            **columns,
        }
    )


def move_checkout(checkout: Checkout, state: str, **columns: Any) -> Checkout:
    """Moves the checkout by a raw update, with what a row of that state has."""
    page = {"url": "http://127.0.0.1:1/v4/checkout?checkoutId=1", "gateway_checkout_id": "1"}
    changes = page if state == "open" else {"closed_at": NOW}
    Checkout.objects.filter(pk=checkout.pk).update(state=state, **{**changes, **columns})
    checkout.refresh_from_db()
    return checkout


def make_evidence(attempt: PaymentAttempt, **columns: Any) -> Evidence:
    return Evidence.objects.create(
        **{
            "account_id": attempt.account_id,
            "attempt_id": attempt.pk,
            "source": "answer",
            "verdict": "paid",
            "reason": "",
            "digest": f"digest-{next(_numbers)}",
            "content": {},
            "recorded_at": NOW,
            **columns,
        }
    )


def move_attempt(attempt: PaymentAttempt, *states: str, **columns: Any) -> PaymentAttempt:
    """Moves the attempt along `states` by raw updates, each with evidence of its own."""
    for state in states:
        evidence = make_evidence(attempt)
        if state in ("succeeded", "surplus", "reversed"):
            columns.setdefault("gateway_transaction_id", attempt.gateway_transaction_id or f"transaction-{attempt.pk}")
        PaymentAttempt.objects.filter(pk=attempt.pk).update(state=state, last_evidence_id=evidence.pk, **columns)
    attempt.refresh_from_db()
    return attempt


def make_refund(attempt: PaymentAttempt | None = None, **columns: Any) -> Refund:
    """A requested refund of the whole attempt, which has money; use `move_refund` for any other state."""
    attempt = attempt or move_attempt(make_attempt(), "succeeded")
    return Refund.objects.create(
        **{
            "public_id": new_id("ref", NOW),
            "account": attempt.account,
            "attempt": attempt,
            "invoice": attempt.invoice,
            "kind": "full",
            "origin": "engine",
            "amount_minor": attempt.amount_minor,
            "currency": attempt.currency,
            "refunded_before_minor": attempt.amount_refunded_minor,
            "requested_by": "mei",
            "requested_reason": "cancelled in time",
            "state": "requested",
            "created_at": NOW,
            "next_check_at": NOW,
            **columns,
        }
    )


def make_refund_evidence(refund: Refund, **columns: Any) -> RefundEvidence:
    return RefundEvidence.objects.create(
        **{
            "account_id": refund.account_id,
            "refund_id": refund.pk,
            "source": "answer",
            "verdict": "refunded",
            "reason": "",
            "digest": f"digest-{next(_numbers)}",
            "content": {},
            "recorded_at": NOW,
            **columns,
        }
    )


def armed_request() -> dict[str, Any]:
    """What a refund has once it is armed."""
    return {
        "request_method": "POST",
        "request_url": "http://127.0.0.1:1/v3/payment/refund",
        "request_body": b"{}",
        "request_nonce": f"refund-nonce-{next(_numbers)}",
        "request_timestamp": int(NOW.timestamp()),
        "request_signature": "signature",
        "request_hash": "hash",
        "armed_at": NOW,
        "window_ends_at": NOW + timedelta(seconds=20),
        "deadline_at": NOW + timedelta(seconds=125),
    }


def move_refund(refund: Refund, *states: str, **columns: Any) -> Refund:
    """Moves the refund along `states` by raw updates, each with evidence of its own."""
    for state in states:
        changes = {"next_check_at": None, **(armed_request() if state == "sending" else {}), **columns}
        evidence = make_refund_evidence(refund)
        Refund.objects.filter(pk=refund.pk).update(state=state, last_evidence_id=evidence.pk, **changes)
    refund.refresh_from_db()
    return refund


def make_decline_ruling(account: GatewayAccount | None = None, **columns: Any) -> DeclineRuling:
    return DeclineRuling.objects.create(
        **{
            "account": account or make_account(),
            "code": "9010",
            "kind": "soft",
            "decided_by": "siti",
            "reason": "the bank says so",
            "decided_at": NOW,
            **columns,
        }
    )


def make_outside_payment(invoice: Invoice | None = None, **columns: Any) -> OutsidePayment:
    """A payment in cash of what is owed; the invoice itself is left as it was."""
    invoice = invoice or make_invoice()
    return OutsidePayment.objects.create(
        **{
            "public_id": new_id("pay", NOW),
            "account": invoice.account,
            "invoice": invoice,
            "method": "cash",
            "reference": "receipt 12",
            "amount_minor": invoice.amount_minor,
            "currency": invoice.currency,
            "paid_date": date(2026, 3, 1),
            "reason": "paid at the till",
            "recorded_by": "siti",
            "recorded_at": NOW,
            **columns,
        }
    )


def make_proposal(attempt: PaymentAttempt | None = None, **columns: Any) -> Proposal:
    """An open proposal of *siti* about an attempt that is with a person."""
    if attempt is None and not {"invoice", "payment_method"} & set(columns):
        attempt = move_attempt(make_attempt(), "needs_review")
    return Proposal.objects.create(
        **{
            "public_id": new_id("prop", NOW),
            "account": attempt.account if attempt else columns["account"],
            "attempt": attempt,
            "kind": "not_charged",
            "reason": "the portal shows nothing",
            "proposed_by": "siti",
            "proposed_by_user_id": 1,
            "proposed_at": NOW,
            "outcome": "open",
            **columns,
        }
    )


def make_published_event(invoice: Invoice, kind: str = "invoice.paid", **columns: Any) -> Event:
    """An event of the invoice in the feed of its account, after what was published there before."""
    event = Event.objects.create(
        **{
            "public_id": new_id("evt", NOW),
            "account_id": invoice.account_id,
            "kind": kind,
            "subject_type": "invoice",
            "subject_id": invoice.pk,
            "occasion": f"occasion-{next(_numbers)}",
            "payload": {"changes": {"state": {"from": "open", "to": "paid"}}, "reason": "paid"},
            "created_at": NOW,
            **columns,
        }
    )
    publish_account(invoice.account_id, now=NOW)
    return Event.objects.get(pk=event.pk)


def make_found_payment(account: GatewayAccount | None = None, **columns: Any) -> FoundPayment:
    """A payment with a marker that is not known here; it waits for a person."""
    return FoundPayment.objects.create(
        **{
            "account": account or make_account(),
            "gateway_transaction_id": "2001",
            "gateway_order_id": "1001",
            "kind": "unknown_marker",
            "amount_minor": 1990,
            "currency": "MYR",
            "marker": "7K3M9QX2B5TD",
            "found_at": NOW,
            **columns,
        }
    )
