"""Pulses of the queues, as rows: the watchdog must not depend on what it watches."""

import os
import socket
from datetime import datetime

from billing.models.bulk.sql import run


def worker_name() -> str:
    """The host and process, as heartbeats and runs name them."""
    return f"{socket.gethostname()}:{os.getpid()}"


def beat(*, queue: str, worker: str, now: datetime) -> None:
    run(
        """INSERT INTO billing_heartbeat (queue, worker, beat_at) VALUES (%s, %s, %s)
           ON CONFLICT (queue) DO UPDATE SET worker = excluded.worker, beat_at = excluded.beat_at""",
        [queue, worker, now],
    )
