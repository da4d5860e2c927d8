"""Access tokens: fetched, kept in memory, refreshed early, one flight at a time, never logged.

A token is an opaque text with a lifetime in whole seconds that RM chooses [D]. On the API an HTTP 401 means that it
is dead [S].
"""

from __future__ import annotations

import base64
import json
import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from rm_gateway.errors import GatewayError, TokenUnavailable
from rm_gateway.transport import Answer, Transport

logger = logging.getLogger(__name__)

EARLY_SECONDS: Final = 300.0
MARGIN_SECONDS: Final = 30.0
PAUSE_AFTER_FAILURE_SECONDS: Final = 10.0

_TOKEN: Final = re.compile(r"[!-~]{1,16384}", re.ASCII)
_CODE: Final = re.compile(r"[0-9A-Za-z_]{1,64}", re.ASCII)
_REFUSALS: Final = frozenset({"invalidgrant", "invalidclient", "unauthorizedclient", "clientinvalid", "clientnotfound"})


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    good_until: float
    refresh_from: float
    refresh_token: str | None = field(repr=False)
    refresh_token_until: float


class TokenSource:
    """The access token of one account, shared by all threads.

    ``oauth_url`` is the base ("…/v1"). ``clock`` gives Unix seconds. A token is refreshed when a tenth of its life,
    at most five minutes, is left; it counts as valid until a twentieth, at most 30 seconds, before its end.
    """

    def __init__(
        self,
        *,
        oauth_url: str,
        client_id: str,
        client_secret: str,
        transport: Transport,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = f"{oauth_url}/token"
        pair = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
        self._basic = f"Basic {pair}"
        self._transport = transport
        self._clock = clock
        self._flight = threading.Lock()
        self._token: _Token | None = None
        self._failures = 0
        self._last_failure: TokenUnavailable | None = None
        self._no_refresh_before = 0.0

    def __repr__(self) -> str:
        return f"<TokenSource of {self._url}>"

    def peek(self) -> str | None:
        """A valid token from memory, else None. No network."""
        token = self._token
        return token.text if token is not None and self._clock() < token.good_until else None

    def get(self) -> str:
        """A valid token, fetched or refreshed when needed. Raises TokenUnavailable.

        Threads that come while one fetches wait for its result, success or failure, instead of asking again; while
        the old token is good they go on with it.
        """
        token = self._token
        now = self._clock()
        if token is not None and now < token.good_until:
            if now >= token.refresh_from and now >= self._no_refresh_before:
                return self._refreshed_early(token)
            return token.text
        failures = self._failures
        with self._flight:
            text = self.peek()
            if text is not None:
                return text
            if self._failures != failures and self._last_failure is not None:
                raise _again(self._last_failure)
            return self._fetch().text

    def invalidate(self, text: str) -> None:
        """Forget a token that RM called dead, unless a newer one has taken its place."""
        token = self._token
        if token is not None and token.text == text:
            self._token = None

    def _refreshed_early(self, token: _Token) -> str:
        if not self._flight.acquire(blocking=False):
            return token.text
        try:
            if self._token is token:
                return self._fetch().text
        except GatewayError as error:
            self._no_refresh_before = self._clock() + PAUSE_AFTER_FAILURE_SECONDS
            logger.warning("an early token refresh failed, the old token goes on: %s", error)
        finally:
            self._flight.release()
        return token.text

    def _fetch(self) -> _Token:
        old = self._token
        try:
            token = None
            if old is not None and old.refresh_token and self._clock() < old.refresh_token_until:
                token = self._by_refresh(old.refresh_token)
            if token is None:
                token = self._ask({"grantType": "client_credentials"})
        except GatewayError as error:
            failure = error if isinstance(error, TokenUnavailable) else _unavailable(error)
            self._last_failure = failure
            self._failures += 1
            raise failure from None
        self._token = token
        return token

    def _by_refresh(self, refresh_token: str) -> _Token | None:
        """None when RM no longer takes the refresh token: whether an old one dies is [U]."""
        try:
            return self._ask({"grantType": "refresh_token", "refreshToken": refresh_token})
        except TokenUnavailable as error:
            if error.http_status is None:
                raise
            return None

    def _ask(self, body: dict[str, str]) -> _Token:
        content = json.dumps(body, separators=(",", ":")).encode()
        headers = {
            "Authorization": self._basic,
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        started = self._clock()
        return _token(self._transport.exchange("POST", self._url, headers, content), started)


def _token(answer: Answer, asked_at: float) -> _Token:
    try:
        reply = json.loads(answer.body)
    except (ValueError, RecursionError):
        reply = None
    if not isinstance(reply, dict):
        raise TokenUnavailable("the token answer is no JSON object", kind="answer", http_status=answer.status)
    if reply.get("error") is not None or not 200 <= answer.status < 300:
        raise _refusal(reply.get("error"), answer.status)
    text, lifetime = reply.get("accessToken"), reply.get("expiresIn")
    if not isinstance(text, str) or not _TOKEN.fullmatch(text) or type(lifetime) is not int or lifetime <= 0:
        raise TokenUnavailable("the token answer holds no token", kind="answer", http_status=answer.status)
    refresh_token, refresh_lifetime = reply.get("refreshToken"), reply.get("refreshTokenExpiresIn")
    return _Token(
        text=text,
        good_until=asked_at + lifetime - min(MARGIN_SECONDS, lifetime / 20),
        refresh_from=asked_at + lifetime - min(EARLY_SECONDS, lifetime / 10),
        refresh_token=refresh_token if isinstance(refresh_token, str) and refresh_token else None,
        refresh_token_until=asked_at + (refresh_lifetime if type(refresh_lifetime) is int else lifetime),
    )


def _refusal(error: Any, status: int) -> TokenUnavailable:
    """RM spells its OAuth codes in several ways: compared without case and underscores [D]."""
    code = error.get("code") if isinstance(error, dict) else None
    code = code if isinstance(code, str) and _CODE.fullmatch(code) else None
    refusal = TokenUnavailable("RM gave no token", kind="token", code=code, http_status=status)
    refusal.refused = (code or "").replace("_", "").lower() in _REFUSALS or (code is None and status == 401)
    return refusal


def _unavailable(error: GatewayError) -> TokenUnavailable:
    return TokenUnavailable(f"no token: {error.message}", kind=error.kind, http_status=error.http_status)


def _again(error: TokenUnavailable) -> TokenUnavailable:
    """The same failure for another thread: one exception object must not be raised in two."""
    copy = TokenUnavailable(error.message, kind=error.kind, code=error.code, http_status=error.http_status)
    copy.refused = error.refused
    return copy
