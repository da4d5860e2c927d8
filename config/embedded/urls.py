"""Reading the two connection URLs. No message ever repeats a part of a URL that could be a password."""

import re
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

_CONNECTION_PARAMETERS = {
    "dbname": "NAME",
    "user": "USER",
    "password": "PASSWORD",
    "host": "HOST",
    "port": "PORT",
}
_UNREADABLE = "the database URL cannot be read: check its brackets and unusual characters"


def parse_database_url(url: str) -> dict[str, object]:
    """The Django DATABASES entry for a `postgresql://` (or `postgres://`) URL.

    The parameters host, port, user, password and dbname of the query win over the same parts of the address, as in
    libpq; every other parameter (sslmode, connect_timeout ...) goes to OPTIONS as text.

    Raises ValueError that says what is wrong with the URL, without any of its values.
    """
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        raise ValueError(_UNREADABLE) from None
    if parts.scheme not in {"postgresql", "postgres"}:
        raise ValueError("a database URL must start with postgresql:// or postgres://")
    if not url.strip().startswith(f"{parts.scheme}://"):
        raise ValueError("a database URL needs two slashes after its scheme")
    if "#" in url:
        raise ValueError("the database URL contains '#': write it as %23")
    if "@" in parts.path:
        raise ValueError("the database URL has '@' behind a '/': write '/' in a user or password as %2F")

    entry: dict[str, object] = {"ENGINE": "django.db.backends.postgresql", **_address(parts.netloc)}
    entry["NAME"] = unquote(parts.path.removeprefix("/"))
    options: dict[str, str] = {}
    for name, value in _query(parts.query):
        if name in _CONNECTION_PARAMETERS:
            entry[_CONNECTION_PARAMETERS[name]] = value
        else:
            options[name] = value
    entry["OPTIONS"] = options

    if not entry["NAME"]:
        raise ValueError("the database URL names no database (postgresql://user@host/NAME)")
    if "/" in str(entry["NAME"]):
        raise ValueError("the database URL has more than one '/' in its path: write '/' in a name as %2F in the query")
    _check_port(str(entry["PORT"]))
    return entry


def redis_py_url(redis_url: str) -> str:
    """The same server in the form that redis-py's `from_url` reads: `redis+socket://` becomes `unix://`.

    `redis://`, `rediss://` and `unix://` URLs are returned as they are. Raises ValueError for another scheme.
    """
    parts = urlsplit(redis_url)
    if parts.scheme in {"redis", "rediss", "unix"}:
        return redis_url
    if parts.scheme != "redis+socket":
        raise ValueError("a Redis URL must start with redis://, rediss://, unix:// or redis+socket://")
    query = [("db" if name == "virtual_host" else name, value) for name, value in parse_qsl(parts.query)]
    if all(name != "db" for name, _ in query):
        query.append(("db", "0"))
    return f"unix://{parts.netloc}{parts.path}?{urlencode(query)}"


def _address(netloc: str) -> dict[str, str]:
    """USER, PASSWORD, HOST and PORT of the part between `//` and `/`; what is absent is empty."""
    credentials, _, address = netloc.rpartition("@")
    if "@" in credentials:
        raise ValueError("the database URL contains more than one '@': write '@' in a password as %40")
    if "," in address:
        raise ValueError("a database URL with more than one host is not supported")
    user, _, password = credentials.partition(":")
    if match := re.fullmatch(r"\[([^\]]*)\](?::(.*))?", address):
        host, port = match[1], match[2] or ""
    elif "[" in address or "]" in address:
        raise ValueError(_UNREADABLE)
    else:
        host, _, port = address.partition(":")
    return {
        "USER": unquote(user),
        "PASSWORD": unquote(password),
        "HOST": unquote(host),
        "PORT": unquote(port),
    }


def _query(query: str) -> list[tuple[str, str]]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise ValueError("the part of the database URL after '?' must be name=value pairs joined by '&'") from None
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("the database URL gives a parameter more than once")
    return pairs


def _check_port(port: str) -> None:
    if port and not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise ValueError("the port of the database URL is not a number from 1 to 65535 (is a password unescaped?)")
