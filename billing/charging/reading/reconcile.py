"""reconcile: asks the gateway about every attempt whose outcome is not known, until evidence closes it.

Absence does not close an attempt: after the last rung of the ladder a person decides. On its later rungs the gateway's
daily reports are read too. Only where an account says so does absence for long enough mean that nothing was charged.
Rungs are reached by the time that has passed (`domain.reads`): a read in between closes an attempt with what it finds,
and brings nothing else nearer.
"""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from billing.charging.attempts.settle import AttemptFinding, settle
from billing.charging.reading import report_search
from billing.charging.reading.fetch import fetch
from billing.charging.reading.known import CardRead, KnownCard, Unread, load
from billing.charging.reading.orders import note_unread
from billing.charging.reading.record import record
from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.reasons import STILL, Reason
from billing.domain.reports import days_of
from billing.gateway.connection import Gateway, GatewayUnavailableError, gateway_for
from billing.gateway.connection import clock as gateway_clock
from billing.models import GatewayAccount
from billing.models.bulk import checking
from billing.models.bulk.sql import CONNECTION_LOST, HeldError
from billing.operating import troubles
from billing.operating.clocks import addresses_off
from billing.operating.tuning import Tuning

logger = logging.getLogger(__name__)

WORK = "reconcile"
WORK_ON_A_CARD = "reconcile a card"  # noted apart: that the account can be asked does not heal it
READERS = 8
BATCH = 64
LEASE = checking.LEASE
LONGEST_BACKOFF = timedelta(minutes=15)
# Reads that fail do not count, but nobody waits longer than this for a person.
PATIENCE = timedelta(days=3)


@dataclass(slots=True)
class Reconciled:
    read: int = 0
    failed: int = 0
    closed: int = 0


def reconcile(*, tuning: Tuning, clock: Callable[[], datetime], should_stop: Callable[[], bool]) -> Reconciled:
    """Reads the cards of all attempts whose next check has come, some at a time."""
    done = Reconciled()
    with ThreadPoolExecutor(READERS, thread_name_prefix="reader") as pool:
        while not should_stop():
            now = clock()
            claims = checking.claim(
                now=now, longest_wait=tuning.longest_wait_for_a_check, limit=BATCH, not_at=addresses_off(now)
            )
            if not claims:
                return done
            gateway_clock.align(now)
            _check(claims, pool, done, tuning=tuning, clock=clock)
    return done


def _check(
    claims: list[checking.Check],
    pool: ThreadPoolExecutor,
    done: Reconciled,
    *,
    tuning: Tuning,
    clock: Callable[[], datetime],
) -> None:
    accounts = GatewayAccount.objects.in_bulk({check.account_id for check in claims})
    by_card: dict[int, list[checking.Check]] = {}
    for check in claims:
        by_card.setdefault(check.payment_method_id, []).append(check)
    cards = load(list(by_card))
    gateways = _gateways(accounts, claims, done, tuning=tuning, clock=clock)
    reads = {
        card: pool.submit(_read, gateways[known.account_id], known)
        for card, known in cards.items()
        if known.account_id in gateways
    }
    claims = [check for check in claims if check.account_id in gateways]
    listed = _read_reports(claims, pool, gateways, tuning)
    for card, future in reads.items():
        read, account_id = future.result(), cards[card].account_id
        try:
            searched = _search(read, by_card[card], pool, gateways, listed) if isinstance(read, CardRead) else {}
            closed = _written(read, by_card[card], searched, tuning, clock())
        except CONNECTION_LOST:
            raise
        except HeldError as error:  # its lease ends by itself: a card that was read is no reason to give up
            logger.warning("reconcile: somebody holds what card %s needs", cards[card].public_id)
            troubles.note(account_id, WORK_ON_A_CARD, error, now=clock())
            done.failed += 1
            continue
        except Exception as error:
            logger.exception("reconcile: card %s failed", cards[card].public_id)
            troubles.note(account_id, WORK_ON_A_CARD, error, now=clock())
            closed = None
        if closed is None:
            done.failed += 1
            _postpone(by_card[card], tuning, clock())
        else:
            done.read += 1
            done.closed += closed


def _written(
    read: CardRead | Unread,
    checks: list[checking.Check],
    searched: Mapping[int, report_search.Searched],
    tuning: Tuning,
    now: datetime,
) -> int | None:
    """How many attempts the read closed; None when there was no read."""
    if isinstance(read, CardRead):
        return _record(read, checks, searched, tuning, now)
    logger.warning("reconcile: card %s could not be read: %s", read.card.public_id, read.error)
    note_unread([read], tuning=tuning, now=now)
    return None


