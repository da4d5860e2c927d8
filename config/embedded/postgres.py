"""PostgreSQL: the cluster's files, its settings and its readiness."""

import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from config.embedded.binaries import PostgresPrograms
from config.embedded.errors import EmbeddedError
from config.embedded.files import sync_folder
from config.embedded.keeper import Server
from config.embedded.privilege import Owner, make_private_folder
from config.embedded.processes import Runner
from config.embedded.sockets import POSTGRES_PORT

ROLE = DATABASE = "kitaran"
_FIRST_BUILTIN_LOCALE = 17
_INIT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Postgres(Server):
    """The server of one folder. `durable`: commits survive a power cut; otherwise only the server's own end."""

    programs: PostgresPrograms
    folder: Path
    socket_dir: Path
    owner: Owner
    durable: bool
    max_connections: int

    name = "postgres"
    # Immediate shutdown: all backends end within five seconds, and the next start recovers from the log.
    death_signal = Signals.SIGQUIT
    # Fast shutdown first: sessions are ended and a checkpoint is written.
    stop_signals = ((Signals.SIGINT, 20.0), (Signals.SIGQUIT, 8.0))
    ready_seconds = 120.0

    def prepare(self, runner: Runner, stop: threading.Event) -> list[str]:
        if self.folder.exists():
            make_private_folder(self.folder, self.owner)
            self._remove_stale_pid_file()
        else:
            self._init(runner, stop)
        return [self.programs.postgres, "-D", str(self.folder), "-p", str(POSTGRES_PORT), *self._settings()]

    def is_ready(self, pid: int) -> bool:
        """The server writes its process id to the first line of this file and its status to the eighth."""
        try:
            lines = (self.folder / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _init(self, runner: Runner, stop: threading.Event) -> None:
        """1. Make the cluster in a folder beside. 2. Make the database. 3. Rename.

        An interrupted first start so leaves nothing that could be taken for a cluster.
        """
        fresh = self.folder.with_name(self.folder.name + ".new")
        code, output = 1, ""
        for locale in self._locales():
            shutil.rmtree(fresh, ignore_errors=True)
            make_private_folder(fresh, self.owner)
            command = [self.programs.initdb, "-D", str(fresh), "-U", ROLE, "--encoding=UTF8", *locale]
            command += ["--auth=trust", "--no-instructions", *([] if self.durable else ["--no-sync"])]
            code, output = runner.run(command, stop=stop, timeout_seconds=_INIT_SECONDS)
            if code == 0:
                break
        if code != 0:
            raise EmbeddedError(f"initdb failed with status {code}:\n{output.strip()}")

        command = [self.programs.postgres, "--single", "-D", str(fresh), *self._settings(), "template1"]
        statement = f"CREATE DATABASE {DATABASE};\n"
        code, output = runner.run(command, stop=stop, text=statement, timeout_seconds=_INIT_SECONDS)
        # A failed statement does not make the single-user server's exit status anything but 0.
        if code != 0 or any(word in output for word in ("ERROR:", "FATAL:", "PANIC:")):
            raise EmbeddedError(f"The database {DATABASE} could not be made:\n{output.strip()}")
        fresh.rename(self.folder)
        sync_folder(self.folder.parent)

    def _locales(self) -> tuple[list[str], ...]:
        """Options of initdb to try in turn; before version 17 the locale must be known to the machine."""
        if self.programs.major >= _FIRST_BUILTIN_LOCALE:
            return (["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"],)
        return (["--locale=C.UTF-8"], ["--locale=C"])

    def _settings(self) -> list[str]:
        careful = "on" if self.durable else "off"
        # Quoted, because the value is a list: a comma in the path would divide it.
        quoted = '"' + str(self.socket_dir).replace('"', '""') + '"'
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": quoted,
            "unix_socket_permissions": "0700",
            "max_connections": str(self.max_connections),
            "fsync": careful,
            "full_page_writes": careful,
            "synchronous_commit": careful,
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_destination": "stderr",
            "logging_collector": "off",
            "log_checkpoints": "off",
            "jit": "off",
            "cluster_name": DATABASE,
        }
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _remove_stale_pid_file(self) -> None:
        """After a power cut its number may belong to another program, and PostgreSQL would refuse to start.

        The lock of the folder shows that none of our servers lives; one started by hand is looked for.
        Raises EmbeddedError when there is one.
        """
        path = self.folder / "postmaster.pid"
        if not path.exists() or not Path("/proc/self").exists():
            return
        first = path.read_text().partition("\n")[0].strip()
        try:
            other_folder = os.readlink(f"/proc/{first}/cwd") if first.isdigit() else ""
        except OSError:
            other_folder = ""
        if other_folder == str(self.folder.resolve()):
            raise EmbeddedError(f"Another PostgreSQL (process {first}) runs in {self.folder}: stop it first.")
        path.unlink()


def made_by(folder: Path) -> int | None:
    """The major version that made the cluster in this folder, or None when there is no cluster."""
    try:
        return int((folder / "PG_VERSION").read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise EmbeddedError(f"{folder / 'PG_VERSION'} cannot be understood.") from error
