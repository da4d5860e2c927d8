"""A pytest plugin: each attack on a promise is made without that promise, and what then happens is written down.

Before the block of `refused(name)` the constraint or trigger of that name is dropped, inside the attack's own
savepoint. An attack that gets through shows that nothing else refuses it; else it is told what did.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import IntegrityError, transaction

SAID: dict[str, set[str]] = {}


class _GotThroughError(Exception):
    """Takes back what the attack did."""


@contextmanager
def without(name: str) -> Iterator[None]:
    """In the place of `refused`: the block without the promise `name`."""
    from tests.promises.attacks import run

    said = SAID.setdefault(name, set())
    try:
        with transaction.atomic():
            _drop(name)
            yield
            run("SET CONSTRAINTS ALL IMMEDIATE")
            said.add("gets through")
            raise _GotThroughError  # noqa: TRY301
    except _GotThroughError:
        pass
    except IntegrityError as error:
        refused_by = error.__cause__.diag.constraint_name if error.__cause__ else "a constraint"  # type: ignore[attr-defined]
        said.add(f"refused by {refused_by}")


def _drop(name: str) -> None:
    from tests.promises.attacks import run

    run("SET CONSTRAINTS ALL IMMEDIATE")
    run("SET CONSTRAINTS ALL DEFERRED")
    for statement in run(
        """SELECT format('ALTER TABLE %%s DROP CONSTRAINT %%I CASCADE', conrelid::regclass, conname)
           FROM pg_constraint WHERE conname = %s
           UNION ALL
           SELECT format('DROP TRIGGER %%I ON %%s', tgname, tgrelid::regclass) FROM pg_trigger
           WHERE tgname = %s AND NOT tgisinternal
           UNION ALL
           SELECT format('DROP INDEX %%s', indexrelid::regclass) FROM pg_index
           WHERE indexrelid::regclass::text = %s
             AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexrelid)""",
        [name, name, name],
    ):
        run(statement[0])


def pytest_sessionstart(session: pytest.Session) -> None:
    from tests.promises import attacks

    attacks.refused = without


def pytest_sessionfinish(session: pytest.Session) -> None:
    told = {name: sorted(said) for name, said in sorted(SAID.items())}
    Path(os.environ["KITARAN_ATTACKS_SAY"]).write_text(json.dumps(told), encoding="utf-8")
