"""Eight writers that commit late or roll back, two publishers, two readers: nobody misses an event or sees it twice.

The same run is read by ids as well, as an outbox without a publisher would be: that reader misses events."""

import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction

from billing.models import AccountTrouble, Event, Invoice
from billing.models.bulk.history import record_transition
from billing.notifying.publish import publish
from tests.api.calls import Api, api_for
from tests.factories import NOW, make_account, make_card, make_customer, make_invoice

WRITERS, TURNS, OBJECTS = 8, 25, 4
# The seed of this run; a failure names it.
SEED = random.randrange(10**6)


class World:
    """What the threads share. An invoice's `attempt_count` counts its committed changes, under its lock."""

    def __init__(self) -> None:
        self.account = make_account()
        card = make_card(make_customer(self.account))
        self.invoices = [make_invoice(card) for _ in range(OBJECTS)]
        self.done = threading.Event()
        self.failures: list[BaseException] = []

    def thread(self, work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - it is raised again by the test
                self.failures.append(error)
            finally:
                connection.close()

        started = threading.Thread(target=run)
        started.start()
        return started


def write(world: World, number: int) -> None:
    dice = random.Random(f"{SEED} {number}")
    wait = threading.Event()
    for _ in range(TURNS):
        with transaction.atomic():
            locked = Invoice.objects.select_for_update().get(pk=dice.choice(world.invoices).pk)
            Invoice.objects.filter(pk=locked.pk).update(attempt_count=locked.attempt_count + 1)
            wait.wait(dice.random() * 0.01)
            record_transition(
                account_id=locked.account_id,
                subject_type="invoice",
                subject_id=locked.pk,
                from_state="open",
                to_state="paid",
                reason="written",
                actor="test",
                now=NOW,
                detail={"change": locked.attempt_count + 1},
            )
            wait.wait(dice.random() * 0.03)  # the id is taken; the commit comes late
            transaction.set_rollback(dice.random() < 0.3)


def keep_publishing(world: World) -> None:
    while not world.done.is_set():
        publish(now=NOW, limit=random.Random().randint(1, 9))


def follow(world: World, api: Api, seen: list[dict[str, Any]]) -> None:
    """Reads until the writers are done, and once more."""
    after, last = "", False
    while True:
        page = api.get(f"/events/?limit=7{after}").json()
        seen += page["data"]
        after = f"&after={page['last_id']}" if page["last_id"] else ""
        if page["has_more"]:
            continue
        if last:
            return
        last = world.done.is_set()


def follow_by_id(world: World, seen: list[int]) -> None:
    """The naive reader: everything with a higher id than the last that it saw."""
    last = False
    while not last:
        last = world.done.is_set()
        seen += Event.objects.filter(pk__gt=seen[-1] if seen else 0).order_by("pk").values_list("pk", flat=True)


@contextmanager
def running(world: World, *work: Callable[[], None]) -> Iterator[None]:
    """Threads that work until the block is over."""
    threads = [world.thread(one) for one in work]
    try:
        yield
    finally:
        world.done.set()
        for thread in threads:
            thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.django_db(transaction=True)
def test_readers_see_every_event_once_and_in_one_order() -> None:
    world = World()
    api = api_for(world.account)
    api.get("/account/")  # notes the key's use before the threads begin
    seen: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    by_id: list[int] = []
    with running(
        world,
        lambda: keep_publishing(world),
        lambda: keep_publishing(world),
        lambda: follow(world, api, seen[0]),
        lambda: follow(world, api, seen[1]),
        lambda: follow_by_id(world, by_id),
    ):
        writers = [world.thread(lambda number=number: write(world, number)) for number in range(WRITERS)]  # type: ignore[misc]
        for writer in writers:
            writer.join(60)
    assert world.failures == [], SEED
    assert not AccountTrouble.objects.exists(), "publishers do not get in each other's way"
    committed = {event.public_id: event for event in Event.objects.all()}
    assert 60 < len(committed) < WRITERS * TURNS, "some were rolled back"
    assert seen[0] == seen[1], SEED
    assert [event["sequence"] for event in seen[0]] == list(range(1, len(committed) + 1)), SEED
    assert {event["id"] for event in seen[0]} == set(committed), SEED

    of_object: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for event in seen[0]:
        data = event["data"]
        of_object[data["object_id"]].append((data["object_sequence"], data["details"]["change"]))
    assert len(of_object) == OBJECTS
    for changes in of_object.values():
        assert changes == [(number, number) for number in range(1, len(changes) + 1)], SEED

    # The control: ids are not in the order of commits, so a reader of ids misses what commits late.
    missed = set(Event.objects.values_list("pk", flat=True)) - set(by_id)
    assert missed, "the naive reader was lucky; the writers do not commit late enough for this test to show anything"
