"""watch: finds money that comes after the end, when nothing is due that would have a card read.

1. Each account's cards whose read has come are leased, and each day whose report is to be read (database).
2. Cards and reports are read, one job an account for each, several accounts at a time (network, no database).
3. What was read is written down; payments of a report that nothing explains are asked about by a further job.

An account or card that fails is logged and tried again, less and less often; the others go on without it.
"""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from billing.charging.reading import report_days
from billing.charging.reading.fetch import fetch
from billing.charging.reading.known import CardRead, KnownCard, load
from billing.charging.reading.record import record
from billing.domain.late_money import next_watch, pause_after
from billing.gateway.connection import CardNotKnownError, Gateway, GatewayUnavailableError, gateway_for
from billing.gateway.connection import clock as gateway_clock
from billing.models import GatewayAccount
from billing.models.bulk import watching
from billing.models.bulk.sql import CONNECTION_LOST, NOT_DONE_YET
from billing.operating import troubles
from billing.operating.clocks import addresses_off
from billing.operating.tuning import Tuning

logger = logging.getLogger(__name__)

WORK = "watch"
READERS = 8
LEASE = timedelta(minutes=10)
# Of one account in one run, so that reading cards on which nothing is due never crowds out what is.
CARDS_AT_MOST = 20
READ_FOR_SECONDS = 60

# What to do without a database, and what to do with its result; that may name a further job.
Job = tuple[Callable[[], Any], Callable[[Any], "Job | None"]]


@dataclass(slots=True)
class Watched:
    """How many cards and reports were read, and how many could not be."""

    cards: int = 0
    days: int = 0
    failed: int = 0
    closed: int = 0


def watch(*, tuning: Tuning, clock: Callable[[], datetime], should_stop: Callable[[], bool]) -> Watched:
    """One run over all accounts; what is left over is for the next run."""
    done = Watched()
    if should_stop():
        return done
    gateway_clock.align(clock())
    with ThreadPoolExecutor(READERS, thread_name_prefix="watcher") as pool:
        under_way: dict[Future[Any], tuple[GatewayAccount, Callable[[Any], Job | None]]] = {}
        # By a wrong clock a step of the schedule would pass, or a day seem over, that is still to come.
        for account in GatewayAccount.objects.exclude(api_url__in=addresses_off(clock())).order_by("pk"):
            for job in _jobs_of(account, done, tuning=tuning, clock=clock):
                under_way[pool.submit(job[0])] = (account, job[1])
        while under_way:
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                account, finish = under_way.pop(future)
                further = _isolated(account, done, partial(_finish, finish, future), clock=clock)
                if further:
                    under_way[pool.submit(further[0])] = (account, further[1])
    return done


def _finish(finish: Callable[[Any], Job | None], future: Future[Any]) -> Job | None:
    return finish(future.result())


def _isolated(account: GatewayAccount, done: Watched, work: Callable[[], Any], *, clock: Callable[[], datetime]) -> Any:
    """What `work` returns; None when it raised. Its leases end by themselves, and it is done again."""
    try:
        return work()
    except CONNECTION_LOST:
        raise
    except Exception as error:
        logger.exception("watch: account %s failed", account.public_id)
        troubles.note(account.pk, WORK, error, now=clock())  # it goes when none was noted for long
        done.failed += 1
        return None


def _jobs_of(account: GatewayAccount, done: Watched, *, tuning: Tuning, clock: Callable[[], datetime]) -> list[Job]:
    jobs = [
        _isolated(account, done, partial(_watch_cards, account, done, tuning=tuning, clock=clock), clock=clock),
        _isolated(account, done, partial(_read_reports, account, done, tuning=tuning, clock=clock), clock=clock),
    ]
    return [job for job in jobs if job]


# --- cards ------------------------------------------------------------------------------------------------


