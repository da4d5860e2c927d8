"""What befalls a whole installation: its database is put back or copied to another host, and its clock steps.

A copy is the rows of every table and where the sequences stand, kept in this process. Put back, it is as after a
restore: triggers do not fire, and ids are used again.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from django.apps import apps
from django.conf import settings
from django.db import connection, transaction

from billing.charging.attempts.arm import Armed
from billing.charging.recovery.from_cards import read_quarantined
from billing.domain.doubts import WATCH_FOR
from billing.gateway import sending_clock as clock_module
from billing.models import GatewayAccount, PaymentAttempt
from billing.operating import clocks, quarantine, recognise, witness

if TYPE_CHECKING:
    from tests.stateful.world import Worker, World

Key = tuple[str, str]  # what a charge is for: its subscription or one-off invoice, and when that was due


def tables() -> dict[str, str | None]:
    """Every table, with its column that counts by itself."""
    metas = [model._meta for model in apps.get_app_config("billing").get_models()]
    return {meta.db_table: meta.auto_field.column if meta.auto_field else None for meta in metas}


@dataclass(frozen=True, slots=True)
class Copy:
    """The whole billing database at one instant."""

    rows: dict[str, bytes]
    sequences: dict[str, tuple[int, bool]]

    @classmethod
    def taken(cls) -> Self:
        rows: dict[str, bytes] = {}
        sequences: dict[str, tuple[int, bool]] = {}
        with transaction.atomic(), connection.cursor() as cursor:
            for table, counter in tables().items():
                with cursor.copy(f"COPY {table} TO STDOUT (FORMAT BINARY)") as copied:
                    rows[table] = b"".join(bytes(part) for part in copied)
                if counter is not None:
                    cursor.execute("SELECT pg_get_serial_sequence(%s, %s)", [table, counter])
                    (sequence,) = cursor.fetchone()
                    cursor.execute(f"SELECT last_value, is_called FROM {sequence}")  # noqa: S608
                    sequences[sequence] = cursor.fetchone()
        return cls(rows, sequences)

    def put_back(self) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            for table in self.rows:
                cursor.execute(f"DELETE FROM {table}")  # noqa: S608
            for table, content in self.rows.items():
                with cursor.copy(f"COPY {table} FROM STDIN (FORMAT BINARY)") as copied:
                    copied.write(content)
            for sequence, (last, called) in self.sequences.items():
                cursor.execute("SELECT setval(%s, %s, %s)", [sequence, last, called])


@dataclass(frozen=True, slots=True)
class Made:
    """A charge that some installation armed. `armed_at` is by the true clock."""

    key: Key
    due_at: datetime
    amount_minor: int
    armed_at: datetime


@dataclass(slots=True)
class Installation:
    """What belongs to one host: its folder, its processes, and its database while another one is at work."""

    folder: Path
    workers: "Sequence[Worker]"
    noted: set[str] = field(default_factory=set)
    copy: Copy | None = None
    backup: Copy | None = None


class Disasters:
    """The installations of one world, of which one at a time is in the database, and all that they ever armed."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.made: dict[str, Made] = {}
        self.absent: set[str] = set()  # markers of what was called absent, each judged once
        self.folder = witness.folder()
        self.here = self.original = Installation(self.folder, world.workers)
        self.other: Installation | None = None
        self.here_goes_on = True  # which of two installations is the one that is kept
        self.retired_at: datetime | None = None  # since when the other one does nothing any more
        self.copies = 0
        # What this process knew of clocks belongs to an example that is over.
        clocks._asked_at.clear()
        clock_module.clock._doubted_at = clock_module.clock._read = None

    def close(self) -> None:
        settings.KITARAN_WITNESS_DIR = self.folder

    # --- what was ever armed ------------------------------------------------------------------------------

    def learn(self) -> None:
        """Remembers what is armed in this database, before it can be forgotten.

        What was recovered was armed before. Of several invoices that are owed alike, of which none has the id that the
        gateway repeats, it is given to one: it counts for that one from then on, and the others are owed."""
        rows = PaymentAttempt.objects.order_by("id").values_list(
            "marker",
            "invoice__subscription__public_id",
            "invoice__public_id",
            "invoice__due_at",
            "amount_minor",
            "armed_at",
            "recovered_at",
        )
        for marker, subscription, invoice, due_at, amount_minor, armed_at, recovered_at in rows:
            key = (subscription or invoice, due_at.isoformat() if subscription else "")
            known = self.made.get(marker)
            if known is None:
                assert recovered_at is None, f"{marker} was recovered, and nobody armed it"
                self.made[marker] = Made(key, due_at, amount_minor, armed_at - self.world.clock_ahead)
            elif known.key != key:
                assert recovered_at is not None, f"{marker} was armed for {known.key} and counts for {key}"
                assert known.amount_minor == amount_minor, f"{marker} was given to an invoice of another amount"
                self.made[marker] = replace(known, key=key, due_at=due_at)

    # --- restore ------------------------------------------------------------------------------------------

    def back_up(self) -> None:
        self.here.backup = Copy.taken()

    def restore(self, *, workers_die: bool) -> None:
        """What is in the memory of workers dies, or lives on beside a database that knows nothing of it."""
        assert self.here.backup is not None
        self.learn()
        self.here.backup.put_back()
        for worker in self.here.workers:  # to settle again is a matter of moments
            worker.findings.clear()
        if workers_die:
            self._kill(self.here)

    def _kill(self, one: Installation) -> None:
        for worker in one.workers:
            worker.die()
        one.noted.clear()
        if one is self.here:
            recognise._noted.clear()

    # --- a second installation ----------------------------------------------------------------------------

    def copy_to_another_host(self, workers: "Sequence[Worker]", *, copy_is_kept: bool) -> None:
        """The original goes on; the copy waits until somebody goes there."""
        assert self.other is None
        self.copies += 1
        self.original = self.here
        folder = self.folder.with_name(f"{self.folder.name}-copy-{self.copies}")
        shutil.rmtree(folder, ignore_errors=True)
        self.other = Installation(folder, workers, copy=Copy.taken())
        self.here_goes_on = not copy_is_kept
        self.retired_at = None

    def go_to_the_other(self) -> None:
        assert self.other is not None
        assert self.other.copy is not None
        self.learn()
        self.here.copy, self.here.noted = Copy.taken(), set(recognise._noted)
        self.here, self.other = self.other, self.here
        self.here_goes_on = not self.here_goes_on
        self.here.copy.put_back()  # type: ignore[union-attr]
        self.here.copy = None
        self.world.workers = self.here.workers  # type: ignore[assignment]
        settings.KITARAN_WITNESS_DIR = self.here.folder
        recognise._noted.clear()
        recognise._noted.update(self.here.noted)

    def end_the_other(self) -> None:
        """One of the two is given up for good: its processes end, and nobody starts them again."""
        if self.other is None:
            return
        if not self.here_goes_on:
            self.go_to_the_other()
        self._kill(self.other)
        self.other, self.here_goes_on = None, True
        self.retired_at = self.world.true_now

    # --- the way out of a quarantine ----------------------------------------------------------------------

    def look_which_database_it_is(self) -> None:
        """As workers do before they collect."""
        recognise.watch(now=self.world.now)

    @property
    def quarantined_at(self) -> datetime | None:
        return GatewayAccount.objects.get(pk=self.world.account.pk).quarantined_at

    def read_in_quarantine(self) -> None:
        world = self.world
        read_quarantined(tuning=world.tuning, clock=lambda: world.now, should_stop=lambda: False)

    def may_be_lifted_at(self) -> datetime:
        """When a person who knows of the other installation would: what that one charged last is listed by then."""
        account = GatewayAccount.objects.get(pk=self.world.account.pk)
        assert account.quarantined_at is not None
        shown_after = quarantine.shown_after(account)
        lists_are_complete = account.quarantined_at + shown_after
        if self.retired_at is None:
            return lists_are_complete
        return max(lists_are_complete, self.retired_at + self.world.clock_ahead + shown_after)

    def lift(self) -> None:
        """Raises QuarantineError while something is left to read."""
        account = GatewayAccount.objects.get(pk=self.world.account.pk)
        quarantine.lift(account=account, reason="all of it was read", actor="aisyah", now=self.world.now)

    def carry_through(self) -> None:
        """All of it, as an operator does who has the time; or nothing where there is no quarantine."""
        if self.quarantined_at is None:
            return
        self.read_in_quarantine()
        wait = self.may_be_lifted_at() - self.world.now
        self.world.let_time_pass(max(wait, timedelta(0)) + timedelta(seconds=1))
        self.read_in_quarantine()
        try:
            self.lift()
        except quarantine.QuarantineError:
            return

    def try_to_charge(self, worker: "Worker") -> list[Armed]:
        """For as long as a host without a witness watches for the others, and then once more."""
        world = self.world
        armed: list[Armed] = []
        for wait in (timedelta(0), WATCH_FOR + timedelta(seconds=1), timedelta(seconds=1)):
            world.let_time_pass(wait)
            world.open_due()
            self.look_which_database_it_is()
            armed += world.arm(worker, 3)
        return armed

    # --- clocks -------------------------------------------------------------------------------------------

    def step_the_clock(self, by: timedelta) -> None:
        """The database's clock steps; the true one, by which the gateway goes, does not."""
        self.world.clock_ahead += by
        self.world.now += by
        self.world.set_clocks()

    def correct_the_clock(self) -> None:
        self.step_the_clock(-self.world.clock_ahead)

    def agree_about_the_clock(self) -> None:
        """Until the engine is sure again: what is due is opened at the end."""
        for _ in range(3):
            self.world.open_due()
            self.world.let_time_pass(timedelta(seconds=61))
        self.world.open_due()
