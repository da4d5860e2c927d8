"""When a subscription will be charged next, as far as is known now."""

from datetime import datetime
from itertools import islice

from billing.domain.schedules import ScheduleError, occurrences
from billing.models import Subscription
from billing.subscriptions.activate import schedule_of


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
