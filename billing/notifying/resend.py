"""Delivering once more what was delivered, failed, or was never handed out to an endpoint."""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from billing.domain.webhooks import DeliveryState, EndpointState
from billing.doorbell import DELIVER, ring_on_commit
from billing.models import WebhookDelivery, WebhookEndpoint
from billing.models.bulk import delivering
from billing.notifying.endpoints import WebhookError

MOST_EVENTS = 5000


def resend_delivery(*, delivery: WebhookDelivery, now: datetime) -> WebhookDelivery:
    """Begins a new round of tries, with the same webhook-id.

    Raises WebhookError while it is pending, and for one that was deleted meanwhile because it ended long ago."""
    with transaction.atomic():
        _lock_endpoint(delivery.endpoint)
        locked = WebhookDelivery.objects.select_for_update(no_key=True).filter(pk=delivery.pk).first()
        if locked is None:
            raise WebhookError("state", "state", "the delivery was deleted: resend a span of time")
        if locked.state == DeliveryState.PENDING:
            raise WebhookError("state", "state", "the delivery is pending: it is sent without being resent")
        delivering.resend(locked.endpoint_id, [locked.event_id], now=now)
        ring_on_commit(DELIVER)
        locked.refresh_from_db()
    return locked


def resend_span(
    *, endpoint: WebhookEndpoint, since: datetime, before: datetime, kinds: Sequence[str] = (), now: datetime
) -> int:
    """Delivers the account's events created from `since` until `before` once more; how many.

    Events that were never handed out to the endpoint are among them, whatever kinds it takes. Raises WebhookError for
    an empty span, and for one with more than `MOST_EVENTS`."""
    if since >= before:
        raise WebhookError("created_before", "order", "must be later than the beginning of the span")
    with transaction.atomic():
        locked = _lock_endpoint(endpoint)
        count = delivering.count_span(locked.account_id, since=since, before=before, kinds=kinds, most=MOST_EVENTS)
        if count > MOST_EVENTS:
            raise WebhookError(
                "created_from", "too_many", f"must span at most {MOST_EVENTS} events: use a shorter span, or kinds"
            )
        delivering.resend_span(locked.pk, locked.account_id, since=since, before=before, kinds=kinds, now=now)
        ring_on_commit(DELIVER)
    return count


def _lock_endpoint(endpoint: WebhookEndpoint) -> WebhookEndpoint:
    locked = WebhookEndpoint.objects.select_for_update(no_key=True).get(pk=endpoint.pk)
    if locked.state == EndpointState.DELETED:
        raise WebhookError("state", "state", "the endpoint was deleted")
    return locked
