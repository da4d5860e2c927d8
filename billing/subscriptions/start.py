"""Putting a customer on a plan."""

from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from billing.domain.catch_up import CatchUp
from billing.domain.errors import RefusedError
from billing.domain.reasons import Reason
from billing.domain.subscriptions import Collector, SubscriptionState
from billing.ids import new_id
from billing.models import Customer, PaymentMethod, Plan, Subscription
from billing.models.bulk.history import record_transition
from billing.subscriptions.activate import activate, has_usable_card
from billing.subscriptions.customers import ReferenceTakenError


class SubscriptionError(RefusedError):
    """What was asked of the subscription is not possible; the message names the field and the rule."""


def start_subscription(
    *,
    customer: Customer,
    plan: Plan,
    reference: str,
    now: datetime,
    payment_method: PaymentMethod | None = None,
    charge_at_start: bool = False,
    catch_up: CatchUp = CatchUp.ALL,
    metadata: dict[str, Any] | None = None,
    actor: str = "engine",
) -> Subscription:
    """Begins at once when the customer has a usable card, else waits *incomplete* for one. One that is charged at its
    start on a plan that says so is incomplete until that is paid.

    Price and schedule are the plan's, copied. Raises SubscriptionError or ReferenceTakenError."""
    if plan.account_id != customer.account_id:
        raise SubscriptionError("plan", "not_usable", "must be one of this account")
    if payment_method is not None and payment_method.customer_id != customer.pk:
        raise SubscriptionError("payment_method", "not_usable", "must be one of this customer")
    try:
        with transaction.atomic():
            subscription = Subscription.objects.create(
                public_id=new_id("sub", now),
                account_id=customer.account_id,
                customer=customer,
                plan=plan,
                payment_method=payment_method,
                reference=reference,
                state=SubscriptionState.INCOMPLETE.value,
                collector=Collector.ENGINE.value,
                catch_up=catch_up.value,
                amount_minor=plan.amount_minor,
                currency=plan.currency,
                interval=plan.interval,
                target=plan.target,
                every=plan.every,
                charge_time=plan.charge_time,
                time_zone=plan.time_zone,
                repetitions=plan.repetitions,
                charge_at_start=charge_at_start,
                activates_on=plan.activates_on,
                period_index=0,
                periods_charged=0,
                metadata=metadata or {},
                created_at=now,
            )
            record_transition(
                account_id=customer.account_id,
                subject_type="subscription",
                subject_id=subscription.pk,
                from_state="",
                to_state=subscription.state,
                reason=Reason.CREATED,
                actor=actor,
                now=now,
            )
            if has_usable_card(subscription):
                activate(subscription, now=now, actor=actor)
    except IntegrityError as error:
        raise ReferenceTakenError(
            "reference", "taken", f"must be unique in the account; another subscription has {reference!r}"
        ) from error
    return subscription
