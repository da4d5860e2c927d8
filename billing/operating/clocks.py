"""The breaker of clocks: nothing falls due, and nothing is charged or refunded, by a clock that may be wrong.

1. Every answer of a gateway, and now and then a question of its own (`ask_gateways`), says what time it is there. It is
   kept by gateway and machine, as the instant at which the machine was started (`domain/clocks.py`).
2. Opening, arming and arming a refund ask (`clock_refusal`, `addresses_not_to_open`) before they write anything.
3. While the clocks disagree nothing is started, and `/health/` says by how much. It goes on by itself once they have
   agreed for a while.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection

from billing.domain.clocks import FRESH, Breaker, ClockRefusal, Reading, Span, judge, newest
from billing.gateway.connection import Gateway
from billing.gateway.proving import ask_the_time
from billing.gateway.sending_clock import ASKED_AGAIN, clock, machine, uptime
from billing.models import GatewayAccount, GatewayClock

logger = logging.getLogger(__name__)

# A reading that is only newer is kept no more often than this.
KEPT_EVERY = timedelta(seconds=60)
ASKED_WHILE_RIGHT = timedelta(hours=6)
# A machine that saw a wrong clock and has sent no heartbeat since is not shown for ever.
SHOWN_FOR = timedelta(minutes=15)
FORGOTTEN_AFTER = timedelta(days=30)
ASKERS = 8
READING = ("started_earliest", "started_latest", "uptime")
_asked_at: dict[str, timedelta] = {}


def tolerance() -> timedelta:
    """How far apart the clocks may be; nothing: they are not compared."""
    return timedelta(seconds=settings.KITARAN_CLOCK_TOLERANCE_SECONDS)


def clock_refusal(api_url: str, *, gateway: Gateway, now: datetime) -> ClockRefusal | None:
    """Why no money may be asked for at `now`, the database's time; None when its clock agrees with the gateway's.

    The gateway's clock must have been seen within the last hour. Writes what is new of the breaker, in the caller's
    transaction. No network."""
    if not tolerance():
        return None
    row = GatewayClock.objects.filter(api_url=api_url, machine=machine()).first()
    return _judge(api_url, row, gateway.clock_reading, now, FRESH)


def addresses_not_to_open(now: datetime) -> list[str]:
    """The gateways' addresses for whose accounts no period is opened at `now`: the clock is wrong, or was never
    compared with theirs since this machine was started. No network."""
    return [one for one, refusal in _judge_all(now).items() if refusal]


def addresses_off(now: datetime) -> list[str]:
    """Those by whose clocks the database's is wrong at `now`. What is claimed, postponed or swept by a clock that is
    ahead would wait for as long as it was ahead. No network."""
    return [one for one, refusal in _judge_all(now).items() if refusal in (ClockRefusal.OFF, ClockRefusal.SETTLING)]


def _judge_all(now: datetime) -> dict[str, ClockRefusal | None]:
    if not tolerance():
        return {}
    rows = {row.api_url: row for row in GatewayClock.objects.filter(machine=machine())}
    addresses = GatewayAccount.objects.order_by("api_url").values_list("api_url", flat=True).distinct()
    return {one: _judge(one, rows.get(one), None, now, None) for one in addresses}


def is_known_to_be_wrong(api_url: str, now: datetime) -> bool:
    """Whether some machine found, a moment ago, that the clock disagrees with this gateway's; or this one finds it."""
    if not tolerance():
        return False
    rows = GatewayClock.objects.filter(api_url=api_url)
    if rows.filter(ahead__isnull=False, checked_at__gte=now - SHOWN_FOR).exists():
        return True
    return api_url in addresses_off(now)


def ask_gateways(*, now: datetime) -> None:
    """Reads the clocks of those gateways that this machine has not seen, or not lately, or with which it disagrees.

    `now` is the database's. Needs no credentials. Holds no connection to the database meanwhile; call it outside of
    transactions."""
    if not tolerance():
        return
    rows = {row.api_url: row for row in GatewayClock.objects.filter(machine=machine())}
    addresses = GatewayAccount.objects.order_by("api_url").values_list("api_url", flat=True).distinct()
    wanted = [one for one in addresses if _is_wanted(one, rows.get(one))]
    if not wanted:
        return
    if not connection.in_atomic_block:
        connection.close()
    with ThreadPoolExecutor(ASKERS, thread_name_prefix="clock") as pool:
        readings = list(pool.map(ask_the_time, wanted))
    for api_url, reading in zip(wanted, readings, strict=True):
        if reading is None:
            logger.warning("clocks: the gateway at %s sends no time", api_url)
        else:  # the breaker is left to whoever wants to begin something
            _write(api_url, reading, Breaker(), now, columns=READING)
    GatewayClock.objects.exclude(machine=machine()).filter(checked_at__lt=now - FORGOTTEN_AFTER).delete()