def _watch_cards(
    account: GatewayAccount, done: Watched, *, tuning: Tuning, clock: Callable[[], datetime]
) -> Job | None:
    claims = watching.claim_cards(account.pk, now=clock(), lease=LEASE, limit=CARDS_AT_MOST)
    if not claims:
        return None
    gateway = gateway_for(account)
    known = load([one.card_id for one in claims])

    def finish(reads: dict[int, CardRead | GatewayUnavailableError]) -> None:
        for one in claims:
            work = partial(_finish_card, one, reads.get(one.card_id), done, tuning, clock())
            _isolated(account, done, work, clock=clock)

    return (lambda: _read_cards(gateway, list(known.values()))), finish


def _read_cards(gateway: Gateway, cards: Sequence[KnownCard]) -> dict[int, CardRead | GatewayUnavailableError]:
    """Reads the cards one after the other. A gateway that does not answer is not asked about the rest of them."""
    until = time.monotonic() + READ_FOR_SECONDS
    reads: dict[int, CardRead | GatewayUnavailableError] = {}
    for card in cards:
        if time.monotonic() > until:
            break
        try:
            reads[card.id] = fetch(gateway, card)
        except CardNotKnownError as error:
            reads[card.id] = error
        except GatewayUnavailableError as error:
            reads[card.id] = error
            break
        except Exception as error:
            logger.exception("watch: reading card %s failed", card.public_id)
            reads[card.id] = GatewayUnavailableError(f"reading failed: {type(error).__name__}")
    return reads


def _finish_card(
    one: watching.Watch,
    read: CardRead | GatewayUnavailableError | None,
    done: Watched,
    tuning: Tuning,
    now: datetime,
) -> None:
    """Records what was read, and plans the next read. A card that was not reached comes first in the next run."""
    if read is None:
        watching.finish_card(one, next_at=now, failed=False)
        return
    closed: int | None = None
    if isinstance(read, CardRead):
        closed = _record(read, tuning, now)
    else:
        logger.warning("watch: card %s could not be read: %s", one.card_id, read)
    if closed is None:
        done.failed += 1
        # Once its schedule is over, a card that still cannot be read is left to the daily reports.
        again = now + pause_after(one.failures + 1) if next_watch(one.watch_from_at, now) else None
        watching.finish_card(one, next_at=again, failed=True)
        return
    done.cards += 1
    done.closed += closed
    watching.finish_card(one, next_at=next_watch(one.watch_from_at, now), failed=False)


def _record(read: CardRead, tuning: Tuning, now: datetime) -> int | None:
    """How many attempts the read changed; None when it could not be recorded."""
    try:
        return sum(record(read, read.findings, tuning=tuning, now=now).values())
    except NOT_DONE_YET:
        raise
    except Exception:
        logger.exception("watch: the read of card %s could not be recorded", read.card.public_id)
        return None


# --- reports ----------------------------------------------------------------------------------------------


def _read_reports(
    account: GatewayAccount, done: Watched, *, tuning: Tuning, clock: Callable[[], datetime]
) -> Job | None:
    now = clock()
    days = report_days.claim(account, now=now, lease=LEASE)
    if not days:
        return None
    gateway = gateway_for(account)

    def listed(lists: dict[int, report_days.Listed]) -> Job:
        asking = {day.id: report_days.not_known_yet(day, lists.get(day.id)) for day in days}
        ask = report_days.Asking(gateway, asking)
        return ask, lambda answers: finish(lists, answers)

    def finish(lists: dict[int, report_days.Listed], answers: report_days.Answers) -> None:
        for day in days:
            _isolated(account, done, partial(finish_day, day, lists.get(day.id), answers), clock=clock)

    def finish_day(day: watching.Day, payments: report_days.Listed, answers: report_days.Answers) -> None:
        read = report_days.finish(day, payments, answers, read_at=now, tuning=tuning, now=clock())
        done.days += read.done
        done.failed += not read.done
        done.closed += read.closed

    return (lambda: report_days.read(gateway, days)), listed
