"""How fast an account may charge, and when it pauses by itself.

An account's run begins small (the canary) and grows while its charges end as charges do. Outcomes that say that the
gateway is not well open a breaker: the account pauses, later reads at the gateway, then makes one charge, and goes on.
What time cannot heal (nearly every charge declined, a run many times the usual) waits for a person. Pure decisions on
one small value; `billing.charging.attempts.pace` stores it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from billing.domain.outcomes import SETUP_KINDS, Outcomes


class PaceState(StrEnum):
    CLOSED = "closed"  # charges, as many at once as the allowance says
    OPEN = "open"  # paused by itself until `retry_at`, when the gateway is read
    HALF_OPEN = "half_open"  # the read succeeded: one charge at a time
    HELD = "held"  # waits for a person


CANARY = 4
IN_FLIGHT = 8  # of an account whose operator says nothing else
MOST_ALLOWED = 4096
GROWTH = 3  # so many more at once for each charge that ended well: times four with every round
RUN_OVER = timedelta(minutes=5)  # nothing charged for so long: the next run begins small again
BREAKS_AT = 3
REMEMBERED = 40  # outcomes that the rate of faults is taken from
STEADY = 8  # so many good outcomes after a pause: the next pause is a short one again

PAUSES = tuple(timedelta(seconds=seconds) for seconds in (5, 15, 60, 300, 900))
SETUP_PAUSES = tuple(timedelta(minutes=minutes) for minutes in (15, 30, 60))
PATH_PAUSES = (timedelta(hours=1),)  # a read does not show whether the path is right, so each try is a charge
MOST_PAUSE = timedelta(hours=1)

DECLINES_FROM = 20  # charges of one run
DECLINED_PERCENT = 95
USUALLY_DECLINED_PERCENT = 80  # an account whose charges are mostly declined anyway is not held for it

LET_RUN_FOR = timedelta(hours=24)

SLOT_HORIZON = timedelta(seconds=1)
# Slots are a little wider than the rate asks for, so that a late thread does not put one too many into a second.
_MICROSECONDS = 1_000_000 * 100 // 93


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker has in flight, and may still arm; forgotten at `until` when the worker is gone."""

    charges: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Pace:
    """One account's pace. `reason` is for people; `kind` is a word for programs."""

    state: PaceState = PaceState.CLOSED
    kind: str = ""
    reason: str = ""
    since: datetime | None = None
    retry_at: datetime | None = None
    openings: int = 0  # pauses since the gateway was well for a while
    allowance: int = CANARY
    good: int = 0
    bad: int = 0
    bad_in_a_row: int = 0
    tried: int = 0  # of this run
    declined: int = 0
    usually_tried: int = 0  # of the runs before
    usually_declined: int = 0
    last_charge_at: datetime | None = None
    next_slot_at: datetime | None = None
    let_run_until: datetime | None = None
    shares: Mapping[str, Share] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Terms:
    """What is fixed: `most` in flight of all workers and charges `per_second` (None: no limit), `share_lasts`: how
    long a worker's charges may be in flight at the longest."""

    share_lasts: timedelta
    canary: int = CANARY
    most: int | None = None
    per_second: int | None = None
    pauses: tuple[timedelta, ...] = PAUSES


@dataclass(frozen=True, slots=True)
class Grant:
    """How many charges may be armed now; `slots` are when they may leave, where a rate is set. `probe`: read at the
    gateway instead. `waits`: there may be more in a moment, without anything coming back first."""

    permits: int = 0
    slots: tuple[datetime, ...] = ()
    probe: bool = False
    begins: bool = False
    waits: bool = False


# --- asking ---------------------------------------------------------------------------------------------


def take(
    pace: Pace, *, worker: str, in_flight: int, wanted: int, may_probe: bool, terms: Terms, now: datetime
) -> tuple[Pace, Grant]:
    """What a worker with `in_flight` charges of the account may arm now, at most `wanted`; `may_probe`: it can read at
    the gateway for an account that pauses."""
    latest = now + terms.share_lasts  # later ones are of a clock that was set back
    shares = {name: one for name, one in pace.shares.items() if name != worker and now < one.until <= latest}
    busy = in_flight + sum(share.charges for share in shares.values())
    begins = pace.state is PaceState.CLOSED and not busy and _is_over(pace, now)
    if begins:
        pace = _new_run(pace, terms)
    grant = _grant(pace, busy, wanted, terms, now)
    if grant.probe and not may_probe:
        grant = Grant()
    if grant.probe:  # nobody else probes meanwhile
        pace = replace(pace, retry_at=now + terms.share_lasts)
    if in_flight or grant.permits:
        shares[worker] = Share(in_flight + grant.permits, now + terms.share_lasts)
    return replace(
        pace,
        shares=shares,
        last_charge_at=now if in_flight or (begins and grant.permits) else pace.last_charge_at,
        next_slot_at=grant.slots[-1] + spacing(terms.per_second) if grant.slots else pace.next_slot_at,
    ), replace(grant, begins=begins and grant.permits > 0)


