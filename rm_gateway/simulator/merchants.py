"""Merchants, their credentials and key pairs, and the access tokens that they hold."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import asdict, dataclass
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from rm_gateway.signing import load_private_key


@dataclass(frozen=True, slots=True)
class Merchant:
    """One merchant's application. ``private_key`` is the merchant's own PEM, handed out for tests."""

    client_id: str
    client_secret: str
    private_key: str
    merchant_id: str
    store_id: str

    @property
    def public_key(self) -> RSAPublicKey:
        """The key that requests of this merchant are verified with; parsed once and kept."""
        return load_private_key(self.private_key).public_key()

    def as_dict(self) -> dict[str, str]:
        """For the journal and for the line printed at start."""
        return asdict(self)


def new_merchant(merchant_id: str, store_id: str) -> Merchant:
    """A merchant with fresh credentials and a fresh 2048-bit key."""
    client_id = str(secrets.randbelow(9 * 10**18) + 10**18)
    return Merchant(client_id, secrets.token_hex(16), new_private_key(), merchant_id, store_id)


def new_private_key() -> str:
    """A fresh RSA key of 2048 bits as PKCS#8 PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_pem(private_pem: str) -> str:
    """The public half of a private PEM."""
    return (
        load_private_key(private_pem)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


@dataclass(slots=True)
class Token:
    """An access token and the key that its requests are verified with."""

    merchant: Merchant
    key: RSAPublicKey
    expires_at: float


class Tokens:
    """Access and refresh tokens; they live in memory, so a restart ends them all."""

    def __init__(self) -> None:
        self._access: dict[str, Token] = {}
        self._refresh: dict[str, tuple[Merchant, float]] = {}

    def issue(self, merchant: Merchant, *, lifetime: int, now: float) -> dict[str, Any]:
        """A new pair for a merchant, as RM answers it. Earlier tokens stay valid until they expire."""
        access = _jwt(merchant.client_id, now, lifetime)
        refresh = secrets.token_urlsafe(48)
        self._access[access] = Token(merchant, merchant.public_key, now + lifetime)
        self._refresh[refresh] = (merchant, now + 2 * lifetime)
        return {
            "accessToken": access,
            "tokenType": "Bearer",
            "expiresIn": lifetime,
            "refreshToken": refresh,
            "refreshTokenExpiresIn": 2 * lifetime,
        }

    def refresh(self, token: str, client_id: str, *, rotate: bool, now: float) -> Merchant | None:
        """The merchant of a living refresh token of this client; ``rotate`` ends the token."""
        merchant, expires_at = self._refresh.get(token, (None, 0.0))
        if merchant is None or expires_at <= now or merchant.client_id != client_id:
            return None
        if rotate:
            del self._refresh[token]
        return merchant

    def find(self, access: str) -> Token | None:
        """The token, dead or alive."""
        return self._access.get(access)

    def forget(self, access: str) -> None:
        """End one access token."""
        self._access.pop(access, None)

    def forget_all(self) -> None:
        """End every token."""
        self._access.clear()
        self._refresh.clear()


def _jwt(client_id: str, now: float, lifetime: int) -> str:
    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    head = {"alg": "RS256", "kid": "simulator", "typ": "JWT"}
    claims = {"aud": ["*"], "exp": int(now) + lifetime, "iat": int(now), "jti": secrets.token_hex(8), "sub": client_id}
    return f"{part(json.dumps(head).encode())}.{part(json.dumps(claims).encode())}.{part(secrets.token_bytes(64))}"
