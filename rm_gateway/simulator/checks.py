"""Who may call: access token, headers, timestamp, signature and nonce of a request, in this order."""

from __future__ import annotations

import base64
import json
import math
from collections import deque
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from rm_gateway.signing import canonical_json, is_empty, plaintext_of, verify
from rm_gateway.simulator.clock import Clock
from rm_gateway.simulator.merchants import Merchant, Tokens
from rm_gateway.simulator.switches import Switches
from rm_gateway.simulator.wire import RefusalError

NO_BODY: Any = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request that passed every check, and the parsed body."""

    merchant: Merchant
    access_token: str
    body: Any


class Nonces:
    """The nonces of the last while, per access token's client."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, str]] = set()
        self._order: deque[tuple[float, tuple[str, str]]] = deque()

    def is_new(self, client_id: str, nonce: str, *, window: float, now: float) -> bool:
        """Whether the nonce was not used within ``window`` seconds; remembers it."""
        while self._order and self._order[0][0] <= now - window:
            self._seen.discard(self._order.popleft()[1])
        entry = (client_id, nonce)
        if entry in self._seen:
            return False
        self._seen.add(entry)
        self._order.append((now, entry))
        return True


class Gatekeeper:
    """Checks requests to the API."""

    def __init__(self, tokens: Tokens, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock
        self._nonces = Nonces()

    def admit(self, request: web.BaseRequest, raw: bytes, switches: Switches) -> Caller:
        """The caller of a request. Raises RefusalError with the code of the first check that fails."""
        headers = request.headers
        now = self._clock.wall()
        scheme, _, access = headers.get("Authorization", "").partition(" ")
        token = self._tokens.find(access.strip())
        if scheme.lower() != "bearer" or token is None:
            raise RefusalError(401, "TOKEN_INVALID", "The access token is not valid.")
        if token.expires_at <= now:
            raise RefusalError(401, "TOKEN_EXPIRED", "The access token has expired.")
        body = parse(raw)
        if switches.signature_check:
            self._check_signature(request, raw, body, token.key, switches, now)
            nonce = headers["X-Nonce-Str"]
            if switches.nonce_window and not self._nonces.is_new(
                token.merchant.client_id, nonce, window=switches.nonce_window, now=now
            ):
                raise RefusalError(*switches.error_nonce, "The nonce was used before: duplicate request.")
        return Caller(token.merchant, access, body)

    def _check_signature(
        self, request: web.BaseRequest, raw: bytes, body: Any, key: Any, switches: Switches, now: float
    ) -> None:
        headers = request.headers
        nonce, timestamp = headers.get("X-Nonce-Str", ""), headers.get("X-Timestamp", "")
        given = headers.get("X-Signature", "")
        kind, _, signature = given.partition(" ")
        valid = {
            "X-Nonce-Str": nonce.split() == [nonce],
            "X-Timestamp": _seconds(timestamp, switches) is not None,
            "X-Signature": kind == "sha256" and bool(signature),
        }
        canonical, plaintext = _plaintext(request, body, nonce, timestamp)
        exact = switches.body_check != "exact" or canonical is None or raw == canonical.encode()
        if all(valid.values()) and exact and verify(plaintext, signature, key):
            self._check_window(timestamp, switches, now)
            return
        valid["X-Signature"] = False
        steps = explain(body, canonical, plaintext)
        shown = {name: {"value": headers.get(name, ""), "valid": is_valid} for name, is_valid in valid.items()}
        raise RefusalError(
            *switches.error_signature,
            "The signature does not belong to the request.",
            debug={"preVerifyContent": steps, "requestHeader": shown},
        )

    def _check_window(self, timestamp: str, switches: Switches, now: float) -> None:
        seconds = _seconds(timestamp, switches)
        if not switches.timestamp_window or seconds is None:
            return
        if abs(now - seconds) > switches.timestamp_window:
            raise RefusalError(
                *switches.error_timestamp,
                f"The timestamp is {now - seconds:.0f} s away from the server's {now:.0f}.",
            )


def parse(raw: bytes) -> Any:
    """The JSON body; nothing at all is None. Raises RefusalError."""
    if not raw.strip():
        return NO_BODY
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise RefusalError(400, "INVALID_REQUEST", "The body is not JSON in UTF-8.") from None
    return body


def request_url(request: web.BaseRequest) -> str:
    """The absolute address as the caller wrote it: the Host header, then the path and query unchanged."""
    path = request.raw_path
    return path if path.startswith("http") else f"http://{request.headers.get('Host', '')}{path}"


def explain(body: Any, canonical: str | None, plaintext: str) -> dict[str, str]:
    """The steps of the signature as the server computed them, for the debug body."""
    if canonical is None:
        return {"step1": "", "step2": "", "step3": "", "step4": plaintext}
    return {
        "step1": json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False),
        "step2": canonical,
        "step3": base64.b64encode(canonical.encode()).decode(),
        "step4": plaintext,
    }


def _plaintext(request: web.BaseRequest, body: Any, nonce: str, timestamp: str) -> tuple[str | None, str]:
    try:
        canonical = None if is_empty(body) else canonical_json(body)
    except ValueError as error:
        raise RefusalError(400, "INVALID_REQUEST", f"The body cannot be signed: {error}.") from None
    url = request_url(request)
    return canonical, plaintext_of(canonical, method=request.method, url=url, nonce=nonce, timestamp=timestamp)


def _seconds(timestamp: str, switches: Switches) -> float | None:
    if switches.timestamp_format == "seconds":
        return int(timestamp) if timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 10 else None
    try:
        value = float(timestamp)
    except ValueError:
        return None
    if not math.isfinite(value):
        return None
    return value / 1000 if value > 1e11 else value
