"""When a webhook is tried, and what its answer means. Pure: instants are arguments, chance is an argument."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

# After the first try, the second and so on. Ten tries in three days, when each one fails.
WAITS = (
    timedelta(seconds=5),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=6),
    timedelta(hours=12),
    timedelta(hours=20),
    timedelta(hours=31),
)
MOST_TRIES = len(WAITS) + 1
# After the first try; no wait, and no Retry-After, goes beyond it.
LAST_TRY_AFTER = timedelta(days=3)
SPREAD_PERMILLE = 200
# An endpoint without one success for so long is disabled.
DISABLED_AFTER = timedelta(days=5)
# How long the previous secret signs too, after a rotation.
BOTH_SECRETS_FOR = timedelta(hours=24)
KEPT_OF_AN_ANSWER = 1024

TEST_KIND = "webhook_endpoint.test"


class EndpointState(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"  # by a person: events wait
    DISABLED = "disabled"  # by itself: events wait
    DELETED = "deleted"  # final: nothing is sent any more


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"  # the last try failed
    CANCELED = "canceled"  # the endpoint was deleted


class Disabled(StrEnum):
    """Why an endpoint was disabled."""

    GONE = "gone"
    FAILING = "failing"


class TryError(StrEnum):
    """Why a try brought no success."""

    STATUS = "status"  # an answer other than 2xx
    REDIRECT = "redirect"
    TIMEOUT = "timeout"
    NAME = "name_not_resolved"
    CONNECTION = "connection"
    TLS = "tls"
    FORBIDDEN_ADDRESS = "forbidden_address"
    BAD_ANSWER = "bad_answer"  # not HTTP, or headers without end
    NOT_SENT = "not_sent"  # nothing was sent, by a fault of ours


@dataclass(frozen=True, slots=True)
class Tried:
    """What one try came to. `status` is None without an answer; `answer` is cut and redacted."""

    status: int | None
    error: TryError | None
    answer: str = ""
    retry_after: str = ""

    @property
    def succeeded(self) -> bool:
        return self.error is None


def error_of(status: int) -> TryError | None:
    """2xx is success; nobody is followed anywhere else."""
    if 200 <= status < 300:
        return None
    return TryError.REDIRECT if 300 <= status < 400 else TryError.STATUS


def next_try(*, tries: int, first_at: datetime, now: datetime, retry_after: str, chance: int) -> datetime | None:
    """When to try again after the `tries`-th try of a round failed at `now`; None: that was the last.

    `first_at` is the round's first try; `chance`, 0 to 200, spreads the waits by a tenth either way. What the endpoint
    asks for (`Retry-After`, seconds or a date) lengthens a wait and never shortens it."""
    end = first_at + LAST_TRY_AFTER
    if tries >= MOST_TRIES or now >= end:
        return None
    wait = WAITS[max(tries, 1) - 1] * (1000 - SPREAD_PERMILLE // 2 + chance) // 1000
    asked = asked_wait(retry_after, now)
    return min(now + max(wait, asked), end)


def asked_wait(retry_after: str, now: datetime) -> timedelta:
    """What a `Retry-After` header asks for; nothing for one that is absent, past or malformed."""
    text = retry_after.strip()
    if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        return timedelta(seconds=int(text))
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return timedelta(0)
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(at - now, timedelta(0))


def must_disable(*, status: int | None, failing_since: datetime, now: datetime) -> Disabled | None:
    """Whether a failed try disables its endpoint. 410: it is gone for good and says so."""
    if status == 410:
        return Disabled.GONE
    return Disabled.FAILING if now - failing_since >= DISABLED_AFTER else None


_SECRETS = re.compile(
    r"\b(?:whsec|kit|sk|pk|rk)_[A-Za-z0-9+/=_-]{6,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}"
    r"|(?i:\b(?:bearer|basic)\s+)[A-Za-z0-9+/=._~-]{6,}"
    r"|(?i:\b(?:password|passwd|secret|token|api[_-]?key|authorization)\b[\"']?\s*[:=]\s*[\"']?(?:bearer\s+|basic\s+)?)"
    r"[^\s\"',;&}]+"
    r"|\b[A-Za-z0-9+/_-]{40,}={0,2}"
)
_EMAIL = re.compile(r"[A-Za-z0-9._%+'-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+")
_DIGITS = re.compile(r"(?<!\d)\d(?:[ -]?\d){8,}(?!\d)")


def kept(answer: bytes) -> str:
    """The beginning of an answer as it is kept: at most 1 KiB, printable, without secrets, e-mails, cards, phones.

    More is looked at than is kept, so that nothing is cut in the middle and thereby not recognised."""
    text = answer[: 4 * KEPT_OF_AN_ANSWER].decode("utf-8", "replace")
    text = "".join(one if one.isprintable() or one in "\n\t" else "\ufffd" for one in text)
    for pattern, words in ((_EMAIL, "[e-mail]"), (_SECRETS, "[secret]"), (_DIGITS, "[digits]")):
        text = pattern.sub(words, text)
    return text.encode()[:KEPT_OF_AN_ANSWER].decode("utf-8", "ignore")
