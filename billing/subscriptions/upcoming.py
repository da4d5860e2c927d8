"""When a subscription will be charged next, as far as is known now."""

from datetime import datetime
from itertools import islice

from billing.domain.schedules import Interval, Schedule, ScheduleError, occurrences
from billing.models import Subscription


def next_dates(subscription: Subscription, *, count: int) -> list[datetime]:
    """The next `count` due instants (UTC), fewer when the repetitions end before.

    Empty for a subscription that nothing falls due on: it waits for a card, is paused, or has ended."""
    first = subscription.next_due_at
    if first is None:
        return []
    if subscription.repetitions is not None:
        count = min(count, max(subscription.repetitions - subscription.periods_charged, 0))
    try:
        later = islice(occurrences(schedule_of(subscription), first), max(count - 1, 0))
    except ScheduleError:  # its schedule cannot be read; the subscription says so itself
        later = islice((), 0)
    return list(islice((first, *later), count))


def schedule_of(subscription: Subscription) -> Schedule:
    """The subscription's schedule, anchored at its activation. It has one from then on."""
    if subscription.anchor_date is None:
        raise ValueError(f"subscription {subscription.public_id} has not started")
    return Schedule(
        Interval(subscription.interval),
        subscription.target,
        subscription.anchor_date,
        subscription.every,
        subscription.charge_time,
        subscription.time_zone,
    )
