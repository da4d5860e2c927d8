"""How a client's requests travel: signed, with the token from memory, once; reads perhaps a second time."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from rm_gateway.auth import TokenSource
from rm_gateway.envelope import envelope_of
from rm_gateway.errors import GatewayError, NotSent, Rejected, TokenUnavailable, Unknown
from rm_gateway.parsing import JSONObject
from rm_gateway.prepared import PreparedRequest, prepare
from rm_gateway.signing import SIGNATURE_PREFIX, JSONValue
from rm_gateway.transport import Answer, Transport

logger = logging.getLogger(__name__)

USER_AGENT: Final = "rm-gateway-python"
READ_TRIES: Final = 2

_PATH_IDS: Final = re.compile(r"/(?=[^/]*\d)[^/]+")


class Channel:
    """One account's way to RM's API: signs, adds the token, and drops the token when RM calls it dead."""

    def __init__(
        self,
        *,
        api_url: str,
        private_key: RSAPrivateKey,
        clock: Callable[[], float],
        tokens: TokenSource,
        transport: Transport,
    ) -> None:
        self.tokens = tokens
        self.transport = transport
        self._api_url = api_url
        self._private_key = private_key
        self._clock = clock

    def prepare(
        self, method: str, path: str, body: JSONValue | None, *, timestamp: int, nonce: str | None = None
    ) -> PreparedRequest:
        """Sign a request to a path below the account's API URL."""
        return prepare(
            method=method,
            url=self._api_url + path,
            body=body,
            timestamp=timestamp,
            nonce=nonce,
            private_key=self._private_key,
        )

    def owns(self, url: str) -> bool:
        """Whether a URL lies below the account's API URL."""
        return url.startswith(self._api_url + "/")

    def read(self, path: str) -> tuple[Answer, JSONObject]:
        """GET a path. A second try follows a connection that failed or broke, or a token that RM called dead."""
        for tries_left in reversed(range(READ_TRIES)):
            try:
                return self._once("GET", path, None, read=True)
            except (NotSent, Rejected, Unknown) as error:
                if not tries_left or not _is_worth_a_second_try(error):
                    raise
        raise AssertionError("unreachable")

    def act(
        self, method: str, path: str, body: JSONValue | None, *, refusals: frozenset[str] = frozenset()
    ) -> tuple[Answer, JSONObject]:
        """POST or PUT to a path, once. The token is fetched first when there is none."""
        return self._once(method, path, body, refusals=refusals)

    def knock(self) -> None:
        """GET the API's root without token and signature: whatever comes back carries the server's ``Date``."""
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": USER_AGENT}
        self.transport.exchange("GET", f"{self._api_url}/", headers)

    def _once(
        self,
        method: str,
        path: str,
        body: JSONValue | None,
        *,
        read: bool = False,
        refusals: frozenset[str] = frozenset(),
    ) -> tuple[Answer, JSONObject]:
        token = self.tokens.get()
        prepared = self.prepare(method, path, body, timestamp=int(self._clock()))
        return self.deliver(prepared, token, read=read, refusals=refusals)

    def deliver(
        self,
        prepared: PreparedRequest,
        token: str,
        *,
        read: bool = False,
        refusals: frozenset[str] = frozenset(),
        before_first_byte: Callable[[], None] | None = None,
    ) -> tuple[Answer, JSONObject]:
        """Send a prepared request exactly once and give its answer with the envelope, or raise a GatewayError."""
        started = time.monotonic()
        outcome = "unfinished"
        try:
            answer = self.transport.exchange(
                prepared.method,
                prepared.url,
                _headers(prepared, token),
                prepared.body or None,
                before_first_byte=before_first_byte,
            )
            outcome = f"HTTP {answer.status}"
            return answer, envelope_of(answer, read=read, refusals=refusals)
        except GatewayError as error:
            outcome = str(error)
            if isinstance(error, Rejected) and error.kind == "token":
                self.tokens.invalidate(token)
            raise
        finally:
            if logger.isEnabledFor(logging.DEBUG):
                route, ms = self._route(prepared.url), (time.monotonic() - started) * 1000
                logger.debug("%s %s: %s in %.0f ms", prepared.method, route, outcome, ms)

    def _route(self, url: str) -> str:
        """The path below the API URL without ids and query."""
        return _PATH_IDS.sub("/{id}", url.removeprefix(self._api_url).partition("?")[0])


def _headers(prepared: PreparedRequest, token: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "X-Nonce-Str": prepared.nonce,
        "X-Timestamp": str(prepared.timestamp),
        "X-Signature": SIGNATURE_PREFIX + prepared.signature,
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": USER_AGENT,
    }


def _is_worth_a_second_try(error: GatewayError) -> bool:
    """Quick failures only: a second wait for a slow answer would double the deadline."""
    if isinstance(error, TokenUnavailable):
        return False
    return error.kind in {"connect", "connection", "token"}
