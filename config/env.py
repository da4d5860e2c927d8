"""Typed readers of environment variables.

Each reader fails with the variable's name and the value it got, except for secrets, whose value is
never repeated. A secret `NAME` may come from the file that `NAME_FILE` names.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def text(name: str, default: str | None = None) -> str:
    value = os.environ.get(name, "").strip() or default
    if value is None:
        raise ImproperlyConfigured(f"{name} is not set and has no default.")
    return value


def optional(name: str) -> str | None:
    return os.environ.get(name, "").strip() or None


def secret(name: str) -> str | None:
    """The value of `NAME`, or the content of the file `NAME_FILE` names; None when neither is set."""
    if value := optional(name):
        return value
    path = optional(f"{name}_FILE")
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ImproperlyConfigured(f"{name}_FILE={path!r} cannot be read: {error.strerror}.") from error


def secrets_of(prefix: str) -> dict[str, str]:
    """The secrets whose names begin with `prefix`, by the rest of their names."""
    found = {name.removesuffix("_FILE") for name in os.environ if name.startswith(prefix)}
    return {name.removeprefix(prefix): value for name in sorted(found) if (value := secret(name))}


def boolean(name: str, *, default: bool = False) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if not value:
        return default
    if value in ("1", "true", "yes", "on"):
        return True
    if value in ("0", "false", "no", "off"):
        return False
    raise ImproperlyConfigured(f"{name}={value!r} is not a yes or no: use 1 or 0.")


def integer(name: str, default: int, *, least: int, most: int) -> int:
    value = os.environ.get(name, "").strip()
    if not value:
        return default
    return _whole_number(name, value, least=least, most=most)


def integers(
    name: str, default: Iterable[int], *, least: int, most: int, none_allowed: bool = False
) -> tuple[int, ...]:
    """A comma-separated list of whole numbers, each between `least` and `most`; or the word `none`, if allowed."""
    value = os.environ.get(name, "").strip()
    if not value:
        return tuple(default)
    if none_allowed and value == "none":
        return ()
    return tuple(_whole_number(name, part.strip(), least=least, most=most) for part in value.split(","))


def names(name: str, default: Iterable[str] = ()) -> list[str]:
    """A comma-separated list of words."""
    value = os.environ.get(name, "").strip()
    return [part.strip() for part in value.split(",") if part.strip()] if value else list(default)


def _whole_number(name: str, value: str, *, least: int, most: int) -> int:
    try:
        number = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name}={value!r} is not a whole number.") from None
    if not least <= number <= most:
        raise ImproperlyConfigured(f"{name}={number} is not between {least} and {most}.")
    return number
