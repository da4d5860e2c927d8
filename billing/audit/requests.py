"""S8: what was armed is still what was sent, worked out from the stored bytes. Needs no secret."""

import json
from collections.abc import Iterator
from typing import Any

from billing.audit.violation import Violation
from billing.domain.refunds import RefundKind
from billing.gateway.connection import PreparedRequest
from billing.models import PaymentAttempt, Refund

_REQUEST = (
    "armed_at", "window_ends_at", "deadline_at", "request_method", "request_url", "request_body", "request_nonce",
    "request_timestamp", "request_signature", "request_hash",
)  # fmt: skip
_COLUMNS = (
    "public_id", "marker", "amount_minor", "currency", "title", "description", "gateway_customer_id", *_REQUEST,
)  # fmt: skip
_OF_REFUNDS = (
    "public_id", "kind", "amount_minor", "currency", "attempt__gateway_transaction_id", "attempt__gateway_order_id",
    *_REQUEST,
)  # fmt: skip
_CHUNK = 5000


def violations(account_id: int | None) -> Iterator[Violation]:
    """S8 of the account, or of all."""
    # What was paid on a page was not sent by us: its request is put together only to be read.
    attempts = PaymentAttempt.objects.filter(checkout=None).order_by("id")
    refunds = Refund.objects.filter(armed_at__isnull=False).order_by("id")
    if account_id is not None:
        attempts, refunds = attempts.filter(account_id=account_id), refunds.filter(account_id=account_id)
    for row in attempts.values(*_COLUMNS).iterator(chunk_size=_CHUNK):
        if wrong := _what_differs(row):
            yield Violation("S8", row["public_id"], f"{wrong}.")
    for row in refunds.values(*_OF_REFUNDS).iterator(chunk_size=_CHUNK):
        if wrong := _what_differs_in_refund(row):
            yield Violation("S8", row["public_id"], f"{wrong}.")


def _what_differs(row: dict[str, Any]) -> str | None:
    """The first thing that does not fit the rest of the attempt, as a part of a sentence."""
    asked = {"amount": row["amount_minor"], "currency": row["currency"]}
    asked |= {name: row[name] for name in ("title", "description") if row[name]}
    if wrong := _digest_differs(row):
        return wrong
    if _body(bytes(row["request_body"])) != asked:
        return "its request asks for something else than the attempt"
    if row["request_method"] != "POST" or f"/{row['gateway_customer_id']}/" not in row["request_url"]:
        return "its request goes to something else than its card"
    if row["marker"] not in row["title"].split()[-1:] or row["marker"] not in row["description"].split()[:1]:
        return "its texts do not carry its marker"
    return _time_differs(row)


def _what_differs_in_refund(row: dict[str, Any]) -> str | None:
    """The same of a refund."""
    kind = RefundKind(row["kind"])
    asked: dict[str, Any] = {"orderId": row["attempt__gateway_order_id"]}
    if kind is not RefundKind.REVERSE:
        back = {"type": kind.value.upper(), "currencyType": row["currency"], "amount": row["amount_minor"]}
        transaction = row["attempt__gateway_transaction_id"]
        asked = {"transactionId": transaction, "refund": back, "reason": row["public_id"]}
    if wrong := _digest_differs(row):
        return wrong
    if _body(bytes(row["request_body"])) != asked:
        return "its request asks for something else than the refund"
    route = "/payment/reverse" if kind is RefundKind.REVERSE else "/payment/refund"
    if row["request_method"] != "POST" or not row["request_url"].endswith(route):
        return "its request is none for money to go back"
    return _time_differs(row)


def _digest_differs(row: dict[str, Any]) -> str | None:
    request = PreparedRequest(
        row["request_method"], row["request_url"], bytes(row["request_body"]), row["request_nonce"],
        row["request_timestamp"], row["request_signature"],
    )  # fmt: skip
    if request.sha256 != row["request_hash"]:
        return "its request does not have the digest that it was armed with"
    return None


def _time_differs(row: dict[str, Any]) -> str | None:
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
