"""Transactions say themselves what they need: whatever a session, a server or a pooler has set changes nothing."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection

from billing.models import Invoice, PaymentAttempt
from billing.models.bulk.sql import CONNECTION_LOST, NOT_DONE_YET, HeldError, durable
from billing.models.clock import database_now
from billing.subscriptions.renew import open_due
from tests.charging.held_rows import somebody_holds
from tests.charging.refunding import ask
from tests.conftest import Shop
from tests.factories import NOW, make_attempt, make_card, make_subscription
from tests.promises.attacks import run

# What is written in the transactions that move money: the rows that tell them apart.
WATCHED = {
    "open": "billing_invoice",
    "arm": "billing_paymentattempt",
    "settle": "billing_evidence",
    "refund": "billing_refundevidence",
}
NEEDED = {"on 20s 30s"}


@pytest.fixture
def recorder(transactional_db: None) -> Iterator[None]:
    """Each row that is written says what its transaction was set to."""
    run("CREATE TABLE IF NOT EXISTS kitaran_test_settings (step text, seen text)")
    run(
        """CREATE OR REPLACE FUNCTION kitaran_test_record() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO kitaran_test_settings VALUES (TG_ARGV[0], current_setting('synchronous_commit') || ' '
               || current_setting('lock_timeout') || ' ' || current_setting('idle_in_transaction_session_timeout'));
             RETURN NEW; END $$"""
    )
    for step, table in WATCHED.items():
        run(
            f"""CREATE TRIGGER kitaran_test_{step} BEFORE INSERT ON {table} FOR EACH ROW
                EXECUTE FUNCTION kitaran_test_record('{step}')"""
        )
    yield
    for step, table in WATCHED.items():
        run(f"DROP TRIGGER kitaran_test_{step} ON {table}")
    run("DROP FUNCTION kitaran_test_record")
    run("DROP TABLE kitaran_test_settings")


@pytest.fixture
def careless_server(transactional_db: None) -> Iterator[None]:
    """The database's own defaults are those of somebody who wants speed."""
    name = connection.settings_dict["NAME"]
    run(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    run(f'ALTER DATABASE "{name}" SET idle_in_transaction_session_timeout = 0')
    yield
    run(f'ALTER DATABASE "{name}" RESET ALL')


def seen() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for step, setting in run("SELECT step, seen FROM kitaran_test_settings"):
        found.setdefault(step, set()).add(setting)
    return found


def a_day_of_the_shop(shop: Shop) -> None:
    """A period is opened, charged, and given back."""
    now = database_now()
    make_subscription(shop.card(), next_due_at=now, anchor_date=now.date())
    assert shop.open() == 1
    shop.collect()
    ask(PaymentAttempt.objects.get(state="succeeded"), 500)
    shop.refund()


@pytest.mark.django_db(transaction=True)
def test_money_moves_are_on_disk_whatever_the_session_has_set(patience: None, recorder: None, shop: Shop) -> None:
    """A10: a connection on which `synchronous_commit` is off and nothing ends an idle transaction."""
    run("SET synchronous_commit = off")
    run("SET idle_in_transaction_session_timeout = 0")
    run("SET lock_timeout = 0")
    a_day_of_the_shop(shop)
    assert seen() == dict.fromkeys(WATCHED, NEEDED)
    assert run("SHOW synchronous_commit") == [("off",)], "nothing is left behind for whoever has the session next"
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_a_lock_that_is_not_granted_in_time_is_no_outcome(settings: Any) -> None:
    """A10: the database failed; whoever tried connects again and tries again."""
    settings.KITARAN_TRANSACTION_SETTINGS = {**settings.KITARAN_TRANSACTION_SETTINGS, "lock_timeout": "200ms"}
    attempt = make_attempt()
    with somebody_holds("paymentattempt"):
        with pytest.raises(HeldError) as caught, durable():
            run("SELECT 1 FROM billing_paymentattempt FOR UPDATE")
        assert isinstance(caught.value, NOT_DONE_YET)
        assert not isinstance(caught.value, CONNECTION_LOST), "the database is there, and others go on"
    attempt.refresh_from_db()
    assert attempt.state == "sending"


@pytest.mark.django_db(transaction=True)
def test_locked_subscription_stays_due_and_is_not_called_sick(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A10: a lock that is not granted says nothing about the subscription."""
    settings.KITARAN_TRANSACTION_SETTINGS = {**settings.KITARAN_TRANSACTION_SETTINGS, "lock_timeout": "200ms"}
    subscription = make_subscription(make_card(), next_due_at=NOW)
    with somebody_holds("customer"):  # the invoice refers to it
        assert open_due(now=NOW).subscriptions == 0
    subscription.refresh_from_db()
    assert subscription.open_failed_at is None
    assert open_due(now=NOW).invoices == 1


# --- a real pooler ------------------------------------------------------------------------------------------

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
ONE_RUN = """
import django; django.setup()
from billing.charging.collecting.collect import collect
from billing.charging.refunds.worker import refund_due
from billing.models.clock import database_now
from billing.operating.clocks import ask_gateways
from billing.subscriptions.renew import open_due
from tests.conftest import SHORT
ask_gateways(now=database_now())
print(open_due(now=database_now()).invoices, flush=True)
print(collect(tuning=SHORT, clock=database_now, should_stop=lambda: False, worker="pooled").states, flush=True)
"""


@pytest.fixture
def pooler(tmp_path: Path) -> Iterator[str]:
    """A PgBouncer in transaction mode that ignores `options`, before the tests' PostgreSQL; its database URL."""
    if PGBOUNCER is None:
        pytest.skip("there is no pgbouncer (Debian: apt-get install pgbouncer)")
    database = connection.settings_dict
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    named = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "dbname": "NAME"}
    server = " ".join(f"{name}={database[key]}" for name, key in named.items() if database[key])
    (tmp_path / "pgbouncer.ini").write_text(
        f"""[databases]
pooled = {server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
ignore_startup_parameters = options, extra_float_digits
logfile = {tmp_path / "pgbouncer.log"}
pidfile = {tmp_path / "pgbouncer.pid"}
"""
    )
    command = [str(PGBOUNCER), str(tmp_path / "pgbouncer.ini")]
    if os.getuid() == 0:  # it refuses to run as root; in a namespace root is called otherwise
        command = ["unshare", "--user", "--map-user=65534", "--map-group=65534", *command]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (tmp_path / "pgbouncer.log").read_text()
            time.sleep(0.05)
        yield f"postgresql://anyone@127.0.0.1:{port}/pooled?options={quote('-c kitaran.allow_truncate=on')}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
@pytest.mark.faults
def test_charges_are_as_safe_through_a_transaction_pooler(
    patience: None, recorder: None, careless_server: None, shop: Shop, pooler: str
) -> None:
    """A10: PgBouncer ignores `options`, and the server's default is off."""
    now = database_now()
    for _ in range(10):
        make_subscription(shop.card(), next_due_at=now, anchor_date=now.date())
    done = subprocess.run(
        [sys.executable, "-c", ONE_RUN],
        env={**os.environ, "DATABASE_URL": pooler, "DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.stdout.splitlines() == ["10", "{'succeeded': 10}"], done.stderr[-2000:]
    assert Invoice.objects.filter(state="paid").count() == 10
    shown = seen()
    assert {step: {setting.split()[0] for setting in shown[step]} for step in ("open", "arm", "settle")} == {
        "open": {"on"},
        "arm": {"on"},
        "settle": {"on"},
    }
    assert all("0" not in setting.split()[1:] for step in shown for setting in shown[step])
    assert {len(shop.taken(invoice)) for invoice in Invoice.objects.all()} == {1}
