"""reconcile: asks the gateway about every attempt whose outcome is not known, until evidence closes it.

Absence does not close an attempt: after the last rung of the ladder a person decides. On its later rungs the gateway's
daily reports are read too. Only where an account says so does absence for long enough mean that nothing was charged.
"""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from billing.charging import reports
from billing.charging.card_reading import CardRead, KnownCard, fetch, load, record
from billing.charging.limits import Limits
from billing.charging.settle import CONNECTION_LOST, Told, settle
from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.reports import days_of
from billing.gateway.connection import Gateway, GatewayUnavailableError, gateway_for
from billing.gateway.connection import clock as gateway_clock
from billing.models import GatewayAccount
from billing.models.bulk import checking

logger = logging.getLogger(__name__)

READERS = 8
BATCH = 64
LEASE = timedelta(seconds=150)
LONGEST_BACKOFF = timedelta(minutes=15)
# Reads that fail do not count, but nobody waits longer than this for a person.
PATIENCE = timedelta(days=3)


@dataclass(slots=True)
class Reconciled:
    read: int = 0
    failed: int = 0
    closed: int = 0


def reconcile(*, limits: Limits, clock: Callable[[], datetime], should_stop: Callable[[], bool]) -> Reconciled:
    """Reads the cards of all attempts whose next check has come, some at a time."""
    done = Reconciled()
    with ThreadPoolExecutor(READERS, thread_name_prefix="reader") as pool:
        while not should_stop():
            now = clock()
            claims = checking.claim(now=now, lease=LEASE, limit=BATCH)
            if not claims:
                return done
            gateway_clock.align(now)
            _check(claims, pool, done, limits=limits, clock=clock)
    return done


def _check(
    claims: list[checking.Check],
    pool: ThreadPoolExecutor,
    done: Reconciled,
    *,
    limits: Limits,
    clock: Callable[[], datetime],
) -> None:
    accounts = GatewayAccount.objects.in_bulk({check.account_id for check in claims})
    by_card: dict[int, list[checking.Check]] = {}
    for check in claims:
        by_card.setdefault(check.payment_method_id, []).append(check)
    cards = load(list(by_card))
    gateways = {pk: gateway_for(account) for pk, account in accounts.items()}
    reads = {card: pool.submit(_read, gateways[known.account_id], known) for card, known in cards.items()}
    listed = _read_reports(claims, pool, gateways, limits)
    for card, future in reads.items():
        read = future.result()
        searched = _search(read, by_card[card], pool, gateways, listed) if isinstance(read, CardRead) else {}
        now = clock()
        if isinstance(read, CardRead):
            closed = _record(read, by_card[card], searched, limits, now)
        else:
            closed = None
            logger.warning("reconcile: card %s could not be read: %s", cards[card].public_id, read)
        if closed is None:
            done.failed += 1
            _postpone(by_card[card], limits, now)
        else:
            done.read += 1
            done.closed += closed


def _read(gateway: Gateway, card: KnownCard) -> CardRead | GatewayUnavailableError:
    try:
        return fetch(gateway, card)
    except GatewayUnavailableError as error:
        return error
    except Exception as error:
        logger.exception("reconcile: reading card %s failed", card.public_id)
        return GatewayUnavailableError(f"reading failed: {type(error).__name__}")


def _read_reports(
    claims: list[checking.Check], pool: ThreadPoolExecutor, gateways: Mapping[int, Gateway], limits: Limits
) -> dict[int, reports.Reports]:
    """By account, the daily reports that attempts on the later rungs are looked for in."""
    wanted: dict[int, set[date]] = {}
    for check in claims:
        if check.checks_done >= len(limits.ladder):
            wanted.setdefault(check.account_id, set()).update(days_of(check.armed_at))
    reading = {account: pool.submit(reports.read, gateways[account], days) for account, days in wanted.items()}
    return {account: future.result() for account, future in reading.items()}


def _search(
    read: CardRead,
    checks: list[checking.Check],
    pool: ThreadPoolExecutor,
    gateways: Mapping[int, Gateway],
    listed: Mapping[int, reports.Reports],
) -> dict[int, reports.Searched]:
    """By attempt, what the reports say of those of which the card's orders show nothing."""
    account = read.card.account_id
    checked = {check.attempt_id for check in checks}
    absent = [attempt for attempt in read.absent if attempt.id in checked]
    if account not in listed or not absent:
        return {}
    known = reports.known_transactions(account, listed[account])
    searching = {
        attempt.id: pool.submit(reports.search, gateways[account], attempt, listed[account], known)
        for attempt in absent
    }
    return {attempt: future.result() for attempt, future in searching.items()}


