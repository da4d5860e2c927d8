"""Cards: binding one at the gateway, and taking it into use.

A redirect or a notification never makes a card usable; only the gateway's own word on a query does. Before
the card's first charge its orders are read, so that what was there before is never taken for a charge of ours.
"""

import secrets
from datetime import datetime, timedelta

from django.db import transaction

from billing.domain.errors import RefusedError
from billing.domain.paying import PAYER
from billing.domain.reasons import Reason
from billing.domain.subscriptions import CardKind, CardState, Collector, SubscriptionState
from billing.gateway.connection import GatewayUnavailableError, gateway_for
from billing.gateway.order_rows import write_baseline
from billing.ids import new_id
from billing.models import Customer, PaymentMethod, Subscription
from billing.models.bulk import settling
from billing.models.bulk.history import record_change, record_event, record_transition
from billing.subscriptions.activate import activate_waiting
from billing.subscriptions.update import charge_on_default
from billing.subscriptions.waking import charge_on_another_card

# What the gateway answers about a card holder who has bound no card yet.
_NOT_BOUND_YET = frozenset({"INVALID_REQUEST"})

# A page that the customer opened so long ago is opened again, and not another one.
PAGE_IS_REUSED_FOR = timedelta(hours=1)


class CardError(RefusedError):
    """What was asked of the card is not possible; the message says why."""


def start_binding(
    *,
    customer: Customer,
    return_url: str,
    now: datetime,
    merchant_return_url: str = "",
    actor: str = "engine",
    takes_over: bool = False,
) -> PaymentMethod:
    """Asks the gateway for a page where the customer binds a card; the card is *pending* until `confirm_binding`.

    `return_url` is where the gateway sends the browser afterwards, with the card's secret return token added as
    the last part of its path; `merchant_return_url` is where it goes from there, when the merchant has a page of
    its own. With `takes_over` the card is charged for all that the customer pays, once it is saved. Raises
    GatewayUnavailableError; then there may be a card holder at the gateway that nobody uses, which costs nothing."""
    account = customer.account
    token = secrets.token_urlsafe(24)
    info = gateway_for(account).create_tokenized_card(
        email=customer.email,
        name=customer.name,
        country_code=customer.country_code,
        phone_number=customer.phone_number,
        product_name=account.name,
        product_description=f"Card of {customer.public_id}",
        redirect_url=f"{return_url.rstrip('/')}/{token}/",
    )
    with transaction.atomic():
        card = PaymentMethod.objects.create(
            public_id=new_id("pm", now),
            account=account,
            customer=customer,
            kind=CardKind.TOKENIZED.value,
            state=CardState.PENDING.value,
            environment=account.environment,
            gateway_customer_id=info.gateway_customer_id,
            payment_url=info.payment_url,
            return_token=token,
            merchant_return_url=merchant_return_url,
            takes_over=takes_over,
            created_at=now,
        )
        _log(card, "", CardState.PENDING, Reason.BINDING_STARTED, now, actor=actor)
    return card


def is_charged_at_once(customer: Customer) -> bool:
    """Whether a card that the customer saves now is charged without delay: a subscription begins with a charge."""
    return Subscription.objects.filter(
        customer=customer,
        state=SubscriptionState.INCOMPLETE.value,
        collector=Collector.ENGINE.value,
        charge_at_start=True,
        plan__trial_days=0,
    ).exists()


def page_to_save_a_card(*, customer: Customer, return_url: str, now: datetime) -> str:
    """Where the customer enters a card that is charged from then on for all that they pay; for whoever has a payment
    link. One who returns soon gets the same page. Raises GatewayUnavailableError."""
    opened = PaymentMethod.objects.filter(
        customer=customer, takes_over=True, state=CardState.PENDING.value, created_at__gt=now - PAGE_IS_REUSED_FOR
    )
    card = opened.exclude(payment_url="").order_by("-pk").first()
    if card is None:
        card = start_binding(customer=customer, return_url=return_url, now=now, actor=PAYER, takes_over=True)
    return card.payment_url


