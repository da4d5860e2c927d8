"""One HTTP exchange: a request leaves at most once, and it is known whether its first byte may have left.

What ``requests`` and ``urllib3`` do on their own is switched off here: retries, redirects, environment proxies,
``.netrc``, cookies, decompression.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError, SSLError

from rm_gateway.connections import Flight, WatchedHTTPPool, WatchedHTTPSPool
from rm_gateway.elapsed import ServerTime, elapsed, server_time
from rm_gateway.errors import GatewayError, NotSent, Unknown

_CHUNK_BYTES: Final = 65_536
# An answer that took longer says little about the server's clock, and counts only when there was none for so long.
_EXACT_SECONDS: Final = 5.0
_KEEP_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, the headers (read without case) and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Transport:
    """Sends requests from any thread, each thread over a session and connections of its own.

    ``connect_timeout`` and ``read_timeout`` are seconds per operation, ``total_timeout`` seconds for the whole
    exchange; all three may be fractions. Name resolution is the one step that none of them can interrupt.
    """

    def __init__(
        self,
        *,
        connect_timeout: float,
        read_timeout: float,
        total_timeout: float,
        max_response_bytes: int,
    ) -> None:
        self._timeout = (connect_timeout, read_timeout)
        self._total_timeout = total_timeout
        self._max_response_bytes = max_response_bytes
        self._local = threading.local()
        self._lines: weakref.WeakSet[_Line] = weakref.WeakSet()
        self._lines_lock = threading.Lock()
        self._server_time: ServerTime | None = None

    @property
    def server_time(self) -> ServerTime | None:
        """The server's clock by the newest answer that shows it well; None when no answer showed it."""
        return self._server_time

    def exchange(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: bytes | None = None,
        *,
        before_first_byte: Callable[[], None] | None = None,
    ) -> Answer:
        """Send one request once and read its whole answer, whatever its status.

        ``before_first_byte`` runs when the connection stands and may still call the request off by raising a
        GatewayError. Raises NotSent when no byte left, else Unknown when no complete answer came.
        """
        line = self._line()
        flight = line.flight
        asked_at = elapsed()
        flight.take_off(self._total_timeout, before_first_byte)
        response = None
        try:
            response = line.session.send(
                _request(method, url, headers, body),
                stream=True,
                timeout=self._timeout,
                allow_redirects=False,
                proxies={},
                verify=True,
            )
            self._note_time(response.headers, asked_at)
            answer = self._read(response)
        except GatewayError:
            raise
        except Exception as error:  # noqa: BLE001  (whatever it is, only what left counts)
            raise _verdict(error, flight) from None
        finally:
            flight.stop()
            if response is not None:
                response.raw.close()  # closes the connection too, unless the body was read to its end
        if flight.expired:
            raise Unknown("the total deadline passed before the answer was complete", kind="timeout")
        return answer

    def _note_time(self, headers: Mapping[str, str], asked_at: float) -> None:
        reported = server_time(headers, asked_at=asked_at, answered_at=elapsed())
        known = self._server_time
        if reported is None:
            return
        if (
            known is None
            or reported.seconds <= _EXACT_SECONDS
            or reported.answered_at - known.answered_at > _KEEP_SECONDS
        ):
            self._server_time = reported

    def _read(self, response: requests.Response) -> Answer:
        status = response.status_code
        if status < 200:
            raise Unknown("an interim answer came without a final one", kind="answer", http_status=status)
        body = bytearray()
        while chunk := response.raw.read(_CHUNK_BYTES, decode_content=False):
            body += chunk
            if len(body) > self._max_response_bytes:
                raise Unknown(
                    f"the answer is larger than {self._max_response_bytes} bytes",
                    kind="answer",
                    http_status=status,
                )
        return Answer(status=status, headers=response.headers, body=bytes(body))

    def _line(self) -> _Line:
        line: _Line | None = getattr(self._local, "line", None)
        if line is None or line.process_id != os.getpid():
            line = self._local.line = _Line()
            with self._lines_lock:
                self._lines.add(line)
        return line

    def close(self) -> None:
        """Close the connections of every thread. What is sent afterwards opens new ones."""
        with self._lines_lock:
            lines = list(self._lines)
            self._lines.clear()
            self._local = threading.local()
        for line in lines:
            line.session.close()


