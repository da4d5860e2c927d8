"""A gateway of raw sockets for the client's tests: it records every request byte by byte and answers by script."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

TOKEN = "token-of-the-test"


@dataclass
class Received:
    """One request as it came in."""

    raw_head: bytes
    body: bytes
    connection: int
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def method(self) -> str:
        return self.raw_head.split(b" ", 1)[0].decode()

    @property
    def target(self) -> str:
        return self.raw_head.split(b" ", 2)[1].decode()


Script = Callable[[socket.socket, Received], None]


def reply(value: Any, status: int = 200, headers: tuple[str, ...] = ()) -> Script:
    """Answer with JSON (or with bytes as they are) and keep the connection."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()

    def script(sock: socket.socket, _: Received) -> None:
        lines = [f"HTTP/1.1 {status} Word", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
        sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return script


def raw(*pieces: bytes, pause: float = 0.0, close: bool = True) -> Script:
    """Write these bytes, with a pause after each piece, then close."""

    def script(sock: socket.socket, _: Received) -> None:
        stop = threading.Event()
        for piece in pieces:
            sock.sendall(piece)
            if pause:
                stop.wait(pause)
        if close:
            raise ConnectionAbortedError

    return script


class FakeGateway:
    """Listens on a loopback port. ``scripts`` maps a path to what answers it; the token path has a default."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.received: list[Received] = []
        self.connections = 0
        self.scripts: dict[str, Script] = {
            "/v1/token": reply(
                {
                    "accessToken": TOKEN,
                    "tokenType": "Bearer",
                    "expiresIn": 7199,
                    "refreshToken": "refresh-of-the-test",
                    "refreshTokenExpiresIn": 100000,
                }
            )
        }
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def oauth_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v3"

    def requests(self, path: str) -> list[Received]:
        """The requests to a path, without its query."""
        return [request for request in self.received if request.target.partition("?")[0] == path]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=5)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock, self.connections))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with sock, sock.makefile("rb") as stream, contextlib.suppress(OSError):
            while request := _read(stream, number):
                self.received.append(request)
                script = self.scripts.get(request.target.partition("?")[0])
                (script or reply({"error": {"code": "API_ENDPOINT_NOT_FOUND"}}, 404))(sock, request)


def _read(stream: Any, connection: int) -> Received | None:
    lines = []
    while (line := stream.readline()) not in {b"\r\n", b""}:
        lines.append(line)
    if not lines:
        return None
    headers = dict(line.decode().rstrip("\r\n").split(": ", 1) for line in lines[1:])
    length = int(headers.get("Content-Length", "0"))
    return Received(b"".join(lines), stream.read(length), connection, headers)


def transaction(**changes: Any) -> dict[str, Any]:
    """A transaction object in the published form."""
    value: dict[str, Any] = {
        "transactionId": "221111072221600425841118",
        "referenceId": "R1",
        "order": {
            "id": "1668151341700658887R0",
            "title": "Gym fee",
            "detail": "June",
            "additionalData": "1668151341700658887",
            "currencyType": "MYR",
            "amount": 4990,
        },
        "store": {"id": "1602660043994159611", "name": "Store"},
        "currencyType": "MYR",
        "balanceAmount": 4990,
        "status": "SUCCESS",
        "transactionAt": "2022-11-11T07:22:21Z",
        "createdAt": "2022-11-11T07:22:21Z",
        "updatedAt": "2022-11-11T07:23:21.123456789Z",
        "newMember": {"kept": True},
    }
    value.update(changes)
    return value


def order(number: int, customer_id: str = "C1", **changes: Any) -> dict[str, Any]:
    """A record of a customer's orders in the published form."""
    value: dict[str, Any] = {
        "id": f"16681513417006588{number}",
        "recurringCustomerId": customer_id,
        "transactionId": f"22111107222160042584{number}",
        "status": "SUCCESS",
        "recurringReference": "20221111",
        "amount": 4990,
        "currency": "MYR",
        "createdAt": "2022-11-11T07:22:21Z",
        "updatedAt": "2022-11-11T07:23:21.123456789Z",
    }
    value.update(changes)
    return value


def customer(customer_id: str = "C1", **changes: Any) -> dict[str, Any]:
    """A tokenized customer in the published form."""
    value: dict[str, Any] = {
        "id": customer_id,
        "merchantId": "M1",
        "storeId": "1602660043994159611",
        "label": "411111******1111",
        "email": "somebody@example.com",
        "name": " Somebody",
        "countryCode": "60",
        "phoneNumber": "187824152",
        "isActive": True,
        "createdAt": "2022-11-11T07:22:21Z",
        "updatedAt": "2022-11-11T07:22:21Z",
        "paymentUrl": f"https://sb-pg.revenuemonster.my/v1/recurring?customerId={customer_id}",
    }
    value.update(changes)
    return value


def processed(item: Any) -> dict[str, Any]:
    return {"item": item, "code": "SUCCESS"}
