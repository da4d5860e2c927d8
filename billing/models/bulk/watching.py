"""Claims on what is read to find money that comes after the end: cards, and the gateway's daily reports."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from billing.domain.late_money import FoundKind
from billing.models.bulk.settling import AttemptRow
from billing.models.bulk.sql import objects, run
from billing.models.bulk.writing import by_name, insert
from billing.models.late_money import FoundPayment


def watch(card_ids: Sequence[int], *, now: datetime, at: datetime) -> None:
    """Begins the schedule of these cards anew. A read that is planned sooner, or under way, stays."""
    if card_ids:
        run(
            """UPDATE billing_paymentmethod SET watch_from_at = %s, watches_failed = 0,
                      next_watch_at = LEAST(COALESCE(next_watch_at, %s), %s)
               WHERE id = ANY(%s)""",
            [now, at, at, sorted(set(card_ids))],
        )


def watch_soon(card_ids: Sequence[int], *, now: datetime) -> None:
    """Plans a read now: something else saw money on these cards."""
    if card_ids:
        run(
            """UPDATE billing_paymentmethod SET watch_from_at = COALESCE(watch_from_at, %s), next_watch_at = %s
               WHERE id = ANY(%s)""",
            [now, now, sorted(set(card_ids))],
        )


@dataclass(frozen=True, slots=True)
class Watch:
    """A card that is leased for reading until `leased_until`."""

    card_id: int
    watch_from_at: datetime
    failures: int
    leased_until: datetime


def claim_cards(account_id: int, *, now: datetime, lease: timedelta, limit: int) -> list[Watch]:
    """Leases the account's cards whose read has come. None while attempts of it with an open outcome wait to be
    checked: those come first."""
    leased = objects(
        Watch,
        """UPDATE billing_paymentmethod SET next_watch_at = %(until)s
           WHERE id = ANY(ARRAY(SELECT id FROM billing_paymentmethod
                        WHERE account_id = %(account)s AND next_watch_at <= %(now)s
                          AND NOT EXISTS (SELECT 1 FROM billing_paymentattempt a
                                          WHERE a.next_check_at <= %(now)s AND a.account_id = %(account)s)
                        ORDER BY next_watch_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
           RETURNING id AS card_id, watch_from_at, watches_failed AS failures, next_watch_at AS leased_until""",
        {"account": account_id, "now": now, "until": now + lease, "limit": limit},
    )
    return sorted(leased, key=lambda one: one.card_id)


def finish_card(one: Watch, *, next_at: datetime | None, failed: bool) -> None:
    """Plans the next read. A card whose schedule began anew meanwhile keeps its lease, and is read when that ends."""
    run(
        """UPDATE billing_paymentmethod
           SET next_watch_at = %s, watches_failed = CASE WHEN %s THEN watches_failed + 1 ELSE 0 END
           WHERE id = %s AND next_watch_at = %s AND watch_from_at = %s""",
        [next_at, failed, one.card_id, one.leased_until, one.watch_from_at],
    )


def plan_days(account_id: int, days: Sequence[tuple[date, datetime]]) -> None:
    """Plans the first read of days; what is planned already stays. Nothing for an account that never charged."""
    if days:
        dates, times = (list(column) for column in zip(*days, strict=True))
        run(
            """INSERT INTO billing_reportday (account_id, day, next_read_at)
               SELECT %(account)s, n.day, n.at FROM unnest(%(days)s::date[], %(times)s::timestamptz[]) AS n(day, at)
               WHERE EXISTS (SELECT 1 FROM billing_paymentattempt WHERE account_id = %(account)s)
               ON CONFLICT ON CONSTRAINT one_row_per_report_day DO NOTHING""",
            {"account": account_id, "days": [day.isoformat() for day in dates], "times": times},
        )


@dataclass(frozen=True, slots=True)
class Day:
    """A day whose report is leased for reading until `leased_until`."""

    id: int
    account_id: int
    day: date
    failures: int
    leased_until: datetime


def claim_days(account_id: int, *, now: datetime, lease: timedelta, limit: int) -> list[Day]:
    """Leases days of the account whose report is to be read, the newest first."""
    leased = objects(
        Day,
        """UPDATE billing_reportday SET next_read_at = %(until)s
           WHERE id = ANY(ARRAY(SELECT id FROM billing_reportday
                        WHERE account_id = %(account)s AND next_read_at <= %(now)s
                        ORDER BY day DESC LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
           RETURNING id, account_id, day, failures, next_read_at AS leased_until""",
        {"account": account_id, "now": now, "until": now + lease, "limit": limit},
    )
    return sorted(leased, key=lambda one: one.id)


def fail_day(day: Day, *, next_at: datetime | None, failure: str) -> None:
    run(
        """UPDATE billing_reportday SET next_read_at = %s, failures = failures + 1, failure = %s
           WHERE id = %s AND next_read_at = %s""",
        [next_at, failure, day.id, day.leased_until],
    )


def release_day(day: Day, *, next_at: datetime) -> None:
    """Gives the lease back: the report, or a part of it, was not reached this time."""
    run(
        "UPDATE billing_reportday SET next_read_at = %s WHERE id = %s AND next_read_at = %s",
        [next_at, day.id, day.leased_until],
    )


@dataclass(frozen=True, slots=True)
class Counts:
    payments: int
    explained: int
    unexplained: int


def finish_day(day: Day, counts: Counts, *, read_at: datetime, complete: bool, next_at: datetime | None) -> None:
    """`read_at` is when reading began; `complete`: the day was over by then, and all of it was worked through."""
    run(
        """UPDATE billing_reportday
           SET next_read_at = %(next)s, read_at = %(read)s, failures = 0, failure = '', payments = %(payments)s,
               explained = %(explained)s, unexplained = %(unexplained)s,
               complete_at = CASE WHEN %(complete)s THEN %(read)s::timestamptz ELSE complete_at END
           WHERE id = %(id)s AND next_read_at = %(leased)s""",
        {
            "next": next_at,
            "read": read_at,
            "payments": counts.payments,
            "explained": counts.explained,
            "unexplained": counts.unexplained,
            "complete": complete,
            "id": day.id,
            "leased": day.leased_until,
        },
    )


def revive_days(account_id: int, *, since: date, now: datetime) -> None:
    """The account's reports can be read again: days that were given up are read after all."""
    run(
        """UPDATE billing_reportday SET next_read_at = %s, failures = 0
           WHERE account_id = %s AND day >= %s AND complete_at IS NULL AND next_read_at IS NULL""",
        [now, account_id, since],
    )


@dataclass(frozen=True, slots=True)
class NewFound:
    account_id: int
    gateway_transaction_id: str
    gateway_order_id: str
    kind: str
    amount_minor: int
    currency: str
    marker: str
    attempt_id: int | None = None
    invoice_id: int | None = None


def after_the_end(attempt: AttemptRow) -> NewFound:
    """The payment of an attempt whose subscription has ended: a person decides what becomes of it."""
    return NewFound(
        attempt.account_id,
        attempt.gateway_transaction_id or "",
        attempt.gateway_order_id or "",
        FoundKind.AFTER_THE_END.value,
        attempt.amount_minor,
        attempt.currency,
        attempt.marker,
        attempt.id,
    )


def list_found(payments: Sequence[NewFound], *, now: datetime) -> None:
    """Puts payments before a person; one that is listed already stays as it is."""
    insert(FoundPayment, {**by_name(payments), "found_at": now}, conflict="ON CONFLICT DO NOTHING")
