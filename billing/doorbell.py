"""Rings a worker by a task's name. A hint to look at PostgreSQL soon; losing it costs seconds, never a charge."""

import logging

from celery import current_app
from django.db import transaction

logger = logging.getLogger(__name__)

OPEN_DUE = "billing.open_due"
COLLECT = "billing.collect"
RECONCILE = "billing.reconcile"
REFUND = "billing.refund"
CHECKOUTS = "billing.checkouts"
DELIVER = "billing.deliver"
EXPIRES_SECONDS = 30
# Two tries of at most a second, even with a broker that accepts and never answers.
_IMPATIENT = {
    "socket_timeout": 1,
    "socket_connect_timeout": 1,
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
}


def ring_on_commit(task: str) -> None:
    """After the transaction commits, asks for `task` now. Takes 2 seconds at most; failure is ignored."""
    transaction.on_commit(lambda: ring(task), robust=True)


def ring(task: str) -> None:
    try:
        with current_app.connection_for_write(transport_options=_IMPATIENT) as connection:
            current_app.send_task(task, connection=connection, expires=EXPIRES_SECONDS, retry=False, ignore_result=True)
    except Exception as error:  # noqa: BLE001  (whatever ails the broker: the next tick finds the row)
        logger.warning("doorbell: %s was not rung: %s", task, type(error).__name__)


def answers() -> bool:
    """Whether the broker takes a connection; asked by whoever looks at the set-up."""
    try:
        with current_app.connection_for_write(transport_options=_IMPATIENT) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=2)
    except Exception:  # noqa: BLE001  (whatever ails the broker)
        return False
    return True
