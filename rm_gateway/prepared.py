"""Signed requests as values: made without network or token, stored, and sent later byte by byte as they are."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from rm_gateway.settings import ChargePath
from rm_gateway.signing import JSONValue, canonical_json, plaintext_of, sign

CURRENCY: Final = "MYR"
MIN_AMOUNT_MINOR: Final = 10
MAX_AMOUNT_MINOR: Final = 2**53 - 1
TITLE_LENGTH: Final = 32
DESCRIPTION_LENGTH: Final = 600

_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
_NONCE: Final = re.compile(r"[!-~]{1,128}", re.ASCII)
_UNSAFE: Final = re.compile("[<>&'\x00-\x20\x7f\u2028\u2029\ud800-\udfff]+")


class RefundKind(StrEnum):
    """FULL is certain, PARTIAL depends on the card's provider [D] [U]."""

    FULL = "FULL"
    PARTIAL = "PARTIAL"


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A signed request, whole but for the Authorization header. Its members are what a database must keep.

    ``timestamp`` is Unix seconds. ``signature`` is base64 without the header's ``sha256 ``.
    """

    method: str
    url: str
    body: bytes = field(repr=False)
    nonce: str
    timestamp: int
    signature: str = field(repr=False)

    def __post_init__(self) -> None:
        if type(self.body) is not bytes:  # a database driver may give a memoryview
            object.__setattr__(self, "body", bytes(self.body))

    @property
    def sha256(self) -> str:
        """A digest of everything that will be sent, in hexadecimal: 64 characters."""
        digest = hashlib.sha256(
            "\n".join((self.method, self.url, self.nonce, str(self.timestamp), self.signature, "")).encode()
        )
        digest.update(self.body)
        return digest.hexdigest()


def prepare(
    *,
    method: str,
    url: str,
    body: JSONValue | None,
    timestamp: int,
    nonce: str | None,
    private_key: RSAPrivateKey,
) -> PreparedRequest:
    """Write and sign one request. A nonce of None is made up: 32 characters, unique for all purposes [D]."""
    if type(timestamp) is not int or timestamp <= 0:
        raise ValueError("timestamp must be whole Unix seconds")
    if nonce is None:
        nonce = secrets.token_hex(16)
    elif not _NONCE.fullmatch(nonce):
        raise ValueError("nonce must be 1 to 128 visible ASCII characters")
    canonical = canonical_json(body) if body else None
    plaintext = plaintext_of(canonical, method=method, url=url, nonce=nonce, timestamp=timestamp)
    return PreparedRequest(
        method=method,
        url=url,
        body=canonical.encode() if canonical is not None else b"",
        nonce=nonce,
        timestamp=timestamp,
        signature=sign(plaintext, private_key),
    )


def charge_body(*, amount_minor: int, currency: str, title: str, description: str) -> JSONValue:
    """The body of a charge [D]; an empty title or description is left out. Raises ValueError naming the field."""
    check_money(amount_minor, currency)
    if len(title) > TITLE_LENGTH:
        raise ValueError(f"title is longer than {TITLE_LENGTH} characters")
    if len(description) > DESCRIPTION_LENGTH:
        raise ValueError(f"description is longer than {DESCRIPTION_LENGTH} characters")
    body: dict[str, JSONValue] = {"amount": amount_minor, "currency": currency}
    if title:
        body["title"] = title
    if description:
        body["description"] = description
    return body


def refund_body(*, transaction_id: str, kind: RefundKind, amount_minor: int, currency: str, reason: str) -> JSONValue:
    """The body of a refund [D]. Raises ValueError naming the field."""
    check_money(amount_minor, currency, least=1)
    if not reason or len(reason) > DESCRIPTION_LENGTH:
        raise ValueError(f"reason must have 1 to {DESCRIPTION_LENGTH} characters")
    return {
        "transactionId": checked_id("transaction_id", transaction_id),
        "refund": {"type": RefundKind(kind).value, "currencyType": currency, "amount": amount_minor},
        "reason": reason,
    }


def check_money(amount_minor: int, currency: str, *, least: int = MIN_AMOUNT_MINOR) -> None:
    """Raises ValueError unless the amount is whole sen, at least ``least``, and the currency MYR [D]."""
    if type(amount_minor) is not int:
        raise ValueError("amount_minor must be a whole number of sen")
    if not least <= amount_minor <= MAX_AMOUNT_MINOR:
        raise ValueError(f"amount_minor must be {least} sen or more, and no more than a double can hold")
    if currency != CURRENCY:
        raise ValueError(f"currency must be {CURRENCY}")


def charge_route(path: ChargePath) -> str:
    """The route of a charge, with ``{id}`` for the customer."""
    match path:
        case ChargePath.CUSTOMER_ORDER:
            return "/customer/{id}/order"
        case ChargePath.RECURRING_CHARGE:
            return "/recurring-payment/{id}/charge"


def checked_id(name: str, value: str) -> str:
    """An id that can stand in a path as it is. Raises ValueError naming the field."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError(f"{name} must be 1 to 64 letters, digits, - or _")
    return value


def safe_text(text: str, length: int) -> str:
    """A text for titles and descriptions that every SDK of RM signs alike, at most ``length`` characters.

    RM's SDKs disagree on ``< > & '`` [S], so runs of them, of blanks and of control characters become one blank.
    """
    return _UNSAFE.sub(" ", text).strip()[:length].strip()
