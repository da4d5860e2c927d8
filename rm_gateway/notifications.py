"""What RM's browser redirects and notifies claim, as hints: a reason to ask RM, never a payment.

The notify of a checkout is a signed POST with a part of the transaction, on success only [D].

Redirects are not signed [D]. How a notify is encoded is not documented [U], so each plausible form is read: GET and
POST, dotted keys, ``data=<json>``, bracketed keys, a JSON body. Query strings hold e-mail, phone and name: keep them
out of logs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Final, Literal, NoReturn
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from rm_gateway.checkouts import CheckoutStatus
from rm_gateway.parsing import JSONObject, ParseError, optional_moment
from rm_gateway.signing import load_public_key, signing_plaintext, verify

MAX_BODY_BYTES: Final = 65_536
MAX_QUERY_LENGTH: Final = 16_384
MAX_FIELDS: Final = 100

_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
_ATTEMPT: Final = re.compile(r"(?<=\d)R\d{1,3}$", re.ASCII)
_WHOLE: Final = re.compile(r"\d{1,15}", re.ASCII)
_BRACKETS: Final = re.compile(r"data\[([A-Za-z]+)\]", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class BindOutcome(StrEnum):
    """What a redirect says about the binding of a card [D]; UNRECOGNISED is ours."""

    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    UNRECOGNISED = "UNRECOGNISED"


class SignatureCheck(StrEnum):
    """What is known of a notify's signature. Even VALID is only one more hint."""

    ABSENT = "absent"
    UNCHECKED = "unchecked"
    VALID = "valid"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class BindHint:
    """A browser came back from RM's page for this customer. Ask ``get_customer``: only ``is_active`` counts.

    ``reason`` is free text from outside, without control characters, at most 200 characters.
    """

    is_evidence: ClassVar[Literal[False]] = False

    customer_id: str
    claimed_outcome: BindOutcome
    reason: str


@dataclass(frozen=True, slots=True)
class CheckoutHint:
    """A browser came back from RM's checkout page of this order. Ask ``get_transaction_by_order``.

    ``reason`` is free text from outside, without control characters, at most 200 characters.
    """

    is_evidence: ClassVar[Literal[False]] = False

    order_id: str
    claimed_outcome: CheckoutStatus
    reason: str


@dataclass(frozen=True, slots=True)
class NotifyHint:
    """RM, or somebody, says that something happened to this customer or order. Ask RM before believing any of it.

    ``order_id`` has lost the attempt (``R0``) that RM may write behind it [U]; ``order_id_text`` is as it came. Of a
    checkout, where the order id is ours and stands in ``data.order.id`` [D], both are as they came.
    Amounts are whole sen. ``raw`` holds personal data.
    """

    is_evidence: ClassVar[Literal[False]] = False

    customer_id: str | None
    order_id: str | None
    order_id_text: str | None
    event_type: str
    claimed_status: str
    claimed_amount_minor: int | None
    claimed_currency: str
    store_id: str | None
    merchant_id: str | None
    created_at: datetime | None
    updated_at: datetime | None
    signature: SignatureCheck
    raw: JSONObject = field(repr=False)


def parse_redirect(query: str) -> BindHint:
    """Read the query string of a request to ``redirect_url``. Raises ParseError, and nothing else.

    A parameter that comes twice counts as it came last: the first may be the merchant's own.
    """
    members = _fields(query)
    word = members.get("status", "")
    return BindHint(
        customer_id=_id(members, "customerId") or _missing("customerId"),
        claimed_outcome=BindOutcome(word) if word in set(BindOutcome) else BindOutcome.UNRECOGNISED,
        reason=_CONTROL.sub(" ", members.get("reason", ""))[:200].strip(),
    )


def parse_checkout_redirect(query: str) -> CheckoutHint:
    """Read the query with which the browser comes back from a checkout [D]. Raises ParseError, and nothing else."""
    members = _fields(query)
    return CheckoutHint(
        order_id=_id(members, "orderId") or _missing("orderId"),
        claimed_outcome=CheckoutStatus.of(members.get("status", "")),
        reason=_CONTROL.sub(" ", members.get("reason", ""))[:200].strip(),
    )