def _grant(pace: Pace, busy: int, wanted: int, terms: Terms, now: datetime) -> Grant:
    match pace.state:
        case PaceState.HELD:
            return Grant()
        case PaceState.OPEN:
            return Grant(probe=_may_probe(pace.retry_at, terms, now))
        case PaceState.HALF_OPEN:
            room = 1 - busy
        case PaceState.CLOSED:
            room = min(pace.allowance, terms.most or MOST_ALLOWED) - busy
    permits = max(min(wanted, room), 0)
    if terms.per_second is None:
        return Grant(permits)
    slots = _slots(pace.next_slot_at, permits, terms.per_second, now)
    return Grant(len(slots), slots, waits=len(slots) < permits)


def _may_probe(retry_at: datetime | None, terms: Terms, now: datetime) -> bool:
    """Also when the time lies further ahead than any pause: the clock was set back since."""
    return retry_at is None or now >= retry_at or retry_at > now + MOST_PAUSE + terms.share_lasts


def spacing(per_second: int | None) -> timedelta:
    return timedelta(microseconds=_MICROSECONDS // per_second) if per_second else timedelta(0)


def _slots(next_at: datetime | None, most: int, per_second: int, now: datetime) -> tuple[datetime, ...]:
    step = spacing(per_second)
    known = next_at is not None and next_at <= now + SLOT_HORIZON + step  # else the clock was set back
    first = max(next_at, now) if known and next_at is not None else now
    times = (first + step * number for number in range(most))
    return tuple(at for at in times if at <= now + SLOT_HORIZON)


def _is_over(pace: Pace, now: datetime) -> bool:
    return pace.last_charge_at is None or now - pace.last_charge_at >= RUN_OVER or now < pace.last_charge_at - RUN_OVER


def _new_run(pace: Pace, terms: Terms) -> Pace:
    tried, declined = pace.usually_tried + pace.tried, pace.usually_declined + pace.declined
    while tried > 2000:
        tried, declined = tried // 2, declined // 2
    return replace(
        pace,
        allowance=terms.canary,
        tried=0,
        declined=0,
        usually_tried=tried,
        usually_declined=declined,
        next_slot_at=None,
    )


# --- learning -------------------------------------------------------------------------------------------


def learn(pace: Pace, outcomes: Outcomes, *, terms: Terms, now: datetime) -> Pace:
    """The pace after these outcomes."""
    if not outcomes.any:
        return pace
    pace = replace(
        pace,
        last_charge_at=now if outcomes.good or outcomes.bad else pace.last_charge_at,
        tried=pace.tried + outcomes.paid + outcomes.declined,
        declined=pace.declined + outcomes.declined,
    )
    match pace.state:
        case PaceState.HELD:
            return pace
        case PaceState.OPEN:
            return _learn_open(pace, outcomes, terms, now)
        case PaceState.HALF_OPEN:
            return _learn_half_open(pace, outcomes, terms, now)
        case PaceState.CLOSED:
            return _learn_closed(pace, outcomes, terms, now)


def _learn_open(pace: Pace, outcomes: Outcomes, terms: Terms, now: datetime) -> Pace:
    """What was in flight when the breaker opened says nothing new; only the probe does."""
    if outcomes.setup and pace.kind not in SETUP_KINDS:
        return _opened(pace, outcomes, terms, now)
    if outcomes.probe_succeeded is None:
        return pace
    if outcomes.probe_succeeded:
        return replace(pace, state=PaceState.HALF_OPEN, retry_at=None, next_slot_at=None)
    return _paused(replace(pace, openings=pace.openings + 1), terms, now, 0)


def _learn_half_open(pace: Pace, outcomes: Outcomes, terms: Terms, now: datetime) -> Pace:
    if outcomes.bad or outcomes.no_token:
        return _opened(pace, outcomes, terms, now)
    if not outcomes.good:
        return pace
    return replace(
        pace,
        state=PaceState.CLOSED,
        kind="",
        reason="",
        since=now,
        allowance=terms.canary,
        good=0,
        bad=0,
        bad_in_a_row=0,
    )


def _learn_closed(pace: Pace, outcomes: Outcomes, terms: Terms, now: datetime) -> Pace:
    good, bad = pace.good + outcomes.good, pace.bad + outcomes.bad
    in_a_row = outcomes.bad if outcomes.good else pace.bad_in_a_row + outcomes.bad
    while good + bad > REMEMBERED:
        good, bad = good // 2, bad // 2
    if outcomes.bad:
        allowance = max(pace.allowance >> min(outcomes.bad, 12), min(terms.canary, pace.allowance))
    else:
        allowance = min(pace.allowance + GROWTH * outcomes.paid, MOST_ALLOWED)
    steady = outcomes.bad == 0 and good >= STEADY
    pace = replace(
        pace,
        good=good,
        bad=bad,
        bad_in_a_row=in_a_row,
        allowance=allowance,
        openings=0 if steady else pace.openings,
    )
    if outcomes.setup or outcomes.no_token or in_a_row >= BREAKS_AT or (bad >= BREAKS_AT and 2 * bad > good):
        return _opened(pace, outcomes, terms, now)
    if _declines_abnormal(pace) and not was_let_run(pace, now):
        reason = (
            f"{pace.declined} of {pace.tried} charges of this run were declined, which is not usual for the account"
        )
        return held(pace, kind="declines", reason=reason, now=now)
    return pace


def _opened(pace: Pace, outcomes: Outcomes, terms: Terms, now: datetime) -> Pace:
    pace = replace(
        pace,
        state=PaceState.OPEN,
        kind=outcomes.kind,
        reason=_reason(outcomes),
        since=pace.since if pace.state is not PaceState.CLOSED else now,
        # A charge in doubt is dearer than a read that failed: the pause after it grows faster.
        openings=pace.openings + (2 if pace.state is PaceState.HALF_OPEN and outcomes.gateway else 1),
        good=0,
        bad=0,
        bad_in_a_row=0,
    )
    return _paused(pace, terms, now, outcomes.retry_after_seconds)


def _paused(pace: Pace, terms: Terms, now: datetime, least_seconds: int) -> Pace:
    pauses = PATH_PAUSES if pace.kind == "path" else SETUP_PAUSES if pace.kind in SETUP_KINDS else terms.pauses
    pause = pauses[min(max(pace.openings, 1), len(pauses)) - 1]
    return replace(pace, retry_at=now + max(pause, min(timedelta(seconds=least_seconds), MOST_PAUSE)))


def _reason(outcomes: Outcomes) -> str:
    what = outcomes.reason or outcomes.kind
    if outcomes.no_token:
        return f"the gateway gave no access token ({what})"
    if outcomes.setup:
        return f"the gateway refuses the account's requests ({what}): its settings or credentials are wrong"
    return f"charges do not get through to the gateway ({what})"


def _declines_abnormal(pace: Pace) -> bool:
    if pace.tried < DECLINES_FROM or pace.declined * 100 < pace.tried * DECLINED_PERCENT:
        return False
    usual = pace.usually_declined * 100 >= pace.usually_tried * USUALLY_DECLINED_PERCENT
    return not (pace.usually_tried >= DECLINES_FROM and usual)


def was_let_run(pace: Pace, now: datetime) -> bool:
    return pace.let_run_until is not None and now < pace.let_run_until


# --- people ---------------------------------------------------------------------------------------------


def held(pace: Pace, *, kind: str, reason: str, now: datetime) -> Pace:
    return replace(pace, state=PaceState.HELD, kind=kind, reason=reason, since=now, retry_at=None)


def let_run(pace: Pace, *, now: datetime) -> Pace:
    """A person lets the account charge: what it was held for does not hold it again for a day; a pause ends with a
    read at the gateway now."""
    if pace.state is PaceState.OPEN:
        return replace(pace, retry_at=now)
    return replace(
        pace,
        state=PaceState.CLOSED,
        kind="",
        reason="",
        since=now,
        tried=0,
        declined=0,
        let_run_until=now + LET_RUN_FOR,
    )
