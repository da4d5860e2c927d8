"""Public ids and charge markers.

A public id is a prefix, then 26 characters of Crockford's base 32: 48 bits of milliseconds since 1970
(so ids sort by the time they were made) and 80 random bits (so nobody can guess the next one).
"""

import secrets
from datetime import datetime

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_MARKER_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MARKER_LENGTH = 12


def new_id(prefix: str, now: datetime) -> str:
    """A fresh public id such as `inv_01k9…`; `now` is an aware instant."""
    number = (int(now.timestamp() * 1000) << 80) | secrets.randbits(80)
    digits = [""] * 26
    for position in range(25, -1, -1):
        digits[position] = _CROCKFORD[number & 31]
        number >>= 5
    return f"{prefix}_{''.join(digits)}"


def new_marker() -> str:
    """Twelve random characters of `0-9A-Z` (62 bits) that name one attempt in the gateway's records.

    There is a digit and a letter among them, so that no word and no number looks like one."""
    while True:
        number = secrets.randbelow(36**MARKER_LENGTH)
        characters = []
        for _ in range(MARKER_LENGTH):
            number, digit = divmod(number, 36)
            characters.append(_MARKER_ALPHABET[digit])
        marker = "".join(characters)
        if not (marker.isalpha() or marker.isdigit()):
            return marker
