"""urllib3's connections and pools, changed in four points.

The moment before the first byte of a request is known and can call it off; the socket can be shut down by the deadline
from the moment it is connected; a connection that was idle for long is not reused; TLS is verified always.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssl_ import create_urllib3_context

from rm_gateway.deadlines import Watch
from rm_gateway.errors import NotSent

MAX_IDLE_SECONDS: Final = 4.0


class Flight(Watch):
    """A thread's current exchange: its deadline, and whether its first byte may have left (``started``)."""

    __slots__ = ("_before_first_byte", "started")

    def __init__(self) -> None:
        super().__init__()
        self.started = False
        self._before_first_byte: Callable[[], None] | None = None

    def take_off(self, seconds: float, before_first_byte: Callable[[], None] | None) -> None:
        """Begin an exchange that may last ``seconds``; the callable may still call it off by raising."""
        self.started = False
        self._before_first_byte = before_first_byte
        self.start(seconds)

    def about_to_send(self) -> None:
        """The connection stands and the next thing is a byte of the request. Raises NotSent when it is too late."""
        if self.started:
            return
        if self.expired:
            raise NotSent("the total deadline passed while connecting", kind="timeout")
        if self._before_first_byte is not None:
            self._before_first_byte()
        self.started = True


class _Departing:
    """Holds a request's pieces back until it is whole, connects, asks the flight, and sends it in one go."""

    flight: Flight
    sock: Any
    connect: Callable[[], None]
    _held: list[bytes] | None = None

    def request(self, *args: Any, **kwargs: Any) -> None:
        held: list[bytes] = []
        self._held = held
        parent: Any = super()
        try:
            parent.request(*args, **kwargs)
        finally:
            self._held = None
        if self.sock is None:
            self.connect()
        self.flight.attach(self.sock)
        self.flight.about_to_send()
        parent.send(b"".join(held))

    def send(self, data: bytes) -> None:
        if self._held is None:
            raise RuntimeError("bytes are sent only as a part of a request")
        self._held.append(data)


class WatchedHTTPConnection(_Departing, HTTPConnection):  # type: ignore[misc]
    """A connection to a loopback address, whose socket its flight can shut down."""


class WatchedHTTPSConnection(_Departing, HTTPSConnection):  # type: ignore[misc]
    """A TLS connection, whose socket its flight can shut down from before the handshake on."""

    _guard: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        # The handshake detaches this socket object, so a duplicate stands for it until the TLS one is there.
        self._guard = sock.dup()
        self.flight.attach(self._guard)
        return sock

    def connect(self) -> None:
        """Connect and shake hands; the flight can end either."""
        try:
            super().connect()
            self.flight.attach(self.sock)
        finally:
            if self._guard is not None:
                self._guard.close()
                self._guard = None


class WatchedHTTPPool(HTTPConnectionPool):
    """The one connection of one thread to one loopback address."""

    ConnectionCls = WatchedHTTPConnection

    def __init__(self, host: str, port: int | None, flight: Flight) -> None:
        super().__init__(host, port, maxsize=1)
        self._flight = flight
        self._idle_since = 0.0

    def _new_conn(self) -> Any:
        connection: Any = super()._new_conn()
        connection.flight = self._flight
        return connection

    def _get_conn(self, timeout: float | None = None) -> Any:
        return _young(super()._get_conn(timeout), self._idle_since)

    def _put_conn(self, conn: Any) -> None:
        self._idle_since = time.monotonic()
        super()._put_conn(conn)


class WatchedHTTPSPool(HTTPSConnectionPool):
    """The one connection of one thread to one host; the certificate and its name are always verified."""

    ConnectionCls = WatchedHTTPSConnection

    def __init__(self, host: str, port: int | None, flight: Flight) -> None:
        super().__init__(host, port, maxsize=1, cert_reqs="CERT_REQUIRED", ssl_context=tls_context())
        self._flight = flight
        self._idle_since = 0.0

    def _new_conn(self) -> Any:
        connection: Any = super()._new_conn()
        connection.flight = self._flight
        return connection

    def _get_conn(self, timeout: float | None = None) -> Any:
        return _young(super()._get_conn(timeout), self._idle_since)

    def _put_conn(self, conn: Any) -> None:
        self._idle_since = time.monotonic()
        super()._put_conn(conn)


def _young(connection: Any, idle_since: float) -> Any:
    """The connection, closed first when it was idle so long that the other side may be closing it just now."""
    if connection.sock is not None and time.monotonic() - idle_since > MAX_IDLE_SECONDS:
        connection.close()
    return connection


@lru_cache(maxsize=1)
def tls_context() -> ssl.SSLContext:
    """The one TLS context of the process: TLS 1.2 or later, certifi's roots, names checked."""
    context = create_urllib3_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.check_hostname = True
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    return context
