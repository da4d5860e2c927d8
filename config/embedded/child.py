"""The first program of a server process: gives up privilege, ties itself to the launcher, becomes the server.

It is run as a script by `processes.py`, as `python -I -S child.py JSON`, and not as a function between fork and
exec, because the launcher has threads. It ends with status 126 when it cannot give up privilege or reach a path,
127 when the server cannot be executed.
"""

import ctypes
import json
import os
import sys
from typing import NoReturn, TypedDict

CANNOT_PREPARE = 126
CANNOT_EXECUTE = 127

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x10000000


class Order(TypedDict):
    """What the launcher asks for."""

    way: str  # "direct", "namespace" or "setuid"
    uid: int  # for "setuid" the account to become; for "namespace" the number by which the server sees itself
    gid: int
    parent: int  # process id of the launcher
    death_signal: int  # sent to the server when the launcher dies
    argv: list[str]  # empty: only try whether the rest works
    reachable: list[str]  # paths that the server must be able to open; the first that it cannot is printed


def main() -> NoReturn:
    """1. Give up privilege. 2. Ask the kernel for a signal at the launcher's death. 3. Become the server."""
    order: Order = json.loads(sys.argv[1])
    try:
        give_up_privilege(order)
        tie_to_parent(order)
    except OSError as error:
        leave(CANNOT_PREPARE, f"cannot start unprivileged ({order['way']}): {error}")
    for path in order["reachable"]:
        if not os.access(path, os.R_OK | os.X_OK):
            leave(CANNOT_PREPARE, path)
    if not order["argv"]:
        leave(0, "")
    os.umask(0o077)
    try:
        os.execv(order["argv"][0], order["argv"])  # noqa: S606 - no shell is wanted
    except OSError as error:
        leave(CANNOT_EXECUTE, f"cannot execute {order['argv'][0]}: {error}")


def give_up_privilege(order: Order) -> None:
    if order["way"] == "namespace":
        enter_user_namespace(order["uid"], order["gid"])
    elif order["way"] == "setuid":
        os.setgroups([])
        os.setgid(order["gid"])
        os.setuid(order["uid"])


def enter_user_namespace(uid: int, gid: int) -> None:
    """The server sees itself as `uid`; outside it stays who started it, without any capability after exec."""
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    if outer_uid == 0:
        os.setgroups([])
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWUSER) failed")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {outer_uid} 1"),
        ("gid_map", f"{gid} {outer_gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def tie_to_parent(order: Order) -> None:
    """After every change of identity, because such a change clears the request. Only Linux can do it."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_NO_NEW_PRIVS, 1), (_PR_SET_PDEATHSIG, order["death_signal"])):
        if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
    if os.getppid() != order["parent"]:
        raise OSError("the launcher has ended")


def leave(status: int, text: str) -> NoReturn:
    if text:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
