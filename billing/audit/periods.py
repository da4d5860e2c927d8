"""L1 and L5: the periods of every subscription, worked out again from its anchor.

Nothing here trusts `next_due_at`. When a subscription ran is read from its activation, its trial, its end and the
transitions into and out of *paused*; what fell due in that time is what the schedule says.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from billing.audit.queries import ask
from billing.audit.violation import Violation
from billing.domain.schedules import (
    Interval,
    Occurrence,
    Schedule,
    ScheduleEndedError,
    occurrence_after,
    occurrences,
)
from billing.domain.subscriptions import RUNNING, Collector, SubscriptionState

# Workers open what is due every few seconds; what nobody opened for this long was missed.
OPENED_WITHIN = timedelta(minutes=10)
_CHUNK = 5000
# A schedule that cannot be read, such as one of a time zone that is not known, is one violation and no crash.
UNREADABLE = (ArithmeticError, LookupError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Change:
    """The subscription was paused, or runs again."""

    at: datetime
    paused: bool


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which the subscription ran: periods due after `begins_at` (UTC) and not after `ends_at` belong to it.

    `at_start` says that one is due at `begins_at` itself, for the start."""

    begins_at: datetime
    ends_at: datetime | None
    at_start: bool


@dataclass(frozen=True, slots=True)
class Known:
    """A subscription with its invoices, in the order of their periods."""

    id: int
    public_id: str
    state: str
    collector: str
    interval: str
    target: int | None
    every: int
    charge_time: time
    time_zone: str
    anchor_date: date | None
    activated_at: datetime | None
    trial_ends_at: datetime | None
    ended_at: datetime | None
    charge_at_start: bool
    first_payment_ends_at: datetime | None
    occurrence: int | None
    next_due_at: datetime | None
    period_index: int
    periods_charged: int
    repetitions: int | None
    due_at: Sequence[datetime]
    numbers: Sequence[int]
    skipped: Sequence[bool]
    changes: Sequence[Change]

    @property
    def schedule(self) -> Schedule | None:
        """None before the activation."""
        if self.anchor_date is None:
            return None
        return Schedule(
            Interval(self.interval), self.target, self.anchor_date, self.every, self.charge_time, self.time_zone
        )

    @property
    def over(self) -> bool:
        return self.repetitions is not None and self.periods_charged >= self.repetitions


def violations(account_id: int | None, *, now: datetime) -> Iterator[Violation]:
    """L1 and L5 of the account, or of all."""
    for one in known_subscriptions(account_id):
        try:
            yield from [*_missing(one, now), *_counted(one), *_next(one)]
        except UNREADABLE as error:
            yield Violation("L1", one.public_id, f"has periods that cannot be worked out: {error}.")


def known_subscriptions(account_id: int | None) -> Iterator[Known]:
    """The subscriptions that we collect, with what their periods follow from."""
    after = 0
    while True:
        chunk = ask(
            """SELECT s.id, s.public_id, s.state, s.collector, s.interval, s.target, s.every, s.charge_time,
                       s.time_zone, s.anchor_date, s.activated_at, s.trial_ends_at, s.ended_at, s.charge_at_start,
                       s.first_payment_ends_at, s.occurrence, s.next_due_at, s.period_index, s.periods_charged,
                       s.repetitions,
                       COALESCE(i.due_at, '{}'), COALESCE(i.numbers, '{}'), COALESCE(i.skipped, '{}'),
                       COALESCE(t.at, '{}'), COALESCE(t.paused, '{}')
                FROM (SELECT * FROM billing_subscription s
                      WHERE s.id > %(after)s AND OF_ACCOUNT(s.account_id) ORDER BY s.id LIMIT %(chunk)s) s
                LEFT JOIN LATERAL (
                    SELECT array_agg(due_at ORDER BY period_index) AS due_at,
                           array_agg(period_index ORDER BY period_index) AS numbers,
                           array_agg(state = 'void' AND state_reason = 'skipped' ORDER BY period_index) AS skipped
                    FROM billing_invoice WHERE subscription_id = s.id) i ON true
                LEFT JOIN LATERAL (
                    SELECT array_agg(at ORDER BY id) AS at, array_agg(to_state = 'paused' ORDER BY id) AS paused
                    FROM billing_transition
                    WHERE subject_type = 'subscription' AND subject_id = s.id AND from_state <> to_state
                      AND (to_state = 'paused' OR from_state = 'paused' AND to_state = ANY(%(running)s))) t ON true
                ORDER BY s.id""",
            {
                "account": account_id,
                "after": after,
                "chunk": _CHUNK,
                "running": sorted(state.value for state in RUNNING),
            },
        )
        for row in chunk:
            changes = [Change(*change) for change in zip(*row[-2:], strict=True)]
            yield Known(*(*row[:-2], changes))
        if len(chunk) < _CHUNK:
            return
        after = chunk[-1][0]


