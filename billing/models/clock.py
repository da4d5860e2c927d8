"""PostgreSQL's clock: the one that charging goes by, so that all workers agree."""

from datetime import datetime

from billing.models.bulk.sql import rows


def database_now() -> datetime:
    """The instant now, UTC, by the database server. Doors and loops pass it on; nothing else reads a clock."""
    ((now,),) = rows("SELECT clock_timestamp()", [])
    moment: datetime = now
    return moment
