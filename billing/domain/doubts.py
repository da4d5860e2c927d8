"""Whether this is the database that charged last, or an older one, a copy, or one that lost its newest rows.

Pure: what was seen of PostgreSQL, of the witness beside it and of the host comes in; a decision goes out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from billing.domain.plurals import counted

# How long an unknown host watches for signs of life from the hosts that the database knows.
WATCH_FOR = timedelta(minutes=3)
# First attempts are preceded by a look for at least this long after a quarantine.
LOOK_FIRST_FOR = timedelta(hours=24)
# The database's newest row may be older than its newest charge, by as much as its clock may have been off.
POINT_MARGIN = timedelta(hours=1)


class Doubt(StrEnum):
    """Why it is not certain that this database knows every charge."""

    DATABASE_DIFFERS = "database_differs"  # PostgreSQL says that it is another one, or was promoted or rewound
    ATTEMPTS_FORGOTTEN = "attempts_forgotten"  # the witness holds an attempt that the database does not have
    WITNESS_DIFFERS = "witness_differs"  # the witness belongs to another life of the database
    HOST_UNKNOWN = "host_unknown"  # a host without a witness, and none of the known ones shows that it lives
    ORDER_OF_ANOTHER = "order_of_another"  # the gateway shows a charge of ours that this database never made


@dataclass(frozen=True, slots=True)
class Identity:
    """PostgreSQL's own words for which database this is; "" for what this role may not ask."""

    system_identifier: str = ""
    timeline: str = ""
    database_oid: str = ""
    database_name: str = ""

    def difference(self, stored: "Identity") -> str:
        """What of it is not as it was stored, in words; "" when nothing is. A name alone may change."""
        parts = (
            ("system identifier", stored.system_identifier, self.system_identifier),
            ("timeline", stored.timeline, self.timeline),
            ("database", stored.database_oid, self.database_oid),
        )
        return "; ".join(f"{name} {old} -> {new}" for name, old, new in parts if old and new and old != new)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at the database and at the witness beside it showed.

    `host_admitted` is None when the database does not know the host."""

    epoch: str
    past_epochs: frozenset[str]
    stored: Identity
    actual: Identity
    witness_epochs: frozenset[str]
    forgotten: tuple[str, ...]
    host_admitted: bool | None


class Step(StrEnum):
    """What follows from what was seen."""

    GO_ON = "go_on"
    ADOPT = "adopt"  # a database that has no epoch yet: a fresh one, or one that was just upgraded
    INTRODUCE = "introduce"  # the database does not know this host
    WAIT = "wait"  # it does, and it is not decided yet whether the host belongs to it
    QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True)
class Judgement:
    step: Step
    doubt: Doubt | None = None
    detail: str = ""


def judge(seen: Seen) -> Judgement:
    """What may be done with this database. The strongest doubt comes first."""
    if seen.forgotten:
        named = ", ".join(seen.forgotten[:3])
        return _doubted(Doubt.ATTEMPTS_FORGOTTEN, f"{len(seen.forgotten)} not in the database, such as {named}")
    if strange := seen.witness_epochs - seen.past_epochs - {seen.epoch}:
        return _doubted(
            Doubt.WITNESS_DIFFERS, f"the witness names {min(strange)}, this database is {seen.epoch or '-'}"
        )
    if not seen.epoch:
        return Judgement(Step.ADOPT)
    if difference := seen.actual.difference(seen.stored):
        return _doubted(Doubt.DATABASE_DIFFERS, difference)
    if seen.host_admitted is None:
        return Judgement(Step.INTRODUCE)
    return Judgement(Step.GO_ON if seen.host_admitted else Step.WAIT)


def _doubted(doubt: Doubt, detail: str) -> Judgement:
    return Judgement(Step.QUARANTINE, doubt, detail)


class Admission(StrEnum):
    ADMIT = "admit"
    WATCH = "watch"
    DOUBT = "doubt"


def admission(
    *, first_seen_at: datetime, others_last_seen_at: datetime | None, others_armed: bool, now: datetime
) -> Admission:
    """Whether an unknown host belongs to this database.

    `others_last_seen_at` is the newest sign of life of the hosts that are admitted: it moves on in a database that
    lives, and stands still in a copy of it."""
    if not others_armed:
        return Admission.ADMIT
    if others_last_seen_at is not None and others_last_seen_at > first_seen_at:
        return Admission.ADMIT
    return Admission.DOUBT if now - first_seen_at >= WATCH_FOR else Admission.WATCH


# --- the way out ------------------------------------------------------------------------------------------


def complete_from(quarantined_at: datetime, lag: timedelta) -> datetime:
    """When a read must have started to show everything that was charged before the quarantine."""
    return quarantined_at + lag


@dataclass(frozen=True, slots=True)
class NotYet:
    """Why a quarantine cannot be lifted yet: a read is complete from `complete_from` on; `unread` cards were not read
    since then, or the time has not come while there are none. `clock_doubted`: nobody knows when that is."""

    complete_from: datetime
    unread: int = 0
    clock_doubted: bool = False

    def sentence(self, when: Callable[[datetime], str]) -> str:
        """In words; `when` writes a time as its reader's clocks show it."""
        if self.clock_doubted:
            return (
                "the clock was wrong or not compared yet; the quarantine restarts once the clock agrees with the "
                "gateway's"
            )
        if self.unread:
            were = "was" if self.unread == 1 else "were"
            return f"{counted(self.unread, 'card')} {were} not read completely since {when(self.complete_from)}"
        return f"the gateway's lists may be late; lift it after {when(self.complete_from)}"


def in_utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def why_not_lifted(*, quarantined_at: datetime, lag: timedelta, unread: int, now: datetime) -> NotYet | None:
    """Why the quarantine cannot be lifted yet; None when it can."""
    from_when = complete_from(quarantined_at, lag)
    if now < from_when:
        return NotYet(from_when)
    return NotYet(from_when, unread) if unread else None
