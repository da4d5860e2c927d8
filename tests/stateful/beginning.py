"""How a world begins: an empty database that nobody witnessed, and a machine that has been up for a day."""

import shutil
from datetime import UTC, datetime

from django.apps import apps
from django.db import connection

from billing.models import Installation
from billing.operating import recognise, witness

START = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)  # 09:00 in Kuala Lumpur
UPTIME_AT_START = 86_400.0

_up = [UPTIME_AT_START]


def uptime() -> float:
    """How long the machine has been up, in seconds by the world's true clock."""
    return _up[0]


def let_the_machine_be_up(until: datetime) -> None:
    _up[0] = UPTIME_AT_START + (until - START).total_seconds()


def empty_the_database() -> None:
    """With what this machine witnessed of it, which would take the empty one for an older one."""
    shutil.rmtree(witness.folder(), ignore_errors=True)
    recognise._noted.clear()
    tables = ", ".join(model._meta.db_table for model in apps.get_app_config("billing").get_models())
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {tables} RESTART IDENTITY CASCADE")
    Installation.objects.create(pk=1)
