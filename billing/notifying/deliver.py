"""The worker of webhooks: a bounded loop that publishes, hands out, claims, sends and records.

1. Publish and hand out: what was published becomes a delivery for each endpoint that wants it, and the endpoint's
   cursor moves, in one short transaction.
2. Claim: deliveries that are due are leased, few of one endpoint, and in order within one object.
3. Send, on an event loop in a thread that never touches the database, outside of any transaction.
4. Record what came of it, in a transaction of its own.

A worker that dies leaves leases that end; the same event is then sent again with the same webhook-id. So an endpoint
gets each event at least once."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import Error, connection, transaction

from billing.models import WebhookEndpoint
from billing.models.bulk import delivering
from billing.models.bulk.delivering import Claimed
from billing.models.bulk.sql import CONNECTION_LOST
from billing.models.encryption import decrypt
from billing.notifying.notices import send_notices
from billing.notifying.publish import publish
from billing.notifying.record_try import record_try
from billing.notifying.sending import Answered, Letter, Postman
from billing.notifying.signing import headers
from billing.operating import troubles

logger = logging.getLogger(__name__)

HAND_OUT = "hand out events to webhook endpoints"
SEND = "send webhooks"
RECORD = "record webhooks"
MOST_BATCHES = 10  # of one endpoint, before the others get their turn
POLL = timedelta(milliseconds=200)
DATABASE_PAUSE = timedelta(milliseconds=500)


@dataclass(frozen=True, slots=True)
class Delivering:
    """`total`: how long one try may last. `lease`: after it a delivery whose worker fell silent is due again.
    `at_once`: tries under way in this process; a quarter as many more at endpoints that fail, which may all hang.
    `run_for`: how long one run claims."""

    total: timedelta
    at_once: int
    of_one_endpoint: int
    allow_private: bool
    # Short enough that the queue's heartbeats come through between two runs.
    run_for: timedelta = timedelta(seconds=20)

    @property
    def at_once_failing(self) -> int:
        return max(self.at_once // 4, 1)

    @property
    def lease(self) -> timedelta:
        return self.total + timedelta(seconds=30)

    @classmethod
    def from_settings(cls) -> "Delivering":
        return cls(
            total=timedelta(seconds=settings.KITARAN_WEBHOOK_SECONDS),
            at_once=settings.KITARAN_WEBHOOKS_AT_ONCE,
            of_one_endpoint=settings.KITARAN_WEBHOOKS_AT_ONCE_PER_ENDPOINT,
            allow_private=settings.KITARAN_WEBHOOKS_ALLOW_PRIVATE,
        )


@dataclass(slots=True)
class Delivered:
    """What one run came to: events that cursors passed, tries that succeeded, and tries that did not."""

    handed_out: int = 0
    succeeded: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class _UnderWay:
    claimed: Claimed
    failing: bool
    started_at: datetime
    answer: "Future[Answered]"


def hand_out(*, now: datetime) -> int:
    """Hands out what was published since; how many events the cursors passed. One that fails holds up no other."""
    passed = 0
    for endpoint_id in delivering.endpoints_behind():
        with troubles.isolated(_account_of(endpoint_id), HAND_OUT, lambda: now):
            for _ in range(MOST_BATCHES):
                with transaction.atomic():
                    count = delivering.hand_out(endpoint_id, now=now)
                passed += count
                if count < delivering.HANDED_OUT_AT_ONCE:
                    break
    return passed


def deliver_due(*, how: Delivering, clock: Callable[[], datetime], should_stop: Callable[[], bool]) -> Delivered:
    """Delivers what is due, as the module says, until nothing is; `clock` is the database's."""
    at_once = how.at_once + how.at_once_failing
    with Postman(seconds=how.total.total_seconds(), at_once=at_once, allow_private=how.allow_private) as postman:
        return _Deliverer(how, clock, should_stop, postman).run()


def _account_of(endpoint_id: int) -> int:
    return WebhookEndpoint.objects.values_list("account_id", flat=True).get(pk=endpoint_id)


