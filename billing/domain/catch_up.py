"""Which missed periods are charged, when, and which wait for a person.

A period is *missed* when it was due longer ago than `GRACE` and nobody opened it (an outage, a database
brought back). One within the grace is simply due, whatever the policy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from billing.domain.schedules import Occurrence

GRACE = timedelta(hours=24)
AT_ONCE = 3
APART = timedelta(days=1)


class CatchUp(StrEnum):
    ALL = "all"  # in order, at most three, one a card a day; the rest wait for a person
    LATEST_ONLY = "latest_only"
    SKIP = "skip"
    ASK = "ask"


class Treatment(StrEnum):
    COLLECT = "collect"
    ASK = "ask"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Planned:
    """One period to open. `collect_at` is set for COLLECT alone."""

    occurrence: Occurrence
    treatment: Treatment
    collect_at: datetime | None = None


def plan(
    policy: CatchUp, due: Sequence[Occurrence], *, now: datetime, already_waiting: int = 0, more_follow: bool = False
) -> list[Planned]:
    """How to open the `due` periods (in order, none later than `now`) of one subscription.

    `already_waiting` counts its open invoices from earlier passes of the same catch-up that will be collected;
    `more_follow` says that later periods are due too, and come in the next pass."""
    planned: list[Planned] = []
    collected = min(already_waiting, AT_ONCE)
    for position, occurrence in enumerate(due):
        missed = now - occurrence.due_at > GRACE
        is_latest = position == len(due) - 1 and not more_follow
        if missed and (policy is CatchUp.SKIP or (policy is CatchUp.LATEST_ONLY and not is_latest)):
            planned.append(Planned(occurrence, Treatment.SKIP))
        elif (missed and policy is CatchUp.ASK) or (policy is CatchUp.ALL and missed and collected >= AT_ONCE):
            planned.append(Planned(occurrence, Treatment.ASK))
        else:
            delay = APART * collected if policy is CatchUp.ALL else timedelta(0)
            planned.append(
                Planned(
                    occurrence,
                    Treatment.COLLECT,
                    max(occurrence.due_at, now) + delay if delay else occurrence.due_at,
                )
            )
            collected += 1
    return planned
