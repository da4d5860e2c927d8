"""PostgreSQL's backend, except that connecting explains what is missing.

Commands that need no database (`schedule`, `check`, `makemigrations`) work with it.
"""

from typing import Any, NoReturn

from django.db import OperationalError
from django.db.backends.postgresql import base


class NoDatabaseError(OperationalError):
    """Nothing says where PostgreSQL is."""


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> NoReturn:  # noqa: ARG002
        raise NoDatabaseError(
            "There is no database: DATABASE_URL is not set and no embedded stack is running in the data "
            "folder. Start one with `make up` (or `make demo`), or set DATABASE_URL and REDIS_URL."
        )
