"""Where a request of ours may go when a merchant names the address: the public internet, and nowhere else."""

import re
from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from billing.domain.errors import RefusedError

MOST_URL = 2000
# What Python's own tables leave out, or left out in some release, and a public address that a cloud keeps for itself.
_NOT_PUBLIC = tuple(
    ip_network(block)
    for block in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "168.63.129.16/32",  # Azure's own services
        "192.0.0.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "198.18.0.0/15",
        "240.0.0.0/4",
        "2001::/23",  # Teredo and other protocols
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",
        "5f00::/16",
    )
)
# Of IPv6 only this block is routed publicly. What carries an IPv4 address (mapped, compatible, NAT64) lies outside it.
_ROUTED = ip_network("2000::/3")


class AddressError(RefusedError):
    """A URL that a webhook may not be sent to."""


def is_public(address: str) -> bool:
    """Whether the numeric IP address is one of the public internet's; False for what is no address."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and (ip.scope_id is not None or ip not in _ROUTED):
        return False
    if not ip.is_global or ip.is_multicast or ip.is_reserved:
        return False
    return not any(ip.version == block.version and ip in block for block in _NOT_PUBLIC)


def check_url(url: str, *, allow_private: bool) -> None:
    """Raises AddressError unless `url` may be an endpoint: https, a host, no user name, no fragment.

    With `allow_private` http may be used too. What the host's name resolves to is checked where the connection is
    made, each time: it may be another address by then."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url or len(url) > MOST_URL:
        raise AddressError("url", "web_address", f"must be visible ASCII of at most {MOST_URL} characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressError("url", "web_address", "must be a URL with a valid host and port") from None
    schemes = ("https", "http") if allow_private else ("https",)
    if parts.scheme not in schemes:
        raise AddressError("url", "https", "must begin with https://")
    if not parts.hostname or port == 0:
        raise AddressError("url", "web_address", "must name a host, and a port other than 0")
    if "@" in parts.netloc:
        raise AddressError("url", "user_name", "must not contain a user name or password")
    if parts.fragment or "#" in url:
        raise AddressError("url", "fragment", "must not contain a fragment (#)")
    if not allow_private and _is_forbidden(parts.hostname):
        raise AddressError("url", "private_address", "must be an address of the public internet")


def without_query(url: str) -> str:
    """The URL as history shows it: a query may hold a secret."""
    address, mark, _ = url.partition("?")
    return f"{address}{mark}…" if mark else address


def _is_forbidden(host: str) -> bool:
    """Whether the name itself says that it is private; most names say nothing before they are resolved."""
    name = host.rstrip(".")
    if not name or name == "localhost" or name.endswith((".localhost", ".local", ".internal")):
        return True
    # `2130706433`, `0x7f.1` and `127.1` are no names: resolvers read them as IPv4.
    is_number = ":" in name or re.fullmatch(r"[0-9]+|0x[0-9a-f]*", name.rpartition(".")[2]) is not None
    return is_number and not is_public(name)
