"""What came of a try, in one short transaction: the delivery, its log, and the endpoint when it fails for long."""

import random
from datetime import datetime

from django.db import transaction

from billing.domain.webhooks import (
    SPREAD_PERMILLE,
    DeliveryState,
    Disabled,
    EndpointState,
    Tried,
    must_disable,
    next_try,
)
from billing.models import WebhookDelivery, WebhookEndpoint, WebhookTry
from billing.models.bulk.delivering import Claimed
from billing.models.bulk.history import record_transition
from billing.notifying.endpoints import SUBJECT

ACTOR = "engine"


def record_try(claimed: Claimed, tried: Tried, *, started_at: datetime, duration_ms: int, now: datetime) -> None:
    """Whoever holds the lease decides: a try whose lease was taken over meanwhile is only added to the log."""
    with transaction.atomic():
        endpoint = WebhookEndpoint.objects.select_for_update(no_key=True).get(pk=claimed.endpoint_id)
        delivery = WebhookDelivery.objects.select_for_update(no_key=True).get(pk=claimed.delivery_id)
        WebhookTry.objects.create(
            delivery=delivery,
            number=claimed.token,
            at=started_at,
            duration_ms=duration_ms,
            status=tried.status,
            error=tried.error.value if tried.error else "",
            answer=tried.answer,
        )
        if delivery.state != DeliveryState.PENDING or delivery.lease_token != claimed.token:
            return
        delivery.tries += 1
        delivery.lease_until = None
        if tried.succeeded:
            _succeed(endpoint, delivery, now)
        else:
            _fail(endpoint, delivery, tried, now)
        delivery.save(update_fields=["tries", "lease_until", "state", "next_try_at", "closed_at"])


def _succeed(endpoint: WebhookEndpoint, delivery: WebhookDelivery, now: datetime) -> None:
    _close(delivery, DeliveryState.DELIVERED, now)
    if endpoint.failing_since is not None:
        endpoint.failing_since = None
        endpoint.save(update_fields=["failing_since"])


def _fail(endpoint: WebhookEndpoint, delivery: WebhookDelivery, tried: Tried, now: datetime) -> None:
    again = next_try(
        tries=delivery.tries,
        first_at=delivery.first_try_at or now,
        now=now,
        retry_after=tried.retry_after,
        chance=random.randint(0, SPREAD_PERMILLE),
    )
    if again is None:
        _close(delivery, DeliveryState.FAILED, now)
    else:
        delivery.next_try_at = again
    if endpoint.failing_since is None:
        endpoint.failing_since = now
        endpoint.save(update_fields=["failing_since"])
    why = must_disable(status=tried.status, failing_since=endpoint.failing_since, now=now)
    if why is not None and endpoint.state == EndpointState.ACTIVE:
        _disable(endpoint, why, now)


def _close(delivery: WebhookDelivery, state: DeliveryState, now: datetime) -> None:
    delivery.state, delivery.next_try_at, delivery.closed_at = state.value, None, now


def _disable(endpoint: WebhookEndpoint, why: Disabled, now: datetime) -> None:
    """Decided here, with its event, and the mail that is due; the worker sends it (`notices.py`)."""
    was, endpoint.state, endpoint.disabled_reason = endpoint.state, EndpointState.DISABLED.value, why.value
    endpoint.notice_due_at = now if endpoint.email else None
    endpoint.save(update_fields=["state", "disabled_reason", "notice_due_at"])
    record_transition(
        account_id=endpoint.account_id,
        subject_type=SUBJECT,
        subject_id=endpoint.pk,
        from_state=was,
        to_state=endpoint.state,
        reason=why.value,
        actor=ACTOR,
        detail={"webhook_endpoint": endpoint.public_id},
        now=now,
    )