class _Line:
    """What one thread sends with: a session, and the flight that its connections report to."""

    def __init__(self) -> None:
        self.process_id = os.getpid()
        self.flight = Flight()
        self.session = _Session()
        self.session.trust_env = False
        self.session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = _Adapter(self.flight)
        self.session.mount("https://", adapter)
        self.session.mount("http://", adapter)


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002
        """No answer is a redirect: a 3xx is returned as it came."""
        return


class _Adapter(HTTPAdapter):
    """Keeps one pool per host, of our own connections, and builds no more of a response than is used."""

    def __init__(self, flight: Flight) -> None:
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)
        self._flight = flight
        self._pools: dict[tuple[str, str, int | None], WatchedHTTPPool | WatchedHTTPSPool] = {}

    def get_connection_with_tls_context(self, request: Any, *_: Any, **__: Any) -> Any:
        url = urlsplit(request.url)
        key = (url.scheme, url.hostname or "", url.port)
        pool = self._pools.get(key)
        if pool is None:
            pool_class = WatchedHTTPSPool if url.scheme == "https" else WatchedHTTPPool
            pool = self._pools[key] = pool_class(key[1], key[2], self._flight)
        return pool

    def cert_verify(self, *_: Any, **__: Any) -> None:
        """Nothing to set: the pools verify always."""

    def request_url(self, request: Any, proxies: Any) -> str:  # noqa: ARG002
        return str(request.path_url)

    def build_response(self, req: Any, resp: Any) -> requests.Response:
        response = requests.Response()
        response.status_code = resp.status
        response.headers = resp.headers
        response.raw = resp
        response.url = req.url
        response.request = req
        return response

    def close(self) -> None:
        for pool in list(self._pools.values()):
            pool.close()
        self._pools.clear()
        super().close()


def _request(method: str, url: str, headers: dict[str, str], body: bytes | None) -> requests.PreparedRequest:
    """A request that requests will not touch: its own preparing would quote the URL again."""
    request: Any = requests.PreparedRequest()
    request.method = method
    request.url = url
    request.headers = headers if body is None else {**headers, "Content-Length": str(len(body))}
    request.body = body
    request.hooks = {"response": []}
    return request  # type: ignore[no-any-return]


def _verdict(error: Exception, flight: Flight) -> GatewayError:
    """Not sent when no byte was handed to the socket, whatever the error; unknown otherwise."""
    names = _causes(error)
    if not flight.started:
        kind, what = _why_not_sent(error)
        return NotSent(f"{what}: nothing was sent [{names}]", kind=kind)
    if flight.expired:
        return Unknown("the total deadline passed before an answer", kind="timeout")
    if _timed_out(_chain(error)):
        return Unknown(f"no answer in time [{names}]", kind="timeout")
    if isinstance(error, requests.RequestException | HTTPError | HTTPException | OSError):
        return Unknown(f"the connection broke before a complete answer [{names}]", kind="connection")
    return Unknown(f"the exchange failed [{names}]", kind="connection")


def _why_not_sent(error: Exception) -> tuple[str, str]:
    chain = _chain(error)
    if any(isinstance(cause, NameResolutionError) for cause in chain):
        return "dns", "the host's name could not be resolved"
    if any(isinstance(cause, SSLError) for cause in chain):
        return "tls", "no trusted TLS connection"
    if any(isinstance(cause, NewConnectionError) for cause in chain):
        return "connect", "no connection"
    if _timed_out(chain):
        return "timeout", "no connection in time"
    if isinstance(error, OSError):
        return "connect", "the connection broke while it was made"
    return "request", "no request could be made"


def _timed_out(chain: list[BaseException]) -> bool:
    return any("imeout" in type(cause).__name__ for cause in chain)


def _chain(error: BaseException) -> list[BaseException]:
    """The error, then what it wraps: requests and urllib3 nest by cause, by ``reason`` and by argument."""
    chain: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting and len(chain) < 10:
        current = waiting.pop(0)
        if isinstance(current, BaseException) and current not in chain:
            chain.append(current)
            waiting += [getattr(current, "reason", None), current.__cause__, *current.args]
    return chain


def _causes(error: BaseException) -> str:
    """The class names of the chain. Messages stay out: they hold hosts and paths."""
    return " < ".join(dict.fromkeys(type(cause).__name__ for cause in _chain(error)))
