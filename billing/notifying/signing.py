"""Secrets and signatures of webhooks, as Standard Webhooks describes them (standardwebhooks.com)."""

import base64
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook

_SECRET_BYTES = 32


def new_secret() -> str:
    """A fresh signing secret, `whsec_…`."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode('ascii')}"


def headers(*, event_id: str, at: datetime, body: str, signed_with: Sequence[str]) -> dict[str, str]:
    """The headers of one try at `at`. Each secret signs; a receiver accepts a request when one signature is right."""
    at = at.astimezone(UTC)
    signatures = [Webhook(secret).sign(event_id, at, body) for secret in signed_with]
    return {
        "content-type": "application/json",
        "user-agent": "Kitaran-Webhooks/1",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