def _gateways(
    accounts: Mapping[int, GatewayAccount],
    claims: list[checking.Check],
    done: Reconciled,
    *,
    tuning: Tuning,
    clock: Callable[[], datetime],
) -> dict[int, Gateway]:
    """By account; one that cannot be had postpones the checks of its own account and of nobody else."""
    gateways = {}
    for pk, account in accounts.items():
        try:
            gateways[pk] = gateway_for(account)
        except Exception as error:
            logger.exception("reconcile: no gateway client for account %s", account.public_id)
            now = clock()
            troubles.note(pk, WORK, error, now=now)
            own = [check for check in claims if check.account_id == pk]
            done.failed += len({check.payment_method_id for check in own})
            _postpone(own, tuning, now)
        else:
            troubles.clear(pk, WORK)
    return gateways


def _read(gateway: Gateway, card: KnownCard) -> CardRead | Unread:
    try:
        return fetch(gateway, card)
    except GatewayUnavailableError as error:
        return Unread(card, error)
    except Exception as error:
        logger.exception("reconcile: reading card %s failed", card.public_id)
        return Unread(card, GatewayUnavailableError(f"reading failed: {type(error).__name__}"))


def _read_reports(
    claims: list[checking.Check], pool: ThreadPoolExecutor, gateways: Mapping[int, Gateway], tuning: Tuning
) -> dict[int, report_search.Reports]:
    """By account, the daily reports that attempts on the later rungs are looked for in."""
    wanted: dict[int, set[date]] = {}
    for check in claims:
        if check.checks_done >= len(tuning.ladder) and _is_a_rung(check, tuning):
            wanted.setdefault(check.account_id, set()).update(days_of(check.armed_at))
    reading = {account: pool.submit(report_search.read, gateways[account], days) for account, days in wanted.items()}
    return {account: _reports_of(future, days=wanted[account]) for account, future in reading.items()}


def _reports_of(future: Future[report_search.Reports], *, days: set[date]) -> report_search.Reports:
    """What was read; reports that broke the reader were not read, which counts for nothing."""
    try:
        return future.result()
    except Exception:
        logger.exception("reconcile: the daily reports of an account could not be read")
        return dict.fromkeys(days)


def _search(
    read: CardRead,
    checks: list[checking.Check],
    pool: ThreadPoolExecutor,
    gateways: Mapping[int, Gateway],
    listed: Mapping[int, report_search.Reports],
) -> dict[int, report_search.Searched]:
    """By attempt, what the reports say of those of which the card's orders show nothing."""
    account = read.card.account_id
    checked = {check.attempt_id: check for check in checks}
    absent = [attempt for attempt in read.absent if attempt.id in checked]
    if account not in listed or not absent:
        return {}
    known = report_search.known_transactions(account, listed[account])
    searching = {
        attempt.id: pool.submit(
            report_search.search,
            gateways[account],
            attempt,
            listed[account],
            known,
            read_at=checked[attempt.id].read_at,
        )
        for attempt in absent
    }
    return {attempt: future.result() for attempt, future in searching.items()}


def _record(
    read: CardRead,
    checks: list[checking.Check],
    searched: Mapping[int, report_search.Searched],
    tuning: Tuning,
    now: datetime,
) -> int:
    """How many attempts the read closed."""
    findings = _findings(read, checks, searched, tuning)
    closed = sum(record(read, findings, tuning=tuning, now=now).values())
    checking.read_again([(check, _next_rung(check, tuning)) for check in checks])
    return closed


def _findings(
    read: CardRead,
    checks: list[checking.Check],
    searched: Mapping[int, report_search.Searched],
    tuning: Tuning,
) -> list[AttemptFinding]:
    """What the read says about each attempt: its own order, or absence, which counts one rung."""
    findings = list(read.findings)
    absent = {attempt.id: attempt for attempt in read.absent}
    for check in checks:
        if check.attempt_id not in absent:
            continue
        found = searched.get(check.attempt_id, report_search.Searched())
        if found.found:
            read.transactions[found.found.transaction.transaction_id] = found.found
            marker = absent[check.attempt_id].wanted.marker
            finding = found.found.finding(marker, Source.TRANSACTION_QUERY)
        else:
            finding = _absence(read, check, found, tuning)
        findings.append(AttemptFinding(check.marker, finding))
    return [_at_last(one, checks, tuning) for one in findings]