def parse_notify(
    *,
    method: str,
    query: str = "",
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    url: str | None = None,
    public_key: RSAPublicKey | str | None = None,
) -> NotifyHint:
    """Read a request to ``notify_url`` in any encoding. Raises ParseError, and nothing else, for what is no notify.

    ``url`` is the absolute URL that RM was given; RM leaves it out of the signature [D], some SDKs include it [S], so
    either is accepted. ``public_key`` is RM's server key; without it a signature stays UNCHECKED. A wrong signature
    is no error: it is for the caller to ask RM less often. Raises ValueError for an unusable ``public_key``.
    """
    if len(body) > MAX_BODY_BYTES:
        raise ParseError("the body is too large")
    message = _message(query, body)
    data = _data(message)
    order = data.get("order")
    of_checkout = order if isinstance(order, dict) else {}
    customer_id = _id(data, "customerId")
    order_id_text = _id(data, "orderId") or _id(of_checkout, "id")
    if customer_id is None and order_id_text is None:
        raise ParseError("neither customerId nor orderId is there")
    return NotifyHint(
        customer_id=customer_id,
        order_id=order_id_text if order_id_text is None or of_checkout else _ATTEMPT.sub("", order_id_text),
        order_id_text=order_id_text,
        event_type=_word(message, "eventType"),
        claimed_status=_word(data, "status"),
        claimed_amount_minor=_whole((of_checkout or data).get("amount")),
        claimed_currency=_word(data, "currency") or _word(data, "currencyType"),
        store_id=_id(data, "storeId"),
        merchant_id=_id(data, "merchantId"),
        created_at=optional_moment(data, "createdAt"),
        updated_at=optional_moment(data, "updatedAt"),
        signature=_check(method, body, headers or {}, url, public_key),
        raw=message,
    )


def _message(query: str, body: bytes) -> JSONObject:
    """The notify's members: of the body when there is one, else of the query."""
    if not body.strip():
        return dict(_fields(query))
    try:
        content = body.decode()
    except UnicodeDecodeError:
        raise ParseError("the body is not UTF-8") from None
    if content.lstrip().startswith(("{", "[")):
        return _json_object(content)
    return dict(_fields(content))


def _data(message: JSONObject) -> JSONObject:
    """The inner object, however it was packed: nested, as JSON text, with dots, with brackets, or flat."""
    data = message.get("data")
    if isinstance(data, str):
        data = _json_object(data)
    if isinstance(data, dict):
        return data
    unpacked: JSONObject = {}
    for name, value in message.items():
        bracketed = _BRACKETS.fullmatch(name)
        if name.startswith("data."):
            unpacked[name.removeprefix("data.")] = value
        elif bracketed:
            unpacked[bracketed[1]] = value
    return unpacked or message


def _check(
    method: str, body: bytes, headers: Mapping[str, str], url: str | None, public_key: RSAPublicKey | str | None
) -> SignatureCheck:
    by_name = {name.lower(): value for name, value in headers.items()}
    signature = by_name.get("x-signature", "")
    if not signature:
        return SignatureCheck.ABSENT
    if public_key is None:
        return SignatureCheck.UNCHECKED
    key = load_public_key(public_key) if isinstance(public_key, str) else public_key
    try:
        signed = json.loads(body) if body.strip().startswith((b"{", b"[")) else None
        for request_url in (None, url) if url is not None else (None,):
            plaintext = signing_plaintext(
                method=method,
                url=request_url,
                nonce=by_name.get("x-nonce-str", ""),
                timestamp=by_name.get("x-timestamp", ""),
                body=signed,
            )
            if verify(plaintext, signature, key):
                return SignatureCheck.VALID
    except (ValueError, RecursionError):
        return SignatureCheck.INVALID
    return SignatureCheck.INVALID


def _fields(query: str) -> dict[str, str]:
    if len(query) > MAX_QUERY_LENGTH:
        raise ParseError("the query is too long")
    try:
        return dict(parse_qsl(query.removeprefix("?"), keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError:
        raise ParseError("the query has too many members") from None


def _json_object(content: str) -> JSONObject:
    try:
        value = json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ParseError("the JSON cannot be read") from None
    if not isinstance(value, dict):
        raise ParseError("the JSON is no object")
    return value


def _refuse(name: str) -> NoReturn:
    raise ParseError(f"{name} is not JSON")


def _id(members: Mapping[str, Any], name: str) -> str | None:
    """An id that is safe to ask RM for; None when it is missing."""
    value = members.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ParseError(f"{name} is no id")
    return value


def _missing(name: str) -> NoReturn:
    raise ParseError(f"{name} is missing")


def _word(members: Mapping[str, Any], name: str) -> str:
    """A short word without control characters, "" for anything else."""
    value = members.get(name)
    return _CONTROL.sub("", value)[:64] if isinstance(value, str) else ""


def _whole(value: object) -> int | None:
    """Whole sen from a JSON integer or its digits; None for anything else."""
    if type(value) is int:
        return value if 0 <= value < 10**15 else None
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else None
