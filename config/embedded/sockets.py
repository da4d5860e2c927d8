"""The folder of the Unix sockets: a path has at most 107 bytes, and not every one can stand in a URL."""

import hashlib
import os
import re
import tempfile
from pathlib import Path

from config.embedded.errors import EmbeddedError

# PostgreSQL names its socket after a port, though none is opened.
POSTGRES_PORT = 5432
POSTGRES_SOCKET = f".s.PGSQL.{POSTGRES_PORT}"
VALKEY_SOCKET = "valkey.sock"

_LONGEST_PATH_BYTES = 107
_LONGEST_NAME_BYTES = max(len(POSTGRES_SOCKET), len(VALKEY_SOCKET))
_SAFE = re.compile(r"/[A-Za-z0-9_./-]*")


def socket_folder(data_dir: Path) -> Path:
    """`run` in the data folder, or a short temporary folder whose name depends only on the data folder.

    The folder is not made here. Raises EmbeddedError when even the temporary folder's path is too long.
    """
    inside = data_dir / "run"
    if usable(inside):
        return inside
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    for base in short_folders():
        if usable(base / f"kitaran-{digest}"):
            return base / f"kitaran-{digest}"
    raise EmbeddedError(f"There is no folder with a path short enough for the sockets of {data_dir}.")


def usable(folder: Path) -> bool:
    """Whether its sockets fit the limit and its path means itself in URLs (a comma separates hosts there)."""
    path = str(folder)
    return len(os.fsencode(path)) + 1 + _LONGEST_NAME_BYTES <= _LONGEST_PATH_BYTES and bool(_SAFE.fullmatch(path))


def short_folders() -> list[Path]:
    """Folders for temporary files, the preferred one first."""
    return [Path(tempfile.gettempdir()).resolve(), Path("/tmp")]  # noqa: S108 - the folder inside is private and checked