def _inactive(read: CardRead, check: checking.Check) -> bool:
    return read.inactive and any(a.id == check.attempt_id and a.answered_with_error for a in read.absent)


def _is_a_rung(check: checking.Check, tuning: Tuning) -> bool:
    return tuning.checks.counts(check.armed_at, check.rung_at, check.checks_done, check.read_at)


def _next_rung(check: checking.Check, tuning: Tuning) -> datetime:
    return tuning.checks.due(check.armed_at, check.rung_at, check.checks_done, check.read_at)


def _numbered(check: checking.Check, tuning: Tuning) -> dict[str, object]:
    """Which rung a read is, or before which: each rung is evidence of its own, and all reads before it are one."""
    return {"check" if _is_a_rung(check, tuning) else "before_check": check.checks_done + 1}


def _absence(read: CardRead, check: checking.Check, searched: report_search.Searched, tuning: Tuning) -> Finding:
    """What it means that nothing at the gateway is the attempt's. Before its rung is reached it means nothing."""
    counts = _is_a_rung(check, tuning)
    detail = {**_numbered(check, tuning), **searched.detail}
    permitted_after = read.card.retry_after_absence
    if read.doubts:
        verdict, reason = Verdict.UNCLEAR, Reason.ORDERS_IN_DOUBT
        detail["orders"] = sorted(read.doubts)
    elif not counts:
        verdict, reason = Verdict.ABSENT, Reason.ABSENT
    elif _inactive(read, check):
        verdict, reason = Verdict.DECLINED, Reason.CARD_INACTIVE
    elif searched.nameless:
        verdict, reason = Verdict.CONTRADICTION, Reason.REPORTED_PAYMENT_WITHOUT_MARKER
        detail["transactions"] = list(searched.nameless)
    elif permitted_after is not None:
        long_enough = check.checks_done + 1 >= len(tuning.ladder) and check.read_at - check.armed_at >= permitted_after
        verdict = Verdict.ABSENT_FOR_LONG if long_enough else Verdict.ABSENT
        reason = Reason.ABSENT_FOR_LONG if long_enough else Reason.ABSENT
    elif searched.counts:
        verdict, reason = Verdict.ABSENT_AT_LAST, Reason.ABSENT_IN_REPORTS
    elif tuning.checks.is_last(check.checks_done):
        verdict, reason = Verdict.ABSENT_AT_LAST, Reason.ABSENT_NO_REPORT
    else:
        verdict, reason = Verdict.ABSENT, Reason.ABSENT
    return Finding(verdict, Source.ORDER_LIST, reason=reason, detail=detail, read_at=check.read_at)


def _at_last(found: AttemptFinding, checks: list[checking.Check], tuning: Tuning) -> AttemptFinding:
    """What the gateway has still not decided at the last rung goes to a person; each read is evidence of its own."""
    check = next((check for check in checks if check.marker == found.marker), None)
    if check is None or found.finding.verdict not in (Verdict.IN_PROCESS, Verdict.UNCLEAR, Verdict.REVERSED):
        return found
    detail = {**found.finding.detail, **_numbered(check, tuning)}
    if not (_is_a_rung(check, tuning) and tuning.checks.is_last(check.checks_done)):
        return AttemptFinding(found.marker, replace(found.finding, detail=detail, read_at=check.read_at))
    reason = STILL.get(found.finding.reason or found.finding.verdict.value, Reason.STILL_UNCLEAR)
    return AttemptFinding(
        found.marker, replace(found.finding, verdict=Verdict.ABSENT_AT_LAST, reason=reason, detail=detail)
    )


def _postpone(checks: list[checking.Check], tuning: Tuning, now: datetime) -> None:
    given_up = [check for check in checks if now - check.armed_at > PATIENCE]
    finding = Finding(Verdict.ABSENT_AT_LAST, Source.ORDER_LIST, reason=Reason.READS_KEEP_FAILING)
    settle([AttemptFinding(check.marker, finding) for check in given_up], tuning=tuning, now=now)
    first = min(tuning.ladder[0], timedelta(seconds=30))
    checking.postpone(
        [
            (check.attempt_id, now + min(first * 2 ** min(check.checks_failed, 10), LONGEST_BACKOFF))
            for check in checks
            if check not in given_up
        ]
    )
