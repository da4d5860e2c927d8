"""Secrets at rest: Fernet (AES-128-CBC with HMAC-SHA-256) under the keys of KITARAN_ENCRYPTION_KEYS.

Rows are written with the first key and read with any, so keys are rotated by putting a new one in front.
"""

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class SecretUnreadableError(Exception):
    """A stored secret was written with a key that is not in KITARAN_ENCRYPTION_KEYS."""


def encrypt(secret: str) -> str:
    return _box(tuple(settings.KITARAN_ENCRYPTION_KEYS)).encrypt(secret.encode()).decode("ascii")


def decrypt(stored: str) -> str:
    try:
        return _box(tuple(settings.KITARAN_ENCRYPTION_KEYS)).decrypt(stored.encode()).decode()
    except InvalidToken:
        raise SecretUnreadableError(
            "A stored secret cannot be read: KITARAN_ENCRYPTION_KEYS does not hold the key it was written with."
        ) from None


@lru_cache(maxsize=4)
def _box(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])
