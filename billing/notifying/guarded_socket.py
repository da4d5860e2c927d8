"""Sockets that connect to the public internet only."""

import socket
from typing import Any

from billing.domain.addresses import is_public

AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]


class ForbiddenAddressError(OSError):
    """The address is not one of the public internet's. Nothing was sent there."""


class GuardedSocket(socket.socket):
    """Refuses the address in `connect` itself: nobody can resolve a name again between the check and the connection."""

    def connect(self, address: Any) -> None:
        _check(address)
        super().connect(address)

    def connect_ex(self, address: Any) -> int:
        _check(address)
        return super().connect_ex(address)


def open_guarded(info: AddressInfo) -> socket.socket:
    family, kind, protocol, _, _ = info
    return GuardedSocket(family, kind, protocol)


def open_unguarded(info: AddressInfo) -> socket.socket:
    """For a developer's machine, whose endpoints are on the machine itself."""
    family, kind, protocol, _, _ = info
    return socket.socket(family, kind, protocol)


def _check(address: Any) -> None:
    if not is_public(str(address[0])):
        raise ForbiddenAddressError("the address is not one of the public internet's")
