"""What the faults in one process share: doomed workers, recovery, and the audit as the last word."""

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from django.db import connection

from billing.audit.invariants import gateway_violations, ledger_violations, violations
from billing.charging.collecting.collect import collect
from billing.gateway.connection import clock as gateway_clock
from billing.models import GatewayAccount, Invoice, PaymentAttempt
from billing.models.clock import database_now
from tests.conftest import Shop

ROOT = Path(__file__).parents[2]
OPEN_ENDED = ("sending", "unknown", "in_process")


def environment() -> dict[str, str]:
    """The tests' environment with this test's own database in it."""
    at = connection.settings_dict
    options = quote("-c kitaran.allow_truncate=on")
    url = f"postgresql://{at['USER']}@/{at['NAME']}?host={quote(str(at['HOST']), safe='')}&port={at['PORT']}"
    return {**os.environ, "DATABASE_URL": f"{url}&options={options}", "DJANGO_SETTINGS_MODULE": "config.settings"}


def without_reports() -> None:
    """The simulator's daily report lists the payments of all tests of the session, which nothing here explains."""
    GatewayAccount.objects.update(reads_reports=False)


def run_doomed_worker(point: str) -> int:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.worker", point],
        cwd=ROOT,
        env=environment(),
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def recover(shop: Shop, *, outage: timedelta) -> None:
    """A new worker comes up after `outage`; it does what workers do until nothing is left to find out."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        later = database_now() + outage
        shop.sweep(later)
        shop.reconcile(later)
        collect(tuning=shop.tuning, clock=lambda: database_now() + outage, should_stop=lambda: False, worker="recovery")
        if not PaymentAttempt.objects.filter(state__in=OPEN_ENDED).exists():
            gateway_clock.align(database_now())
            return
        time.sleep(0.05)
    raise AssertionError(list(PaymentAttempt.objects.values_list("state", "state_reason")))


def settle_down(shop: Shop, invoice: Invoice, seconds: float = 25) -> PaymentAttempt:
    """Runs the engine until the invoice's first attempt is closed or with a person."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        shop.sweep()
        shop.reconcile()
        attempt = PaymentAttempt.objects.filter(invoice=invoice).earliest("id")
        if attempt.state not in OPEN_ENDED:
            return attempt
        time.sleep(0.05)
    raise AssertionError(f"still {attempt.state}: {attempt.state_reason}")


def audit(shop: Shop, *, ahead: timedelta = timedelta(0)) -> list[str]:
    """What does not hold: in the database, against the simulator's ledger, and, when its order lists are whole, asked
    over HTTP. Workers ran until `ahead` from now."""
    account, requests = shop.account.pk, shop.simulator.requests()
    own = {attempt.marker for attempt in PaymentAttempt.objects.all()}
    found = violations(now=database_now() + ahead, tuning=shop.tuning)
    found += ledger_violations(
        account_id=account,
        charges=shop.simulator.charges(),
        posts={marker: count for marker, count in requests["by_marker"].items() if marker in own},
        refund_posts=requests["by_refund"],
    )
    shop.simulator.set(orders_visible_after=0, latency=[0, 0])
    gateway_clock.align(database_now())
    found += gateway_violations(now=database_now() + ahead, account_id=account)
    return [f"{one.invariant}: {one.subject} {one.text}" for one in found]
