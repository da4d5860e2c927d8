"""How often a card that declines is tried, across everything that is charged on it.

Card networks fine merchants for tries that a bank will not approve, and each one costs the payer's patience. Our own
limits stay well below the networks'; docs/declines.md names the sources of those.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from billing.domain.declines import DeclineKind


class Network(StrEnum):
    VISA = "visa"
    MASTERCARD = "mastercard"
    OTHER = "other"  # another one, or a card whose number is not known: the strictest of the others' limits


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many declined tries in any span of this length."""

    tries: int
    span: timedelta

    def allows_from(self, tried_at: Sequence[datetime]) -> datetime | None:
        """From when another try stays within the limit; None: at any time. `tried_at` is in any order."""
        newest = sorted(tried_at, reverse=True)
        return newest[self.tries - 1] + self.span if len(newest) >= self.tries else None


_DAY, _MONTH = timedelta(days=1), timedelta(days=30)
A_DAY = Limit(1, _DAY)
A_MONTH = Limit(8, _MONTH)
UNKNOWN_A_MONTH = Limit(4, _MONTH)  # of the declines that give no reason
_VISA = Limit(20, _MONTH)
# Mastercard counts those of one amount; all of a card are counted here, which is never more.
_MASTERCARD = (Limit(10, _DAY), Limit(35, _MONTH))
CAPS: dict[Network, tuple[Limit, ...]] = {
    Network.VISA: (_VISA,),
    Network.MASTERCARD: _MASTERCARD,
    Network.OTHER: (_VISA, *_MASTERCARD),
}
# A try that would be made within this time waits for it. One that would have to wait longer is not made: it is an
# avoided try, and the invoice goes on to its next one.
WAITS_AT_MOST = _DAY


@dataclass(frozen=True, slots=True)
class DeclinedTry:
    """`at` is when it was armed. `own`: on the saved card itself, not on an earlier copy of the same card."""

    at: datetime
    code: str
    kind: DeclineKind
    own: bool = True


@dataclass(frozen=True, slots=True)
class Standing:
    """What the declines of a card say about the next try.

    `frozen_by`: the code of a decline after which the bank approves nothing any more. `rests_until`: when our own
    limits allow a try, which a person or the payer may ask for sooner. `capped_until`: when the network's do.
    `declined_at`: the newest decline that these two count."""

    frozen_by: str | None = None
    rests_until: datetime | None = None
    capped_until: datetime | None = None
    declined_at: datetime | None = None


def network_of(label: str) -> Network:
    """The network by a card's first digits, as far as the label shows them."""
    digits = label.strip()[:4]
    if digits[:1] == "4":
        return Network.VISA
    if (digits[:2].isdigit() and 51 <= int(digits[:2]) <= 55) or (digits.isdigit() and 2221 <= int(digits) <= 2720):
        return Network.MASTERCARD
    return Network.OTHER


def standing(declined: Sequence[DeclinedTry], *, paid_at: datetime | None, network: Network) -> Standing:
    """Where a card stands after its declined tries. `paid_at` is when its last payment was armed: what was declined
    before it says nothing about the card any more, but the networks count it."""
    own = [one for one in declined if one.own and (paid_at is None or one.at > paid_at)]
    hard = [one for one in own if one.kind is DeclineKind.HARD]
    times = [one.at for one in own]
    unknown = [one.at for one in own if one.kind is DeclineKind.UNKNOWN]
    all_times = [one.at for one in declined]
    return Standing(
        frozen_by=max(hard, key=lambda one: one.at).code if hard else None,
        rests_until=_latest(A_DAY.allows_from(times), A_MONTH.allows_from(times), UNKNOWN_A_MONTH.allows_from(unknown)),
        capped_until=_latest(*(cap.allows_from(all_times) for cap in CAPS[network])),
        declined_at=_latest(*all_times),
    )


def _latest(*moments: datetime | None) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)


class Held(StrEnum):
    """Why a try is not made for the sake of the card's declines."""

    FROZEN = "frozen"
    RESTS = "rests"  # for a day at most: the try waits
    USED_UP = "used_up"  # for longer: the try is avoided


def why_held(found: Standing, *, asked_for: bool, now: datetime) -> tuple[Held, datetime] | None:
    """Why the card is not tried at `now`, and from when it may be; None: it may. A frozen card's time is `now`, for no
    time ends it. `asked_for`: somebody wants this try, so that our own limits do not count.

    After a decline that is still to come the clock was set back: then times forbid nothing."""
    if found.frozen_by is not None:
        return Held.FROZEN, now
    until = _latest(found.capped_until, None if asked_for else found.rests_until)
    set_back = found.declined_at is not None and found.declined_at > now
    if until is None or until <= now or set_back:
        return None
    return (Held.RESTS if until - now <= WAITS_AT_MOST else Held.USED_UP), until
