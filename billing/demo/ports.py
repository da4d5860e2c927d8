"""Choosing ports on this machine's loopback address."""

import socket
from collections.abc import Iterable

HOST = "127.0.0.1"


def choose(*preferred: int, taken: Iterable[int] = ()) -> int:
    """The first of the preferred ports that is free, else any free one; none that is in `taken`. 0 prefers none."""
    refused = set(taken)
    for port in preferred:
        if port and port not in refused and _bound(port) is not None:
            return port
    while True:
        found = _bound(0)
        if found is not None and found not in refused:
            return found


def _bound(port: int) -> int | None:
    """The port that a server could have at this moment when it asks for `port`, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((HOST, port))
            server.listen(1)
        except (OSError, OverflowError):
            return None
        number: int = server.getsockname()[1]
        return number
