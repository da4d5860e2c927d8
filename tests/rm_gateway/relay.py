"""A relay between the client and the simulator that keeps every byte that the client put on the wire."""

from __future__ import annotations

import contextlib
import socket
import threading


class Relay:
    """Listens on a loopback port and passes bytes on to another, both ways, as they are.

    ``seen`` is what clients sent since ``clear``. ``let_through`` is how many more pieces are passed on (None: all);
    at the next one the connection ends.
    """

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.seen = bytearray()
        self.let_through: int | None = None
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def clear(self) -> None:
        self.seen = bytearray()
        self.let_through = None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            _end(sock)
        for thread in self._threads:
            thread.join(timeout=5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            self._sockets += [client, server]
            for source, sink, outward in ((client, server, True), (server, client, False)):
                thread = threading.Thread(target=self._pump, args=(source, sink, outward))
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, outward: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if outward:
                    self.seen += data
                    if self.let_through is not None:
                        self.let_through -= 1
                        if self.let_through < 0:
                            break
                sink.sendall(data)
        _end(source)
        _end(sink)


def _end(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
