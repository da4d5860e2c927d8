"""The benchmark's own durable PostgreSQL: seeding by set, and what it costs."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psutil
import psycopg

_CUSTOMERS = """
INSERT INTO billing_customer (public_id, account_id, reference, name, email, country_code, phone_number, metadata,
                              created_at)
SELECT 'cus_' || g, %(account)s, 'bench-' || g, 'Aminah binti Ali', 'bench' || g || '@example.com', '60', '123456789',
       '{}', %(now)s
FROM unnest(%(gateway_ids)s::text[]) AS g
"""
_CARDS = """
INSERT INTO billing_paymentmethod (public_id, account_id, customer_id, kind, state, environment, gateway_customer_id,
                                   label, return_token, is_default, baseline_read_at, created_at, activated_at)
SELECT 'pm_' || g, %(account)s, c.id, 'tokenized', 'active', 'simulator', g, '411111******1111', 'token-' || g, true,
       %(now)s, %(now)s, %(now)s
FROM unnest(%(gateway_ids)s::text[]) AS g
JOIN billing_customer c ON c.account_id = %(account)s AND c.reference = 'bench-' || g
"""
_SUBSCRIPTIONS = """
INSERT INTO billing_subscription (public_id, account_id, customer_id, plan_id, reference, state, collector, catch_up,
    amount_minor, currency, interval, target, every, charge_time, time_zone, charge_at_start, anchor_date, occurrence,
    next_due_at, period_index, periods_charged, created_at, activated_at, metadata)
SELECT 'sub_' || g, %(account)s, c.id, p.id, 'bench-' || g, 'active', 'engine', 'all', p.amount_minor, p.currency,
       p.interval, p.target, p.every, %(due_at)s::timestamptz::time, 'UTC', false, %(due_at)s::timestamptz::date, 0,
       %(due_at)s, 0, 0, %(now)s, %(now)s, '{}'
FROM unnest(%(gateway_ids)s::text[]) AS g
JOIN billing_customer c ON c.account_id = %(account)s AND c.reference = 'bench-' || g
JOIN billing_plan p ON p.account_id = %(account)s
"""
_STATES = """
SELECT count(*), count(*) FILTER (WHERE a.state = 'succeeded' AND i.state = 'paid' AND a.number = 1),
       count(DISTINCT a.invoice_id)
FROM billing_paymentattempt a JOIN billing_invoice i ON i.id = a.invoice_id WHERE a.account_id = %s
"""


@dataclass(frozen=True, slots=True)
class Attempts:
    """Of one account: attempts in all, those that succeeded at once and paid, and the invoices they belong to."""

    made: int
    succeeded: int
    invoices: int


class Database:
    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True, options="-c timezone=UTC")
        self._own_backend = self._connection.info.backend_pid
        server = psutil.Process(self._own_backend).parent()
        if server is None:
            raise RuntimeError("PostgreSQL runs in another PID namespace")
        self._server = server

    def close(self) -> None:
        self._connection.close()

    def version(self) -> str:
        return str(self._one("SHOW server_version"))

    def execute(self, query: str) -> None:
        self._connection.execute(query)

    def seed(self, account_id: int, gateway_ids: list[str]) -> None:
        """An active subscription with a customer and a card of its own per gateway id, daily, due a moment ago."""
        now = self._one("SELECT clock_timestamp()")
        due_at = (now - timedelta(seconds=30)).replace(microsecond=0)
        values = {"account": account_id, "now": now, "due_at": due_at, "gateway_ids": gateway_ids}
        with self._connection.transaction():
            for statement in (_CUSTOMERS, _CARDS, _SUBSCRIPTIONS):
                self._connection.execute(statement, values)

    def settle_down(self) -> None:
        """Statistics and a checkpoint, so that neither program pays for what came before it."""
        self._connection.execute("VACUUM ANALYZE")
        self._connection.execute("CHECKPOINT")

    def attempts(self, account_id: int) -> Attempts:
        row = self._connection.execute(_STATES, [account_id]).fetchone()
        return Attempts(*(row or (0, 0, 0)))

    def limit_charges(self) -> int:
        return int(self._one("SELECT count(*) FROM bench_limit WHERE state = 'succeeded'"))

    def connections(self) -> int:
        """Clients other than this one."""
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return int(self._one(query))

    def cpu_seconds(self) -> float:
        """CPU of the whole server so far, but for the backend that serves this class."""
        times = self._server.cpu_times()
        total = times.user + times.system + times.children_user + times.children_system
        for child in self._server.children(recursive=True):
            if child.pid != self._own_backend:
                with suppress(psutil.NoSuchProcess):  # ended just now
                    own = child.cpu_times()
                    total += own.user + own.system
        return total

    def _one(self, query: str) -> Any:
        row = self._connection.execute(query).fetchone()
        return row[0] if row else None