def _record(
    read: CardRead,
    checks: list[checking.Check],
    searched: Mapping[int, reports.Searched],
    limits: Limits,
    now: datetime,
) -> int | None:
    """How many attempts the read closed; None when it could not be recorded. One card never holds up the others."""
    try:
        told = _findings(read, checks, searched, limits, now)
        return sum(record(read, told, limits=limits, now=now).values())
    except CONNECTION_LOST:
        raise
    except Exception:
        logger.exception("reconcile: what card %s said could not be recorded", read.card.public_id)
        return None


def _findings(
    read: CardRead,
    checks: list[checking.Check],
    searched: Mapping[int, reports.Searched],
    limits: Limits,
    now: datetime,
) -> list[Told]:
    """What the read says about each attempt: its own order, or absence, which counts one rung."""
    told = list(read.findings)
    absent = {attempt.id: attempt for attempt in read.absent}
    for check in checks:
        if check.attempt_id not in absent:
            continue
        found = searched.get(check.attempt_id, reports.Searched())
        if found.found:
            read.transactions[found.found.transaction.transaction_id] = found.found
            marker = absent[check.attempt_id].wanted.marker
            finding = found.found.finding(marker, Source.TRANSACTION_QUERY)
        else:
            finding = _absence(read, check, found, limits, now)
        told.append(Told(check.attempt_id, finding))
    return [_at_last(one, checks, limits) for one in told]


def _inactive(read: CardRead, check: checking.Check) -> bool:
    return read.inactive and any(a.id == check.attempt_id and a.answered_with_error for a in read.absent)


def _absence(
    read: CardRead, check: checking.Check, searched: reports.Searched, limits: Limits, now: datetime
) -> Finding:
    """What it means that nothing at the gateway is the attempt's."""
    number = check.checks_done + 1
    detail = {"check": number, **searched.detail}
    permitted_after = read.card.retry_after_absence
    if _inactive(read, check):
        verdict, reason = Verdict.DECLINED, "card_inactive"
    elif searched.nameless:
        verdict, reason = Verdict.CONTRADICTION, "reported_payment_without_marker"
        detail["transactions"] = list(searched.nameless)
    elif permitted_after is not None:
        long_enough = number >= len(limits.ladder) and now - check.armed_at >= permitted_after
        verdict = Verdict.ABSENT_FOR_LONG if long_enough else Verdict.ABSENT
        reason = verdict.value
    elif searched.counts:
        verdict, reason = Verdict.ABSENT_AT_LAST, "absent_in_reports"
    elif number >= len(limits.rungs):
        verdict, reason = Verdict.ABSENT_AT_LAST, "absent_no_report"
    else:
        verdict, reason = Verdict.ABSENT, "absent"
    return Finding(verdict, Source.ORDER_LIST, reason=reason, detail=detail)


def _at_last(told: Told, checks: list[checking.Check], limits: Limits) -> Told:
    """What the gateway has still not decided at the last rung goes to a person; each read is told as its own."""
    check = next((check for check in checks if check.attempt_id == told.attempt_id), None)
    if check is None or told.finding.verdict not in (Verdict.IN_PROCESS, Verdict.UNCLEAR, Verdict.REVERSED):
        return told
    number = check.checks_done + 1
    detail = {**told.finding.detail, "check": number}
    if number < len(limits.rungs):
        return Told(told.attempt_id, replace(told.finding, detail=detail))
    reason = f"still_{told.finding.reason or told.finding.verdict.value}"
    return Told(told.attempt_id, replace(told.finding, verdict=Verdict.ABSENT_AT_LAST, reason=reason, detail=detail))


def _postpone(checks: list[checking.Check], limits: Limits, now: datetime) -> None:
    given_up = [check for check in checks if now - check.armed_at > PATIENCE]
    finding = Finding(Verdict.ABSENT_AT_LAST, Source.ORDER_LIST, reason="reads_keep_failing")
    settle([Told(check.attempt_id, finding) for check in given_up], limits=limits, now=now)
    first = min(limits.ladder[0], timedelta(seconds=30))
    checking.postpone(
        [
            (check.attempt_id, now + min(first * 2 ** min(check.checks_failed, 10), LONGEST_BACKOFF))
            for check in checks
            if check not in given_up
        ]
    )
