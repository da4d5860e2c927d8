"""A merchant's server as a process of its own, for better or worse: `python -m tests.notifying.receiver JOURNAL`.

Prints its port. The path says how it behaves; each request is a line of the journal, written before it is answered.

/ok  /status/500  /after/30 (429 with Retry-After)  /redirect?to=URL  /hang  /trickle  /headers (without end)
/large (10 MB)  /garbage  /reset  /flaky/3 (500 to the first 2 tries of each event)
/some/10 (500 to the first try of one event in ten)"""

import contextlib
import json
import socket
import socketserver
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = 10_000_000


class Receiver(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, journal: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.journal = journal.open("a", buffering=1, encoding="utf-8")
        self.lock = threading.Lock()
        self.seen: Counter[str] = Counter()

    def note(self, path: str, headers: dict[str, str], body: str) -> int:
        """How often the event came to this path by now."""
        with self.lock:
            event = f"{path} {headers.get('webhook-id', '')}"
            self.seen[event] += 1
            line = {"at": time.time(), "path": path, "headers": headers, "body": body}
            self.journal.write(json.dumps(line) + "\n")
            return self.seen[event]


class Handler(socketserver.StreamRequestHandler):
    server: Receiver

    def handle(self) -> None:
        request = self.rfile.readline().decode("latin-1").split()
        if len(request) < 2:
            return
        headers = {}
        while line := self.rfile.readline().decode("latin-1").strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = self.rfile.read(int(headers.get("content-length", 0))).decode()
        times = self.server.note(request[1], headers, body)
        address = urlsplit(request[1])
        what, _, rest = address.path.lstrip("/").partition("/")
        query = parse_qs(address.query)
        with contextlib.suppress(OSError):  # the other side has gone
            self.behave(what, unquote(rest), query, body, times)

    def behave(self, what: str, rest: str, query: dict[str, list[str]], body: str, times: int) -> None:
        match what:
            case "status":
                self.answer(int(rest), "no thanks, aminah@example.com 4111111111111111")
            case "after":
                self.answer(429, "slow down", f"Retry-After: {rest}\r\n")
            case "redirect":
                self.answer(302, "", f"Location: {query['to'][0]}\r\n")
            case "hang":
                time.sleep(3600)
            case "trickle":
                self.trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x")
            case "headers":
                self.trickle(b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"y" * 20 + b"\r\n")
            case "large":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
                for _ in range(LARGE // 1000):
                    self.wfile.write(b"z" * 1000)
            case "garbage":
                self.wfile.write(b"\x00\xff\xfe not http at all\r\n\r\n")
            case "reset":
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
                self.request.close()
            case "flaky":
                self.answer(200 if times >= int(rest) else 500, "")
            case "some":
                self.answer(500 if times == 1 and zlib.crc32(body.encode()) % int(rest) == 0 else 200, "")
            case _:
                self.answer(200, "thanks")

    def answer(self, status: int, text: str, more: str = "") -> None:
        body = text.encode()
        head = f"HTTP/1.1 {status} X\r\n{more}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def trickle(self, head: bytes, piece: bytes) -> None:
        self.wfile.write(head)
        while True:
            self.wfile.write(piece)
            time.sleep(0.05)


def main(words: list[str]) -> None:
    with Receiver(Path(words[0])) as server:
        print(server.server_address[1], flush=True)  # noqa: T201
        server.serve_forever()


class ReceiverProcess:
    """Starts it, and reads its journal."""

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.port = 0
        self._process: Any = None

    def __enter__(self) -> Self:
        words = [sys.executable, "-m", "tests.notifying.receiver", str(self.journal)]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def url(self, path: str = "/ok") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def seen(self, path: str = "") -> list[dict[str, Any]]:
        """What came, in the order in which it came; the whole of each line that is written."""
        lines = self.journal.read_text(encoding="utf-8").splitlines() if self.journal.exists() else []
        found = [json.loads(line) for line in lines]
        return [one for one in found if one["path"].startswith(path)]

    def ids(self, path: str = "") -> list[str]:
        return [one["headers"]["webhook-id"] for one in self.seen(path)]


if __name__ == "__main__":
    main(sys.argv[1:])
