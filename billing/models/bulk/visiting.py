"""Counting the requests of each visitor, in windows of time."""

from datetime import datetime

from billing.models.bulk.sql import rows, run


def count_visit(key: str, *, window_at: datetime) -> int:
    """Counts one request in the window that began at `window_at`; how many there were in it, this one included."""
    ((count,),) = rows(
        """INSERT INTO billing_visitcount (key, window_at, count) VALUES (%s, %s, 1)
           ON CONFLICT (key) DO UPDATE SET window_at = EXCLUDED.window_at,
             count = CASE WHEN billing_visitcount.window_at = EXCLUDED.window_at
                          THEN billing_visitcount.count + 1 ELSE 1 END
           RETURNING count""",
        [key, window_at],
    )
    return int(count)


def forget_visits(*, before: datetime, limit: int) -> int:
    """Deletes counters of windows that began before; how many."""
    return run(
        """DELETE FROM billing_visitcount WHERE key IN (
               SELECT key FROM billing_visitcount WHERE window_at < %s LIMIT %s FOR UPDATE SKIP LOCKED)""",
        [before, limit],
    )
