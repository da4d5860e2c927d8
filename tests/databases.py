"""The tests' databases: migrated once a run, copied for each worker, emptied after each test that commits."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection

_MIGRATED = "kitaran_migrated"
_NOW_MIGRATING = 1  # an advisory lock: the first worker migrates, the others wait for it

# Django's flush truncates every table and writes all permissions anew, which takes longer than most tests. Here rows
# are deleted past the triggers that forbid it, and permissions stay.
_EMPTY = """
DO $$
DECLARE name text;
BEGIN
    SET LOCAL session_replication_role = replica;
    FOR name IN
        SELECT tablename FROM pg_tables WHERE schemaname = 'public'
        AND tablename NOT IN ('django_migrations', 'django_content_type', 'auth_permission')
    LOOP
        EXECUTE format('DELETE FROM %I', name);
    END LOOP;
END $$
"""


@contextmanager
def copy_for(worker: str) -> Iterator[None]:
    """Django's connection leads to a copy of the migrated database, until the end of the block."""
    before = connection.settings_dict["NAME"]
    name = f"test_{before}_{worker}"
    with connection.creation._nodb_cursor() as cursor:  # type: ignore[attr-defined]  # of PostgreSQL only
        cursor.execute("SELECT pg_advisory_lock(%s)", [_NOW_MIGRATING])
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [_MIGRATED])
        if not cursor.fetchone():
            made = connection.creation.create_test_db(verbosity=0, serialize=False)
            connection.close()
            cursor.execute(f'ALTER DATABASE "{made}" RENAME TO "{_MIGRATED}"')
        cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE "{_MIGRATED}"')
        cursor.execute("SELECT pg_advisory_unlock(%s)", [_NOW_MIGRATING])
    settings.DATABASES["default"]["NAME"] = connection.settings_dict["NAME"] = name
    yield
    connection.close()
    settings.DATABASES["default"]["NAME"] = connection.settings_dict["NAME"] = before


def empty(_: object = None) -> None:
    """Delete every row that tests wrote; in place of `TransactionTestCase._fixture_teardown`."""
    with connection.cursor() as cursor:
        cursor.execute(_EMPTY)
