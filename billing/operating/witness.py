"""The witness: files beside PostgreSQL, not in it, that name the newest attempts that this host armed.

Each process has one file, put in place whole. It is written after arm's commit was acknowledged and before the request
leaves, so a database that lacks what a file names has forgotten something that may have been sent. The newest attempt
of a process stands for all before it: what was committed earlier cannot be lost without it.

Files are not forced to the disk. A machine that loses power may lose the newest of them and then witnesses less, which
never stops anything; its database keeps what it committed.
"""

import json
import logging
import os
import re
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

logger = logging.getLogger(__name__)

HOST_FILE = "host"
_NAME = re.compile(r"[0-9a-f]{16}\.json")
# Files of processes that are gone are kept this long before the newest one, so that many restarts leave few files.
_KEEP_SECONDS = 3600
_WORD = re.compile(r"[0-9A-Za-z_-]{1,64}")


class WitnessError(Exception):
    """The witness cannot be written: nothing may be sent. The message names the folder and why."""


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What one file names: an attempt's marker and a refund's nonce, the newest of their process ("" for none)."""

    epoch: str
    marker: str
    nonce: str


def folder() -> Path:
    return Path(settings.KITARAN_WITNESS_DIR)


def host_id() -> str:
    """This host's random id, made at the first call. Raises WitnessError when it cannot be kept."""
    path = folder() / HOST_FILE
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_name(f"{HOST_FILE}.{secrets.token_hex(8)}")
            fresh.write_text(secrets.token_hex(16), encoding="ascii")
            try:
                path.hardlink_to(fresh)  # the first process wins; the others read what it wrote
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        found = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise WitnessError(f"{path}: {error}") from error
    if not _WORD.fullmatch(found):
        raise WitnessError(f"{path}: is not a host's id")
    return found


def read_all() -> dict[str, Witnessed]:
    """What every process of this host witnessed last, by file. A file that cannot be read witnesses nothing."""
    found: dict[str, Witnessed] = {}
    try:
        entries = [entry for entry in os.scandir(folder()) if _NAME.fullmatch(entry.name)]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise WitnessError(f"{folder()}: {error}") from error
    for entry in entries:
        try:
            found[entry.name] = _parse(Path(entry.path).read_bytes())
        except FileNotFoundError:  # pruned by another process
            continue
        except (OSError, ValueError) as error:
            logger.warning("witness: %s witnesses nothing: %s", entry.path, error)
    return found


def _parse(content: bytes) -> Witnessed:
    parsed = json.loads(content)
    words = [parsed.get(name) if isinstance(parsed, dict) else None for name in ("epoch", "marker", "nonce")]
    plain = [word for word in words if isinstance(word, str) and (not word or _WORD.fullmatch(word))]
    if len(plain) < len(words) or not plain[0]:
        raise ValueError("it does not name an epoch, a marker and a nonce")
    return Witnessed(*plain)


class _File:
    """The file of this process in one folder."""

    def __init__(self, place: Path) -> None:
        self.path = place / f"{secrets.token_hex(8)}.json"
        self.pid = os.getpid()
        self.lock = threading.Lock()  # threads of one process would put each other's half-written file in place
        self.held = Witnessed("", "", "")
        self.ready = False

    def try_out(self) -> None:
        """Writes and removes a file beside it."""
        fresh = self.path.with_suffix(".new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text("written to see whether it can be", encoding="ascii")
            fresh.unlink()
        except OSError as error:
            raise WitnessError(f"{self.path.parent}: {error}") from error
        self.ready = True

    def write(self, witnessed: Witnessed) -> None:
        fresh = self.path.with_suffix(".new")
        words = {"epoch": witnessed.epoch, "marker": witnessed.marker, "nonce": witnessed.nonce}
        first = not self.held.epoch
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(words), encoding="ascii")
            fresh.replace(self.path)
        except OSError as error:
            self.ready = False
            raise WitnessError(f"{self.path.parent}: {error}") from error
        self.held = witnessed
        if first:
            _prune(self.path, witnessed)


_file: _File | None = None


def _own() -> _File:
    """This process's file; a fork, or another folder, has another one."""
    global _file
    if _file is None or _file.pid != os.getpid() or _file.path.parent != folder():
        _file = _File(folder())
    return _file


def own_name() -> str:
    return _own().path.name


def make_ready() -> None:
    """Makes sure that the witness can be written, before anything is armed. Raises WitnessError when it cannot."""
    own = _own()
    with own.lock:
        if not own.ready:
            own.try_out()


def note(epoch: str, *, marker: str = "", nonce: str = "") -> None:
    """Writes down what was just committed; it may be sent only after this. Raises WitnessError."""
    own = _own()
    with own.lock:
        held = own.held if own.held.epoch == epoch else Witnessed(epoch, "", "")
        own.write(Witnessed(epoch, marker or held.marker, nonce or held.nonce))


def _prune(newest: Path, held: Witnessed) -> None:
    """Removes files that are much older than this one, and name nothing that it does not stand for."""
    try:
        limit = newest.stat().st_mtime - _KEEP_SECONDS
        for name, old in read_all().items():
            path = newest.with_name(name)
            stands = (held.marker or not old.marker) and (held.nonce or not old.nonce)
            if stands and path != newest and path.stat().st_mtime < limit:
                path.unlink()
    except (OSError, WitnessError) as error:
        logger.warning("witness: old files could not be removed: %s", error)