def confirm_binding(*, card: PaymentMethod, now: datetime) -> bool:
    """Asks the gateway whether the card is bound, and if so takes it into use. False: not bound (yet).

    The first usable card of a customer becomes the default, and subscriptions that waited for it begin. Those whose
    first charge was declined are charged on the new card.
    Raises GatewayUnavailableError."""
    gateway = gateway_for(card.account)
    try:
        info = gateway.read_card(card.gateway_customer_id or "")
    except GatewayUnavailableError as error:
        if card.state == CardState.PENDING and getattr(error.__cause__, "code", None) in _NOT_BOUND_YET:
            return False
        raise
    if not info.is_active:
        return False
    orders = gateway.read_orders(info.gateway_customer_id) if card.baseline_read_at is None else []
    with transaction.atomic():
        if card.takes_over:
            list(PaymentMethod.objects.select_for_update().filter(customer_id=card.customer_id).order_by("id"))
        locked = PaymentMethod.objects.select_for_update().get(pk=card.pk)
        if locked.state in (CardState.ACTIVE, CardState.REVOKED):
            return locked.state == CardState.ACTIVE
        write_baseline(locked, orders, now)
        before = CardState(locked.state)
        takes_over = locked.takes_over and before is CardState.PENDING
        locked.state = CardState.ACTIVE.value
        locked.label = info.label
        locked.baseline_read_at = locked.baseline_read_at or now
        locked.activated_at = now
        if takes_over:
            PaymentMethod.objects.filter(customer_id=locked.customer_id, is_default=True).update(is_default=False)
        locked.is_default = not PaymentMethod.objects.filter(customer=locked.customer, is_default=True).exists()
        locked.save(update_fields=["state", "label", "baseline_read_at", "activated_at", "is_default"])
        _log(locked, before.value, CardState.ACTIVE, Reason.BOUND, now)
        _hold_like_the_others(locked, now)
        if takes_over:
            charge_on_default(customer_id=locked.customer_id, actor=PAYER, now=now)
        activate_waiting(customer=locked.customer, now=now, saved=locked)
        charge_on_another_card(locked.customer_id, actor="engine", now=now)
    return True


def _hold_like_the_others(card: PaymentMethod, now: datetime) -> None:
    """A payment that was found on a card which is lost may have paid what this card, bound in its place, would be
    charged for."""
    others = PaymentMethod.objects.filter(customer_id=card.customer_id, held_reason=Reason.PAYMENT_IN_REPORTS)
    if others.filter(held_at__isnull=False).exists():
        settling.hold_cards([(card.pk, Reason.PAYMENT_IN_REPORTS)], now=now)


def record_claim(*, card: PaymentMethod, outcome: str, reason: str, now: datetime) -> None:
    """Keeps what a browser reported about a binding that did not happen (`failed` or `cancelled`).

    It is a claim, so the state stands; the same claim again adds nothing, and one about a card that is not
    pending is dropped."""
    with transaction.atomic():
        claimed = (
            PaymentMethod.objects.filter(pk=card.pk, state=CardState.PENDING.value)
            .exclude(bind_outcome=outcome, bind_reason=reason)
            .update(bind_outcome=outcome, bind_reason=reason, bind_outcome_at=now)
        )
        if claimed:
            why = f"binding_{outcome}: {reason}" if reason else f"binding_{outcome}"
            _log(card, CardState.PENDING.value, CardState.PENDING, why, now, actor="browser")
            record_event(
                account_id=card.account_id,
                kind="payment_method.failed",
                subject_type="card",
                subject_id=card.pk,
                occasion=f"{outcome} {now.isoformat()}",
                payload={"outcome": outcome, "reason": reason},
                now=now,
            )


def make_default(*, card: PaymentMethod, now: datetime, actor: str = "engine") -> None:
    """Open invoices and later ones are charged on this card, unless they or their subscription name another."""
    with transaction.atomic():
        cards = PaymentMethod.objects.select_for_update().filter(customer_id=card.customer_id).order_by("id")
        chosen = next(row for row in cards if row.pk == card.pk)
        if chosen.state != CardState.ACTIVE:
            raise CardError("payment_method", "state", f"must be an active card; this one is {chosen.state}")
        PaymentMethod.objects.filter(customer_id=card.customer_id, is_default=True).update(is_default=False)
        PaymentMethod.objects.filter(pk=card.pk).update(is_default=True)
        if not chosen.is_default:
            before = next((row.public_id for row in cards if row.is_default), None)
            record_change(
                account_id=chosen.account_id,
                subject_type="card",
                subject_id=chosen.pk,
                state=chosen.state,
                kind="payment_method.default_changed",
                changes={"default_payment_method": (before, chosen.public_id)},
                actor=actor,
                now=now,
            )
        activate_waiting(customer=chosen.customer, now=now)
        charge_on_another_card(chosen.customer_id, actor=actor, now=now)


def revoke_card(*, card: PaymentMethod, reason: str, actor: str, now: datetime) -> None:
    """The card is not charged any more; attempts that are under way are still followed to their end."""
    with transaction.atomic():
        locked = PaymentMethod.objects.select_for_update().get(pk=card.pk)
        if locked.state == CardState.REVOKED:
            return
        before = locked.state
        locked.state = CardState.REVOKED.value
        locked.is_default = False
        locked.save(update_fields=["state", "is_default"])
        _log(locked, before, CardState.REVOKED, reason, now, actor=actor)


def _log(
    card: PaymentMethod, before: str, after: CardState, reason: str, now: datetime, *, actor: str = "engine"
) -> None:
    record_transition(
        account_id=card.account_id,
        subject_type="card",
        subject_id=card.pk,
        from_state=before,
        to_state=after.value,
        reason=reason,
        actor=actor,
        now=now,
    )
