"""A gateway that answers every charge with success after a fixed latency, as cheaply as Python can.

One process, one thread, one epoll loop, and as much of HTTP/1.1 as `requests` needs. No signature is checked.
`python -m tests.bench.stub --latency-ms 200` prints one JSON line with its URL, and ends with SIGTERM or its parent.
"""

import argparse
import json
import os
import selectors
import socket
import time
from collections import deque
from email.utils import formatdate

STORE_ID = "1602660043994159611"
_TOKEN = json.dumps({"accessToken": "bench", "tokenType": "Bearer", "expiresIn": 2_591_999}).encode()
_CHARGE = (
    '{"item":{"balanceAmount":%(amount)d,"createdAt":"2026-03-02T01:00:00Z","currencyType":%(currency)s,"error":null,'
    '"finalAmount":%(amount)d,"method":"GOBIZ","order":{"additionalData":"%(order)s","amount":%(amount)d,'
    '"currencyType":%(currency)s,"detail":%(detail)s,"id":"%(order)sR0","title":%(title)s},"payee":null,'
    '"platform":"RECURRING","referenceId":"%(order)s","region":"MALAYSIA","status":"SUCCESS",'
    '"store":{"id":"' + STORE_ID + '","name":"Bench"},"transactionAt":"2026-03-02T01:00:00Z",'
    '"transactionId":"%(transaction)s","type":"RECURRING","updatedAt":"2026-03-02T01:00:00Z"},"code":"SUCCESS"}'
)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: %b\r\nContent-Length: %d\r\n\r\n"


class Stub:
    """The sockets, what waits for its latency (all wait equally long, so a queue will do), and the counts."""

    def __init__(self, latency_seconds: float) -> None:
        self._latency = latency_seconds
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._unread: dict[socket.socket, bytes] = {}
        self._waiting: deque[tuple[float, socket.socket, bytes]] = deque()
        self._posts = 0
        self._markers: set[str] = set()
        self._first_id = time.time_ns()
        self.port: int = self._listener.getsockname()[1]

    def serve(self) -> None:
        parent = os.getppid()
        while os.getppid() == parent:
            timeout = max(self._waiting[0][0] - time.monotonic(), 0) if self._waiting else 1.0
            for key, _ in self._selector.select(timeout):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._receive(key.fileobj)  # type: ignore[arg-type]
            now = time.monotonic()
            while self._waiting and self._waiting[0][0] <= now:
                _, connection, answer = self._waiting.popleft()
                self._send(connection, answer)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread[connection] = b""
        self._selector.register(connection, selectors.EVENT_READ)

    def _receive(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(65_536)
        except ConnectionError:
            data = b""
        if not data:
            self._selector.unregister(connection)
            del self._unread[connection]
            connection.close()
            return
        data = self._unread[connection] + data
        head, found, body = data.partition(b"\r\n\r\n")
        if not found or len(body) < _content_length(head):
            self._unread[connection] = data
            return
        self._unread[connection] = b""
        self._answer(connection, head.split(b" ", 2)[1], body)

    def _answer(self, connection: socket.socket, path: bytes, body: bytes) -> None:
        if path.endswith(b"/token"):
            self._send(connection, _TOKEN)
        elif path == b"/counts":
            self._send(connection, json.dumps({"posts": self._posts, "distinct": len(self._markers)}).encode())
        elif not body:
            self._send(connection, b"{}")
        else:
            answer = self._charge(json.loads(body))
            if self._latency:
                self._waiting.append((time.monotonic() + self._latency, connection, answer))
            else:
                self._send(connection, answer)

    def _charge(self, asked: dict[str, object]) -> bytes:
        self._posts += 1
        title = str(asked["title"])
        self._markers.add(title[-12:])
        number = self._first_id + self._posts
        return (
            _CHARGE
            % {
                "amount": asked["amount"],
                "currency": json.dumps(asked["currency"]),
                "title": json.dumps(title),
                "detail": json.dumps(asked.get("description", "")),
                "order": number,
                "transaction": f"{number:024d}",
            }
        ).encode()

    def _send(self, connection: socket.socket, body: bytes) -> None:
        if connection in self._unread:  # else its client went away meanwhile
            connection.sendall(_HEAD % (formatdate(usegmt=True).encode(), len(body)) + body)


def _content_length(head: bytes) -> int:
    lowered = head.lower()
    at = lowered.find(b"content-length:")
    return int(lowered[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency-ms", type=int, default=0)
    stub = Stub(parser.parse_args().latency_ms / 1000)
    print(json.dumps({"url": f"http://127.0.0.1:{stub.port}"}), flush=True)
    stub.serve()


if __name__ == "__main__":
    main()
