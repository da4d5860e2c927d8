"""A TCP proxy before PostgreSQL that cuts one COMMIT off: `python -m tests.faults.proxy SOCKET TABLE WHEN`.

It prints its port, passes bytes on both ways, and watches for the transaction that inserts into TABLE. At that one's
COMMIT it cuts once: WHEN is `before` (the server never sees it) or `after` (the server did it, its answer is withheld).
Then it prints `cut` and lets everything pass.
"""

import contextlib
import select
import socket
import sys
import threading
import time


class Proxy:
    def __init__(self, target: str, table: str, when: str) -> None:
        self._target = target
        self._wanted = f"INTO {table}".encode()
        self._when = when
        self._lock = threading.Lock()
        self.cut = False
        self.listener = socket.create_server(("127.0.0.1", 0))

    def serve(self) -> None:
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._target)
        inserted = False
        with client, server, contextlib.suppress(OSError):
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(1 << 20)
                    if not data:
                        return
                    if source is server:
                        client.sendall(data)
                        continue
                    inserted = inserted or self._wanted in data.replace(b'"', b"")
                    if inserted and b"COMMIT" in data:
                        inserted = False
                        if self._cuts_now():
                            self._cut(server, data)
                            return
                    server.sendall(data)

    def _cuts_now(self) -> bool:
        with self._lock:
            first, self.cut = not self.cut, True
        return first

    def _cut(self, server: socket.socket, data: bytes) -> None:
        if self._when == "after":
            server.sendall(data)
            answer = b""
            while b"COMMIT\0" not in answer:
                answer += server.recv(1 << 16)
        time.sleep(0.01)
        print("cut", flush=True)


def main() -> None:
    proxy = Proxy(*sys.argv[1:])
    print(proxy.listener.getsockname()[1], flush=True)
    proxy.serve()


if __name__ == "__main__":
    main()
