"""Both servers of one data folder, from start to stop."""

import atexit
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from config.embedded import locks
from config.embedded.binaries import find_postgres, find_valkey
from config.embedded.errors import EmbeddedError
from config.embedded.files import write_atomically
from config.embedded.keeper import Keeper, Server
from config.embedded.postgres import DATABASE, ROLE, Postgres, made_by
from config.embedded.privilege import (
    Owner,
    Way,
    check_reachable,
    identity_of,
    make_private_folder,
    settle_owner,
)
from config.embedded.processes import Runner
from config.embedded.sockets import POSTGRES_PORT, VALKEY_SOCKET, socket_folder
from config.embedded.valkey import Valkey

STATE_FILE = "stack.json"


@dataclass(frozen=True, slots=True)
class StackInfo:
    """Where the servers are. The URL of a server that was not asked for is empty."""

    database_url: str  # for libpq and psycopg
    redis_url: str  # for Celery; redis-py wants redis_py_url(redis_url)
    pid: int  # of the launcher


class Stack:
    """PostgreSQL and Valkey in `data_dir`, as children of this process.

    `durable=False` gives up what survives a power cut, for tests. `restart=False` leaves a dead server dead.
    The servers end with this process, however it ends.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        postgres: bool = True,
        valkey: bool = True,
        durable: bool = True,
        max_connections: int = 100,
        restart: bool = True,
    ) -> None:
        self.data_dir = Path(data_dir).absolute()
        self._want_postgres = postgres
        self._want_valkey = valkey
        self._durable = durable
        self._max_connections = max_connections
        self._restart = restart
        self._launcher_pid = 0
        self._locks: list[int] = []
        self._keepers: dict[str, Keeper] = {}
        self._temporary_socket_dir: Path | None = None

    def start(self) -> StackInfo:
        """Start the servers and wait until both take connections; the first start makes their files.

        1. Take the folder's locks. 2. Settle who owns the files. 3. Start both side by side. 4. Write stack.json.

        Raises AlreadyRunning, NotInstalled, or EmbeddedError with the reason and the end of the server's log.
        """
        self._make_data_dir()
        launcher_lock = locks.take_launcher_lock(self.data_dir)
        self._locks, self._launcher_pid = [launcher_lock], os.getpid()
        atexit.register(self.stop)
        try:
            (self.data_dir / STATE_FILE).unlink(missing_ok=True)
            servers_lock = locks.take_servers_lock(self.data_dir)
            self._locks.append(servers_lock)
            info = self._start_servers(servers_lock)
            write_atomically(self.data_dir / STATE_FILE, json.dumps(asdict(info)))
        except BaseException:
            self.stop()
            raise
        return info

    def stop(self) -> None:
        """Stop the servers and wait for them. A second call, or one in a fork of the launcher, does nothing."""
        if self._launcher_pid != os.getpid():
            return
        (self.data_dir / STATE_FILE).unlink(missing_ok=True)
        for keeper in self._keepers.values():
            keeper.want_stop()
        for keeper in self._keepers.values():
            keeper.end()
        self._keepers = {}
        if self._temporary_socket_dir is not None:
            shutil.rmtree(self._temporary_socket_dir, ignore_errors=True)
            self._temporary_socket_dir = None
        for descriptor in reversed(self._locks):
            locks.release(descriptor)
        self._locks, self._launcher_pid = [], 0
        atexit.unregister(self.stop)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def info(self) -> StackInfo:
        """Where the servers are. Raises EmbeddedError when they do not run."""
        info = running(self.data_dir)
        if info is None:
            raise EmbeddedError(f"The servers of {self.data_dir} are not running.")
        return info

    @property
    def postgres_pid(self) -> int:
        """The process id of the PostgreSQL server itself. Raises EmbeddedError while it does not run."""
        return self._pid("postgres")

    @property
    def valkey_pid(self) -> int:
        """The process id of the Valkey server itself. Raises EmbeddedError while it does not run."""
        return self._pid("valkey")

    def _pid(self, name: str) -> int:
        pid = self._keepers[name].pid if name in self._keepers else None
        if pid is None:
            raise EmbeddedError(f"{name} is not running.")
        return pid

    def _make_data_dir(self) -> None:
        try:
            self.data_dir.mkdir(parents=True, mode=0o700, exist_ok=True)
        except OSError as error:
            raise EmbeddedError(f"The data folder {self.data_dir} cannot be made: {error.strerror}.") from error
        if not os.access(self.data_dir, os.R_OK | os.W_OK | os.X_OK):
            raise EmbeddedError(f"The data folder {self.data_dir} cannot be written by this user.")

    def _start_servers(self, servers_lock: int) -> StackInfo:
        owner = settle_owner(self.data_dir)
        if owner.way is Way.SETUID:
            # Others may pass through to the folders that belong to the servers' user, and see nothing.
            self.data_dir.chmod(self.data_dir.stat().st_mode & 0o777 | 0o011)
        socket_dir = self._make_socket_dir(owner)
        logs = self.data_dir / "log"
        logs.mkdir(mode=0o700, exist_ok=True)

        runner = Runner(identity_of(owner), servers_lock)
        for server in self._servers(owner, socket_dir):
            self._keepers[server.name] = Keeper(server, runner, logs / f"{server.name}.log", restart=self._restart)
        for keeper in self._keepers.values():
            keeper.start()
        for keeper in self._keepers.values():
            keeper.wait_ready()
        return StackInfo(
            database_url=_database_url(socket_dir) if self._want_postgres else "",
            redis_url=f"redis+socket://{socket_dir / VALKEY_SOCKET}?virtual_host=0" if self._want_valkey else "",
            pid=self._launcher_pid,
        )

    def _make_socket_dir(self, owner: Owner) -> Path:
        socket_dir = socket_folder(self.data_dir)
        make_private_folder(socket_dir, owner)
        # No server lives now; the lock file of a killed one could name a process of somebody else by now.
        for left_over in socket_dir.iterdir():
            left_over.unlink()
        if socket_dir.parent != self.data_dir:
            self._temporary_socket_dir = socket_dir
        return socket_dir

    def _servers(self, owner: Owner, socket_dir: Path) -> list[Server]:
        servers: list[Server] = []
        needed = [socket_dir]
        if self._want_postgres:
            folder = self.data_dir / "pg"
            programs = find_postgres(major=made_by(folder))
            needed += [Path(programs.initdb), Path(programs.postgres)]
            servers.append(Postgres(programs, folder, socket_dir, owner, self._durable, self._max_connections))
        if self._want_valkey:
            folder = self.data_dir / "valkey"
            make_private_folder(folder, owner)
            program = find_valkey()
            needed += [folder, Path(program)]
            servers.append(Valkey(program, folder, socket_dir, self._durable))
        check_reachable(owner, needed)
        return servers


def running(data_dir: Path) -> StackInfo | None:
    """Where the servers of this folder are, or None when no living launcher has them ready.

    Raises EmbeddedError when the folder belongs to somebody else and cannot be read.
    """
    data_dir = Path(data_dir).absolute()
    try:
        content = json.loads((data_dir / STATE_FILE).read_text())
        info = StackInfo(str(content["database_url"]), str(content["redis_url"]), int(content["pid"]))
        # The launcher writes its number into the lock: what a killed one left behind does not count.
        if locks.held(data_dir) and locks.holder(data_dir) == info.pid:
            return info
    except PermissionError as error:
        raise EmbeddedError(f"The data folder {data_dir} cannot be read by this user.") from error
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise EmbeddedError(f"{data_dir / STATE_FILE} cannot be understood ({error}).") from error
    return None


def _database_url(socket_dir: Path) -> str:
    # The port is said although it is the usual one: libpq would take another from PGPORT.
    return f"postgresql://{ROLE}@/{DATABASE}?host={quote(str(socket_dir), safe='')}&port={POSTGRES_PORT}"
