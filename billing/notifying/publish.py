"""publish: events that have committed get their places in the feed, in one order that never changes.

Events are written in the transaction of their cause, so their row ids do not follow the order of commits: an event with
a lower id may appear later. A reader that goes by ids misses it. So places are given after the commit:

1. take the account's feed (an advisory lock, until the commit); where somebody else has it, leave that account to them;
2. read the account's events that have no place, in the order of their ids. Whoever changes an object holds its lock
   while writing the event, so the events of one object have ids in the order of its changes, and none of them appears
   after a later one;
3. number them on: `sequence` 1, 2, 3, … in the account, `object_sequence` in the object. What was rolled back was never
   seen, and leaves no gap;
4. freeze the body, and commit."""

import json
from contextlib import suppress
from datetime import datetime

from billing.models.bulk import publishing
from billing.models.bulk.sql import HeldError, durable
from billing.notifying.bodies import body, objects_of
from billing.operating import troubles

BATCH = 500


def publish(*, now: datetime, limit: int = BATCH) -> int:
    """Publishes what has committed, at most `limit` events of each account; how many there were."""
    published = 0
    for account_id in publishing.accounts_with_unpublished():
        with troubles.isolated(account_id, "publish", lambda: now):
            published += publish_account(account_id, now=now, limit=limit)
    return published


def publish_account(account_id: int, *, now: datetime, limit: int = BATCH, wait: bool = False) -> int:
    """The same of one account. `wait`: for whoever publishes it now, so that afterwards all that had committed before
    the call has its place (unless there are more than `limit`)."""
    with durable():
        if not publishing.lock_feed(account_id, wait=wait):
            return 0
        events = publishing.unpublished(account_id, limit=limit)
        if events:
            publishing.write_places(_places(account_id, events), now=now)
    return len(events)


def publish_now(account_id: int, *, now: datetime) -> None:
    """For a reader of the feed: what had committed before is published afterwards. Where that fails or takes long, the
    reader sees what was published before, and the next try is the engine's."""
    if not publishing.has_unpublished(account_id):
        return
    with troubles.isolated(account_id, "publish", lambda: now), suppress(HeldError):
        publish_account(account_id, now=now, wait=True)


def _places(account_id: int, events: list[publishing.Unpublished]) -> list[publishing.Place]:
    shown = objects_of(account_id, events)
    last = publishing.last_sequence(account_id)
    of_object = publishing.last_object_sequences(sorted({(one.subject_type, one.subject_id) for one in events}))
    places = []
    for sequence, event in enumerate(events, last + 1):
        subject = (event.subject_type, event.subject_id)
        number = of_object[subject] = of_object.get(subject, 0) + 1
        text = json.dumps(body(event, sequence=sequence, object_sequence=number, shown=shown.get(subject)))
        places.append(publishing.Place(event.id, sequence, number, text))
    return places
