"""Everything about the gateway that can be chosen, with the defaults of a well-behaved one.

A switch is set at start (``--set name=value``), while running (``POST /_simulator/switches``) or for one customer
(``POST /_simulator/customers/<id>/switches``). Every value is read by a reader that refuses what it does not know.
"""

# ruff: noqa: RUF009  (each default is a field that carries its reader)

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final

from rm_gateway.simulator.outcomes import OUTCOMES, OUTCOMES_OF_REFUNDS

AUTO: Final = "auto"
NEVER: Final = "never"

Reader = Callable[[Any], Any]
Refused = tuple[int, str]


class SwitchError(ValueError):
    """A switch that does not exist, or a value that it does not take; the message names both."""


def number(*, minimum: float = 0) -> Reader:
    """A number of at least ``minimum``."""

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not minimum <= value < 1e12:
            raise SwitchError(f"a number from {minimum:g} is needed, not {json.dumps(value)}")
        return value

    return read


def whole(*, minimum: int = 0) -> Reader:
    """A whole number of at least ``minimum``."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise SwitchError(f"a whole number from {minimum} is needed, not {json.dumps(value)}")
        return value

    return read


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise SwitchError(f"true or false is needed, not {json.dumps(value)}")
    return value


def one_of(*words: str) -> Reader:
    """One of a few words."""

    def read(value: Any) -> str:
        if value not in words:
            raise SwitchError(f"one of {', '.join(words)} is needed, not {json.dumps(value)}")
        return str(value)

    return read


def some_of(*words: str) -> Reader:
    """A list of words, or one word."""
    single = one_of(*words)

    def read(value: Any) -> tuple[str, ...]:
        return tuple(single(word) for word in ([value] if isinstance(value, str) else listed(value)))

    return read


def listed(value: Any) -> list[Any]:
    """A list."""
    if not isinstance(value, (list, tuple)):
        raise SwitchError(f"a list is needed, not {json.dumps(value)}")
    return list(value)


def seconds_or_never(value: Any) -> float | str:
    """Seconds, or the word never."""
    return NEVER if value == NEVER else float(number()(value))


def duration(value: Any) -> tuple[float, float]:
    """Seconds, a pair ``[from, to]``, or text as ``1.5`` or ``22-62``."""
    if isinstance(value, str):
        try:
            value = [float(part) for part in value.split("-")]
        except ValueError:
            raise SwitchError(f"seconds or FROM-TO are needed, not {json.dumps(value)}") from None
    if not isinstance(value, (list, tuple)):
        value = [value]
    bounds = [float(number()(bound)) for bound in value]
    if len(bounds) not in (1, 2) or bounds[0] > bounds[-1]:
        raise SwitchError(f"seconds or [from, to] are needed, not {json.dumps(value)}")
    return bounds[0], bounds[-1]


def refusal(value: Any) -> Refused:
    """An HTTP status and a code: ``[400, "INVALID_REQUEST"]``."""
    if not isinstance(value, (list, tuple)) or len(value) != 2 or not isinstance(value[1], str):
        raise SwitchError(f'a pair as [400, "CODE"] is needed, not {json.dumps(value)}')
    status = whole(minimum=200)(value[0])
    if status > 599:
        raise SwitchError(f"an HTTP status from 200 to 599 is needed, not {status}")
    return status, value[1]


def refusal_or_none(value: Any) -> Refused | None:
    """As ``refusal``; null serves the call."""
    return None if value is None else refusal(value)


def outcome(value: Any) -> Any:
    """``auto``, a name, a list of names to use up, or weights by name (``auto`` counts as a name)."""
    name = one_of(AUTO, *OUTCOMES)
    if isinstance(value, Mapping):
        weights = {str(name(key)): float(number()(weight)) for key, weight in value.items()}
        if sum(weights.values()) <= 0:
            raise SwitchError("weights that add up to more than 0 are needed")
        return weights
    return tuple(name(part) for part in value) if isinstance(value, (list, tuple)) else name(value)


def _switch(default: Any, reader: Reader) -> Any:
    return field(default=default, metadata={"reader": reader})


ENCODINGS: Final = ("post_json", "get_flat", "get_json", "get_brackets")
NOTIFY_FAULTS: Final = ("duplicate", "late", "lost", "before_response", "out_of_order", "bad_signature", "unsigned")


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """All switches. Durations are seconds; a pair of an HTTP status and a code is how a refusal looks."""

    # requests
    charge_path: str = _switch("both", one_of("both", "customer", "recurring"))
    timestamp_window: float = _switch(120, number())  # 0: not enforced
    timestamp_format: str = _switch("seconds", one_of("seconds", "any"))
    nonce_window: float = _switch(120, number())  # 0: not enforced
    body_check: str = _switch("recanonicalise", one_of("recanonicalise", "exact"))
    signature_check: bool = _switch(True, flag)
    token_lifetime: int = _switch(2591999, whole(minimum=1))
    refresh_rotation: bool = _switch(True, flag)
    error_signature: Refused = _switch((400, "INVALID_REQUEST_SIGNATURE"), refusal)
    error_timestamp: Refused = _switch((400, "INVALID_TIMESTAMP"), refusal)
    error_nonce: Refused = _switch((400, "REQUEST_DUPLICATE"), refusal)
    error_unbound: Refused | None = _switch((400, "INVALID_REQUEST"), refusal_or_none)
    error_inactive: Refused = _switch((400, "INVALID_REQUEST"), refusal)
    error_unknown: Refused = _switch((404, "INVALID_REQUEST"), refusal)
    # charges
    outcome: Any = _switch(AUTO, outcome)
    latency: tuple[float, float] = _switch((0.0, 0.0), duration)
    execute: str = _switch("start", one_of("start", "end"))
    settle_after: float = _switch(5, number())
    failed_envelope: str = _switch("success", one_of("success", "error"))
    error_failed: Refused = _switch((400, "PAYMENT_FAIL"), refusal)
    error_charge: Refused = _switch((400, "BANK_ERROR"), refusal)  # of the outcomes error_before and error_after
    failed_becomes_success: bool = _switch(False, flag)
    long_title: str = _switch("refuse", one_of("refuse", "truncate"))
    echo: bool = _switch(True, flag)
    order_currency: bool = _switch(True, flag)
    nanoseconds: bool = _switch(False, flag)
    trickle_interval: float = _switch(1, number())
    huge_bytes: int = _switch(32 * 1024 * 1024, whole(minimum=1000))
    charge_limit: int = _switch(0, whole())  # charges per second and access token; 0: no limit
    # reading
    orders_visible_after: float | str = _switch(0, seconds_or_never)
    page_size: int = _switch(100, whole(minimum=1))
    query_delay: float = _switch(0, number())
    order_query_limit: int = _switch(3, whole())  # per order_query_window and access token; 0: no limit
    order_query_window: float = _switch(5, number())
    # binding
    redirect: str = _switch("as_chosen", one_of("as_chosen", "failed", "cancelled", NEVER))
    redirect_reason: str = _switch("CARD_DECLINED", str)
    # checkouts
    checkout_outcome: str = _switch(AUTO, one_of(AUTO, *OUTCOMES_OF_REFUNDS))  # of the call that makes the page
    checkout_lifetime: float = _switch(600, number())
    checkout_pays_late: bool = _switch(False, flag)
    error_order_duplicate: Refused = _switch((400, "ORDER_ID_DUPLICATE"), refusal)
    # refund and reverse
    refund_outcome: str = _switch(AUTO, one_of(AUTO, *OUTCOMES_OF_REFUNDS))  # of refunds and reversals
    refund_partial: bool = _switch(True, flag)
    reverse_window: float = _switch(900, number())
    # RM's own recurring runs and notifies
    first_charge: str = _switch("next_target", one_of("next_target", "at_bind"))
    failed_retries: int = _switch(3, whole())
    recurring_runs: bool = _switch(True, flag)
    notify: tuple[str, ...] = _switch(("post_json", "get_flat"), some_of(*ENCODINGS))
    notify_faults: tuple[str, ...] = _switch((), some_of(*NOTIFY_FAULTS))
    notify_delay: float = _switch(3, number())
    notify_order_suffix: bool = _switch(True, flag)

    def changed(self, changes: Mapping[str, Any]) -> Switches:
        """These switches with some of them set. Raises SwitchError naming the switch; nothing is set then."""
        values = {}
        for name, value in changes.items():
            reader = _READERS.get(name)
            if reader is None:
                raise SwitchError(f"there is no switch {name!r}; there are: {', '.join(sorted(_READERS))}")
            try:
                values[name] = reader(value)
            except SwitchError as error:
                raise SwitchError(f"switch {name}: {error}") from None
        return replace(self, **values)

    def as_dict(self) -> dict[str, Any]:
        """What ``changed`` takes."""
        return asdict(self)


_READERS: Final[dict[str, Reader]] = {entry.name: entry.metadata["reader"] for entry in fields(Switches)}

PROFILES: Final[dict[str, dict[str, Any]]] = {
    "default": {},
    "hostile": {
        "echo": False,
        "order_currency": False,
        "nanoseconds": True,
        "orders_visible_after": 1800,
        "timestamp_window": 0,
        "timestamp_format": "any",
        "nonce_window": 0,
        "error_signature": [400, "INVALID_REQUEST"],
        "error_nonce": [400, "INVALID_REQUEST"],
        "error_unbound": [400, "INVALID_REQUEST"],
        "error_inactive": [400, "INVALID_REQUEST"],
        "error_unknown": [400, "INVALID_REQUEST"],
        "error_failed": [400, "INVALID_REQUEST"],
        "failed_becomes_success": True,
        "checkout_pays_late": True,
        "page_size": 2,
        "refund_partial": False,
        "notify_faults": ["duplicate", "late"],
        "notify_order_suffix": False,
    },
}


def profile(name: str) -> Switches:
    """The switches of a profile."""
    return Switches().changed(PROFILES[name])
