"""prune: deliveries that ended long ago are deleted with their tries, a few in each transaction.

Events stay. A cursor does not go back, so what was deleted is not handed out again; a span that is resent makes a new
delivery, with the same webhook-id."""

from collections.abc import Callable
from datetime import datetime, timedelta

from billing.models.bulk import delivering

BATCH = 500
# The rest goes with the next run: others share the worker.
MOST_BATCHES = 20


def prune(*, keep: timedelta, now: datetime, should_stop: Callable[[], bool]) -> int:
    """Deletes what ended more than `keep` ago; how many deliveries. What is pending is kept, however old it is."""
    deleted = 0
    for _ in range(MOST_BATCHES):
        if should_stop():
            break
        count = delivering.delete_ended(before=now - keep, limit=BATCH)
        deleted += count
        if count < BATCH:
            break
    return deleted
