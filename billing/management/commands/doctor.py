"""`manage.py doctor`: what is set up around Kitaran, a line for each thing, with what to do about it."""

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from django.core.management.base import BaseCommand
from django.db import Error, connection

from billing.domain.plurals import counted
from billing.doorbell import answers
from billing.models import GatewayAccount
from billing.models.bulk import recognising
from billing.models.bulk.sql import rows
from billing.models.clock import database_now
from billing.models.encryption import decrypt
from billing.operating import quarantine, witness
from billing.operating.witness import WitnessError

Line = tuple[str, str]  # "ok", "warn" or "wrong", and the sentence
CLOCK_SECONDS = 2


class Command(BaseCommand):
    help = (
        "Check what is set up around Kitaran: the database's role, its commits and standbys, the witness, the clock, "
        "Redis, the accounts' keys. Changes nothing; exits 1 when something is wrong."
    )

    def handle(self, **_: Any) -> None:
        wrong = False
        for check in (_identity, _commits, _standbys, _witness, _clock, _redis, _keys, _quarantine):
            for kind, sentence in _carefully(check):
                wrong |= kind == "wrong"
                self.stdout.write(f"{kind:5}  {sentence}")
        if wrong:
            sys.exit(1)


def _carefully(check: Callable[[], Iterator[Line]]) -> list[Line]:
    try:
        return list(check())
    except Error as error:
        connection.close()
        return [("wrong", f"{check.__name__.strip('_')}: the database query failed: {type(error).__name__}")]


def _identity() -> Iterator[Line]:
    for name in sorted({part for part, _, _ in recognising.PARTS} - set(recognising.askable())):
        words = name.replace("_", " ")
        yield "warn", f"identity: this role may not read the {words}; a copy that differs only in it is not detected"
    if len(recognising.askable()) == len(recognising.PARTS):
        yield "ok", "identity: this role may read which database this is"
    ((recovering,),) = rows("SELECT pg_is_in_recovery()", [])
    if recovering:
        yield "wrong", "database: this is a standby; DATABASE_URL must name the primary"


def _commits() -> Iterator[Line]:
    for name in ("synchronous_commit", "fsync", "full_page_writes"):
        ((value,),) = rows("SELECT current_setting(%s)", [name])
        if value == "off" or (name == "synchronous_commit" and value == "local" and _has_standbys()):
            yield "wrong", f"{name} is {value}: a crash may lose charges; turn it on"
        else:
            yield "ok", f"{name} is {value}"


def _has_standbys() -> bool:
    return bool(rows("SELECT 1 FROM pg_stat_replication LIMIT 1", []))


def _standbys() -> Iterator[Line]:
    found = rows("SELECT COALESCE(application_name, ''), sync_state FROM pg_stat_replication ORDER BY 1", [])
    if not found:
        yield "ok", "standbys: none is connected"
    for name, state in found:
        if state in ("sync", "quorum"):
            yield "ok", f"standby {name!r} is {state}"
        elif state is None:
            yield (
                "warn",
                (
                    f"standby {name!r}: this role may not read its state; grant pg_monitor, and make the standby "
                    "synchronous"
                ),
            )
        else:
            fix = "make it synchronous (synchronous_standby_names)"
            yield "warn", f"standby {name!r} is {state}: if promoted, it lacks the last charges; {fix}"


def _witness() -> Iterator[Line]:
    try:
        host = witness.host_id()
        witness.make_ready()
        found = witness.read_all()
    except WitnessError as error:
        yield "wrong", f"witness: {error}; nothing is charged on this host"
        return
    yield "ok", f"witness: {witness.folder()} is writable; this host is {host[:8]}…, with {counted(len(found), 'file')}"
    if not found:
        yield "warn", "witness: this host has charged nothing yet, or its folder is not kept across restarts"


def _clock() -> Iterator[Line]:
    apart = database_now().timestamp() - time.time()
    kind = "ok" if abs(apart) <= CLOCK_SECONDS else "warn"
    yield kind, f"clock: the database's clock differs from this machine's by {abs(apart):.1f} s"


def _redis() -> Iterator[Line]:
    if answers():
        yield "ok", "redis: answers"
    else:
        yield "warn", "redis: does not answer; workers are not notified. `manage.py tick --loop` charges without Redis"


def _keys() -> Iterator[Line]:
    for account in GatewayAccount.objects.order_by("pk"):
        try:
            decrypt(account.client_secret_encrypted)
            decrypt(account.private_key_encrypted)
        except Exception as error:  # noqa: BLE001  (whatever it is, the account cannot be used)
            fix = "check that KITARAN_ENCRYPTION_KEYS has the key that encrypted them"
            yield "wrong", f"account {account.public_id}: its secrets cannot be read ({type(error).__name__}); {fix}"
        else:
            yield "ok", f"account {account.public_id}: its secrets can be read"


def _quarantine() -> Iterator[Line]:
    for sentence in quarantine.sentences():
        yield "wrong", sentence
