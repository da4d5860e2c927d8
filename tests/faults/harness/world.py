"""The harness's own account with its cards: bound once through the simulator's page, put back for every batch."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from billing.domain.arming import Environment
from billing.ids import new_id
from billing.models import GatewayAccount, Installation, Invoice, PaymentMethod
from billing.models.clock import database_now
from billing.operating import witness
from billing.subscriptions.cards import confirm_binding, start_binding
from rm_gateway.simulator.process import SimulatorProcess
from tests.factories import make_account, make_customer
from tests.faults.harness.forking import in_child

KEPT = ("billing_installation", "billing_gatewayaccount", "billing_customer", "billing_paymentmethod")


class World:
    """One database and one simulator, both put back to the same beginning for each batch."""

    def __init__(self, folder: Path, *, cards: int) -> None:
        self._state = folder / "simulator.jsonl"
        self._beginning = folder / "beginning.jsonl"
        self.simulator = SimulatorProcess(state=self._state)
        with self.simulator:
            in_child(lambda: self._begin(cards), seconds=600)
        shutil.copy(self._state, self._beginning)

    @contextmanager
    def batch(
        self, *, profile: str, invoices: int, cards: int | None = None, **switches: Any
    ) -> Iterator[SimulatorProcess]:
        """The beginning again, with so many invoices due, each on a card of its own; or with so many cards."""
        shutil.copy(self._beginning, self._state)
        with self.simulator as simulator:
            simulator.use_profile(profile)
            simulator.set(**switches)
            in_child(lambda: self._put_back(invoices, cards or invoices))
            yield simulator

    def _begin(self, cards: int) -> None:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())
        Installation.objects.get_or_create(pk=1)
        known = self.simulator.credentials
        account = make_account(
            max_in_flight=None,  # many workers are killed here, and what each had in flight counts until its deadline
            environment=Environment.SIMULATOR,
            client_id=known.client_id,
            client_secret=known.client_secret,
            private_key_pem=known.private_key,
            store_id=known.store_id,
            oauth_url=known.oauth_url,
            api_url=known.api_url,
        )
        for _ in range(cards):
            now = database_now()
            card = start_binding(customer=make_customer(account), return_url="http://127.0.0.1:9/bind", now=now)
            self.simulator.bind(card.payment_url)
            assert confirm_binding(card=card, now=now)
        with connection.cursor() as cursor:
            cursor.execute("CREATE SCHEMA kept")
            for table in KEPT:
                cursor.execute(f"CREATE TABLE kept.{table} AS TABLE public.{table}")

    def _put_back(self, invoices: int, cards: int) -> None:
        shutil.rmtree(witness.folder(), ignore_errors=True)  # it would take the beginning for an older database
        names = [name for name in connection.introspection.table_names() if name.startswith("billing_")]
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {', '.join(names)} CASCADE")
            for table in KEPT:
                # Cards that nobody charges would be asked about by every audit.
                most = cards if table == "billing_paymentmethod" else None
                cursor.execute(f"INSERT INTO {table} SELECT * FROM kept.{table} ORDER BY id LIMIT %s", [most])
            cursor.execute("ANALYZE")
        make_due(invoices)


def make_due(count: int, *, skip: int = 0, due_in: timedelta = timedelta(0)) -> None:
    """One-off invoices, each on a card of its own, beginning with the `skip`-th card."""
    now = database_now()
    account = GatewayAccount.objects.get()
    cards = PaymentMethod.objects.order_by("id")[skip : skip + count]
    Invoice.objects.bulk_create(
        [
            Invoice(
                public_id=new_id("inv", now),
                account=account,
                customer_id=card.customer_id,
                payment_method=card,
                state="open",
                description="Coffee club",
                lines=[],
                amount_minor=1990,
                currency="MYR",
                due_at=now + due_in,
                next_attempt_at=now + due_in,
                created_at=now,
            )
            for card in cards
        ]
    )
