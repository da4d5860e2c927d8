"""Valkey (or Redis) with an append-only file."""

import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from config.embedded.keeper import Server
from config.embedded.processes import Runner
from config.embedded.sockets import VALKEY_SOCKET


@dataclass(frozen=True, slots=True)
class Valkey(Server):
    """The server of one folder. `durable`: sync its file every second; otherwise when the kernel likes."""

    program: str
    folder: Path
    socket_dir: Path
    durable: bool

    name = "valkey"
    # It ends its own helper processes then, which SIGKILL would leave.
    death_signal = Signals.SIGTERM
    stop_signals = ((Signals.SIGTERM, 10.0),)
    ready_seconds = 60.0

    @property
    def socket_path(self) -> Path:
        return self.socket_dir / VALKEY_SOCKET

    def prepare(self, runner: Runner, stop: threading.Event) -> list[str]:  # noqa: ARG002 - Valkey makes its files itself
        settings = {
            "port": "0",
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "daemonize": "no",
            "logfile": "",
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec" if self.durable else "no",
            "maxmemory-policy": "noeviction",
        }
        return [self.program, *(word for name, value in settings.items() for word in (f"--{name}", value))]

    def is_ready(self, pid: int) -> bool:  # noqa: ARG002 - nobody else can listen on a socket of this folder
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.settimeout(1.0)
                client.connect(str(self.socket_path))
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False
