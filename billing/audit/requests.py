"""S8: what was armed is still what was sent, worked out from the stored bytes. Needs no secret."""

import json
from collections.abc import Iterator
from typing import Any

from billing.audit.violation import Violation
from billing.gateway.connection import PreparedRequest
from billing.models import PaymentAttempt

_COLUMNS = (
    "public_id", "marker", "amount_minor", "currency", "title", "description", "gateway_customer_id", "armed_at",
    "window_ends_at", "deadline_at", "request_method", "request_url", "request_body", "request_nonce",
    "request_timestamp", "request_signature", "request_hash",
)  # fmt: skip
_CHUNK = 5000


def violations(account_id: int | None) -> Iterator[Violation]:
    """S8 of the account, or of all."""
    attempts = PaymentAttempt.objects.order_by("id")
    if account_id is not None:
        attempts = attempts.filter(account_id=account_id)
    for row in attempts.values(*_COLUMNS).iterator(chunk_size=_CHUNK):
        wrong = _what_differs(row)
        if wrong:
            yield Violation("S8", row["public_id"], f"{wrong}.")


def _what_differs(row: dict[str, Any]) -> str | None:
    """The first thing that does not fit the rest of the attempt, as a part of a sentence."""
    request = PreparedRequest(
        row["request_method"], row["request_url"], bytes(row["request_body"]), row["request_nonce"],
        row["request_timestamp"], row["request_signature"],
    )  # fmt: skip
    if request.sha256 != row["request_hash"]:
        return "its request does not have the digest that it was armed with"
    asked = {"amount": row["amount_minor"], "currency": row["currency"]}
    asked |= {name: row[name] for name in ("title", "description") if row[name]}
    if _body(request.body) != asked:
        return "its request asks for something else than the attempt"
    if row["request_method"] != "POST" or f"/{row['gateway_customer_id']}/" not in row["request_url"]:
        return "its request goes to something else than its card"
    if row["marker"] not in row["title"].split()[-1:] or row["marker"] not in row["description"].split()[:1]:
        return "its texts do not carry its marker"
    if row["request_timestamp"] != int(row["armed_at"].timestamp()):
        return "its request is not of the time when it was armed"
    if not row["armed_at"] < row["window_ends_at"] < row["deadline_at"]:
        return "its window and deadline do not follow its arming"
    return None


def _body(content: bytes) -> object:
    try:
        return json.loads(content)
    except ValueError:
        return None
