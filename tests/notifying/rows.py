"""Endpoints, published events and deliveries, as rows."""

import itertools
from datetime import datetime
from typing import Any

from billing.ids import new_id
from billing.models import Event, GatewayAccount, WebhookDelivery, WebhookEndpoint, WebhookTry
from billing.models.bulk.history import record_event
from billing.models.encryption import encrypt
from billing.notifying.publish import publish_account
from billing.notifying.signing import new_secret
from tests.factories import NOW, make_account

_numbers = itertools.count(1)


def make_endpoint(account: GatewayAccount | None = None, **columns: Any) -> WebhookEndpoint:
    """An active endpoint to which nothing was handed out yet."""
    return WebhookEndpoint.objects.create(
        **{
            "public_id": new_id("whe", NOW),
            "account": account or make_account(),
            "url": "http://127.0.0.1:9/",
            "state": "active",
            "secret_encrypted": encrypt(new_secret()),
            "created_at": NOW,
            **columns,
        }
    )


def record(
    account: GatewayAccount,
    subject_id: int = 1,
    kind: str = "attempt.orphan_answer",
    now: datetime = NOW,
    **payload: Any,
) -> None:
    """An event of an object that has no page of its own, not published yet."""
    record_event(
        account_id=account.pk,
        kind=kind,
        subject_type="orphan",
        subject_id=subject_id,
        occasion=str(next(_numbers)),
        payload=payload,
        now=now,
    )


def publish(
    account: GatewayAccount, *subjects: int, kind: str = "attempt.orphan_answer", now: datetime = NOW
) -> list[Event]:
    """Published events of these objects, in this order."""
    for subject in subjects:
        record(account, subject, kind, now)
    publish_account(account.pk, now=now)
    return list(Event.objects.filter(account_id=account.pk).order_by("-sequence")[: len(subjects)])[::-1]


def make_delivery(
    endpoint: WebhookEndpoint | None = None, event: Event | None = None, **columns: Any
) -> WebhookDelivery:
    """A pending delivery, due at NOW."""
    endpoint = endpoint or make_endpoint()
    event = event or publish(endpoint.account, next(_numbers))[0]
    return WebhookDelivery.objects.create(
        **{
            "public_id": new_id("whd", NOW),
            "account": endpoint.account,
            "endpoint": endpoint,
            "event_id": event.pk,
            "event_public_id": event.public_id,
            "kind": event.kind,
            "subject_type": event.subject_type,
            "subject_id": event.subject_id,
            "sequence": event.sequence,
            "state": "pending",
            "next_try_at": NOW,
            "created_at": NOW,
            **columns,
        }
    )


def make_try(delivery: WebhookDelivery | None = None, **columns: Any) -> WebhookTry:
    return WebhookTry.objects.create(
        **{
            "delivery": delivery or make_delivery(),
            "number": 1,
            "at": NOW,
            "duration_ms": 12,
            "status": 500,
            "error": "status",
            "answer": "no",
            **columns,
        }
    )
