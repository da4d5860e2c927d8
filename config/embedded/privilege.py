"""Which of three ways makes the servers unprivileged, decided once for a data folder.

* direct: the launcher is not root, so neither are the servers.
* namespace: the launcher is root (or a number without an account, which initdb refuses); the servers run in a
  user namespace where that user has the number of an ordinary account. No account is made and no file changes
  its owner.
* setuid: the launcher is root where namespaces are forbidden; the servers run as `nobody` or another existing
  account, and their folders belong to it.

The way is written to `owner.json`. Files made in one way cannot be used in another: a folder never changes it.
"""

import enum
import json
import os
import pwd
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from config.embedded.errors import EmbeddedError
from config.embedded.files import write_atomically
from config.embedded.processes import Identity, Runner

OWNER_FILE = "owner.json"
_ACCOUNTS = ("nobody", "daemon", "bin")


class Way(enum.StrEnum):
    """See the text of this module."""

    DIRECT = "direct"
    NAMESPACE = "namespace"
    SETUID = "setuid"


@dataclass(frozen=True, slots=True)
class Owner:
    """The way of a data folder, and the user and group that own its files, as seen by the launcher."""

    way: Way
    uid: int
    gid: int


def settle_owner(data_dir: Path) -> Owner:
    """The owner of the folder: the recorded one, or at the first start a new one, which is then recorded.

    Raises EmbeddedError when the launcher of today cannot start the servers in the recorded way.
    """
    path = data_dir / OWNER_FILE
    recorded = _read(path)
    if recorded is None:
        owner = choose(os.geteuid(), os.getegid(), namespaces=namespaces_work)
        write_atomically(path, json.dumps({"way": owner.way.value, "uid": owner.uid, "gid": owner.gid}))
        return owner
    problem = conflict(recorded, os.geteuid(), namespaces=namespaces_work)
    if problem is not None:
        raise EmbeddedError(f"{data_dir} {problem} Start it as before, or choose another data folder.")
    return recorded


def choose(euid: int, egid: int, *, namespaces: Callable[[], bool]) -> Owner:
    """The way for a new folder. Raises EmbeddedError when root has no account to become."""
    if euid != 0 and _has_account(euid):
        return Owner(Way.DIRECT, euid, egid)
    if namespaces():
        return Owner(Way.NAMESPACE, euid, egid)
    if euid != 0:
        return Owner(Way.DIRECT, euid, egid)
    account = unprivileged_account()
    return Owner(Way.SETUID, account.pw_uid, account.pw_gid)


def conflict(recorded: Owner, euid: int, *, namespaces: Callable[[], bool]) -> str | None:
    """Why a launcher of this user cannot go on in the recorded way, or None when it can."""
    match recorded.way:
        case Way.DIRECT | Way.NAMESPACE if recorded.uid != euid:
            return f"was made by the user with number {recorded.uid}, and this is number {euid}."
        case Way.DIRECT if euid == 0:
            return "was made without root, and this is root."
        case Way.NAMESPACE if not namespaces():
            return "was made with a user namespace, and user namespaces are not allowed here."
        case Way.SETUID if euid != 0:
            return f"was made by root for the user with number {recorded.uid}, and this is not root."
        case Way.SETUID if recorded.uid == 0:
            return f"has an {OWNER_FILE} that would run the servers as root."
    return None


def identity_of(owner: Owner) -> Identity:
    """What a child has to do. In a namespace the number needs an account: initdb looks up its name."""
    if owner.way is Way.NAMESPACE:
        account = unprivileged_account()
        return Identity(owner.way.value, account.pw_uid, account.pw_gid)
    return Identity(owner.way.value, owner.uid, owner.gid)


def namespaces_work() -> bool:
    """Tries it: the answer depends on the kernel, its settings, seccomp and the rights of this process."""
    if sys.platform != "linux":
        return False
    account = unprivileged_account()
    works, _ = Runner(Identity(Way.NAMESPACE.value, account.pw_uid, account.pw_gid)).attempt(reachable=[])
    return works


def unprivileged_account() -> pwd.struct_passwd:
    """An existing account that is not root. Raises EmbeddedError when there is none."""
    accounts = {account.pw_name: account for account in pwd.getpwall() if account.pw_uid != 0}
    if not accounts:
        raise EmbeddedError("PostgreSQL refuses to run as root, and there is no other account on this machine.")
    return next((accounts[name] for name in _ACCOUNTS if name in accounts), next(iter(accounts.values())))


def make_private_folder(path: Path, owner: Owner) -> None:
    """A folder that only the servers' user (and root) can open.

    Raises EmbeddedError when it is there but is not a real folder of that user.
    """
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise EmbeddedError(f"{path} is not a folder.")
    if owner.way is Way.SETUID and found.st_uid == 0 and not any(path.iterdir()):
        os.chown(path, owner.uid, owner.gid, follow_symlinks=False)
        found = path.lstat()
    if found.st_uid != owner.uid:
        raise EmbeddedError(
            f"{path} belongs to the user with number {found.st_uid}, but the servers run as number "
            f"{owner.uid} ({owner.way.value}). Choose another data folder."
        )
    if stat.S_IMODE(found.st_mode) != 0o700:
        path.chmod(0o700)


def check_reachable(owner: Owner, paths: list[Path]) -> None:
    """The servers, without root's rights, must be able to open their folders and programs.

    Raises EmbeddedError that names the obstacle.
    """
    if owner.way is Way.DIRECT:
        return
    reached, denied = Runner(identity_of(owner)).attempt(reachable=[str(path) for path in paths])
    if not reached:
        raise EmbeddedError(
            f"The servers run without root's rights, as the user with number {owner.uid} ({owner.way.value}), which "
            f"cannot open {denied}{_closed_parent(denied, owner.uid)}. Keep the data folder and the project outside "
            "of it, or start as an ordinary user."
        )


def _closed_parent(path: str, uid: int) -> str:
    for parent in reversed(Path(path).parents):
        if not parent.is_dir():
            return ""
        found = parent.stat()
        if found.st_uid != uid and not found.st_mode & 0o001:
            return f", because {parent} is closed to others"
    return ""


def _has_account(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _read(path: Path) -> Owner | None:
    try:
        content = json.loads(path.read_text())
        return Owner(Way(content["way"]), int(content["uid"]), int(content["gid"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise EmbeddedError(f"{path} cannot be understood ({error}).") from error
