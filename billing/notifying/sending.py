"""One POST to an address that a merchant named: it reaches the public internet or nothing, and it ends in time.

The address is judged in the moment the socket connects, after every resolution: what is checked is what is connected
to. Redirects are not followed, proxies and credentials of the environment are not used, connections are not reused.
One clock runs for the whole try, so that an answer that trickles ends like one that never comes."""

import asyncio
import ssl
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from types import TracebackType
from typing import Any, Self

import aiohttp
import certifi
from yarl import URL

from billing.domain.addresses import AddressError, check_url
from billing.domain.webhooks import Tried, TryError, error_of, kept
from billing.notifying.guarded_socket import ForbiddenAddressError, open_guarded, open_unguarded

READ_AT_MOST = 65_536
_CHUNK = 16_384


@dataclass(frozen=True, slots=True)
class Letter:
    """What one try sends."""

    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answered:
    tried: Tried
    duration_ms: int


class Postman:
    """Sends letters side by side, on an event loop in a thread of its own; used as a context manager.

    `seconds`: how long one try may last in all. `at_once`: how many may be under way."""

    def __init__(self, *, seconds: float, at_once: int, allow_private: bool) -> None:
        self._seconds = seconds
        self._allow_private = allow_private
        self._loop = asyncio.new_event_loop()
        # Resolving a name cannot be interrupted. One that hangs outlives its try, so there are more threads than tries.
        self._resolvers = ThreadPoolExecutor(2 * at_once, thread_name_prefix="webhook-names")
        self._loop.set_default_executor(self._resolvers)
        self._thread = threading.Thread(target=self._loop.run_forever, name="webhooks", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._resolvers.shutdown(wait=False, cancel_futures=True)
        self._loop.close()

    def submit(self, letter: Letter) -> "Future[Answered]":
        """The answer to come; it never raises, and is there shortly after `seconds` at the latest."""
        work: Coroutine[Any, Any, Answered] = self._send(letter)
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _send(self, letter: Letter) -> Answered:
        started = time.monotonic()
        try:
            check_url(letter.url, allow_private=self._allow_private)
            async with asyncio.timeout(self._seconds):
                tried = await _exchange(letter, allow_private=self._allow_private)
        except Exception as error:  # noqa: BLE001  (whatever it is, the try came to nothing and is on record)
            tried = Tried(None, _kind_of(error))
        return Answered(tried, int((time.monotonic() - started) * 1000))


async def _exchange(letter: Letter, *, allow_private: bool) -> Tried:
    connector = aiohttp.TCPConnector(
        ssl=_tls(),
        force_close=True,
        use_dns_cache=False,
        socket_factory=open_unguarded if allow_private else open_guarded,
    )
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
    )
    async with session:
        answer = await session.post(
            URL(letter.url, encoded=True), data=letter.body, headers=letter.headers, allow_redirects=False
        )
        try:
            beginning = await _beginning(answer)
        finally:
            answer.close()
    return Tried(answer.status, error_of(answer.status), kept(beginning), answer.headers.get("Retry-After", "")[:100])


async def _beginning(answer: aiohttp.ClientResponse) -> bytes:
    """The first 64 KiB of the body; the rest is left in the socket."""
    body = bytearray()
    while len(body) < READ_AT_MOST and (chunk := await answer.content.read(_CHUNK)):
        body += chunk
    return bytes(body[:READ_AT_MOST])


def _kind_of(error: BaseException) -> TryError:
    causes = _causes(error)
    if any(isinstance(one, AddressError | ForbiddenAddressError) for one in causes):
        return TryError.FORBIDDEN_ADDRESS
    for kind, found in (
        (TimeoutError, TryError.TIMEOUT),
        (aiohttp.ClientConnectorDNSError, TryError.NAME),
        (ssl.SSLError | ssl.CertificateError | aiohttp.ClientSSLError, TryError.TLS),
        (aiohttp.ServerDisconnectedError, TryError.CONNECTION),
        (
            aiohttp.ClientResponseError | aiohttp.ClientPayloadError | aiohttp.http.HttpProcessingError,
            TryError.BAD_ANSWER,
        ),
        (OSError | aiohttp.ClientConnectionError, TryError.CONNECTION),
    ):
        if any(isinstance(one, kind) for one in causes):
            return found
    return TryError.NOT_SENT


def _causes(error: BaseException) -> list[BaseException]:
    """The error and what it wraps."""
    causes: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting and len(causes) < 10:
        one = waiting.pop()
        if isinstance(one, BaseException) and one not in causes:
            causes.append(one)
            waiting += [one.__cause__, one.__context__, getattr(one, "os_error", None)]
    return causes


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """The operating system's roots and certifi's; names are checked, TLS 1.2 or later."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(certifi.where())
    return context
