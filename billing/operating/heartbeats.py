"""Pulses of the queues, as rows: the watchdog must not depend on what it watches."""

from datetime import datetime

from billing.models.bulk.sql import run


def beat(*, queue: str, worker: str, now: datetime) -> None:
    run(
        """INSERT INTO billing_heartbeat (queue, worker, beat_at) VALUES (%s, %s, %s)
           ON CONFLICT (queue) DO UPDATE SET worker = excluded.worker, beat_at = excluded.beat_at""",
        [queue, worker, now],
    )