def sentences(now: datetime) -> list[str]:
    """A sentence for each gateway with whose clock the database's disagrees; for health and the start page."""
    wrong = GatewayClock.objects.filter(ahead__isnull=False, checked_at__gte=now - SHOWN_FOR)
    worst: dict[str, GatewayClock] = {}
    for row in wrong.order_by("checked_at"):
        worst[row.api_url] = row
    return [_sentence(row) for _, row in sorted(worst.items())]


def _sentence(row: GatewayClock) -> str:
    ahead = row.ahead or timedelta(0)
    way = "ahead of" if ahead > timedelta(0) else "behind"
    return (
        f"the clock is {abs(ahead) // timedelta(seconds=1)} s {way} the gateway's at {row.api_url}. Nothing falls "
        "due, and nothing is charged or refunded, until the clocks have agreed for a minute"
    )


def _is_wanted(api_url: str, row: GatewayClock | None) -> bool:
    """Asked once in `ASKED_AGAIN` at most, whatever comes of it."""
    at = uptime()
    asked = _asked_at.get(api_url)
    if asked is not None and at - asked < ASKED_AGAIN:
        return False
    if row is not None and row.uptime <= at:
        old = at - row.uptime
        if old < ASKED_AGAIN or (row.ahead is None and old < ASKED_WHILE_RIGHT):
            return False
    _asked_at[api_url] = at
    return True


def _judge(
    api_url: str, row: GatewayClock | None, reading: Reading | None, now: datetime, no_older_than: timedelta | None
) -> ClockRefusal | None:
    at = uptime()
    known = [one for one in (reading, _reading(row)) if one is not None]
    before = Breaker() if row is None else Breaker(row.ahead, row.agrees_since)
    best = newest(known, at)
    refusal, after = judge(
        database=clock.machine_started(now),
        reading=best,
        breaker=before,
        uptime=at,
        tolerance=tolerance(),
        no_older_than=no_older_than,
    )
    if best is not None and _is_new(row, best, before, after, now):
        _write(api_url, best, after, now, columns=[*READING, "ahead", "agrees_since", "checked_at"])
    if refusal in (ClockRefusal.OFF, ClockRefusal.SETTLING):
        clock.doubt()
    if (before.ahead is None) != (after.ahead is None):
        # What began by it, and what was read by it since, does not count.
        GatewayAccount.objects.filter(api_url=api_url, quarantined_at__isnull=False).update(
            quarantine_clock_doubted=True
        )
        how = f"off by {after.ahead}" if after.ahead else "right again"
        logger.log(logging.ERROR if after.ahead else logging.INFO, "clocks: %s: the clock is %s", api_url, how)
    return refusal


def _is_new(row: GatewayClock | None, best: Reading, before: Breaker, after: Breaker, now: datetime) -> bool:
    """Whether there is anything that other processes should know; a reading that is as good as the last is not."""
    if row is None or row.uptime > uptime() or best.uptime - row.uptime >= KEPT_EVERY:
        return True
    if after.agrees_since != before.agrees_since or (after.ahead is None) != (before.ahead is None):
        return True
    return after.ahead is not None and abs(now - row.checked_at) >= KEPT_EVERY


def _write(api_url: str, reading: Reading, breaker: Breaker, now: datetime, *, columns: Sequence[str]) -> None:
    row = GatewayClock(
        api_url=api_url,
        machine=machine(),
        started_earliest=reading.started.earliest,
        started_latest=reading.started.latest,
        uptime=reading.uptime,
        ahead=breaker.ahead,
        agrees_since=breaker.agrees_since,
        checked_at=now,
    )
    GatewayClock.objects.bulk_create(
        [row], update_conflicts=True, unique_fields=["api_url", "machine"], update_fields=columns
    )


def _reading(row: GatewayClock | None) -> Reading | None:
    return None if row is None else Reading(Span(row.started_earliest, row.started_latest), row.uptime)
