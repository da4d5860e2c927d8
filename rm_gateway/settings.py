"""What one account at RM is reached with."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

SANDBOX_OAUTH_URL = "https://sb-oauth.revenuemonster.my/v1"
SANDBOX_API_URL = "https://sb-open.revenuemonster.my/v3"
LIVE_OAUTH_URL = "https://oauth.revenuemonster.my/v1"
LIVE_API_URL = "https://open.revenuemonster.my/v3"


class ChargePath(StrEnum):
    """Which of the two documented paths a charge takes. Never fall from one to the other automatically.

    CUSTOMER_ORDER is in RM's long-standing documentation, its SDKs and a published sandbox call [D] [S];
    RECURRING_CHARGE only in the rewrite of 2026 [D].
    """

    CUSTOMER_ORDER = "customer_order"
    RECURRING_CHARGE = "recurring_charge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One account, its hosts and its tuning. Raises ValueError that names the field, never its value.

    URLs must be https, except on loopback addresses. Timeouts are seconds and may be fractions: per operation for
    connect and read, for the whole exchange in total (a charge takes 22 to 62 s in RM's examples [D]).
    ``window_seconds``: how old a prepared request's timestamp may be when it is sent. RM allows 120 s [D].
    """

    client_id: str
    client_secret: str = field(repr=False)
    private_key_pem: str = field(repr=False)
    store_id: str
    oauth_url: str = SANDBOX_OAUTH_URL
    api_url: str = SANDBOX_API_URL
    charge_path: ChargePath = ChargePath.CUSTOMER_ORDER
    connect_timeout_seconds: float = 5
    read_timeout_seconds: float = 90
    total_timeout_seconds: float = 100
    window_seconds: int = 20
    max_response_bytes: int = 1_000_000

    def __post_init__(self) -> None:
        for name in ("oauth_url", "api_url"):
            object.__setattr__(self, name, _checked_url(name, getattr(self, name)))
        object.__setattr__(self, "charge_path", ChargePath(self.charge_path))
        for name in ("client_id", "client_secret", "private_key_pem", "store_id"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"{name} is empty")
        if ":" in self.client_id:
            raise ValueError("client_id holds a colon, which HTTP basic authorization cannot carry")
        for name in (
            "connect_timeout_seconds",
            "read_timeout_seconds",
            "total_timeout_seconds",
            "window_seconds",
            "max_response_bytes",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0")


def _checked_url(name: str, value: str) -> str:
    """The URL without a slash at its end."""
    try:
        url = urlsplit(value)
        host, _ = url.hostname or "", url.port
    except ValueError:
        raise ValueError(f"{name} is no URL") from None
    if not value.isascii() or any(character.isspace() for character in value) or not host:
        raise ValueError(f"{name} is no URL")
    if url.username is not None or url.password is not None or "?" in value or "#" in value:
        raise ValueError(f"{name} must not hold a user, a query or a fragment")
    if url.scheme != "https" and not (url.scheme == "http" and _is_loopback(host)):
        raise ValueError(f"{name} must be https (plain http only on a loopback address)")
    return value.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