class _Deliverer:
    def __init__(
        self, how: Delivering, clock: Callable[[], datetime], should_stop: Callable[[], bool], postman: Postman
    ) -> None:
        self._how = how
        self._clock = clock
        self._should_stop = should_stop
        self._postman = postman
        self._stop_at = time.monotonic() + how.run_for.total_seconds()
        self._give_up_at = self._stop_at + how.lease.total_seconds()
        self._under_way: list[_UnderWay] = []
        self._done = Delivered()

    def run(self) -> Delivered:
        more = True
        while (more or self._under_way) and time.monotonic() < self._give_up_at:
            try:
                self._record()
                more = self._may_begin() and self._begin()
                self._wait()
            except CONNECTION_LOST:
                logger.exception("deliver: the database failed; connecting again")
                connection.close()
                time.sleep(DATABASE_PAUSE.total_seconds())
                more = self._may_begin()
            except Exception as error:  # what was sent is recorded all the same; the rest is for the next run
                logger.exception("deliver: this run starts nothing more")
                troubles.note(None, "deliver", error, now=self._clock())
                self._stop_at, more = time.monotonic(), False
        return self._done

    def _may_begin(self) -> bool:
        return not self._should_stop() and time.monotonic() < self._stop_at

    def _wait(self) -> None:
        """Until the first answer has come, or for a moment."""
        if self._under_way:
            wait([one.answer for one in self._under_way], POLL.total_seconds(), FIRST_COMPLETED)

    def _begin(self) -> bool:
        """Claims and sends as much as may be under way; whether there was anything to do."""
        publish(now=self._clock())
        handed_out = hand_out(now=self._clock())
        self._done.handed_out += handed_out
        claimed = [
            *self._claim(self._how.at_once, failing=False),
            *self._claim(self._how.at_once_failing, failing=True),
        ]
        return bool(claimed or handed_out)

    def _claim(self, at_once: int, *, failing: bool) -> list[Claimed]:
        limit = at_once - sum(one.failing is failing for one in self._under_way)
        if limit < 1:
            return []
        now = self._clock()
        with transaction.atomic():
            claimed = delivering.claim(
                now=now,
                lease_until=now + self._how.lease,
                limit=limit,
                of_one_endpoint=1 if failing else self._how.of_one_endpoint,
                failing=failing,
            )
        for one in claimed:
            self._send(one, failing=failing)
        return claimed

    def _send(self, claimed: Claimed, *, failing: bool) -> None:
        """What cannot even be signed is a trouble of its account; its lease ends by itself."""
        now = self._clock()
        try:
            letter = _letter(claimed, now)
        except Exception as error:
            logger.exception("deliver: endpoint %s cannot be written to", claimed.endpoint_id)
            troubles.note(_account_of(claimed.endpoint_id), SEND, error, now=now)
            return
        self._under_way.append(_UnderWay(claimed, failing, now, self._postman.submit(letter)))

    def _record(self) -> None:
        for one in [one for one in self._under_way if one.answer.done()]:
            answered, now = one.answer.result(), self._clock()
            try:
                record_try(
                    one.claimed,
                    answered.tried,
                    started_at=one.started_at,
                    duration_ms=answered.duration_ms,
                    now=now,
                )
            except CONNECTION_LOST:
                raise
            except Error as error:  # its lease ends, and it is sent again
                logger.exception("deliver: delivery %s cannot be recorded", one.claimed.delivery_id)
                troubles.note(_account_of(one.claimed.endpoint_id), RECORD, error, now=now)
            self._under_way.remove(one)
            self._done.succeeded += answered.tried.succeeded
            self._done.failed += not answered.tried.succeeded


def _letter(claimed: Claimed, now: datetime) -> Letter:
    secrets = [claimed.secret_encrypted]
    if claimed.old_secret_ends_at is not None and now < claimed.old_secret_ends_at:
        secrets.append(claimed.old_secret_encrypted)
    signed = headers(
        event_id=claimed.event_public_id, at=now, body=claimed.body, signed_with=[decrypt(one) for one in secrets]
    )
    return Letter(claimed.url, signed, claimed.body.encode())


def deliver(*, how: Delivering, clock: Callable[[], datetime], should_stop: Callable[[], bool]) -> Delivered:
    """One run of the worker: deliveries, then the mails about endpoints that were disabled."""
    done = deliver_due(how=how, clock=clock, should_stop=should_stop)
    send_notices(clock=clock)
    return done
