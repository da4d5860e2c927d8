"""The constraints and triggers that the code lists, looked for in PostgreSQL's own catalogue.

A promise that the database keeps is only kept by a database that has it: one that was restored without its triggers,
or on which somebody tried something, looks the same from outside.
"""

import re
from collections.abc import Iterator
from functools import cache

from django.apps import apps
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import RunSQL

from billing.audit.violation import CATALOGUE, Violation
from billing.models.bulk.sql import rows

_STATEMENT = re.compile(
    r"""CREATE\s+(?:OR\s+REPLACE\s+)?FUNCTION\s+(?P<function>\w+)\s*\(\).*?AS\s+\$\$(?P<body>.*?)\$\$
        | CREATE\s+(?:CONSTRAINT\s+)?TRIGGER\s+(?P<trigger>\w+)\s.*?\sON\s+(?P<table>\w+)\s.*?FUNCTION\s+(?P<runs>\w+)
        | DROP\s+TRIGGER\s+(?:IF\s+EXISTS\s+)?(?P<dropped>\w+)""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)


def catalogue_violations() -> Iterator[Violation]:
    """What the code lists and the database lacks, has switched off, or has in another form."""
    yield from _constraints()
    yield from _triggers()


def _constraints() -> Iterator[Violation]:
    kept = {
        (table, name)
        for table, name in rows(
            """SELECT conrelid::regclass::text, conname FROM pg_constraint
               WHERE conrelid <> 0 AND contype IN ('c', 'u') AND convalidated
               UNION
               SELECT indrelid::regclass::text, indexrelid::regclass::text FROM pg_index
               WHERE indisunique AND indisvalid""",
            [],
        )
    }
    unique_columns = {
        (table, column)
        for table, column in rows(
            """SELECT i.indrelid::regclass::text, a.attname
               FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
               WHERE i.indisunique AND i.indisvalid AND i.indnkeyatts = 1 AND i.indpred IS NULL""",
            [],
        )
    }
    for model in apps.get_app_config("billing").get_models():
        table = model._meta.db_table
        for constraint in model._meta.constraints:
            if (table, constraint.name) not in kept:
                yield Violation(CATALOGUE, constraint.name, f"is missing: a constraint of {table}.")
        for field in model._meta.concrete_fields:
            if field.unique and (table, field.column) not in unique_columns:
                yield Violation(CATALOGUE, f"{table}.{field.column}", "is missing: that no value is there twice.")


def _triggers() -> Iterator[Violation]:
    present = {
        (table, name): (enabled in ("O", "A"), function, _words(body))
        for table, name, enabled, function, body in rows(
            """SELECT t.tgrelid::regclass::text, t.tgname, t.tgenabled::text, p.proname, p.prosrc
               FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE NOT t.tgisinternal""",
            [],
        )
    }
    for (table, name), (function, body) in sorted(listed_triggers().items()):
        enabled, runs, does = present.get((table, name), (None, "", ""))
        if enabled is None:
            yield Violation(CATALOGUE, name, f"is missing: a trigger on {table}.")
        elif not enabled:
            yield Violation(CATALOGUE, name, f"is switched off: a trigger on {table}.")
        elif (runs, does) != (function, body):
            yield Violation(CATALOGUE, name, f"does something else than the code says: a trigger on {table}.")


@cache
def listed_triggers() -> dict[tuple[str, str], tuple[str, str]]:
    """(table, trigger) -> (function, its body), as the migrations leave them, read from their SQL in order."""
    loader = MigrationLoader(None, ignore_no_migrations=True)
    bodies: dict[str, str] = {}
    triggers: dict[tuple[str, str], str] = {}
    for key in loader.graph.forwards_plan(loader.graph.leaf_nodes("billing")[0]):
        for operation in loader.get_migration(*key).operations:
            for found in _STATEMENT.finditer(_sql(operation)):
                if found["function"]:
                    bodies[found["function"]] = _words(found["body"])
                elif found["trigger"]:
                    triggers[found["table"], found["trigger"]] = found["runs"]
                else:
                    triggers = {key: runs for key, runs in triggers.items() if key[1] != found["dropped"]}
    return {key: (runs, bodies.get(runs, "")) for key, runs in triggers.items()}


def _sql(operation: object) -> str:
    return operation.sql if isinstance(operation, RunSQL) and isinstance(operation.sql, str) else ""


def _words(text: str) -> str:
    return " ".join(text.split())
