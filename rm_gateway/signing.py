"""Request signatures of Revenue Monster: pure functions, no clock, no network.

A request is signed over a plaintext that holds the canonical JSON of its body in base64 [D]. The canonical
form follows Go's ``encoding/json``, the server's language [S]. The README explains the marks [D] [S] [I] [U].
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

JSONValue: TypeAlias = "Mapping[str, JSONValue] | Sequence[JSONValue] | str | int | float | bool | None"

MAX_DEPTH: Final = 400
SIGNATURE_PREFIX: Final = "sha256 "

_PADDING: Final = PKCS1v15()
_HASH: Final = SHA256()
_HTML_CHARACTERS: Final = re.compile("[<>&\u2028\u2029]")
_HTML_ESCAPES: Final = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
_ESCAPE_PAIR: Final = re.compile(r"\\(.)")
_CONTROL_ESCAPES: Final = {"b": "\\u0008", "f": "\\u000c"}


def signing_plaintext(
    *, method: str, url: str | None, nonce: str, timestamp: int | str, body: JSONValue | None = None
) -> str:
    """The text that is signed for one request [D].

    ``url`` is absolute, with its query, as it travels; None leaves ``requestUrl`` out, as RM does for
    callbacks [D]. ``timestamp`` is Unix seconds. A body of None or ``{}`` leaves ``data`` out [D].
    Raises ValueError for a body that is no JSON value.
    """
    return plaintext_of(
        None if is_empty(body) else canonical_json(body),
        method=method,
        url=url,
        nonce=nonce,
        timestamp=timestamp,
    )


def plaintext_of(canonical: str | None, *, method: str, url: str | None, nonce: str, timestamp: int | str) -> str:
    """``signing_plaintext`` for a body whose canonical JSON is at hand already; None means no body."""
    data = f"data={base64.b64encode(canonical.encode()).decode()}&" if canonical is not None else ""
    request_url = f"requestUrl={url}&" if url is not None else ""
    return f"{data}method={method.lower()}&nonceStr={nonce}&{request_url}signType=sha256&timestamp={timestamp}"


def is_empty(body: JSONValue | None) -> bool:
    """Whether a body is left out of the plaintext: None and ``{}`` are, ``[]`` and ``0`` are not [D]."""
    return body is None or (isinstance(body, Mapping) and not body)


def canonical_json(body: JSONValue) -> str:
    """The body as RM's server writes it: keys sorted at every depth, compact, ``< > &`` escaped [D].

    Keys are sorted by code point, which is the order of their UTF-8 bytes, as Go sorts. Members that are None
    stay. Floats are written as Go does (``1.0`` as ``1``, ``1e-07`` as ``1e-7``; a negative zero as ``0``, which
    every parser reads alike), ``\\b`` and ``\\f`` as
    ``\\u0008`` and ``\\u000c``. Raises ValueError for NaN and infinities, keys that are no strings, lone
    surrogates, values that JSON does not have, and nesting deeper than ``MAX_DEPTH``.
    """
    parts: list[str] = []
    _write(body, parts, MAX_DEPTH)
    text = "".join(parts)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("a string holds half of a surrogate pair, which UTF-8 cannot carry") from None
    return text


def _write(value: JSONValue, parts: list[str], depth: int) -> None:
    if isinstance(value, str):
        parts.append(_string(value))
    elif value is None:
        parts.append("null")
    elif isinstance(value, bool):
        parts.append("true" if value else "false")
    elif isinstance(value, int):
        parts.append(int.__repr__(value))
    elif isinstance(value, float):
        parts.append(_float(value))
    elif depth <= 0:
        raise ValueError(f"a body nests deeper than {MAX_DEPTH} levels")
    elif isinstance(value, Mapping):
        _write_object(value, parts, depth - 1)
    elif isinstance(value, (list, tuple)):
        separator = "["
        for member in value:
            parts.append(separator)
            _write(member, parts, depth - 1)
            separator = ","
        parts.append("]" if value else "[]")
    else:
        raise ValueError(f"a body holds a {type(value).__name__}, which JSON does not have")


def _write_object(value: Mapping[str, JSONValue], parts: list[str], depth: int) -> None:
    if not all(isinstance(key, str) for key in value):
        raise ValueError("an object of a body has a key that is no string")
    separator = "{"
    for key in sorted(value):
        parts.append(f"{separator}{_string(key)}:")
        _write(value[key], parts, depth)
        separator = ","
    parts.append("}" if value else "{}")


def _string(value: str) -> str:
    text = encode_basestring(value)
    if "\\" in text and ("\\b" in text or "\\f" in text):
        text = _ESCAPE_PAIR.sub(lambda pair: _CONTROL_ESCAPES.get(pair[1], pair[0]), text)
    if _HTML_CHARACTERS.search(text):
        text = text.translate(_HTML_ESCAPES)
    return text


def _float(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError("a body holds a number that is not finite, which JSON does not have")
    if not value:
        return "0"
    text = float.__repr__(value)
    if not 1e-6 <= abs(value) < 1e21:
        return text.replace("e-0", "e-")
    return format(Decimal(text), "f").removesuffix(".0")


def sign(plaintext: str, private_key: RSAPrivateKey | str) -> str:
    """The signature in base64, without the header's ``sha256 ``: RSASSA-PKCS1-v1_5 with SHA-256 [D].

    ``private_key`` is a key or its PEM (parsed once and kept). Raises ValueError for a PEM that is no RSA
    private key.
    """
    key = load_private_key(private_key) if isinstance(private_key, str) else private_key
    return base64.b64encode(key.sign(plaintext.encode(), _PADDING, _HASH)).decode()


def verify(plaintext: str, signature: str, public_key: RSAPublicKey | str) -> bool:
    """Whether ``signature`` (base64, with or without ``sha256 `` before it) belongs to the plaintext.

    Any signature that cannot be read is False. Raises ValueError only for a PEM that is no RSA public key.
    """
    key = load_public_key(public_key) if isinstance(public_key, str) else public_key
    try:
        raw = base64.b64decode(signature.removeprefix(SIGNATURE_PREFIX), validate=True)
        key.verify(raw, plaintext.encode(), _PADDING, _HASH)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


@lru_cache(maxsize=256)
def load_private_key(pem: str) -> RSAPrivateKey:
    """An RSA private key from PEM, PKCS#1 or PKCS#8, parsed once and kept.

    Raises ValueError naming what is wrong; the message never holds any of the key.
    """
    try:
        key = load_pem_private_key(pem.strip().encode(), password=None)
    except TypeError:
        raise ValueError("the private key is encrypted; give it without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("the private key is no readable PEM (PKCS#1 or PKCS#8)") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("the private key is not an RSA key")  # noqa: TRY004
    return key


@lru_cache(maxsize=256)
def load_public_key(pem: str) -> RSAPublicKey:
    """An RSA public key from PEM (``PUBLIC KEY`` or ``RSA PUBLIC KEY``), parsed once and kept.

    Raises ValueError naming what is wrong.
    """
    try:
        key = load_pem_public_key(pem.strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("the public key is no readable PEM") from None
    if not isinstance(key, RSAPublicKey):
        raise ValueError("the public key is not an RSA key")  # noqa: TRY004
    return key
