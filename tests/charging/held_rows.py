"""Rows that another connection holds, and statements that wait for them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import OperationalError, connection, transaction

from tests.promises.attacks import run


@contextmanager
def somebody_holds(table: str, pk: int | None = None, *, lock: str = "UPDATE") -> Iterator[None]:
    """All rows of billing_`table`, or the one with `pk`, are locked by another connection inside the block."""
    taken, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                run(f"SELECT 1 FROM billing_{table} {f'WHERE id = {pk}' if pk else ''} FOR {lock}")  # noqa: S608
                taken.set()
                let_go.wait(20)
        finally:
            connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert taken.wait(20)
        yield
    finally:
        let_go.set()
        holder.join()


def has_to_wait(statement: str) -> bool:
    """Whether `statement`, on a connection of its own, finds its rows locked. It is taken back."""
    outcome: list[bool] = []

    def try_it() -> None:
        try:
            with transaction.atomic():
                run("SET LOCAL lock_timeout = '300ms'")
                run(statement)
                transaction.set_rollback(True)
            outcome.append(False)
        except OperationalError:
            outcome.append(True)
        finally:
            connection.close()

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    return outcome[0]


def wait_until_somebody_waits() -> None:
    """Until a statement of this database waits for a lock."""
    for _ in range(1000):
        run("SELECT pg_stat_clear_snapshot()")  # within a transaction the first look would be shown again
        if run(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' LIMIT 1"
        ):
            return
        run("SELECT pg_sleep(0.01)")
    raise AssertionError("nobody waits for a lock")