def stretches(one: Known) -> list[Stretch]:
    """When the subscription ran. Empty before its activation, and where the gateway collects it. One that is active
    once its first charge is paid ran for that charge, and runs again from when it was paid."""
    if one.collector != Collector.ENGINE:
        return []
    pays_first = one.first_payment_ends_at is not None
    ran = [Stretch(one.due_at[0], one.due_at[0], True)] if pays_first and one.due_at else []
    if one.activated_at is None:
        return ran
    starts_at = one.trial_ends_at or one.activated_at
    at_start = one.charge_at_start and not pays_first
    begins_at: datetime | None = starts_at
    for change in one.changes:
        if change.paused and begins_at is not None:
            ran.append(Stretch(begins_at, change.at, at_start and begins_at == starts_at))
            begins_at = None
        elif not change.paused and begins_at is None:
            begins_at = max(change.at, starts_at)
    if begins_at is not None:
        ran.append(Stretch(begins_at, one.ended_at, at_start and begins_at == starts_at))
    return ran


def periods_due(one: Known, *, until: datetime) -> Iterator[tuple[datetime, Stretch]]:
    """Every instant (UTC) up to `until` at which a period fell due, with the stretch that it belongs to."""
    schedule = one.schedule
    if schedule is None:
        return
    for stretch in stretches(one):
        last = until if stretch.ends_at is None else min(until, stretch.ends_at)
        if stretch.at_start and stretch.begins_at <= last:
            yield stretch.begins_at, stretch
        for due_at in occurrences(schedule, stretch.begins_at):
            if due_at > last:
                break
            yield due_at, stretch


def periods_missing(one: Known, *, now: datetime, opened_within: timedelta) -> list[datetime]:
    """The periods that have no invoice although they were due `opened_within` before `now`, or before the end of
    the time that they belong to. Periods after the last repetition are not owed."""
    skipped = dict(zip(one.due_at, one.skipped, strict=True))
    missing: list[datetime] = []
    owed = 0
    for due_at, stretch in periods_due(one, until=now):
        if one.repetitions is not None and owed >= one.repetitions:
            break
        if due_at in skipped:
            owed += not skipped[due_at]
        elif due_at + opened_within <= (now if stretch.ends_at is None else min(now, stretch.ends_at)):
            missing.append(due_at)
            owed += 1
    return missing


def next_period(one: Known) -> Occurrence | None:
    """The period that must be opened next, from the anchor; None when none will be."""
    ran = stretches(one)
    schedule = one.schedule
    if not ran or schedule is None or one.state not in RUNNING or one.over:
        return None
    now_running = ran[-1]
    last = max(one.due_at, default=None)
    try:
        if last is None or last < now_running.begins_at:
            first = occurrence_after(schedule, now_running.begins_at)
            return Occurrence(first.index - 1, now_running.begins_at) if now_running.at_start else first
        return occurrence_after(schedule, last)
    except ScheduleEndedError:
        return None


def _missing(one: Known, now: datetime) -> Iterator[Violation]:
    missing = periods_missing(one, now=now, opened_within=OPENED_WITHIN)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        yield Violation("L1", one.public_id, f"has no invoice for the period due at {_when(missing[0])}{more}.")


def _counted(one: Known) -> Iterator[Violation]:
    if list(one.numbers) != list(range(one.period_index)):
        yield Violation(
            "L5",
            one.public_id,
            f"opened {one.period_index} periods, and its invoices are numbered {_list(one.numbers)}.",
        )
    if sorted(set(one.due_at)) != list(one.due_at):
        yield Violation("L5", one.public_id, "has invoices whose due dates do not follow one another.")
    charged = len(one.skipped) - sum(one.skipped)
    if charged != one.periods_charged:
        yield Violation("L5", one.public_id, f"counts {one.periods_charged} periods charged, and has {charged}.")
    if one.due_at:
        on_schedule = {due_at for due_at, _ in periods_due(one, until=max(one.due_at))}
        if off := [due_at for due_at in one.due_at if due_at not in on_schedule]:
            yield Violation(
                "L5", one.public_id, f"has an invoice due at {_when(off[0])}, where no period of it is due."
            )


def _next(one: Known) -> Iterator[Violation]:
    if one.state == SubscriptionState.PAUSED and not (one.changes and one.changes[-1].paused):
        yield Violation("L5", one.public_id, "is paused, and its history does not say since when.")
        return
    expected = next_period(one)
    expected_at = expected.due_at if expected else None
    if one.next_due_at != expected_at:
        yield Violation(
            "L5", one.public_id, f"is next due {_when(one.next_due_at)}, and its schedule says {_when(expected_at)}."
        )
    elif expected is not None and one.occurrence != expected.index:
        yield Violation(
            "L5",
            one.public_id,
            f"is at occurrence {one.occurrence} of its schedule, and should be at {expected.index}.",
        )


def _when(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "never"


def _list(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:5]))
    return f"{shown or 'not at all'}{', …' if len(numbers) > 5 else ''}"
